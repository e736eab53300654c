//! What the system says of a writer that waits for pairs.

use crate::jail::{Jail, next, one, root, start};
use crate::system;
use colibri_pair::{Owner, Report};
use colibri_test_host::process::{Ids, descriptors, environment, ids};
use std::fs;
use std::io::Write;
use std::os::unix::fs::chown;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};

pub struct Waiting {
    child: Child,
    _socket: UnixStream,
}

impl Waiting {
    pub fn new(jail: &Jail) -> Self {
        let (mut child, socket) = start(jail.command());
        let report = child.stdout.as_mut().unwrap();
        assert_eq!(next(report), Some(Report::Ready));
        Self { child, _socket: socket }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_waiting_writer_is_confined_and_this_test_is_not() {
    let writer = Waiting::new(&Jail::new());
    assert!(system::confined(writer.pid()));
    assert!(!system::confined(std::process::id()));
}

/// At 0 a program that core_pattern pipes to gets a core, and at 1 it does not.
#[cfg(target_os = "linux")]
#[test]
fn a_waiting_writer_leaves_no_core() {
    let writer = Waiting::new(&Jail::new());
    let limits = fs::read_to_string(format!("/proc/{}/limits", writer.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().filter(|word| *word == "1").count(), 2, "{core}");
}

#[test]
fn a_waiting_writer_has_no_environment_and_one_directory() {
    if !root("looking at an undumpable process") {
        return;
    }
    let jail = Jail::new();
    let writer = Waiting::new(&jail);
    assert_eq!(environment(writer.pid()).unwrap_or_default(), "");
    assert_ne!(environment(std::process::id()).unwrap_or_default(), "");
    let open = descriptors(writer.pid()).unwrap();
    assert_eq!(open.keys().copied().collect::<Vec<_>>(), [0, 1, 2, 3], "{open:?}");
    assert_eq!(open[&3], fs::canonicalize(jail.dir()).unwrap().display().to_string());
}

#[test]
fn a_waiting_writer_cannot_be_looked_into_by_its_own_user() {
    if nix::unistd::geteuid().is_root() {
        colibri_test_host::skip("root may look into everything");
        return;
    }
    let writer = Waiting::new(&Jail::new());
    assert_eq!(environment(writer.pid()), None);
    assert!(descriptors(writer.pid()).is_none_or(|open| open.is_empty()));
    system::assert_untraceable(writer.pid());
    assert!(environment(std::process::id()).is_some() && descriptors(std::process::id()).is_some());
}

#[test]
fn root_is_given_up_where_the_directory_is_the_owners() {
    if !root("giving up root") {
        return;
    }
    let mut jail = Jail::new();
    jail.order.owner = Owner { uid: 1234, gid: 1235 };
    chown(jail.dir(), Some(1234), Some(1235)).unwrap();
    let writer = Waiting::new(&jail);
    let supplementary = system::no_other_group(1235);
    let expected = Ids { users: [1234; 3], groups: [1235; 3], supplementary };
    assert_eq!(ids(writer.pid()), Some(expected));
}

/// FreeBSD does not tell which there are: inherited.rs has what is done there.
#[cfg(target_os = "linux")]
#[test]
fn an_inherited_descriptor_is_refused() {
    let jail = Jail::new();
    let writer = jail.command();
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$@\" 5</dev/null", "sh"]).arg(writer.get_program()).args(writer.get_args());
    let outcome = crate::jail::run(command, b"");
    outcome.failed(colibri_pair::Failure::SandboxUnavailable, "there are inherited descriptors");
}

#[test]
fn a_writer_does_not_outlive_its_parent() {
    let jail = Jail::new();
    let writer = jail.command();
    let mut command = Command::new("sh");
    command.args(["-c", "\"$@\"; true", "sh"]).arg(writer.get_program()).args(writer.get_args());
    let (mut shell, mut socket) = start(command);
    assert_eq!(next(shell.stdout.as_mut().unwrap()), Some(Report::Ready));
    shell.kill().unwrap();
    // The kernel signals the child before the parent can be waited for. A
    // writer that lived on would now do its work.
    shell.wait().unwrap();
    let _ = socket.write_all(&one("v"));
    assert_eq!(next(shell.stdout.as_mut().unwrap()), None);
    assert!(jail.names().is_empty());
}
