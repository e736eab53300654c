//! What the system says of a writer that waits for pairs.

use crate::jail::{Jail, next, one, root, start};
use colibri_ipc::Report;
use colibri_order::Owner;
use std::fs;
use std::io::Write;
use std::os::unix::fs::chown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

struct Waiting {
    child: Child,
    _socket: UnixStream,
}

impl Waiting {
    fn new(jail: &Jail) -> Self {
        let (mut child, socket) = start(jail.command());
        let report = child.stdout.as_mut().unwrap();
        assert_eq!(next(report), Some(Report::Ready));
        Self { child, _socket: socket }
    }

    fn proc(&self, name: &str) -> PathBuf {
        Path::new("/proc").join(self.child.id().to_string()).join(name)
    }

    fn status(&self, field: &str) -> String {
        let status = fs::read_to_string(self.proc("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_waiting_writer_is_under_seccomp_and_gains_nothing() {
    let writer = Waiting::new(&Jail::new());
    assert_eq!(writer.status("Seccomp"), "2");
    assert_eq!(writer.status("NoNewPrivs"), "1");
    assert_eq!(writer.status("Threads"), "1");
    assert_eq!(writer.status("CapEff"), "0000000000000000");
    assert_eq!(writer.status("CapPrm"), "0000000000000000");
}

#[test]
fn a_waiting_writer_has_no_environment_and_one_directory() {
    if !root("looking at an undumpable process") {
        return;
    }
    let jail = Jail::new();
    let writer = Waiting::new(&jail);
    assert_eq!(fs::read(writer.proc("environ")).unwrap(), b"");
    let mut open: Vec<_> = fs::read_dir(writer.proc("fd")).unwrap().map(|fd| fd.unwrap().path()).collect();
    open.sort();
    assert_eq!(open.len(), 4, "{open:?}");
    assert_eq!(fs::read_link(&open[3]).unwrap(), fs::canonicalize(jail.dir()).unwrap());
}

#[test]
fn a_waiting_writer_cannot_be_looked_into_by_its_own_user() {
    if nix::unistd::geteuid().is_root() {
        println!("skipped: root may look into everything");
        return;
    }
    let writer = Waiting::new(&Jail::new());
    for name in ["environ", "fd", "mem", "maps"] {
        let path = writer.proc(name);
        let seen = if name == "fd" { fs::read_dir(path).map(drop) } else { fs::read(path).map(drop) };
        assert!(seen.is_err(), "{name}");
    }
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
    assert_eq!(writer.status("Uid"), "1234 1234 1234 1234");
    assert_eq!(writer.status("Gid"), "1235 1235 1235 1235");
    assert_eq!(writer.status("Groups"), "");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(writer.status(set), "0000000000000000", "{set}");
    }
}

#[test]
fn only_the_power_to_write_in_another_users_directory_stays_where_it_is_needed() {
    if !root("a file of another user") {
        return;
    }
    let mut jail = Jail::new();
    jail.order.owner = Owner { uid: 1234, gid: 1235 };
    let writer = Waiting::new(&jail);
    assert_eq!(writer.status("Uid"), "1234 1234 1234 1234");
    // CAP_DAC_OVERRIDE.
    assert_eq!(writer.status("CapEff"), "0000000000000002");
    assert_eq!(writer.status("CapBnd"), "0000000000000000");
}

#[test]
fn an_inherited_descriptor_is_refused() {
    let jail = Jail::new();
    let writer = jail.command();
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$@\" 5</dev/null", "sh"]).arg(writer.get_program()).args(writer.get_args());
    let outcome = crate::jail::run(command, b"");
    outcome.failed(colibri_ipc::Failure::SandboxUnavailable, "there are inherited descriptors");
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
