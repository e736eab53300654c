//! The target directory of a confined writer: put a file, remove a file. Every
//! name is a single component, and no link is followed.

use crate::Error;
use crate::sandbox::Confined;
use crate::target::own;
use colibri_order::Owner;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use nix::unistd::{UnlinkatFlags, fsync, read, unlinkat, write};
use std::ffi::OsStr;
use std::os::fd::OwnedFd;

const MODE: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);
const CREATE: OFlag = OFlag::O_WRONLY
    .union(OFlag::O_CREAT)
    .union(OFlag::O_EXCL)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);
const READ: OFlag = OFlag::O_RDONLY.union(OFlag::O_NOFOLLOW).union(OFlag::O_NONBLOCK).union(OFlag::O_CLOEXEC);

/// Whether anything was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// A new file is in place and durable.
    Written,
    /// The file was just this already.
    Unchanged,
}

/// A store that only a confined process can have.
#[derive(Debug)]
pub struct Store<'a> {
    dir: &'a OwnedFd,
    owner: Owner,
    temporary: &'a OsStr,
}

impl<'a> Store<'a> {
    /// The store of the confined directory; `temporary` is a name of no file.
    pub const fn open(confined: &'a Confined, owner: Owner, temporary: &'a OsStr) -> Self {
        Self { dir: confined.dir(), owner, temporary }
    }

    /// Makes `name` a file of 0600 with this content, durable, in one step for
    /// whoever reads it.
    ///
    /// # Errors
    /// The step that failed; the old file is as it was and no temporary is left.
    pub fn put(&self, name: &OsStr, content: &[u8]) -> Result<Put, Error> {
        if self.holds(name, content) {
            return Ok(Put::Unchanged);
        }
        let file = openat(self.dir, self.temporary, CREATE, MODE)
            .map_err(Error::write("cannot create the temporary file"))?;
        self.fill(&file, content).and_then(|()| self.replace(name)).inspect_err(|_| {
            // The first failure is the one to tell; the next run removes what stays.
            let _ = unlinkat(self.dir, self.temporary, UnlinkatFlags::NoRemoveDir);
        })?;
        fsync(self.dir).map_err(Error::write("cannot sync the target directory"))?;
        Ok(Put::Written)
    }

    /// Unlinks `name`; false if there is none.
    ///
    /// # Errors
    /// The step that failed.
    pub fn remove(&self, name: &OsStr) -> Result<bool, Error> {
        match unlinkat(self.dir, name, UnlinkatFlags::NoRemoveDir) {
            Err(Errno::ENOENT) => return Ok(false),
            removed => removed.map_err(Error::write("cannot unlink the file"))?,
        }
        fsync(self.dir).map_err(Error::write("cannot sync the target directory"))?;
        Ok(true)
    }

    fn fill(&self, file: &OwnedFd, mut content: &[u8]) -> Result<(), Error> {
        own(file, self.owner, "cannot give the temporary file its owner")?;
        while !content.is_empty() {
            match write(file, content) {
                Err(Errno::EINTR) => {}
                written => {
                    let written = written.map_err(Error::write("cannot write the temporary file"))?;
                    content = &content[written..];
                }
            }
        }
        fsync(file).map_err(Error::write("cannot sync the temporary file"))
    }

    fn replace(&self, name: &OsStr) -> Result<(), Error> {
        renameat(self.dir, self.temporary, self.dir, name)
            .map_err(Error::write("cannot rename the temporary file over the file"))
    }

    /// Whether `name` is just what a put would make. A doubt is a no.
    fn holds(&self, name: &OsStr, content: &[u8]) -> bool {
        let same = |state: FileStat| self.is_ours(&state, content.len());
        // Looked at before it is opened: opening a device can have effects.
        fstatat(self.dir, name, AtFlags::AT_SYMLINK_NOFOLLOW).is_ok_and(same)
            && openat(self.dir, name, READ, Mode::empty())
                .is_ok_and(|file| fstat(&file).is_ok_and(same) && equal(&file, content).unwrap_or(false))
    }

    fn is_ours(&self, state: &FileStat, size: usize) -> bool {
        state.st_mode == SFlag::S_IFREG.bits() | MODE.bits()
            && (state.st_uid, state.st_gid) == (self.owner.uid, self.owner.gid)
            && state.st_nlink == 1
            && usize::try_from(state.st_size) == Ok(size)
    }
}

fn equal(file: &OwnedFd, mut content: &[u8]) -> nix::Result<bool> {
    let mut chunk = [0; 4096];
    loop {
        match read(file, &mut chunk) {
            Ok(0) => return Ok(content.is_empty()),
            Ok(count) if content.starts_with(&chunk[..count]) => content = &content[count..],
            Ok(_) => return Ok(false),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}
