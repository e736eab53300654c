//! FreeBSD: rights limited on each of the four descriptors, then capability
//! mode. What each right is for was found by taking it away on a running kernel.

use crate::{Error, For};
use capsicum::{CapRights, FileRights, Right as Cap};
use colibri_pair::Failure::SandboxUnavailable;
use nix::unistd::{Gid, Uid, setresgid, setresuid};
use std::io::{stderr, stdin, stdout};
use std::os::fd::{AsFd, OwnedFd};

/// One right on the target directory, and for which orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Right(pub Cap, pub For);

/// Everything that the confined writer may do in its directory, and why. What
/// is opened through the directory has the directory's rights.
pub const RIGHTS: &[Right] = &[
    // Names at all.
    Right(Cap::Lookup, For::All),
    // The new file; O_WRONLY with O_CREAT asks for SEEK too.
    Right(Cap::Create, For::Put),
    Right(Cap::Write, For::Put),
    Right(Cap::Seek, For::Put),
    // The comparison with the old one.
    Right(Cap::Read, For::All),
    // Type, links, owner and size of the old file; the owner of the new.
    Right(Cap::Fstat, For::All),
    // Who gets the file.
    Right(Cap::Fchown, For::Put),
    // The mode, once all is written.
    Right(Cap::Fchmod, For::Mode),
    // The file and the directory.
    Right(Cap::Fsync, For::Change),
    // The temporary over the name.
    Right(Cap::RenameatSource, For::Put),
    Right(Cap::RenameatTarget, For::Put),
    // The temporary after a failure; the verb remove.
    Right(Cap::Unlinkat, For::Change),
    // A new directory of files, and the link to it.
    Right(Cap::Mkdirat, For::PutDir),
    Right(Cap::Symlinkat, For::PutDir),
];

/// Becomes the file's owner where the directory is that user's too. Without
/// capabilities, only root can give a file away.
pub fn step_down(user: Uid, group: Gid, own_dir: bool) -> Result<(), Error> {
    let refused = Error::system(SandboxUnavailable, "cannot give up root");
    let user = if own_dir { user } else { Uid::from_raw(0) };
    setresgid(group, group, group).map_err(&refused)?;
    setresuid(user, user, user).map_err(&refused)
}

/// Confines this process to `dir`.
pub fn enclose(dir: &OwnedFd, keep: &dyn Fn(&Right) -> bool) -> Result<(), Error> {
    let kept: Vec<_> = RIGHTS.iter().filter(|right| keep(right)).map(|right| right.0).collect();
    limit(dir, &kept, "cannot limit the directory")?;
    limit(&stdin(), &[Cap::Read], "cannot limit the pair's socket")?;
    limit(&stdout(), &[Cap::Write], "cannot limit the report")?;
    limit(&stderr(), &[Cap::Write], "cannot limit the log")?;
    capsicum::enter().map_err(|_| Error::refused("cannot enter capability mode"))?;
    if capsicum::sandboxed() {
        return Ok(());
    }
    Err(Error::refused("not in capability mode"))
}

fn limit(fd: &impl AsFd, rights: &[Cap], step: &'static str) -> Result<(), Error> {
    let mut set = FileRights::new();
    for right in rights {
        set.allow(*right);
    }
    set.limit(&fd.as_fd()).map_err(|_| Error::refused(step))
}
