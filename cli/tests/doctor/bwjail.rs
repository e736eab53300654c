//! FreeBSD: a file of root's describes the jail that holds `bw`.

use crate::{Break, mode, set};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::chown;

/// A file of root's that every host has.
const FILE: &str = "/etc/services";
/// What doctor finds on a sound host.
pub const FOUND: &str = "the jail of /etc/services";

/// The lines of the screens that this system has not.
pub const ABSENT: &[&str] = &["agents' jails"];

/// The mode of the session directory: each session has one in it.
pub const SESSION: u32 = 0o711;

/// The daemon was told of the jail.
pub fn told(setup: &mut Value) {
    setup["bw-jail"] = json!(FILE);
}

/// How it is broken; check, verdict and mend.
pub const BROKEN: &[(Break, &str, &str, &str)] = &[
    // Root in a jail is root, and what it makes setuid is root's.
    (|host| mode(&host.path("jails"), 0o755), "base directory", "failure", "chmod 700"),
    (
        |host| {
            // Without the jail it is the fetcher's own.
            let session = host.path("session");
            mode(&session, 0o700)?;
            chown(&session, Some(host.user.uid.as_raw()), None)?;
            set(&mut host.status["setup"]["bw-jail"], Value::Null)
        },
        "bw's cage",
        "warning",
        "set COLIBRI_BW_JAIL",
    ),
    (
        |host| {
            let none = host.path("no-such.conf");
            set(&mut host.status["setup"]["bw-jail"], json!(none))
        },
        "bw's cage",
        "failure",
        "colibri init",
    ),
    (
        |host| {
            let file = host.path("bw-jail.conf");
            fs::write(&file, "")?;
            mode(&file, 0o666)?;
            set(&mut host.status["setup"]["bw-jail"], json!(file))
        },
        "bw's cage",
        "failure",
        "chown root",
    ),
];

/// A shell that may mount, and has to take its mounts away itself.
pub const MOUNTING: &[&str] = &["sh"];
