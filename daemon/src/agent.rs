//! Agents: one per jail, started after the jail's secrets are there, found
//! again after the daemon was restarted, and told when their secrets change.

pub mod cgroup;
pub mod claim;
mod given;
mod shim;
mod stagger;
pub mod users;

use self::cgroup::Cgroups;
use self::shim::{Life, Start, Started};
use self::users::user_of;
use crate::action;
use crate::clock;
use crate::events::Events;
use crate::hook::{provision_tenant_env, same_root};
use crate::jail::{Host, Jail, Jails, Process};
use crate::provision::Provisioner;
use crate::root::JailRoot;
use crate::service::taken;
use crate::settings::Config;
use crate::store::{Agent, Store};
use crate::tenant::{Target, Tenant, signal};
use crate::turns::Turns;
use colibri_control::{
    AgentState, AgentView, Event, HookResult, HookView, Outcome, Provision, Reason, SpawnView,
};
use colibri_tenant::{ErrorName, Fault, JailName, OnChange, Settings, Status, TenantId, plain};
use nix::sys::signal::Signal;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::Instrument;

/// Between TERM and KILL.
const GRACE: Duration = Duration::from_secs(10);
/// How soon an agent that is only just being started is asked again.
const STARTING: Duration = Duration::from_millis(20);
/// How long an agent is watched before it counts as started: a program that is not
/// there ends sooner.
const SETTLING: Duration = Duration::from_millis(250);
/// Bytes of a log's end in which its last line is looked for.
const LAST_LINE: u64 = 512;
/// After KILL.
const REAPING: Duration = Duration::from_secs(5);
/// How often an agent is looked after that this process did not start.
const LOOK: Duration = Duration::from_secs(2);
/// How long a command after a change may take.
const ACTION: Duration = Duration::from_secs(30);

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
    cgroups: Cgroups,
    slots: Mutex<HashMap<JailName, Slot>>,
    sweeps: Turns,
    actions: Turns,
    /// Tenants whose next action waits for the end of the one before.
    waiting: Mutex<HashSet<TenantId>>,
}

