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
