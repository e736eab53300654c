//! Agents: one per jail, started after the jail's secrets are there, found
//! again after the daemon was restarted, and told when their secrets change.

use crate::clock;
use crate::events::Events;
use crate::hook::{provision_tenant_env, same_root};
use crate::jail::{Host, Jail, Jails, ROOT};
use crate::provision::Provisioner;
use crate::settings::Config;
use crate::store::{Agent, Store};
use crate::tenant::{Target, signal};
use colibri_control::{
    AgentState, AgentView, ErrorName, Event, Fault, JailName, OnChange, Settings, SpawnView, Status, TenantId,
};
use colibri_order::Owner;
use command_fds::{CommandFdExt, FdMapping};
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, umask};
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// Between TERM and KILL.
const GRACE: Duration = Duration::from_secs(10);
/// How soon an agent that is only just being started is asked again.
const STARTING: Duration = Duration::from_millis(20);
/// After KILL.
const REAPING: Duration = Duration::from_secs(5);
/// How often an agent is looked after that this process did not start.
const LOOK: Duration = Duration::from_secs(2);
/// How long a command after a change may take.
const ACTION: Duration = Duration::from_secs(30);
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Waits for one line, so that no agent runs that the database does not know:
/// if the daemon dies before it has written it down, there is no line.
const GATE: &str = r#"read -r go && exec "$0" "$@" </dev/null"#;

/// A handle to all agents.
#[derive(Clone, Debug)]
pub struct Agents(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Arc<Config>,
    store: Store,
    events: Events,
    provisioner: Provisioner,
    jails: Host,
    slots: Mutex<HashMap<JailName, Slot>>,
}

/// A jail whose agent runs or is about to.
#[derive(Clone, Debug)]
struct Slot {
    pid: Option<u32>,
    stopping: bool,
    ended: watch::Receiver<()>,
}

/// Frees the jail's slot when the agent is over, and wakes those who wait for it.
struct Claim {
    agents: Agents,
    jail: JailName,
    _ended: watch::Sender<()>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.agents.slots(|slots| slots.remove(&self.jail));
    }
}

impl Agents {
    /// Takes up the agents that an earlier daemon started.
    ///
    /// # Errors
    /// The database's.
    pub async fn start(
        config: Arc<Config>,
        store: Store,
        events: Events,
        provisioner: Provisioner,
    ) -> Result<Self, Fault> {
        let jails = Host::new(&config);
        let slots = Mutex::default();
        let agents = Self(Arc::new(Inner { config, store, events, provisioner, jails, slots }));
        for agent in agents.0.store.with(|db| db.agents()).await? {
            if agent.view.state == AgentState::Running {
                agents.adopt(agent).await;
            }
        }
        Ok(agents)
    }

