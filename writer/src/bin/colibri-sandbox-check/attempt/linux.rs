//! Linux's column, and its mount(2).

use nix::mount::{MsFlags, mount as mount_at};
use std::path::Path;

/// Its place in a row.
pub const COLUMN: usize = 0;

/// Mounts at a path that is no directory, so that it never succeeds.
pub fn mount(at: &Path) -> nix::Result<()> {
    mount_at(None::<&str>, at, Some("tmpfs"), MsFlags::empty(), None::<&str>)
}

/// What the reader should know of an attempt: here every one is forbidden.
pub const fn note(_what: &str) -> Option<&'static str> {
    None
}
