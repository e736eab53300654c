//! How FreeBSD tells what a directory lies on.

use crate::Error;
use colibri_pair::Failure::NotTmpfs;
use nix::errno::Errno;
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

/// What was mounted: a dataset, a device, a directory. The id lasts for some kinds
/// of file systems only.
///
/// # Errors
/// The system's.
pub fn file_system(dir: &OwnedFd) -> nix::Result<String> {
    let state = rustix::fs::fstatfs(dir).map_err(|errno| Errno::from_raw(errno.raw_os_error()))?;
    let name = state.f_mntfromname.iter().map(|byte| byte.to_ne_bytes()[0]).take_while(|byte| *byte != 0);
    Ok(String::from_utf8_lossy(&name.collect::<Vec<_>>()).into_owned())
}
