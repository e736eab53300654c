//! The daemon: tenants, jails, provisioning and the control socket. It starts
//! the processes that handle secrets and never sees one itself.
//!
//! Another Rust daemon can use two parts of it on their own: [`Roots`], which
//! tells whether a directory may be a jail's root, and [`provision_tenant_env`],
//! the hook to be called before a jail's services start.

mod action;
pub mod agent;
mod app_data;
mod bell;
mod cage;
mod changes;
mod child;
mod clock;
mod confinement;
pub mod credentials;
mod device;
pub mod events;
mod hook;
pub mod jail;
mod leaving;
mod leftover;
pub mod metrics;
pub mod notify;
mod provider;
pub mod provision;
pub mod retry;
mod root;
mod server;
pub mod service;
pub mod session;
pub mod settings;
mod stamp;
pub mod store;
pub mod tenant;
mod tmpfs;
mod turns;
mod whole;
mod writer;

pub use hook::provision_tenant_env;
pub use leaving::Leaving;
pub use root::{Content, Identity, JailRoot, Place, Roots, Starting};

use crate::agent::Agents;
use crate::bell::Bell;
use crate::credentials::Account;
use crate::events::Events;
use crate::jail::Works;
use crate::metrics::Metrics;
use crate::provision::Provisioner;
use crate::server::{Door, Rights, Share, make_dir};
use crate::service::Service;
use crate::session::{Reload, Session};
use crate::settings::Config;
use crate::store::Store;
use anyhow::{Context, bail};
use std::fs::{File, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// A child that a killed daemon was just starting holds its lock until it has
/// become its program.
const LEAVING: Duration = Duration::from_secs(2);

/// A daemon that is at work, without its sockets.
#[derive(Debug)]
pub struct Daemon {
    service: Service,
    /// What goes on beside the requests.
    tasks: JoinSet<()>,
    /// Held as long as the daemon lives: nobody else uses its directories.
    run: Lock,
    _state: Lock,
}

impl Daemon {
    /// Takes the state directory, opens the database, and takes up the work of
    /// an earlier daemon. To be called within a single-threaded tokio runtime:
    /// children die with the thread that started them.
    ///
    /// # Errors
    /// What the system refused, or that another daemon has one of the directories.
    pub async fn start(config: Config, account: Account) -> anyhow::Result<Self> {
        let config = Arc::new(config);
        // Before anything is looked at or removed in either.
        let run = lock(&config.settings.run_dir, 0o755)?;
        let state = lock(&config.settings.state_dir, 0o700)?;
        prepare(&config).await?;
        let file = config.database();
        let store = Store::open(&file).with_context(|| {
            format!(
                "cannot open {}; share/doc/colibri/runbook.md, Restore, says how to put a backup back",
                file.display()
            )
        })?;
        let events = Events::default();
        let device = device::load(&config.settings.state_dir)?;
        let session = Session::start(config.clone(), device, account, store.clone(), events.clone());
        let bell = Bell::start(config.clone(), session.clone());
        let (changed, changes) = mpsc::unbounded_channel();
        let metrics = Metrics::new()?;
        let provisioner = Provisioner::start(
            config.clone(),
            store.clone(),
            session.clone(),
            events.clone(),
            changed,
            metrics.clone(),
        )
        .await?;
        let agents =
            Agents::start(config.clone(), store.clone(), events.clone(), provisioner.clone()).await?;
        let started = clock::now();
        let service = Service { config, store, session, bell, provisioner, agents, events, started };
        let mut tasks = JoinSet::new();
        tasks.spawn(service.agents.clone().follow(changes));
        tasks.spawn(service.agents.clone().sweep());
        tasks.spawn(service.clone().watch_files());
        tasks.spawn(changes::follow(service.clone()));
        if let Some(file) = service.config.settings.metrics_file.clone() {
            tasks.spawn(metrics::keep(service.clone(), metrics, file));
        }
        Ok(Self { service, tasks, run, _state: state })
    }

    /// What requests are answered with.
    pub const fn service(&self) -> &Service {
        &self.service
    }

    /// Serves the control socket until a signal ends the daemon.
    ///
    /// # Errors
    /// If a socket cannot be bound.
    pub async fn serve(self) -> anyhow::Result<()> {
        let settings = &self.service.config.settings;
        let (mut doors, share) = (JoinSet::new(), Arc::new(Share::default()));
        let control = settings.control_dir();
        let door = Door::open(&control, self.service.config.group, Rights::Change)?;
        doors.spawn(door.serve(self.service.clone(), share.clone()));
        if self.service.config.observers.is_some() {
            let dir = settings.observe_dir();
            let door = Door::open(&dir, self.service.config.observers, Rights::Observe)?;
            doors.spawn(door.serve(self.service.clone(), share.clone()));
        }
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        tracing::info!(base = %self.service.config.base.display(), "ready");
        notify::tell(notify::READY);
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                // What went wrong is in the log.
                _ = hangup.recv() => drop(self.service.reload(Reload::Asked).await),
            }
        }
        tracing::info!("ending");
        notify::tell(notify::STOPPING);
        doors.shutdown().await;
        self.end().await;
        Ok(())
    }

    /// Ends the session; work under way is done again by the next daemon, and
    /// agents go on.
    pub async fn end(mut self) {
        self.tasks.shutdown().await;
        self.service.session.close().await;
        if let Err(error) = self.service.store.with(store::Db::settle).await {
            tracing::warn!("the database is not in one file: {error}");
        }
        if !self.run.is_in_place() {
            tracing::warn!("{} was made anew: nothing is removed there", self.run.path.display());
            return;
        }
        // What a fetcher that had to be killed left has credentials in it.
        if let Err(error) = app_data::clear(&self.service.config, &self.service.config.session_dir()) {
            tracing::warn!("cannot clean the session's directory: {error:#}");
        }
    }
}

