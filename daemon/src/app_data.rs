//! The directory that the fetcher's user gets for what `bw` keeps: empty, that
//! user's alone, and in memory where it may be.

use crate::server::make_dir;
use crate::settings::{Config, FetcherUser};
use crate::{leftover, tmpfs};
use anyhow::Context;
use nix::unistd::{Gid, Uid, chown};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::OwnedMutexGuard;
use tokio::task::spawn_blocking;

/// Made for one session and removed after it, where `bw` has a jail.
pub struct AppData {
    config: Arc<Config>,
    _turn: OwnedMutexGuard<()>,
}

impl AppData {
    /// Makes it. `turn` says that no other session has one.
    ///
    /// # Errors
    /// What the system refused.
    pub async fn open(config: Arc<Config>, turn: OwnedMutexGuard<()>) -> anyhow::Result<Self> {
        let own = config.clone();
        spawn_blocking(move || clear(&own, &own.private_dir()).and_then(|()| make(&own))).await??;
        Ok(Self { config, _turn: turn })
    }

    /// Removes it, when nothing of the session runs any more.
    pub async fn close(self) {
        let config = self.config.clone();
        match spawn_blocking(move || clear(&config, &config.private_dir())).await {
            Ok(Err(error)) => tracing::error!("{error:#}"),
            Err(error) => tracing::error!("what a session left was not removed: {error}"),
            Ok(Ok(())) => {}
        }
    }
}

/// Makes the directories at the daemon's start.
///
/// # Errors
/// What the system refused.
pub fn prepare(config: &Config) -> anyhow::Result<()> {
    let (session, private) = (config.session_dir(), config.private_dir());
    clear(config, &session)?;
    if session == private {
        return make(config);
    }
    // To be passed, and nothing else, by the fetcher's user.
    make_dir(&session, 0o711)
}

/// Removes what an earlier or a killed fetcher left there: it holds credentials.
///
/// # Errors
/// What the system refused.
pub fn clear(config: &Config, dir: &Path) -> anyhow::Result<()> {
    for mounted in [&config.private_dir(), &config.session_dir()] {
        if mounted.starts_with(dir) {
            tmpfs::unmount(mounted).with_context(|| format!("cannot unmount {}", mounted.display()))?;
        }
    }
    leftover::clear(config, dir)
}

fn make(config: &Config) -> anyhow::Result<()> {
    let dir = config.private_dir();
    make_dir(&dir, 0o700)?;
    let FetcherUser::Other(owner) = config.fetcher_user else { return Ok(()) };
    chown(&dir, Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)))
        .with_context(|| format!("cannot give {} to the fetcher's user", dir.display()))?;
    if let Err(error) = tmpfs::mount(&dir, owner) {
        tracing::warn!("what bw keeps is on disk: no memory file system at {}: {error}", dir.display());
    }
    Ok(())
}
