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
/// For what its owner closed to itself.
const CHMOD: &str = "/bin/chmod";
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
    let end = Instant::now() + patience;
    run(user, &[RM, "-rf", "--"], dir, end)?;
    if fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        run(user, &[CHMOD, "-R", "u+rwx", "--"], dir, end)?;
        run(user, &[RM, "-rf", "--"], dir, end)?;
    }
    // Where it is in a directory of ours, it was emptied only.
    match fs::remove_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn run(user: &FetcherUser, line: &[&str], dir: &Path, end: Instant) -> Result<()> {
    let (program, args) = line.split_first().ok_or(ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command.args(args).arg(dir).env_clear().current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let FetcherUser::Other(owner) = user {
        command.uid(owner.uid).gid(owner.gid);
    }
    let mut child = command.spawn()?;
    while child.try_wait()?.is_none() {
        if Instant::now() >= end {
            child.kill()?;
            child.wait()?;
            break;
        }
        sleep(Duration::from_millis(2));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::{AT_FDCWD, OFlag, openat};
    use nix::sys::stat::{Mode, mkdirat};
    use std::os::fd::AsFd;
    use std::os::unix::fs::PermissionsExt;

    /// A busy machine takes its time.
    const LONG: Duration = Duration::from_secs(600);
    const LEVELS: u32 = 5_000;

    /// Deeper than a path can be long, or a process have descriptors; the kernel's time
    /// grows with the square of it.
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
        abyss(&dir, LEVELS);
        remove(&FetcherUser::Same, &dir, LONG).unwrap();
        assert!(!dir.exists());
    }

    #[test]
    fn what_its_owner_closed_is_removed() {
        let base = tempfile::tempdir().unwrap();
        let dir = base.path().join("run-1");
        fs::create_dir_all(dir.join("closed/deep")).unwrap();
        fs::write(dir.join("closed/secret"), "x").unwrap();
        let user = match nix::unistd::geteuid().is_root() {
            true => FetcherUser::Other(colibri_pair::Owner { uid: 65534, gid: 65534 }),
            false => FetcherUser::Same,
        };
        if let FetcherUser::Other(owner) = &user {
            fs::set_permissions(base.path(), fs::Permissions::from_mode(0o755)).unwrap();
            for path in [dir.join("closed/secret"), dir.join("closed/deep"), dir.join("closed"), dir.clone()]
            {
                std::os::unix::fs::chown(path, Some(owner.uid), Some(owner.gid)).unwrap();
            }
        }
        fs::set_permissions(dir.join("closed"), fs::Permissions::from_mode(0o000)).unwrap();
        remove(&user, &dir, LONG).unwrap();
        assert!(!dir.exists());
    }

    #[test]
    fn what_takes_too_long_or_is_no_directory_is_an_error() {
        let base = tempfile::tempdir().unwrap();
        let dir = base.path().join("run-1");
        abyss(&dir, LEVELS);
        assert!(remove(&FetcherUser::Same, &dir, Duration::ZERO).is_err());
        remove(&FetcherUser::Same, &dir, LONG).unwrap();
    }
}
