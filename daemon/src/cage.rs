//! The jails of a vault session, where only root makes jails (FreeBSD): one for
//! `bw`, with the fetcher's warden in it, and one for the fetcher. Each is made
//! for a session and removed after it, with all that is in it. Built everywhere,
//! so that it is tested everywhere.

#[cfg_attr(target_os = "freebsd", path = "cage/freebsd.rs")]
#[cfg_attr(not(target_os = "freebsd"), path = "cage/elsewhere.rs")]
mod platform;

pub use platform::admit;

use crate::child;
use crate::jail::Works;
use crate::settings::Settings;
use colibri_session::{BW_JAIL, FETCHER_JAIL};
use colibri_tenant::{ErrorName, Fault};
use std::ffi::OsString;
use std::io::Result;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, OwnedMutexGuard};

const JAIL: &str = "/usr/sbin/jail";
const JEXEC: &str = "/usr/sbin/jexec";
/// How long the warden may take to end when its fetcher has.
const GRACE: Duration = Duration::from_secs(2);

/// How to make a jail.
#[derive(Clone, Debug)]
pub struct Cage {
    /// The jail.conf(5) that says what it is.
    pub file: PathBuf,
    /// Whom its processes run as, a user of the host.
    pub user: String,
    /// Its name in the file.
    name: &'static str,
    /// jail(8) and jexec(8).
    programs: (PathBuf, PathBuf),
    works: Works,
    /// One session at a time: the jail before must be gone.
    turn: Arc<Mutex<()>>,
}

/// A jail that was made.
#[derive(Debug)]
pub struct Cell {
    cage: Cage,
    _turn: OwnedMutexGuard<()>,
}

/// A jail with a warden in it.
#[derive(Debug)]
pub struct Warden {
    cell: Cell,
    child: Child,
}

impl Cage {
    /// The jail of this file that `bw` runs in.
    pub fn bw(file: PathBuf, settings: &Settings) -> Self {
        Self::new(BW_JAIL, file, settings)
    }

    /// The jail of this file that the fetcher runs in.
    pub fn fetcher(file: PathBuf, settings: &Settings) -> Self {
        Self::new(FETCHER_JAIL, file, settings)
    }

    fn new(name: &'static str, file: PathBuf, settings: &Settings) -> Self {
        let (user, works) = (settings.fetcher_user.clone(), Works::new(&settings.state_dir));
        Self { file, user, name, programs: (JAIL.into(), JEXEC.into()), works, turn: Arc::default() }
    }

    /// Makes the jail, removing one that a daemon left that died.
    ///
    /// # Errors
    /// `BwJailFailed`, with the words of jail(8).
    pub async fn make(&self) -> std::result::Result<Cell, Fault> {
        let turn = self.turn.clone().lock_owned().await;
        self.clear().await;
        let created = self.works.run(&self.line("-c")).await;
        created.map_err(|fault| Fault::new(ErrorName::BwJailFailed, fault.message))?;
        Ok(Cell { cage: self.clone(), _turn: turn })
    }

    /// Makes the jail and starts the warden in it. The socket is the fetcher's end.
    ///
    /// # Errors
    /// `BwJailFailed`, with the words of jail(8) or jexec(8).
    pub async fn open(&self, fetcher: &Path) -> std::result::Result<(Warden, OwnedFd), Fault> {
        let cell = self.make().await?;
        match cell.warden(fetcher) {
            Ok((child, socket)) => Ok((Warden { cell, child }, socket)),
            Err(error) => {
                cell.close().await;
                Err(Fault::new(ErrorName::BwJailFailed, format!("cannot start bw's warden: {error}")))
            }
        }
    }

    /// Removes what an earlier daemon left.
    pub async fn clear(&self) {
        if self.works.run(&self.line("-r")).await.is_ok() {
            tracing::warn!(jail = self.name, "removed what an earlier run left");
        }
    }

    /// With `-r`, all that is in it is killed and what it mounted unmounted.
    fn line(&self, verb: &str) -> Vec<OsString> {
        let (jail, _) = &self.programs;
        vec![jail.into(), "-q".into(), "-f".into(), self.file.clone().into(), verb.into(), self.name.into()]
    }
}

impl Cell {
    /// A command in the jail, with nothing of the daemon's environment or groups:
    /// jexec(8) becomes the program and its user, and keeps the groups.
    ///
    /// # Errors
    /// When the program is not there.
    pub fn command(&self, program: &Path) -> Result<Command> {
        // The jail has the program's own directory, and none to come from.
        let program = program.canonicalize()?;
        let (_, jexec) = &self.cage.programs;
        let mut command = child::command(jexec);
        command.args(["-u", &self.cage.user, self.cage.name]).arg(program);
        child::without_groups(&mut command);
        Ok(command)
    }

    fn warden(&self, fetcher: &Path) -> Result<(Child, OwnedFd)> {
        let (ours, theirs) = UnixStream::pair()?;
        let mut command = self.command(fetcher)?;
        command.arg("warden").stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        if let Some(stderr) = child.stderr.take() {
            child::log("warden", child.id(), stderr);
        }
        Ok((child, ours.into()))
    }

    /// Removes the jail with all that is in it.
    pub async fn close(self) {
        if let Err(fault) = self.cage.works.run(&self.cage.line("-r")).await {
            tracing::error!(%fault, jail = self.cage.name, "cannot remove the jail");
        }
    }
}

impl Warden {
    /// Removes the jail with all that is in it, and reaps the warden.
    pub async fn close(self) {
        child::end(self.child, GRACE).await;
        self.cell.close().await;
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
        let (file, user) = ("/etc/bw.conf".into(), "_colibri".into());
        Cage { file, user, name: BW_JAIL, programs, works: Works::new(dir), turn: Arc::default() }
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

    #[tokio::test]
    async fn the_fetcher_has_a_jail_of_its_own_name_and_no_group_of_the_daemons() {
        let dir = tempfile::tempdir().unwrap();
        let bw = cage(dir.path(), "");
        let fetcher = Cage { name: FETCHER_JAIL, ..bw };
        let cell = fetcher.make().await.unwrap();
        let command = cell.command(&std::env::current_exe().unwrap()).unwrap();
        let words: Vec<_> = command.as_std().get_args().take(3).collect();
        assert_eq!(words, ["-u", "_colibri", "colibri-fetcher"]);
        cell.close().await;
        let [remove, create] =
            ["r", "c"].map(|verb| format!("jail -q -f /etc/bw.conf -{verb} colibri-fetcher"));
        assert_eq!(calls(dir.path()), [remove.clone(), create, remove]);
    }

    #[tokio::test]
    async fn without_groups_means_none_of_the_daemons() {
        let mut command = Command::new("id");
        child::without_groups(&mut command);
        let groups = command.arg("-G").output().await.unwrap();
        let own = nix::unistd::getegid().to_string();
        let groups = String::from_utf8(groups.stdout).unwrap();
        assert!(!nix::unistd::geteuid().is_root() || groups.trim() == own, "{groups}");
    }
}