    fn slots<T>(&self, look: impl FnOnce(&mut HashMap<JailName, Slot>) -> T) -> T {
        look(&mut self.0.slots.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn claim(&self, jail: &JailName) -> Result<Claim, Fault> {
        let (sender, ended) = watch::channel(());
        self.slots(|slots| {
            if slots.contains_key(jail) {
                let message = format!("an agent runs in {jail} already");
                return Err(Fault::new(ErrorName::WrongState, message));
            }
            slots.insert(jail.clone(), Slot { pid: None, stopping: false, ended });
            Ok(Claim { agents: self.clone(), jail: jail.clone(), _ended: sender })
        })
    }

    /// How many agents run.
    pub fn running(&self) -> u32 {
        u32::try_from(self.slots(|slots| slots.len())).unwrap_or(u32::MAX)
    }

    async fn adopt(&self, agent: Agent) {
        let Ok(claim) = self.claim(&agent.view.jail) else { return };
        if self.0.jails.identity(agent.view.pid).await.as_ref() != Some(&agent.identity) {
            return self.over(agent, claim, None).await;
        }
        self.slots(|slots| slots.get_mut(&claim.jail).map(|slot| slot.pid = Some(agent.view.pid)));
        let agents = self.clone();
        tokio::spawn(async move {
            while agents.0.jails.identity(agent.view.pid).await.as_ref() == Some(&agent.identity) {
                sleep(LOOK).await;
            }
            agents.over(agent, claim, None).await;
        });
    }

    /// Starts the jail if it does not run, runs the hook, starts the agent.
    ///
    /// # Errors
    /// If there is an agent already, or jail or agent cannot be started; never
    /// because of secrets.
    pub async fn spawn(
        &self,
        name: &JailName,
        root: &Path,
        command: Vec<String>,
    ) -> Result<SpawnView, Fault> {
        if command.is_empty() {
            return Err(Fault::new(ErrorName::BadRequest, "the agent's command is empty"));
        }
        let claim = self.claim(name)?;
        let (jail, env_file) = self.jail(name, root).await?;
        let jail_ours = !self.0.jails.runs(&jail).await?;
        let mut agent = self.row(&jail, command, jail_ours);
        // Written down first: a jail that a crash leaves behind is known as ours.
        self.put(&agent).await?;
        if jail_ours && let Err(fault) = self.start_jail(&jail).await {
            self.over(agent, claim, None).await;
            return Err(fault);
        }
        let hook = provision_tenant_env(&self.0.provisioner, name, root).await;
        match self.launch(&jail, &env_file, &mut agent).await {
            Ok(child) => {
                self.slots(|slots| slots.get_mut(name).map(|slot| slot.pid = Some(agent.view.pid)));
                let view = agent.view.clone();
                self.watch(child, agent, claim);
                self.0.events.announce(Event::Agent(Box::new(view.clone())));
                Ok(SpawnView { agent: view, hook })
            }
            Err(fault) => {
                self.over(agent, claim, None).await;
                Err(fault)
            }
        }
    }

    /// The jail with its root as it is at this moment; of a tenant, the registered one.
    async fn jail(&self, name: &JailName, root: &Path) -> Result<(Jail, PathBuf), Fault> {
        let id = name.clone();
        let tenant = self.0.store.with(move |db| db.tenant(&id)).await?;
        let roots = self.0.provisioner.roots();
        if let Some(tenant) = tenant.as_ref().filter(|tenant| tenant.status != Status::Destroyed) {
            same_root(&roots.place(root)?, tenant)?;
        }
        let settings = tenant.map_or_else(Settings::default, |tenant| tenant.settings);
        let target = Target::new(&settings, self.0.config.owner)?;
        let root = roots.check(name, root).await?;
        Ok((Jail { name: name.clone(), root, owner: target.owner() }, target.inside()))
    }

    /// Starts the jail, and makes sure that it has the root that was looked at:
    /// jail(8) takes a path.
    async fn start_jail(&self, jail: &Jail) -> Result<(), Fault> {
        self.0.jails.start(jail).await?;
        let now = self.0.provisioner.roots().check(&jail.name, &jail.root.path()).await?;
        if now.inode() == jail.root.inode() {
            return Ok(());
        }
        let message = format!("the root of {} became another directory while it was started", jail.name);
        Err(Fault::new(ErrorName::TargetEscapesRoot, message))
    }

    fn row(&self, jail: &Jail, command: Vec<String>, jail_ours: bool) -> Agent {
        let view = AgentView {
            jail: jail.name.clone(),
            root: jail.root.path(),
            command,
            state: AgentState::Running,
            pid: 0,
            started: clock::now(),
            ended: None,
            exit_code: None,
            signal: None,
            log: self.0.config.settings.log_dir.join(format!("{}.log", jail.name)),
        };
        Agent { view, identity: String::new(), jail_ours }
    }

    async fn put(&self, agent: &Agent) -> Result<(), Fault> {
        let agent = agent.clone();
        Ok(self.0.store.with(move |db| db.put_agent(&agent)).await?)
    }

    async fn launch(&self, jail: &Jail, env_file: &Path, agent: &mut Agent) -> Result<Child, Fault> {
        let failed = |error: std::io::Error| Fault::new(ErrorName::AgentFailed, error.to_string());
        let log = open_log(&agent.view.log).map_err(failed)?;
        let line = self.0.jails.line(jail, &agent.view.command);
        let mut command = Command::new("/bin/sh");
        command.args(["-c", GATE]).args(line).env_clear().current_dir("/").process_group(0);
        command.env("PATH", PATH).env("COLIBRI_ENV_FILE", env_file);
        drop_to(&mut command, self.0.jails.user(jail));
        hand(&mut command, self.0.jails.descriptor(jail)).map_err(failed)?;
        command.stdin(Stdio::piped()).stdout(log.try_clone().map_err(failed)?).stderr(log);
        let mut child = spawn_open(&mut command).map_err(failed)?;
        agent.view.pid = child.id().unwrap_or_default();
        agent.identity = self.0.jails.identity(agent.view.pid).await.unwrap_or_default();
        self.put(agent).await?;
        if let Some(mut gate) = child.stdin.take() {
            gate.write_all(b"go\n").await.map_err(failed)?;
        }
        Ok(child)
    }

    fn watch(&self, mut child: Child, agent: Agent, claim: Claim) {
        let agents = self.clone();
        tokio::spawn(async move {
            let status = child.wait().await.ok();
            agents.over(agent, claim, status).await;
        });
    }

    /// The agent is over: write it down, and remove a jail that was its own.
    async fn over(&self, mut agent: Agent, claim: Claim, status: Option<ExitStatus>) {
        let stopping = self.slots(|slots| slots.get(&claim.jail).is_some_and(|slot| slot.stopping));
        agent.view.state = match (stopping, status) {
            (true, _) => AgentState::Stopped,
            (false, None) if !agent.identity.is_empty() => AgentState::Lost,
            (false, _) => AgentState::Exited,
        };
        agent.view.ended = Some(clock::now());
        agent.view.exit_code = status.and_then(|status| status.code());
        agent.view.signal = status.and_then(|status| status.signal());
        if agent.jail_ours {
            let AgentView { jail, root, .. } = &agent.view;
            let root = self.0.provisioner.roots().check(jail, root).await;
            if let Err(fault) = self.0.jails.stop(jail, root.as_ref().ok()).await {
                tracing::warn!(%jail, "{fault}");
            }
        }
        if let Err(fault) = self.put(&agent).await {
            tracing::warn!(jail = %agent.view.jail, "{fault}");
        }
        tracing::info!(jail = %agent.view.jail, code = agent.view.exit_code, "agent {}", agent.view.state);
        self.0.events.announce(Event::Agent(Box::new(agent.view)));
        drop(claim);
    }

    /// TERM, then KILL after a grace time. `false` if no agent runs.
    ///
    /// # Errors
    /// If it is only just being started, or does not die.
    pub async fn stop(&self, jail: &JailName) -> Result<bool, Fault> {
        let slot = self.slots(|slots| {
            slots.get_mut(jail).map(|slot| {
                slot.stopping = slot.pid.is_some();
                slot.clone()
            })
        });
        let Some(mut slot) = slot else { return Ok(false) };
        let starting = || Fault::new(ErrorName::Busy, format!("the agent of {jail} is being started"));
        let pid = slot.pid.ok_or_else(starting)?;
        for (signal, patience) in [(Signal::SIGTERM, GRACE), (Signal::SIGKILL, REAPING)] {
            let end = Instant::now() + patience;
            while !self.0.jails.signal(pid, signal) && Instant::now() < end {
                if timeout(STARTING, slot.ended.changed()).await.is_ok() {
                    return Ok(true);
                }
            }
            // The channel closes when the agent is over.
            if timeout_at(end, slot.ended.changed()).await.is_ok() {
                return Ok(true);
            }
        }
        Err(Fault::new(ErrorName::AgentFailed, format!("the agent of {jail} does not end")))
    }

    /// Does for each tenant that has changed what it wants done, once.
    pub async fn follow(self, mut changed: mpsc::UnboundedReceiver<TenantId>) {
        while let Some(id) = changed.recv().await {
            let agents = self.clone();
            tokio::spawn(async move {
                let failure = agents.act(&id).await.err();
                if let Some(fault) = &failure {
                    tracing::warn!(tenant = %id, "after a change: {fault}");
                }
                let noted = agents.0.store.with(move |db| db.acted(&id, failure.as_ref())).await;
                if let Err(error) = noted {
                    tracing::warn!("{error}");
                }
            });
        }
    }

    async fn act(&self, id: &TenantId) -> Result<(), Fault> {
        let known = id.clone();
        let tenant = self.0.store.with(move |db| db.known(&known)).await?;
        match &tenant.settings.on_change {
            OnChange::None => Ok(()),
            OnChange::RestartAgent => self.restart(id).await,
            OnChange::Signal(name) => {
                let signal = signal(name)?;
                self.signal(id, signal).await
            }
            OnChange::Command(command) => self.command(id, &tenant.root, command).await,
        }
    }

    /// An agent that is only just being started is waited for: it may have read
    /// what there was before.
    async fn signal(&self, id: &TenantId, signal: Signal) -> Result<(), Fault> {
        let end = Instant::now() + ACTION;
        while let Some(pid) = self.slots(|slots| slots.get(id).and_then(|slot| slot.pid)) {
            if self.0.jails.signal(pid, signal) {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(Fault::new(ErrorName::AgentFailed, "the agent takes no signal"));
            }
            sleep(STARTING).await;
        }
        Ok(())
    }

    /// A jail without an agent has nobody who must be told.
    async fn restart(&self, id: &TenantId) -> Result<(), Fault> {
        if !self.stop(id).await? {
            return Ok(());
        }
        let known = id.clone();
        let Some(agent) = self.0.store.with(move |db| db.agent(&known)).await? else { return Ok(()) };
        self.spawn(id, &agent.view.root, agent.view.command).await.map(drop)
    }

    async fn command(&self, id: &TenantId, root: &Path, words: &[String]) -> Result<(), Fault> {
        let (jail, env_file) = self.jail(id, root).await?;
        let failed = |why: String| Fault::new(ErrorName::AgentFailed, format!("on-change command: {why}"));
        let log = open_log(&self.0.config.settings.log_dir.join(format!("{id}.log")));
        let log = log.map_err(|error| failed(error.to_string()))?;
        let line = self.0.jails.line(&jail, words);
        let mut command = Command::new(line.first().map(PathBuf::from).unwrap_or_default());
        command.args(line.iter().skip(1)).env_clear().current_dir("/").kill_on_drop(true);
        command.env("PATH", PATH).env("COLIBRI_ENV_FILE", env_file).stdin(Stdio::null());
        drop_to(&mut command, self.0.jails.user(&jail));
        hand(&mut command, self.0.jails.descriptor(&jail)).map_err(|error| failed(error.to_string()))?;
        let both = log.try_clone().map_err(|error| failed(error.to_string()))?;
        command.stdout(both).stderr(log);
        let mut child = spawn_open(&mut command).map_err(|error| failed(error.to_string()))?;
        match timeout(ACTION, child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(failed(status.to_string())),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => {
                child.id().map(|pid| self.0.jails.signal(pid, Signal::SIGKILL));
                Err(failed("did not end in time".into()))
            }
        }
    }
}

fn drop_to(command: &mut Command, user: Option<Owner>) {
    if let Some(owner) = user {
        command.uid(owner.uid).gid(owner.gid);
    }
}

/// The jail's root, for the program that makes the container.
fn hand(command: &mut Command, root: Option<BorrowedFd<'_>>) -> std::io::Result<()> {
    let Some(root) = root else { return Ok(()) };
    let parent_fd = root.try_clone_to_owned()?;
    let handed = command.fd_mappings(vec![FdMapping { parent_fd, child_fd: ROOT }]);
    handed.map(drop).map_err(std::io::Error::other)
}

/// Agents make files as other programs do; the daemon's own mask is tighter.
/// Only this thread makes files that the mask matters for.
fn spawn_open(command: &mut Command) -> std::io::Result<Child> {
    let own = umask(Mode::from_bits_truncate(0o022));
    let child = command.spawn();
    umask(own);
    child
}

fn open_log(path: &Path) -> std::io::Result<File> {
    let no_follow = nix::fcntl::OFlag::O_NOFOLLOW.bits();
    OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(no_follow).open(path)
}
