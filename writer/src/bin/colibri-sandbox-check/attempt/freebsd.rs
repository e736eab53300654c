//! FreeBSD's column, and a stand-in for mount(2), which needs a table of
//! options: unmount(2) asks for the same privilege.

use nix::mount::{MntFlags, unmount};
use std::path::Path;

/// Its place in a row.
pub const COLUMN: usize = 1;

/// Unmounts a path that is no mount point, so that it never succeeds.
pub fn mount(at: &Path) -> nix::Result<()> {
    unmount(at, MntFlags::empty())
}

/// What stops from mattering what capability mode allows.
pub fn note(what: &str) -> Option<&'static str> {
    match what {
        "make a socket" => Some("leads nowhere: bind, connect and send are refused"),
        "start a process" => {
            Some("fork by itself is allowed to root; what it makes is confined, execs nothing")
        }
        "start a thread" => Some("leads nowhere: it is confined like the process"),
        "become root" => Some("leads nowhere: capability mode and the descriptors' rights bind root, too"),
        "raise a limit" => Some("root may: the limits bind only a writer that gave up root"),
        _ => None,
    }
}
