//! Linux: bubblewrap, as a stand-in, makes `bw`'s cage.

use crate::Break;
use serde_json::{Value, json};
use std::fs;

/// What doctor finds on a sound host.
pub const FOUND: &str = "/DIR/bwrap makes it";

/// The lines of the screens that this system has not.
pub const ABSENT: &[&str] = &[];

/// The mode of the session directory, the fetcher's own.
pub const SESSION: u32 = 0o700;

/// It is found in PATH.
pub fn told(_setup: &mut Value) {}

/// How it is broken; check, verdict and mend.
pub const BROKEN: &[(Break, &str, &str, &str)] = &[
    (|host| host.end("bwrap", 1), "bw's cage", "failure", "install bubblewrap"),
    (|host| Ok(fs::remove_file(host.path("bwrap"))?), "bw's cage", "failure", "user namespaces"),
    (
        |host| host.say("bwrap", &json!({ "usage": "--bind SRC DEST" })),
        "agents' jails",
        "failure",
        "--bind-fd",
    ),
];

/// A shell that may mount, and takes its mounts with it.
pub const MOUNTING: &[&str] = &["unshare", "--mount", "sh"];
