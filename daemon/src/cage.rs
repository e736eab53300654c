//! The jails of a vault session, where only root makes jails (FreeBSD): one for
//! `bw`, with the fetcher's warden in it, and one for the fetcher. Each is made
//! for a session and removed after it, with all that is in it. Built everywhere,
//! so that it is tested everywhere.

#[cfg_attr(target_os = "freebsd", path = "cage/freebsd.rs")]
#[cfg_attr(not(target_os = "freebsd"), path = "cage/elsewhere.rs")]
mod platform;

pub use platform::admit;

use crate::child;
use crate::jail::freebsd::Running;
use crate::jail::{Works, run};
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
use tokio::task::JoinSet;
use tokio::time::sleep;

const JAIL: &str = "/usr/sbin/jail";
const JEXEC: &str = "/usr/sbin/jexec";
const JLS: &str = "/usr/sbin/jls";
const PS: &str = "/bin/ps";
/// Most memory of all in bw's jail, in KiB; `bw` holds 0.2 to 0.6 GiB.
const MEMORY: u64 = 2 << 20;
/// Between two looks at it.
const TICK: Duration = Duration::from_secs(2);
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
    programs: Programs,
    works: Works,
    /// One session at a time: the jail before must be gone.
    turn: Arc<Mutex<()>>,
}

/// What makes, enters and shows jails, and what is in them.
#[derive(Clone, Debug)]
struct Programs {
    jail: PathBuf,
    jexec: PathBuf,
    jls: PathBuf,
    ps: PathBuf,
}

/// A jail that was made.
#[derive(Debug)]
pub struct Cell {
    cage: Cage,
    /// Its number: another jail could have its name.
    jid: String,
    _turn: OwnedMutexGuard<()>,
}

/// A jail with a warden in it.
#[derive(Debug)]
pub struct Warden {
    cell: Cell,
    child: Child,
    /// Ends with it.
    _bound: JoinSet<()>,
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
        let programs = Programs { jail: JAIL.into(), jexec: JEXEC.into(), jls: JLS.into(), ps: PS.into() };
        Self { file, user, name, programs, works, turn: Arc::default() }
    }

    /// Makes the jail, removing one that a daemon left that died.
    ///
    /// # Errors
    /// `BwJailFailed`, with the words of jail(8), or that another jail has its name.
    pub async fn make(&self) -> std::result::Result<Cell, Fault> {
        let turn = self.turn.clone().lock_owned().await;
        self.remove().await.map_err(unmade)?;
        self.works.run(&self.line("-c")).await.map_err(unmade)?;
        match self.find().await.map_err(unmade)? {
            Some(jid) => Ok(Cell { cage: self.clone(), jid, _turn: turn }),
            None => {
                Err(unmade(Fault::new(ErrorName::JailFailed, format!("{} has ended by itself", self.name))))
            }
        }
    }

    /// Makes the jail and starts the warden in it. The socket is the fetcher's end.
    ///
    /// # Errors
    /// `BwJailFailed`, with the words of jail(8) or jexec(8).
    pub async fn open(&self, fetcher: &Path) -> std::result::Result<(Warden, OwnedFd), Fault> {
        let cell = self.make().await?;
        match cell.warden(fetcher) {
            Ok((child, socket)) => {
                let mut bound = JoinSet::new();
                bound.spawn(self.clone().bound(cell.jid.clone()));
                Ok((Warden { cell, child, _bound: bound }, socket))
            }
            Err(error) => {
                cell.close().await;
                Err(Fault::new(ErrorName::BwJailFailed, format!("cannot start bw's warden: {error}")))
            }
        }
    }

    /// Removes what an earlier daemon left.
    pub async fn clear(&self) {
        if let Err(fault) = self.remove().await {
            tracing::error!(jail = self.name, "not removed: {fault}");
        }
    }

    async fn remove(&self) -> std::result::Result<(), Fault> {
        if self.find().await?.is_none() {
            return Ok(());
        }
        self.works.run(&self.line("-r")).await?;
        tracing::warn!(jail = self.name, "removed what an earlier run left");
        Ok(())
    }

    /// The number of the jail, if it runs: a jail elsewhere that has its name is neither
    /// entered nor removed.
    async fn find(&self) -> std::result::Result<Option<String>, Fault> {
        let Some(running) = Running::find(&self.programs.jls, self.name).await? else { return Ok(None) };
        let path = self.path().await?;
        if running.path == path {
            return Ok(Some(running.jid));
        }
        let (name, there) = (self.name, running.path.display());
        let message = format!("a jail {name} runs at {there}, and colibrid's own is at {}", path.display());
        Err(Fault::new(ErrorName::JailFailed, message))
    }

    /// Where the file has the jail, as the kernel shows it.
    async fn path(&self) -> std::result::Result<PathBuf, Fault> {
        let line = [
            self.programs.jail.as_os_str(),
            "-e".as_ref(),
            "\n".as_ref(),
            "-f".as_ref(),
            self.file.as_os_str(),
        ];
        let listed = run(&line.map(OsString::from)).await?.unwrap_or_default();
        let found = path_of(self.name, &listed).and_then(|path| Path::new(path).canonicalize().ok());
        let file = self.file.display();
        let message = || format!("{file} has no jail {} with a path that is there", self.name);
        found.ok_or_else(|| Fault::new(ErrorName::JailFailed, message()))
    }

    /// Removes the jail when all in it hold more than `bw` has a use for: no limit of a
    /// process counts that, and in the jail there is nothing to look with.
    async fn bound(self, jid: String) {
        let mut line = vec![OsString::from(&self.programs.ps)];
        line.extend(["-J", &jid, "-o", "rss="].map(OsString::from));
        loop {
            sleep(TICK).await;
            // Nothing is in it any more.
            let Ok(listed) = run(&line).await else { return };
            let listed = listed.unwrap_or_default();
            let held: u64 = listed.lines().filter_map(|line| line.trim().parse::<u64>().ok()).sum();
            if held > MEMORY {
                let (held, most) = (held >> 10, MEMORY >> 10);
                tracing::error!(jail = self.name, "ended: it held {held} MiB of memory, of {most} at most");
                return self.end(&jid).await;
            }
        }
    }

    async fn end(&self, jid: &str) {
        let removed = match self.find().await {
            Ok(Some(found)) if found == jid => self.works.run(&self.line("-r")).await.map(drop),
            // Somebody else has removed it.
            found => found.map(drop),
        };
        if let Err(fault) = removed {
            tracing::error!(%fault, jail = self.name, "cannot remove the jail");
        }
    }

    /// With `-r`, all that is in it is killed and what it mounted unmounted.
    fn line(&self, verb: &str) -> Vec<OsString> {
        let jail = &self.programs.jail;
        vec![jail.into(), "-q".into(), "-f".into(), self.file.clone().into(), verb.into(), self.name.into()]
    }
}

