//! Linux: an agent's keeper has its jail's root open, for bubblewrap.

use colibri_test_host::process::all;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::Path;
use std::process::Command;

/// The files that a program needs, itself among them.
pub fn files(program: &str) -> Vec<String> {
    let needed = Command::new("ldd").arg(program).output().unwrap().stdout;
    let needed = String::from_utf8(needed).unwrap();
    let libraries = needed.split_ascii_whitespace().filter(|word| word.starts_with('/'));
    libraries.chain([program]).map(Into::into).collect()
}

/// What runs in jails below this directory.
pub fn left(jails: &Path) -> Vec<String> {
    keepers(jails).into_iter().map(|(pid, line)| format!("{pid} {line}")).collect()
}

/// The processes that have a root below this directory as their first descriptor
/// after the standard three.
fn keepers(jails: &Path) -> Vec<(u32, String)> {
    let root = |pid: &u32| std::fs::read_link(format!("/proc/{pid}/fd/3")).ok();
    all().into_iter().filter(|(pid, _)| root(pid).is_some_and(|root| root.starts_with(jails))).collect()
}

/// Ends that.
pub fn end(jails: &Path) {
    for (pid, _) in keepers(jails) {
        let _gone = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
    }
}

/// The agent's number as it sees itself, the second process of its namespace.
pub fn own_number(_pid: u32) -> u32 {
    2
}

/// The list of a process that has no other group.
pub fn no_other_group(_gid: u32) -> Vec<u32> {
    Vec::new()
}

/// The agents in jails below this directory, by what keeps each.
pub fn agents(jails: &Path) -> Vec<u32> {
    let all = keepers(jails).into_iter();
    all.filter(|(_, line)| line.starts_with("/bin/sh -c \"$0\"")).map(|(pid, _)| pid).collect()
}

/// Nothing: a command has a container of its own.
pub fn start_jail(_name: &str, _root: &Path) {}

/// Whether an agent can be had: anybody has containers.
pub fn may_make_jails() -> bool {
    true
}
