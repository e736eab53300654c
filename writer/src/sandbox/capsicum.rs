//! FreeBSD: rights limited on each of the four descriptors, then capability
//! mode. What each right is for was found by taking it away on a running kernel.

use crate::Error;
use capsicum::{CapRights, FileRights, Right as Cap};
use colibri_ipc::Failure::SandboxUnavailable;
use nix::unistd::{Gid, Uid, setresgid, setresuid};
use std::io::{stderr, stdin, stdout};
use std::os::fd::{AsFd, OwnedFd};

/// One right on the target directory.
pub type Right = Cap;

/// Everything that the confined writer may do in its directory, and why. A file
/// opened through the directory has the directory's rights.
pub const RIGHTS: &[Right] = &[
    // Names at all.
    Cap::Lookup,
    // The new file; O_WRONLY with O_CREAT asks for SEEK too.
    Cap::Create,
    Cap::Write,
    Cap::Seek,
    // The comparison with the old one.
    Cap::Read,
    // Type, links, owner and size of the old file; the owner of the new.
    Cap::Fstat,
    // Who gets the file.
    Cap::Fchown,
    // The file and the directory.
    Cap::Fsync,
    // The temporary over the name.
    Cap::RenameatSource,
    Cap::RenameatTarget,
    // The temporary after a failure; the verb remove.
    Cap::Unlinkat,
];

/// The user to become. Without capabilities, only root can give a file away.
pub fn user_for(owner: Uid, same: bool) -> u32 {
    if same { owner.as_raw() } else { 0 }
}

/// Becomes that user.
pub fn set_ids(uid: Uid, gid: Gid, _same: bool) -> Result<(), Error> {
    let refused = Error::system(SandboxUnavailable, "cannot change the user");
    setresgid(gid, gid, gid).map_err(&refused)?;
    setresuid(uid, uid, uid).map_err(&refused)
}

/// Confines this process to `dir`.
pub fn enclose(dir: &OwnedFd, keep: &dyn Fn(&Right) -> bool) -> Result<(), Error> {
    let kept: Vec<_> = RIGHTS.iter().copied().filter(|right| keep(right)).collect();
    limit(dir, &kept, "cannot limit the directory")?;
    limit(&stdin(), &[Cap::Read], "cannot limit the pair's socket")?;
    limit(&stdout(), &[Cap::Write], "cannot limit the report")?;
    limit(&stderr(), &[Cap::Write], "cannot limit the log")?;
    capsicum::enter().map_err(|_| Error::new(SandboxUnavailable, "cannot enter capability mode"))?;
    if capsicum::sandboxed() {
        return Ok(());
    }
    Err(Error::new(SandboxUnavailable, "not in capability mode"))
}

fn limit(fd: &impl AsFd, rights: &[Right], step: &'static str) -> Result<(), Error> {
    let mut set = FileRights::new();
    for right in rights {
        set.allow(*right);
    }
    set.limit(&fd.as_fd()).map_err(|_| Error::new(SandboxUnavailable, step))
}