fn unmade(fault: Fault) -> Fault {
    Fault::new(ErrorName::BwJailFailed, fault.message)
}

/// The path of a jail in what jail(8) reads out of a file, a parameter each line and
/// its name before the others.
fn path_of<'a>(name: &str, listed: &'a str) -> Option<&'a str> {
    let mut lines = listed.lines();
    lines.find(|line| line.strip_prefix("name=") == Some(name))?;
    let path =
        lines.take_while(|line| !line.starts_with("name=")).find_map(|line| line.strip_prefix("path="));
    path.map(|path| path.trim_matches('"'))
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
        let mut command = child::command(&self.cage.programs.jexec);
        command.args(["-u", &self.cage.user, &self.jid]).arg(program);
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
        self.cage.end(&self.jid).await;
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

    /// These are FreeBSD's: they write down how they were called, and the jail is a file
    /// that has its number and path.
    fn cage(dir: &Path, create: &str) -> Cage {
        let shown = dir.display();
        let program = |name: &str, rest: &str| {
            let path = dir.join(name);
            fs::write(&path, format!("#!/bin/sh\necho {name} \"$@\" >>{shown}/calls\n{rest}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            path
        };
        let own = fs::canonicalize(dir).unwrap();
        let jail = format!(
            r#"case $* in
            *' -c '*) {create}
                echo "7 - {0}" >{shown}/running ;;
            *' -r '*) rm {shown}/running ;;
            -e*) printf 'name=other\npath=/\nname=colibri-bw\nhost.hostname=x\npath="{0}"\nname=colibri-fetcher\npath={0}\n' ;;
            esac"#,
            own.display()
        );
        let show =
            format!("cat {shown}/running 2>/dev/null || {{ echo \"jls: jail $2 not found\" >&2; exit 1; }}");
        let programs = Programs {
            jail: program("jail", &jail),
            jexec: program("jexec", "exec cat <&0 >&0"),
            jls: program("jls", &show),
            ps: program("ps", &format!("cat {shown}/ps")),
        };
        let (file, user) = ("/etc/bw.conf".into(), "_colibri".into());
        Cage { file, user, name: BW_JAIL, programs, works: Works::new(dir), turn: Arc::default() }
    }

    fn calls(dir: &Path) -> Vec<String> {
        let fetcher = std::env::current_exe().unwrap().canonicalize().unwrap();
        let calls = fs::read_to_string(dir.join("calls")).unwrap();
        let made = calls
            .lines()
            .filter(|call| !call.starts_with("jls") && !call.starts_with("ps") && *call != "jail -e ");
        let made = made.filter(|call| !call.is_empty() && !call.starts_with(" -f"));
        made.map(|call| call.replace(fetcher.to_str().unwrap(), "FETCHER")).collect()
    }

    const REMOVE: &str = "jail -q -f /etc/bw.conf -r colibri-bw";
    const CREATE: &str = "jail -q -f /etc/bw.conf -c colibri-bw";
    const ENTER: &str = "jexec -u _colibri 7 FETCHER warden";

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
        assert_eq!(calls(dir.path()), [CREATE, ENTER, REMOVE, CREATE, ENTER, REMOVE]);
    }

    #[tokio::test]
    async fn without_a_jail_nothing_is_started() {
        let dir = tempfile::tempdir().unwrap();
        let cage = cage(dir.path(), "echo 'jail: no such file' >&2; exit 1");
        let fault = cage.open(&std::env::current_exe().unwrap()).await.unwrap_err();
        assert_eq!(fault.name, ErrorName::BwJailFailed);
        assert!(fault.message.contains("jail: no such file"), "{fault:?}");
        assert_eq!(calls(dir.path()), [CREATE]);
    }

    #[tokio::test]
    async fn what_an_earlier_daemon_left_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let cage = cage(dir.path(), "");
        fs::write(
            dir.path().join("running"),
            format!("3 - {}\n", dir.path().canonicalize().unwrap().display()),
        )
        .unwrap();
        let cell = cage.make().await.unwrap();
        assert_eq!(calls(dir.path()), [REMOVE, CREATE]);
        drop(cell);
        cage.clear().await;
        assert_eq!(calls(dir.path()), [REMOVE, CREATE, REMOVE]);
    }

    /// An operator's, or one that a client of the control socket had made.
    #[tokio::test]
    async fn a_jail_of_its_name_that_is_elsewhere_is_neither_removed_nor_entered() {
        let dir = tempfile::tempdir().unwrap();
        let other = "9 - /jails/evil/root\n";
        let there = dir.path().join("running");
        fs::write(&there, other).unwrap();
        let before = cage(dir.path(), "");
        before.clear().await;
        let fault = before.make().await.unwrap_err();
        assert_eq!(fault.name, ErrorName::BwJailFailed);
        assert!(fault.message.contains("a jail colibri-bw runs at /jails/evil/root"), "{fault:?}");
        // It came between the two, and when the session ends.
        fs::remove_file(&there).unwrap();
        let swapped = format!("echo '9 - /jails/evil/root' >{}; exit 0", there.display());
        let between = cage(dir.path(), &swapped);
        assert_eq!(between.make().await.unwrap_err().name, ErrorName::BwJailFailed);
        fs::remove_file(&there).unwrap();
        let cell = cage(dir.path(), "").make().await.unwrap();
        fs::write(&there, other).unwrap();
        cell.close().await;
        assert_eq!(fs::read_to_string(&there).unwrap(), other);
        assert_eq!(calls(dir.path()), [CREATE, CREATE]);
    }

    #[tokio::test]
    async fn a_jail_that_holds_too_much_memory_is_ended() {
        for (listed, ends) in [("  1000\n 2097000\n", true), (" 600000\n300\n", false)] {
            let dir = tempfile::tempdir().unwrap();
            let cage = cage(dir.path(), "");
            let ps = dir.path().join("ps");
            fs::write(&ps, format!("#!/bin/sh\nprintf '{listed}'\n")).unwrap();
            let cell = cage.make().await.unwrap();
            let _looks = tokio::time::timeout(TICK * 2, cage.clone().bound(cell.jid.clone())).await;
            assert_eq!(calls(dir.path()).contains(&REMOVE.to_owned()), ends, "{listed}");
        }
    }

    #[test]
    fn no_tenant_has_a_cages_name() {
        for name in [BW_JAIL, FETCHER_JAIL] {
            assert!(name.parse::<colibri_tenant::JailName>().is_err(), "{name}");
        }
    }

    #[tokio::test]
    async fn the_fetcher_has_a_jail_of_its_own_name_and_no_group_of_the_daemons() {
        let dir = tempfile::tempdir().unwrap();
        let bw = cage(dir.path(), "");
        let fetcher = Cage { name: FETCHER_JAIL, ..bw };
        let cell = fetcher.make().await.unwrap();
        let command = cell.command(&std::env::current_exe().unwrap()).unwrap();
        let words: Vec<_> = command.as_std().get_args().take(3).collect();
        assert_eq!(words, ["-u", "_colibri", "7"]);
        cell.close().await;
        let [remove, create] =
            ["r", "c"].map(|verb| format!("jail -q -f /etc/bw.conf -{verb} colibri-fetcher"));
        assert_eq!(calls(dir.path()), [create, remove]);
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
