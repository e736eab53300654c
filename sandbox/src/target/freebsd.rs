//! How FreeBSD tells that a directory lies in memory.

use crate::Error;
use colibri_ipc::Failure::NotTmpfs;
use nix::sys::statfs::fstatfs;
use std::os::fd::OwnedFd;

/// Refuses a directory that is not on tmpfs.
///
/// # Errors
/// `NotTmpfs`, or that it cannot be known.
pub fn require_memory(dir: &OwnedFd) -> Result<(), Error> {
    let state = fstatfs(dir).map_err(Error::system(NotTmpfs, "cannot tell the target's file system"))?;
    if state.filesystem_type_name() == "tmpfs" {
        return Ok(());
    }
    Err(Error::new(NotTmpfs, "the target directory is not on tmpfs"))
}