/// A jail whose agent runs or is about to.
#[derive(Clone, Debug)]
struct Slot {
    process: Option<Process>,
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
        if let Err(fault) = users::remember(&config, &store).await {
            tracing::warn!("{fault}");
        }
        let jails = Host::new(&config);
        let cgroups = Cgroups::find(&config.settings);
        let (slots, waiting) = (Mutex::default(), Mutex::default());
        let (sweeps, actions) = (Turns::default(), Turns::default());
        let inner =
            Inner { config, store, events, provisioner, jails, cgroups, slots, sweeps, actions, waiting };
        let agents = Self(Arc::new(inner));
        for agent in agents.0.store.with(|db| db.agents()).await? {
            if agent.view.state == AgentState::Running {
                agents.adopt(agent);
            }
        }
        Ok(agents)
    }

    /// Removes the jails of agents that are over: what stopped them may have failed.
    /// Each by itself, since one whose devfs is held takes long.
    pub async fn sweep(self) {
        let agents = self.0.store.with(|db| db.agents()).await.unwrap_or_else(|error| {
            tracing::warn!("no jail that is left over is looked for: {error}");
            Vec::new()
        });
        let over = agents.into_iter().filter(|agent| agent.view.state != AgentState::Running);
        let mut tasks = JoinSet::new();
        for agent in over {
            let agents = self.clone();
            tasks.spawn(async move { agents.sweep_one(&agent).await });
        }
        tasks.join_all().await;
    }

    async fn sweep_one(&self, agent: &Agent) {
        let jail = &agent.view.jail;
        let turn = self.0.sweeps.of(jail);
        let _turn = turn.lock().await;
        // A start removes it itself.
        if !self.has(jail) {
            let _tried_again_at_the_next_start = self.remove_jail(agent).await;
        }
    }

    /// Removes the jail that was made for the agent, if it is still that one, and what
    /// is left of it. Nothing of the root is looked at.
    async fn remove_jail(&self, agent: &Agent) -> Result<(), Fault> {
        let Some(mark) = &agent.mark else { return Ok(()) };
        let AgentView { jail, root, .. } = &agent.view;
        let removed = self.0.jails.stop(jail, root, mark).await;
        removed.inspect_err(|fault| tracing::warn!(%jail, "what was made for the agent stays: {fault}"))
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
            slots.insert(jail.clone(), Slot { process: None, stopping: false, ended });
            Ok(Claim { agents: self.clone(), jail: jail.clone(), _ended: sender })
        })
    }

    /// Whether an agent of the jail runs or is being started.
    pub fn has(&self, jail: &JailName) -> bool {
        self.slots(|slots| slots.contains_key(jail))
    }

    /// How many agents run.
    pub fn running(&self) -> u32 {
        u32::try_from(self.slots(|slots| slots.len())).unwrap_or(u32::MAX)
    }

    /// What of an agent has no bound here, a line each.
    pub fn unbounded(&self) -> Vec<String> {
        self.0.cgroups.unbounded()
    }

    /// The daemon's start does not wait for the end of one that is over.
    fn adopt(&self, agent: Agent) {
        let Ok(claim) = self.claim(&agent.view.jail) else { return };
        let process = process(&agent);
        self.slots(|slots| slots.get_mut(&claim.jail).map(|slot| slot.process = Some(process.clone())));
        let agents = self.clone();
        tokio::spawn(async move {
            while agents.0.jails.is(&process).await {
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
        let _starting = self.0.provisioner.roots().starting(name);
        // What sweeps there now does not unmount what is mounted from now on.
        drop(self.0.sweeps.of(name).lock().await);
        let (jail, env_file) = self.jail(name, root).await?;
        let known = name.clone();
        if let Some(before) = self.0.store.with(move |db| db.agent(&known)).await? {
            // Nothing is mounted on top of what is left of the last one.
            self.remove_jail(&before).await?;
        }
        let runs = self.0.jails.runs(&jail).await?;
        let mut agent = self.row(&jail, command, (!runs).then(|| self.0.jails.mark()));
        // Written down first: a jail that a crash leaves behind is known as ours by
        // its mark, and one that somebody else started meanwhile is known not to be.
        self.put(&agent).await?;
        let since = clock::now();
        if let Some(mark) = &agent.mark {
            match self.start_jail(&jail, mark).await {
                Ok(mark) => agent.mark = Some(mark),
                Err(fault) => {
                    self.over(agent, claim, None).await;
                    return Err(fault);
                }
            }
            self.put(&agent).await?;
        }
        let hook = match self.hooked(name, since).await {
            Some(hook) => hook,
            None => provision_tenant_env(&self.0.provisioner, name, root).await,
        };
        match self.launch(&jail, &env_file, &mut agent).await {
            Ok(started) => {
                let process = process(&agent);
                let ended = self.slots(|slots| {
                    let slot = slots.get_mut(name)?;
                    slot.process = Some(process);
                    Some(slot.ended.clone())
                });
                let view = agent.view.clone();
                self.0.events.announce(Event::Agent(Box::new(view.clone())));
                self.watch(started, agent, claim);
                let (agent, last_words) = self.settled(view, ended).await?;
                Ok(SpawnView { agent, hook, last_words })
            }
            Err(fault) => {
                self.over(agent, claim, None).await;
                Err(fault)
            }
        }
    }

    /// What the jail's own hook has brought while the jail started: bastille(8) starts
    /// a jail with all that is in its jail.conf(5), and once is enough.
    async fn hooked(&self, name: &JailName, since: u64) -> Option<HookView> {
        let id = name.clone();
        let newest = self.0.store.with(move |db| db.history(Some(&id), 1)).await.ok()?;
        by_its_hook(newest.into_iter().next()?, since)
    }

    /// The agent as it is a moment after its start, and what it said if it has ended.
    async fn settled(
        &self,
        view: AgentView,
        ended: Option<watch::Receiver<()>>,
    ) -> Result<(AgentView, Option<String>), Fault> {
        let Some(mut ended) = ended else { return Ok((view, None)) };
        // The channel closes when the agent is over.
        if timeout(SETTLING, ended.changed()).await.is_err() {
            return Ok((view, None));
        }
        let jail = view.jail.clone();
        let now = self.0.store.with(move |db| db.agent(&jail)).await?.map_or(view, |agent| agent.view);
        let last_words = last_line(&now.log).ok().flatten();
        Ok((now, last_words))
    }

    /// The jail with its root as it is at this moment; of a tenant, the registered one.
    async fn jail(&self, name: &JailName, root: &Path) -> Result<(Jail, PathBuf), Fault> {
        let id = name.clone();
        let tenant = self.0.store.with(move |db| db.tenant(&id)).await?;
        let roots = self.0.provisioner.roots();
        let root = match tenant.as_ref().filter(|tenant| tenant.status != Status::Destroyed) {
            Some(tenant) => {
                same_root(&roots.place(root)?, tenant)?;
                roots.of(tenant).await?
            }
            None => self.unregistered(name, root).await?,
        };
        roots.is_root(name, root.place()).await?;
        let settings = tenant.map_or_else(Settings::default, |tenant| tenant.settings);
        let target = Target::new(&settings, self.0.config.owner)?;
        let user = user_of(&self.0.config, &self.0.store, name).await?;
        let (owner, network) = (target.owner(), settings.agent_network);
        Ok((Jail { name: name.clone(), root, owner, user, network }, target.inside()))
    }

    /// The root of a jail that is no tenant, which is no other tenant's.
    async fn unregistered(&self, name: &JailName, root: &Path) -> Result<JailRoot, Fault> {
        let root = self.0.provisioner.roots().check(name, root).await?;
        let (id, path) = (name.clone(), root.path());
        match self.0.store.with(move |db| db.at_root(&path, &id)).await? {
            Some(other) => Err(taken(&root.path(), &other)),
            None => Ok(root),
        }
    }

    /// Starts the jail, and makes sure that it has the root that was looked at:
    /// jail(8) takes a path. Gives the mark to know it by.
    async fn start_jail(&self, jail: &Jail, mark: &str) -> Result<String, Fault> {
        let mark = self.0.jails.start(jail, mark).await?;
        let now = self.0.provisioner.roots().check(&jail.name, &jail.root.path()).await?;
        if now.inode() == jail.root.inode() {
            return Ok(mark);
        }
        let message = format!("the root of {} became another directory while it was started", jail.name);
        Err(Fault::new(ErrorName::TargetEscapesRoot, message))
    }

    fn row(&self, jail: &Jail, command: Vec<String>, mark: Option<String>) -> Agent {
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
        Agent { view, identity: String::new(), mark }
    }

    async fn put(&self, agent: &Agent) -> Result<(), Fault> {
        let agent = agent.clone();
        Ok(self.0.store.with(move |db| db.put_agent(&agent)).await?)
    }

    async fn launch(&self, jail: &Jail, env_file: &Path, agent: &mut Agent) -> Result<Started, Fault> {
        let failed = |error: std::io::Error| Fault::new(ErrorName::AgentFailed, error.to_string());
        // What an agent of before left behind.
        self.0.cgroups.clear(&jail.name).await;
        let entry = self.0.jails.entry(jail, agent.mark.as_deref()).await?;
        let line = self.0.jails.line(jail, &entry, &agent.view.command);
        let start = Start {
            line,
            root: self.0.jails.descriptor(jail),
            user: self.0.jails.user(jail),
            env_file,
            log: &agent.view.log,
            cgroups: &self.0.cgroups,
        };
        let mut started = start.start(&self.0.config, Life::Own).map_err(failed)?;
        agent.view.pid = started.child.id().unwrap_or_default();
        self.0.cgroups.admit(&jail.name, agent.view.pid).map_err(failed)?;
        agent.identity = self.0.jails.identity(agent.view.pid).await.unwrap_or_default();
        self.put(agent).await?;
        started.go().await.map_err(failed)?;
        Ok(started)
    }

    fn watch(&self, mut started: Started, agent: Agent, claim: Claim) {
        let agents = self.clone();
        tokio::spawn(async move {
            let status = started.ended().await.ok();
            agents.over(agent, claim, status).await;
        });
    }

    /// The agent is over: write it down, and remove a jail that was made for it.
    async fn over(&self, mut agent: Agent, claim: Claim, status: Option<ExitStatus>) {
        let stopping = self.slots(|slots| slots.get(&claim.jail).is_some_and(|slot| slot.stopping));
        agent.view.state = match (stopping, status) {
            (true, _) => AgentState::Stopped,
            (false, None) if !agent.identity.is_empty() => AgentState::Lost,
            (false, _) => AgentState::Exited,
        };
        self.0.cgroups.clear(&claim.jail).await;
        agent.view.ended = Some(clock::now());
        agent.view.exit_code = status.and_then(|status| status.code());
        agent.view.signal = status.and_then(|status| status.signal());
        let _tried_again_at_the_next_start = self.remove_jail(&agent).await;
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
                slot.stopping = slot.process.is_some();
                slot.clone()
            })
        });
        let Some(mut slot) = slot else { return Ok(false) };
        let starting = || Fault::new(ErrorName::Busy, format!("the agent of {jail} is being started"));
        let process = slot.process.take().ok_or_else(starting)?;
        for (signal, patience) in [(Signal::SIGTERM, GRACE), (Signal::SIGKILL, REAPING)] {
            let end = Instant::now() + patience;
            if signal == Signal::SIGKILL {
                self.0.cgroups.kill(jail);
            }
            while !self.0.jails.signal(&process, signal).await && Instant::now() < end {
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
    pub async fn follow(self, changed: mpsc::UnboundedReceiver<TenantId>) {
        let apart = self.0.config.settings.stagger;
        let begin = |id: TenantId| {
            let span = tracing::error_span!("action", tenant = %id);
            tokio::spawn(self.clone().act_on(id).instrument(span));
        };
        stagger::spread(apart, changed, begin).await;
    }

    fn waiting<T>(&self, look: impl FnOnce(&mut HashSet<TenantId>) -> T) -> T {
        look(&mut self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// One action of a tenant at a time. What changes while one runs is done after it,
    /// all of it by the one that waits.
    async fn act_on(self, id: TenantId) {
        if !self.waiting(|waiting| waiting.insert(id.clone())) {
            return;
        }
        let turn = self.0.actions.of(&id);
        let _turn = turn.lock().await;
        self.waiting(|waiting| waiting.remove(&id));
        if let Err(fault) = self.act_once(&id).await {
            tracing::warn!("{fault}");
        }
    }

    async fn act_once(&self, id: &TenantId) -> Result<(), Fault> {
        let known = id.clone();
        let tenant = self.0.store.with(move |db| db.known(&known)).await?;
        let failure = self.act(&tenant).await.err();
        if let Some(fault) = &failure {
            tracing::warn!("after a change: {fault}");
        }
        let done = tenant.action_due;
        Ok(self.0.store.with(move |db| db.acted(&tenant.id, done, failure.as_ref())).await?)
    }

    async fn act(&self, tenant: &Tenant) -> Result<(), Fault> {
        // It may have been stopped while it waited for its turn.
        if !tenant.keeps_up() {
            return Ok(());
        }
        let id = &tenant.id;
        let mut first = Ok(());
        for placed in tenant.placed.iter().filter(|placed| placed.state.action_due > 0) {
            let own = tenant.settings.files.get(&placed.path).and_then(|file| file.on_change.as_ref());
            if let Some(action) = own {
                let failed = |fault: Fault| fault.of_file(&placed.path);
                first = first.and(self.act_by(tenant, action).await.map_err(failed));
            }
            let (known, file, done) = (id.clone(), placed.id, placed.state.action_due);
            self.0.store.with(move |db| db.acted_on_file(&known, file, done)).await?;
        }
        if tenant.action_due > 0 {
            first = first.and(self.act_by(tenant, &tenant.settings.on_change).await);
        }
        first
    }

    async fn act_by(&self, tenant: &Tenant, action: &OnChange) -> Result<(), Fault> {
        let id = &tenant.id;
        match action {
            OnChange::None => Ok(()),
            OnChange::RestartAgent => self.restart(id).await,
            OnChange::Signal(name) => {
                let signal = signal(name)?;
                self.signal(id, signal).await
            }
            OnChange::Command(command) => self.command(id, &tenant.root, command).await,
            OnChange::Action(name) => {
                // Of a jail whose root is another by now nothing is known.
                let root = self.0.provisioner.roots().of(tenant).await?.path();
                let ended = action::run(&self.0.config, name, id, &root).await;
                ended.map_err(|error| {
                    Fault::new(ErrorName::ActionFailed, plain(&format!("action {name}: {error:#}")))
                })
            }
        }
    }

    /// An agent that is only just being started is waited for: it may have read
    /// what there was before.
    async fn signal(&self, id: &TenantId, signal: Signal) -> Result<(), Fault> {
        let end = Instant::now() + ACTION;
        while let Some(process) = self.slots(|slots| slots.get(id).and_then(|slot| slot.process.clone())) {
            if self.0.jails.signal(&process, signal).await {
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

    /// That of the jail that was made for an agent which runs.
    async fn mark(&self, id: &TenantId) -> Result<Option<String>, Fault> {
        let known = id.clone();
        let agent = self.0.store.with(move |db| db.agent(&known)).await?;
        Ok(agent.filter(|agent| agent.view.state == AgentState::Running).and_then(|agent| agent.mark))
    }

    async fn command(&self, id: &TenantId, root: &Path, words: &[String]) -> Result<(), Fault> {
        let (jail, env_file) = self.jail(id, root).await?;
        let log = self.0.config.settings.log_dir.join(format!("{id}.log"));
        let printed = log.display().to_string();
        let failed = |why: String| {
            let message = format!("on-change command: {why}; what it printed is in {printed}");
            Fault::new(ErrorName::ActionFailed, message)
        };
        let entry = self.0.jails.entry(&jail, self.mark(id).await?.as_deref()).await?;
        let (line, user) = (self.0.jails.line(&jail, &entry, words), self.0.jails.user(&jail));
        let (root, cgroups) = (self.0.jails.descriptor(&jail), &self.0.cgroups);
        let start = Start { line, root, user, env_file: &env_file, log: &log, cgroups };
        let started = start.start(&self.0.config, Life::Ours);
        let mut started = started.map_err(|error| failed(error.to_string()))?;
        let admitted = self.0.cgroups.admit(id, started.child.id().unwrap_or_default());
        admitted.map_err(|error| failed(error.to_string()))?;
        started.go().await.map_err(|error| failed(error.to_string()))?;
        let pid = started.child.id();
        match timeout(ACTION, started.ended()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(failed(status.to_string())),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => {
                if let Some(pid) = pid {
                    let identity = self.0.jails.identity(pid).await.unwrap_or_default();
                    let process = Process { jail: id.clone(), pid, identity };
                    self.0.jails.signal(&process, Signal::SIGKILL).await;
                }
                Err(failed("did not end in time".into()))
            }
        }
    }
}

/// The last line of a log with anything in it, as one plain line.
fn last_line(log: &Path) -> std::io::Result<Option<String>> {
    let mut file = File::open(log)?;
    let end = file.metadata()?.len();
    file.seek(SeekFrom::Start(end.saturating_sub(LAST_LINE)))?;
    let mut text = Vec::new();
    file.take(LAST_LINE).read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    Ok(text.lines().map(str::trim).rfind(|line| !line.is_empty()).map(plain))
}

fn process(agent: &Agent) -> Process {
    Process { jail: agent.view.jail.clone(), pid: agent.view.pid, identity: agent.identity.clone() }
}

/// Whether that was brought by the jail's own hook since then, and is whole.
fn by_its_hook(newest: Provision, since: u64) -> Option<HookView> {
    let whole = matches!(newest.outcome, Outcome::Written | Outcome::Unchanged) && newest.error.is_none();
    let own = newest.reason == Reason::Hook && newest.at >= since;
    let hook = HookView { result: HookResult::Provisioned, warning: None, provision: Some(newest) };
    (whole && own).then_some(hook)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_hook_has_just_brought_spares_the_agent_its_own() {
        let provision = |reason, at, outcome| Provision {
            number: 1,
            tenant: "web01".parse().unwrap(),
            reason,
            at,
            ms: 1,
            outcome,
            error: None,
            keys: 1,
            steps: Vec::new(),
            warnings: Vec::new(),
            files: Vec::new(),
        };
        for outcome in [Outcome::Written, Outcome::Unchanged] {
            let hook = by_its_hook(provision(Reason::Hook, 100, outcome), 100).unwrap();
            assert_eq!((hook.result, hook.provision.unwrap().outcome), (HookResult::Provisioned, outcome));
        }
        for (reason, at, outcome) in [
            (Reason::Hook, 99, Outcome::Written),
            (Reason::Hook, 100, Outcome::Failed),
            (Reason::Hook, 100, Outcome::Removed),
            (Reason::Refresh, 100, Outcome::Written),
        ] {
            assert_eq!(by_its_hook(provision(reason, at, outcome), 100), None);
        }
    }
}
