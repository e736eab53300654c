//! A jail of its own for `bw`, where the fetcher cannot make a cage: on FreeBSD,
//! where only root makes jails. The fetcher's warden is started in it, and the
//! fetcher gets the socket to that; it gets no path and no directory. The jail
//! is made for each session and removed after it. Built everywhere, so that it
//! is tested everywhere.

#[cfg_attr(target_os = "freebsd", path = "cage/freebsd.rs")]
#[cfg_attr(not(target_os = "freebsd"), path = "cage/elsewhere.rs")]
mod platform;

pub use platform::admit;

use crate::{child, jail};
use colibri_control::{ErrorName, Fault};
use colibri_fetcher::words::BW_JAIL;
use std::ffi::OsString;
use std::io::Result;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::process::Child;
use tokio::sync::{Mutex, OwnedMutexGuard};

const JAIL: &str = "/usr/sbin/jail";
const JEXEC: &str = "/usr/sbin/jexec";
/// How long the warden may take to end when its fetcher has.
const GRACE: Duration = Duration::from_secs(2);

/// How to make the jail.
#[derive(Clone, Debug)]
pub struct Cage {
    /// The jail.conf(5) that says what it is.
    pub file: PathBuf,
    /// Whom the warden and `bw` run as, a user of the host.
    pub user: String,
    /// jail(8) and jexec(8).
    programs: (PathBuf, PathBuf),
    /// One session at a time: the jail before must be gone.
    turn: Arc<Mutex<()>>,
}

/// A jail with a warden in it.
#[derive(Debug)]
pub struct Warden {
    cage: Cage,
    child: Child,
    _turn: OwnedMutexGuard<()>,
}

impl Cage {
    /// A jail of this file, for this user.
    pub fn new(file: PathBuf, user: String) -> Self {
        Self { file, user, programs: (JAIL.into(), JEXEC.into()), turn: Arc::default() }
    }

    /// Makes the jail, removing one that a daemon left that died, and starts the
    /// warden in it. The socket is the fetcher's end.
    ///
    /// # Errors
    /// `BwJailFailed`, with the words of jail(8) or jexec(8).
    pub async fn open(&self, fetcher: &Path) -> std::result::Result<(Warden, OwnedFd), Fault> {
        let turn = self.turn.clone().lock_owned().await;
        if jail::run(&self.remove_line()).await.is_ok() {
            tracing::warn!(jail = BW_JAIL, "removed what an earlier run left");
        }
        let created = jail::run(&self.create_line()).await;
        created.map_err(|fault| Fault::new(ErrorName::BwJailFailed, fault.message))?;
        match self.start(fetcher) {
            Ok((child, socket)) => Ok((Warden { cage: self.clone(), child, _turn: turn }, socket)),
            Err(error) => {
                self.remove().await;
                Err(Fault::new(ErrorName::BwJailFailed, format!("cannot start bw's warden: {error}")))
            }
        }
    }

    fn start(&self, fetcher: &Path) -> Result<(Child, OwnedFd)> {
        // The jail has the program's own directory, and none to come from.
        let fetcher = fetcher.canonicalize()?;
        let (ours, theirs) = UnixStream::pair()?;
        let line = self.enter_line(&fetcher);
        let (program, args) = line.split_first().ok_or(std::io::ErrorKind::InvalidInput)?;
        let mut command = child::command(Path::new(program));
        command.args(args).stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        if let Some(stderr) = child.stderr.take() {
            child::log("warden", child.id(), stderr);
        }
        Ok((child, ours.into()))
    }

    async fn remove(&self) {
        if let Err(fault) = jail::run(&self.remove_line()).await {
            tracing::error!(%fault, "cannot remove bw's jail");
        }
    }

    fn create_line(&self) -> Vec<OsString> {
        self.line("-c")
    }

    /// Removing kills all that is in it, and unmounts.
    fn remove_line(&self) -> Vec<OsString> {
        self.line("-r")
    }

    fn line(&self, verb: &str) -> Vec<OsString> {
        let (jail, _) = &self.programs;
        vec![jail.into(), "-q".into(), "-f".into(), self.file.clone().into(), verb.into(), BW_JAIL.into()]
    }

    /// jexec(8) becomes the warden.
    fn enter_line(&self, fetcher: &Path) -> Vec<OsString> {
        let (_, jexec) = &self.programs;
        let user = OsString::from(&self.user);
        vec![jexec.into(), "-u".into(), user, BW_JAIL.into(), fetcher.into(), "warden".into()]
    }
}

impl Warden {
    /// Removes the jail with all that is in it, and reaps the warden.
    pub async fn close(self) {
        child::end(self.child, GRACE).await;
        self.cage.remove().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::{Read, Write};
    use std::os::unix::fs::PermissionsExt;

    /// jail(8) and jexec(8) are FreeBSD's: these write down how they were called.
    fn cage(dir: &Path, jail: &str) -> Cage {
        let program = |name: &str, rest: &str| {
            let path = dir.join(name);
            fs::write(&path, format!("#!/bin/sh\necho {name} \"$@\" >>{}/calls\n{rest}\n", dir.display()))
                .unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            path
        };
        let programs = (program("jail", jail), program("jexec", "exec cat <&0 >&0"));
        Cage { programs, ..Cage::new("/etc/bw.conf".into(), "_colibri".into()) }
    }

    fn calls(dir: &Path) -> Vec<String> {
        let fetcher = std::env::current_exe().unwrap().canonicalize().unwrap();
        let calls = fs::read_to_string(dir.join("calls")).unwrap();
        calls.lines().map(|call| call.replace(fetcher.to_str().unwrap(), "FETCHER")).collect()
    }

    const REMOVE: &str = "jail -q -f /etc/bw.conf -r colibri-bw";
    const CREATE: &str = "jail -q -f /etc/bw.conf -c colibri-bw";
    const ENTER: &str = "jexec -u _colibri colibri-bw FETCHER warden";

    #[tokio::test]
    async fn a_session_has_a_jail_that_is_made_for_it_and_removed_after_it() {
        let dir = tempfile::tempdir().unwrap();
        let cage = cage(dir.path(), "");
        let fetcher = std::env::current_exe().unwrap();
        let (warden, socket) = cage.open(&fetcher).await.unwrap();
        let mut socket = UnixStream::from(socket);
        socket.write_all(b"ping").unwrap();
        let mut answer = [0; 4];
        socket.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"ping");
        let next = tokio::spawn({
            let (cage, fetcher) = (cage.clone(), fetcher.clone());
            async move { cage.open(&fetcher).await.unwrap().0.close().await }
        });
        drop(socket);
        warden.close().await;
        next.await.unwrap();
        assert_eq!(calls(dir.path()), [REMOVE, CREATE, ENTER, REMOVE, REMOVE, CREATE, ENTER, REMOVE]);
    }

    #[tokio::test]
    async fn without_a_jail_nothing_is_started() {
        let dir = tempfile::tempdir().unwrap();
        let cage = cage(dir.path(), "echo 'jail: no such file' >&2; exit 1");
        let fault = cage.open(&std::env::current_exe().unwrap()).await.unwrap_err();
        assert_eq!(fault.name, ErrorName::BwJailFailed);
        assert!(fault.message.contains("jail: no such file"), "{fault:?}");
        assert_eq!(calls(dir.path()), [REMOVE, CREATE]);
    }
}
