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
    // The inner one first: its user may empty it, and only we remove it.
    for own in [&config.private_dir(), &config.session_dir()] {
        if own.starts_with(dir) {
            tmpfs::unmount(own).with_context(|| format!("cannot unmount {}", own.display()))?;
            leftover::clear(config, own)?;
        }
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cage::Cage;
    use crate::settings::Settings;
    use clap::Parser;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_a_killed_session_left_is_gone_whether_bw_has_a_jail_or_not() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().to_str().unwrap();
        let run = dir.path().join("run");
        let words = ["colibrid", "--jail-root-base", base, "--fetcher-user", "nobody", "--run-dir"];
        let settings = Settings::parse_from(words.into_iter().chain([run.to_str().unwrap()]));
        fs::create_dir(&run).unwrap();
        // The fetcher's user has to get there.
        for path in [dir.path(), &run] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        for cage in [None, Some(Cage::bw("/nowhere".into(), &settings))] {
            let config = Config { cage, ..Config::new(settings.clone()).unwrap() };
            prepare(&config).unwrap();
            if config.cage.is_some() {
                make(&config).unwrap();
            }
            fs::create_dir(config.private_dir().join("deep")).unwrap();
            fs::write(config.private_dir().join("deep/data.json"), "secret").unwrap();
            if let FetcherUser::Other(owner) = config.fetcher_user {
                for path in ["deep/data.json", "deep"] {
                    let path = config.private_dir().join(path);
                    std::os::unix::fs::chown(path, Some(owner.uid), Some(owner.gid)).unwrap();
                }
            }
            prepare(&config).unwrap();
            assert_eq!(fs::read_dir(config.session_dir()).unwrap().count(), 0);
            clear(&config, &config.session_dir()).unwrap();
            assert!(!config.session_dir().exists() && !run.join("left").exists());
        }
    }
}
