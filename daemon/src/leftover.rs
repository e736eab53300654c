//! What a fetcher, or `bw`, left in a directory of theirs. It may be a tree that
//! was made to harm whoever removes it.

use crate::clock;
use crate::server::make_dir;
use crate::settings::{Config, FetcherUser};
use anyhow::Context;
use std::fs;
use std::io::{ErrorKind, Result};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// It needs neither stack nor descriptors for each level.
const RM: &str = "/bin/rm";
/// Longest time for it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Removes a directory of the fetcher's user. What cannot be removed is put
/// where only we can go: it must not keep us from starting. Blocks.
///
/// # Errors
/// If it cannot even be put there.
pub fn clear(config: &Config, dir: &Path) -> anyhow::Result<()> {
    if dir.symlink_metadata().is_err() {
        return Ok(());
    }
    let Err(error) = remove(&config.fetcher_user, dir, PATIENCE) else { return Ok(()) };
    let left = config.settings.run_dir.join("left");
    make_dir(&left, 0o700)?;
    let place = left.join(format!("{}-{}", clock::now(), std::process::id()));
    fs::rename(dir, &place).with_context(|| format!("cannot clean {}: {error}", dir.display()))?;
    tracing::warn!("cannot remove what bw left: {error}; it is in {}, remove it", place.display());
    Ok(())
}

/// With no more rights than who left it.
fn remove(user: &FetcherUser, dir: &Path, patience: Duration) -> Result<()> {
    let mut rm = Command::new(RM);
    rm.args(["-rf", "--"]).arg(dir).env_clear().current_dir("/");
    rm.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let FetcherUser::Other(owner) = user {
        rm.uid(owner.uid).gid(owner.gid);
    }
    let mut rm = rm.spawn()?;
    let end = Instant::now() + patience;
    while rm.try_wait()?.is_none() {
        if Instant::now() >= end {
            rm.kill()?;
            rm.wait()?;
            break;
        }
        sleep(Duration::from_millis(2));
    }
    // Where it is in a directory of ours, it was emptied only.
    match fs::remove_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::{AT_FDCWD, OFlag, openat};
    use nix::sys::stat::{Mode, mkdirat};
    use std::os::fd::AsFd;

    /// Deeper than a path can be long, or a process have descriptors.
    fn abyss(at: &Path, levels: u32) {
        let open = |dir: std::os::fd::BorrowedFd<'_>, name: &Path| {
            openat(dir, name, OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty()).unwrap()
        };
        fs::create_dir(at).unwrap();
        let mut dir = open(AT_FDCWD, at);
        for _ in 0..levels {
            mkdirat(&dir, "d", Mode::S_IRWXU).unwrap();
            dir = open(dir.as_fd(), Path::new("d"));
        }
    }

    #[test]
    fn a_tree_without_a_bottom_is_removed() {
        let base = tempfile::tempdir().unwrap();
        let dir = base.path().join("run-1");
        abyss(&dir, 30_000);
        remove(&FetcherUser::Same, &dir, PATIENCE).unwrap();
        assert!(!dir.exists());
    }

    #[test]
    fn what_takes_too_long_or_is_no_directory_is_an_error() {
        let base = tempfile::tempdir().unwrap();
        let dir = base.path().join("run-1");
        abyss(&dir, 30_000);
        assert!(remove(&FetcherUser::Same, &dir, Duration::ZERO).is_err());
        remove(&FetcherUser::Same, &dir, PATIENCE).unwrap();
    }
}
