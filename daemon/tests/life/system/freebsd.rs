//! FreeBSD: agents run in jails of the host, known by jls(8).

use std::path::Path;
use std::process::Command;

fn lines(program: &str, args: &[&str]) -> Vec<String> {
    let output = Command::new(program).args(args).output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(Into::into).collect()
}

/// The files that a program needs, itself among them.
pub fn files(program: &str) -> Vec<String> {
    let mut files = lines("/usr/bin/ldd", &["-f", "%p\n", program]);
    files.retain(|file| file.starts_with('/') && Path::new(file).is_file());
    files.extend(["/libexec/ld-elf.so.1".to_owned(), program.to_owned()]);
    files
}

/// The jails below this directory, and what is mounted there.
pub fn left(jails: &Path) -> Vec<String> {
    [running(jails), mounted(jails)].concat()
}

fn running(jails: &Path) -> Vec<String> {
    let below =
        |line: &String| line.split_once(' ').is_some_and(|(_, path)| Path::new(path).starts_with(jails));
    lines("/usr/sbin/jls", &["jid", "path"]).into_iter().filter(below).collect()
}

fn mounted(jails: &Path) -> Vec<String> {
    let points = lines("/sbin/mount", &["-p"]).into_iter();
    let points = points.filter_map(|line| Some(line.split_ascii_whitespace().nth(1)?.to_owned()));
    points.filter(|point| Path::new(point).starts_with(jails)).collect()
}

/// Ends that.
pub fn end(jails: &Path) {
    for line in running(jails) {
        let jid = line.split(' ').next().unwrap_or_default();
        let _gone = Command::new("/usr/sbin/jail").args(["-r", jid]).output();
    }
    for point in mounted(jails).iter().rev() {
        let _gone = Command::new("/sbin/umount").args(["-f", point]).output();
    }
}

/// The agent's number as it sees itself: the host's.
pub fn own_number(pid: u32) -> u32 {
    pid
}

/// The list of a process that has no other group: it begins with the effective.
pub fn no_other_group(gid: u32) -> Vec<u32> {
    vec![gid]
}

/// The agents in jails below this directory, each the one process of its jail.
pub fn agents(jails: &Path) -> Vec<u32> {
    let inside =
        |line: String| lines("/bin/ps", &["-J", line.split(' ').next().unwrap_or_default(), "-o", "pid="]);
    running(jails).into_iter().flat_map(inside).filter_map(|pid| pid.trim().parse().ok()).collect()
}

/// A jail that the host's operator runs, for commands in it.
pub fn start_jail(name: &str, root: &Path) {
    let words = ["-c".into(), "persist".into(), format!("name={name}"), format!("path={}", root.display())];
    assert!(Command::new("/usr/sbin/jail").args(words).status().unwrap().success());
}

/// Whether an agent can be had; says why not if not.
pub fn may_make_jails() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        colibri_test_host::skip("only root makes jails");
    }
    root
}
