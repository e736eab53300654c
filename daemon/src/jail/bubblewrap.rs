//! Linux: each agent gets a container of its own from bubblewrap, with the jail
//! root as its root and user, pid, mount, ipc and uts namespaces of its own. A
//! jail without an agent is nothing but its directory.

use super::{Jail, Jails, Process, ROOT, run, send, words};
use colibri_pair::Owner;
use colibri_tenant::{AgentNetwork, ErrorName, Fault, JailName};
use nix::sys::signal::Signal;
use std::ffi::OsString;
use std::fs::read_to_string;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

/// bwrap ends with the agent and would leave behind what the agent started,
/// unless that dies with bwrap; but then bwrap dies with its own parent, which
/// must not be the daemon.
const KEEPER: &str = r#""$0" "$@"; exit $?"#;

/// Where the kernel takes settings and orders, and root of the host alone may
/// write: a second bar, should a file there have another owner one day.
const READ_ONLY: [&str; 5] = ["/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs"];
/// What tells of the whole host's memory, keys and timers.
const MASKED: [&str; 4] = ["/proc/kcore", "/proc/keys", "/proc/key-users", "/proc/timer_list"];

/// The bubblewrap program, and what of those this kernel has.
#[derive(Clone, Debug)]
pub struct Bubblewrap {
    program: PathBuf,
    read_only: Vec<&'static str>,
    masked: Vec<&'static str>,
}

impl Bubblewrap {
    /// Uses this program.
    pub fn new(config: &crate::settings::Config) -> Self {
        let there = |places: &[&'static str]| {
            places.iter().copied().filter(|place| Path::new(place).exists()).collect()
        };
        Self { program: config.bwrap.clone(), read_only: there(&READ_ONLY), masked: there(&MASKED) }
    }
}

/// A container that the line itself makes, around the directory that was looked at.
#[derive(Clone, Copy, Debug)]
pub struct OfItsOwn;

impl Jails for Bubblewrap {
    const OWN_USERS: bool = true;
    type Entry = OfItsOwn;

    async fn runs(&self, _jail: &Jail) -> Result<bool, Fault> {
        Ok(false)
    }

    fn mark(&self) -> String {
        String::new()
    }

    /// A bubblewrap that can only bind a path would bind what somebody has put
    /// there meanwhile.
    async fn start(&self, _jail: &Jail, mark: &str) -> Result<String, Fault> {
        let help = run(&[self.program.clone().into(), "--help".into()]).await?;
        if help.is_some_and(|help| help.contains("--bind-fd")) {
            return Ok(mark.to_owned());
        }
        let program = self.program.display();
        let message =
            format!("{program} has no --bind-fd: install bubblewrap 0.8.0-2+deb12u1, 0.10, or newer");
        Err(Fault::new(ErrorName::JailFailed, message))
    }

    /// The container ends with its agent; there is nothing to take away from
    /// anybody.
    async fn stop(&self, _: &JailName, _: &Path, _: &str) -> Result<(), Fault> {
        Ok(())
    }

    fn descriptor<'a>(&self, jail: &'a Jail) -> Option<BorrowedFd<'a>> {
        Some(jail.root.dir())
    }

    async fn entry(&self, _jail: &Jail, _mark: Option<&str>) -> Result<OfItsOwn, Fault> {
        Ok(OfItsOwn)
    }

    fn line(&self, jail: &Jail, _entry: &OfItsOwn, command: &[String]) -> Vec<OsString> {
        let mut line = words(&["/bin/sh", "-c", KEEPER]);
        line.push(self.program.clone().into());
        // Root inside has nothing of root's: no capability, and no namespace to
        // have them in again.
        line.extend(words(&["--die-with-parent", "--cap-drop", "ALL", "--disable-userns", "--unshare-user"]));
        line.extend(words(&["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]));
        if jail.network == AgentNetwork::None {
            line.push("--unshare-net".into());
        }
        let (uid, gid) = (jail.owner.uid.to_string(), jail.owner.gid.to_string());
        line.extend(words(&["--uid", &uid, "--gid", &gid, "--hostname", jail.name.as_str()]));
        // The directory that was looked at, whatever its path leads to by now;
        // bubblewrap binds it without devices and without effect of setuid.
        line.extend(words(&["--new-session", "--bind-fd", &ROOT.to_string(), "/", "--proc", "/proc"]));
        for place in &self.read_only {
            line.extend(words(&["--ro-bind", place, place]));
        }
        for place in &self.masked {
            line.extend(words(&["--ro-bind", "/dev/null", place]));
        }
        line.extend(words(&["--dev", "/dev", "--chdir", "/", "--"]));
        line.extend(command.iter().map(OsString::from));
        line
    }

    fn user(&self, jail: &Jail) -> Option<Owner> {
        jail.user
    }

    async fn identity(&self, pid: u32) -> Option<String> {
        let boot = read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let stat = read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in parentheses, may hold anything; state is the field after.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let alive = !matches!(*fields.first()?, "Z" | "X");
        let started = fields.get(19)?;
        alive.then(|| format!("{started} {}", boot.trim()))
    }

    async fn is(&self, process: &Process) -> bool {
        self.identity(process.pid).await.as_ref() == Some(&process.identity)
    }

    /// Below the keeper is bwrap, below that the first process of the pid
    /// namespace, whose death is everybody's inside, and below that the agent.
    /// While these come up, the death of one would leave the next behind.
    async fn signal(&self, process: &Process, signal: Signal) -> bool {
        if !self.is(process).await {
            return false;
        }
        let below = |pids: &[u32]| pids.iter().copied().flat_map(children).collect::<Vec<_>>();
        let first = below(&children(process.pid));
        let agents = below(&first);
        let targets = if signal == Signal::SIGKILL && !agents.is_empty() { first } else { agents };
        targets.iter().filter(|pid| send(**pid, signal)).count() > 0
    }
}

fn children(pid: u32) -> Vec<u32> {
    let list = read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::JailRoot;

    #[test]
    fn the_command_line_is_the_recorded_one() {
        let mut jail = Jail {
            name: "web01".parse().unwrap(),
            root: JailRoot::unlooked("/jails", "web01/root"),
            owner: Owner { uid: 80, gid: 81 },
            user: None,
            network: AgentNetwork::Host,
        };
        let program = "/usr/bin/bwrap".into();
        let jails = Bubblewrap { program, read_only: vec!["/proc/sys"], masked: vec!["/proc/kcore"] };
        let line = jails.line(&jail, &OfItsOwn, &["sleep".into(), "9".into()]);
        let recorded = "/usr/bin/bwrap --die-with-parent --cap-drop ALL --disable-userns --unshare-user \
            --unshare-pid --unshare-ipc --unshare-uts --unshare-cgroup-try --uid 80 --gid 81 --hostname web01 \
            --new-session --bind-fd 3 / --proc /proc --ro-bind /proc/sys /proc/sys \
            --ro-bind /dev/null /proc/kcore --dev /dev --chdir / -- sleep 9";
        assert_eq!(line[..3], words(&["/bin/sh", "-c", KEEPER]));
        assert_eq!(line[3..], words(&recorded.split_ascii_whitespace().collect::<Vec<_>>()));
        assert!(!line.contains(&"--unshare-net".into()));
        jail.network = AgentNetwork::None;
        assert!(jails.line(&jail, &OfItsOwn, &[]).contains(&"--unshare-net".into()));
    }
}