/// A directory that is this process's, by a lock on a file in it.
#[derive(Debug)]
struct Lock {
    path: PathBuf,
    file: File,
}

impl Lock {
    /// Whether the directory is the one that was locked: where it was removed and made
    /// anew, another process may have it.
    fn is_in_place(&self) -> bool {
        let (there, held) = (self.path.symlink_metadata(), self.file.metadata());
        there.is_ok_and(|there| held.is_ok_and(|held| (there.dev(), there.ino()) == (held.dev(), held.ino())))
    }
}

/// Takes a directory for this process, whose number stands in the lock file for
/// the next one to name.
fn lock(dir: &Path, mode: u32) -> anyhow::Result<Lock> {
    make_dir(dir, mode)?;
    let path = dir.join("lock");
    let mut open = File::options();
    open.read(true).write(true).create(true).truncate(false);
    // The directory may have been others' to write before.
    let open = open.custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits()).open(&path);
    let mut file = open.with_context(|| format!("cannot open {}", path.display()))?;
    let end = Instant::now() + LEAVING;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if Instant::now() < end => sleep(LEAVING / 20),
            Err(TryLockError::WouldBlock) => {
                bail!("another colibrid runs with {}, {}", dir.display(), holder(&file))
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
    }
    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Lock { path, file })
}

fn holder(mut file: &File) -> String {
    let mut text = [0; 16];
    let read = file.read(&mut text).unwrap_or_default();
    let text = String::from_utf8_lossy(&text[..read]);
    text.trim().parse::<u32>().map_or_else(|_| "a process unknown".into(), |pid| format!("process {pid}"))
}

/// Makes the directories. What an earlier daemon's session left is removed: its
/// jails, with all that runs there, and its directory, which holds credentials.
async fn prepare(config: &Config) -> anyhow::Result<()> {
    make_dir(&config.settings.log_dir, 0o700)?;
    Works::new(&config.settings.state_dir).wait().context("cannot wait for jails that are being made")?;
    for cage in [&config.cage, &config.fetcher_cage].into_iter().flatten() {
        cage.clear().await;
    }
    app_data::prepare(config)
}
