//! The way down from the base to the target directory, one name at a time and
//! following no link, so that nothing that root in the jail swaps meanwhile
//! leads out of it.

use crate::Error;
use crate::leftover::names;
use colibri_pair::Failure::{RootNotMounted, TargetEscapesRoot, WriteFailed};
use colibri_pair::{ANY, Medium, Order, Owner, Report, Verb};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{Mode, fchmod, fstat, mkdirat};
use nix::unistd::{Gid, Uid, fchown, fsync};
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::OwnedFd;

#[cfg_attr(target_os = "freebsd", path = "target/freebsd.rs")]
#[cfg_attr(target_os = "linux", path = "target/linux.rs")]
mod platform;

/// How every directory is opened.
pub const DIRECTORY: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
/// Write permission for anybody but the owner.
const OTHERS_WRITE: Mode = Mode::S_IWGRP.union(Mode::S_IWOTH);

/// The open target directory.
#[derive(Debug)]
pub struct Target {
    /// Its descriptor.
    pub dir: OwnedFd,
    /// Who owns the directory.
    pub owner: Uid,
}

/// Walks down to the order's jail root.
///
/// # Errors
/// `TargetEscapesRoot` when a name on the way is a link or no directory;
/// `RootNotMounted` when one is missing or cannot be opened, or when the last is
/// another directory.
pub fn open_root(order: &Order) -> Result<OwnedFd, Error> {
    let mut at = open(&order.base, DIRECTORY, Mode::empty())
        .map_err(Error::system(TargetEscapesRoot, "cannot open the base"))?;
    for name in order.root.names() {
        at = openat(&at, name, DIRECTORY, Mode::empty()).map_err(|errno| {
            // What a link or a file says; anything else is a file system that is not well.
            let escapes = [Errno::ENOTDIR, Errno::ELOOP, Errno::EMLINK].contains(&errno);
            let kind = if escapes { TargetEscapesRoot } else { RootNotMounted };
            Error::system(kind, "cannot open the jail root without following a link")(errno)
        })?;
    }
    let state = fstat(&at).map_err(Error::system(RootNotMounted, "cannot stat the jail root"))?;
    if order.inode != ANY && order.inode != format!("{}:{}", state.st_dev, state.st_ino) {
        return Err(Error::new(RootNotMounted, "the jail root is another directory now"));
    }
    Ok(at)
}

/// What a jail root is, as the system tells it from other directories.
///
/// # Errors
/// `WriteFailed`, with what the system said.
pub fn look(root: &OwnedFd) -> Result<Report, Error> {
    let unseen = Error::write("cannot look at the jail root");
    let state = fstat(root).map_err(&unseen)?;
    let born = root.try_clone().and_then(|root| File::from(root).metadata()?.created()).ok();
    let born = born.and_then(|at| Some(at.duration_since(std::time::UNIX_EPOCH).ok()?.as_nanos()));
    let file_system = platform::file_system(root).map_err(&unseen)?;
    let empty = names(root, 1).map_err(&unseen)?.is_empty();
    Ok(Report::Looked { device: state.st_dev, inode: state.st_ino, born, file_system, empty })
}

/// Opens the order's target directory below the jail root `at` and makes it if it is
/// missing: for a tenant's first file 0700, and the file's owner's; for a further one,
/// as for what is missing above, 0755 and root's, since others share it. Only
/// a put makes any; `None` means that the directory is not there.
///
/// # Errors
/// The step that failed.
pub fn open_target(mut at: OwnedFd, order: &Order) -> Result<Option<Target>, Error> {
    let in_memory = |at: &OwnedFd| match order.medium {
        Medium::Any => Ok(()),
        Medium::Memory => platform::require_memory(at),
    };
    let mut names = order.dir.names().peekable();
    let unopened = Error::write("cannot open the target directory without following a link");
    while let Some(name) = names.next() {
        at = match openat(&at, name, DIRECTORY, Mode::empty()) {
            Err(Errno::ENOENT) if order.verb != Verb::Put => return Ok(None),
            Err(Errno::ENOENT) => {
                in_memory(&at)?;
                make(&at, name, names.peek().is_none() && order.id == 0)?
            }
            found => found.map_err(&unopened)?,
        };
    }
    in_memory(&at)?;
    let private = fstat(&at).is_ok_and(|state| state.st_uid == 0 && state.st_mode & 0o77 == 0);
    if private && order.verb == Verb::Put && order.id == 0 {
        // Made above, or for a file of root's: the owner of this one could not even enter it.
        own(&at, order.owner, "cannot give the target directory its owner")?;
    }
    checked(at, order.owner).map(Some)
}

/// Makes one directory and opens it, a private one for its maker alone. One that somebody else just made is taken
/// as it is.
fn make(parent: &OwnedFd, name: &OsStr, private: bool) -> Result<OwnedFd, Error> {
    let made = mkdirat(parent, name, Mode::S_IRWXU);
    // Told first: what could not be made cannot be opened either.
    if made != Err(Errno::EEXIST) {
        made.map_err(Error::write("cannot make the target directory"))?;
    }
    let dir = openat(parent, name, DIRECTORY, Mode::empty())
        .map_err(Error::write("cannot open the target directory without following a link"))?;
    if made.is_err() {
        return Ok(dir);
    }
    if !private {
        fchmod(&dir, Mode::from_bits_truncate(0o755))
            .map_err(Error::write("cannot set the mode of a new directory"))?;
    }
    fsync(parent).map_err(Error::write("cannot sync the directory above the target"))?;
    Ok(dir)
}

/// Gives something open its owner, if it has another.
///
/// # Errors
/// `step`, with the system's words.
pub fn own(fd: &OwnedFd, owner: Owner, step: &'static str) -> Result<(), Error> {
    let state = fstat(fd).map_err(Error::write(step))?;
    if (state.st_uid, state.st_gid) == (owner.uid, owner.gid) {
        return Ok(());
    }
    fchown(fd, Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid))).map_err(Error::write(step))
}

/// A directory that others may write would let them swap the file. One of a
/// third user would make the empty temporary that user's for a moment: opened
/// then, it could be read for ever.
fn checked(dir: OwnedFd, owner: Owner) -> Result<Target, Error> {
    let state = fstat(&dir).map_err(Error::write("cannot stat the target directory"))?;
    if state.st_mode & OTHERS_WRITE.bits() != 0 {
        let step = "the target directory is writable by others than its owner: chmod go-w it in the jail";
        return Err(Error::new(WriteFailed, step));
    }
    if ![0, owner.uid].contains(&state.st_uid) {
        let step = "the target directory is neither root's nor the file's owner's: chown it in the jail";
        return Err(Error::new(WriteFailed, step));
    }
    Ok(Target { dir, owner: Uid::from_raw(state.st_uid) })
}
