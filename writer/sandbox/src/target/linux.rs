//! How Linux tells what a directory lies on.

use crate::Error;
use colibri_pair::Failure::NotTmpfs;
use nix::sys::statfs::{TMPFS_MAGIC, fstatfs};
use nix::sys::statvfs::fstatvfs;
use std::os::fd::OwnedFd;

/// Refuses a directory that is not on tmpfs.
///
/// # Errors
/// `NotTmpfs`, or that it cannot be known.
pub fn require_memory(dir: &OwnedFd) -> Result<(), Error> {
    let state = fstatfs(dir).map_err(Error::system(NotTmpfs, "cannot tell the target's file system"))?;
    if state.filesystem_type() == TMPFS_MAGIC {
        return Ok(());
    }
    Err(Error::new(NotTmpfs, "the target directory is not on tmpfs"))
}

/// The file system's own id. What was mounted, only mountinfo tells.
///
/// # Errors
/// The system's.
pub fn file_system(dir: &OwnedFd) -> nix::Result<String> {
    Ok(fstatvfs(dir)?.filesystem_id().to_string())
}
