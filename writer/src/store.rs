//! The target directory of a confined writer: put, compare, remove. Every name
//! is a single component, and no link is followed.

use colibri_envfile::Document;
use colibri_pair::{EnvKey, Failure::LimitExceeded, Format, MAX_PAIRS, MAX_VALUE, Order, TENANT, Verb};
use colibri_sandbox::{Confined, DIRECTORY, Error, Leftovers, own};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{Mode, SFlag, fchmod, fstat, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, fsync, read, symlinkat, unlinkat, write};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;

const MODE: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);
const CREATE: OFlag = OFlag::O_WRONLY
    .union(OFlag::O_CREAT)
    .union(OFlag::O_EXCL)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);
const READ: OFlag = OFlag::O_RDONLY.union(OFlag::O_NOFOLLOW).union(OFlag::O_NONBLOCK).union(OFlag::O_CLOEXEC);

/// Largest file that is read to be compared with, in bytes; ours stay below.
const MAX_COMPARED: usize = 8 * 1024 * 1024;

/// Whether anything was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// The new content is in place and durable.
    Written,
    /// The content was just this already.
    Unchanged,
}

/// A store that only a confined process can have.
#[derive(Debug)]
pub struct Store<'a> {
    dir: &'a OwnedFd,
    order: &'a Order,
    leftovers: Leftovers,
}

impl<'a> Store<'a> {
    /// The store of the confined directory, as it was listed.
    pub const fn open(confined: &'a Confined, order: &'a Order, leftovers: Leftovers) -> Self {
        Self { dir: confined.dir(), order, leftovers }
    }

    /// Removes the temporary files of killed writers.
    ///
    /// # Errors
    /// When one cannot be unlinked.
    pub fn clean(&self) -> Result<(), Error> {
        for leftover in self.leftovers.all.iter().filter(|leftover| leftover.files.is_none()) {
            match unlinkat(self.dir, leftover.name.as_os_str(), UnlinkatFlags::NoRemoveDir) {
                Err(Errno::ENOENT) => {}
                gone => gone.map_err(Error::write("cannot unlink a temporary file that was left over"))?,
            }
        }
        Ok(())
    }

    /// Makes the file just this content and of the order's mode, durable, in one step for
    /// whoever reads it. A directory of files is built aside, and a link to it
    /// is what changes in that step.
    ///
    /// # Errors
    /// The step that failed; the old content is as it was and no temporary left.
    pub fn put(&self, document: &Document) -> Result<Put, Error> {
        if self.holds(document) {
            self.sweep();
            return Ok(Put::Unchanged);
        }
        let (temporary, tree) = (self.leftovers.temporary.as_os_str(), self.leftovers.tree.as_os_str());
        let made = match document.format() {
            Format::Dir => self.build(document).and_then(|()| {
                symlinkat(tree, self.dir, temporary).map_err(Error::write("cannot link the new directory"))
            }),
            _ => self.create(self.dir, temporary, |file| {
                document.render(&self.note(), |piece| fill(file, piece))?;
                self.widen(file)
            }),
        };
        made.and_then(|()| self.replace()).inspect_err(|_| {
            // The first failure is the one to tell; the next run removes what stays.
            let _ = unlinkat(self.dir, temporary, UnlinkatFlags::NoRemoveDir);
            self.raze(tree, document.pairs().map(|(key, _)| OsStr::new(key.as_str())));
        })?;
        fsync(self.dir)
            .map_err(Error::write("cannot sync the target directory, which has the new content"))?;
        self.sweep();
        Ok(Put::Written)
    }

    /// Unlinks the file; false if there is none.
    ///
    /// # Errors
    /// The step that failed.
    pub fn remove(&self) -> Result<bool, Error> {
        self.clean()?;
        let removed = match unlinkat(self.dir, self.order.file.as_os_str(), UnlinkatFlags::NoRemoveDir) {
            Err(Errno::ENOENT) => false,
            removed => removed.map(|()| true).map_err(Error::write("cannot unlink the file"))?,
        };
        self.sweep();
        fsync(self.dir).map_err(Error::write("cannot sync the target directory"))?;
        Ok(removed)
    }

    /// What each key has in the file as it is, read as far as it goes.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn pairs(&self) -> Result<BTreeMap<EnvKey, Vec<u8>>, Error> {
        let unread = Error::write("cannot read the file to compare with");
        if self.order.format != Format::Dir {
            let text = content(self.dir, self.order.file.as_os_str(), MAX_COMPARED).map_err(unread)?;
            let text = String::from_utf8_lossy(&text);
            let pairs = colibri_envfile::pairs(self.order.format, &text);
            if pairs.len() > MAX_PAIRS {
                return Err(Error::new(LimitExceeded, "the file in the jail has more than 1,024 keys"));
            }
            return Ok(pairs.into_iter().map(|(key, value)| (key, value.into())).collect());
        }
        let Some((tree, files)) = self.leftovers.current() else { return Ok(BTreeMap::new()) };
        let tree = openat(self.dir, tree, DIRECTORY, Mode::empty()).map_err(&unread)?;
        let keys = files.iter().filter_map(|name| EnvKey::try_from(name.to_str()?.to_owned()).ok());
        let value = |key: &EnvKey| content(&tree, OsStr::new(key.as_str()), MAX_VALUE).map_err(&unread);
        keys.map(|key| value(&key).map(|value| (key, value))).collect()
    }

    /// Whether a put would change nothing. A doubt is a no; that the tenant's name is
    /// not in the file is no change.
    pub fn holds(&self, document: &Document) -> bool {
        if document.format() != Format::Dir {
            let name = self.order.file.as_os_str();
            return [&*self.note(), ""].iter().any(|note| {
                self.is(self.dir, name, |file| document.render(note, |piece| continues(file, piece)))
            });
        }
        let Some((name, files)) = self.leftovers.current() else { return false };
        let whole = |tree: OwnedFd| {
            self.is_ours(&tree, SFlag::S_IFDIR, Mode::S_IRWXU)
                && document.pairs().all(|(key, value)| {
                    self.is(&tree, OsStr::new(key.as_str()), |file| continues(file, value))
                })
        };
        files.len() == document.keys() && openat(self.dir, name, DIRECTORY, Mode::empty()).is_ok_and(whole)
    }

    /// Says whose file it is, should it be found in another jail.
    fn note(&self) -> String {
        let tenant = &self.order.tenant;
        if tenant.is_empty() || self.order.format == Format::Raw {
            String::new()
        } else {
            format!("{TENANT}{tenant}\n")
        }
    }

    /// Whether `name` is just the file that would be made.
    fn is(&self, dir: &OwnedFd, name: &OsStr, same: impl FnOnce(&OwnedFd) -> nix::Result<()>) -> bool {
        let mode = self.mode();
        let all = |file: OwnedFd| {
            self.is_ours(&file, SFlag::S_IFREG, mode) && same(&file).is_ok() && read(&file, &mut [0]) == Ok(0)
        };
        regular(dir, name) && openat(dir, name, READ, Mode::empty()).is_ok_and(all)
    }

    fn is_ours(&self, open: &OwnedFd, kind: SFlag, mode: Mode) -> bool {
        fstat(open).is_ok_and(|state| {
            state.st_mode == kind.bits() | mode.bits()
                && (state.st_uid, state.st_gid) == (self.order.owner.uid, self.order.owner.gid)
                && (state.st_nlink == 1 || kind == SFlag::S_IFDIR)
        })
    }

    fn create(
        &self,
        dir: &OwnedFd,
        name: &OsStr,
        fill: impl FnOnce(&OwnedFd) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let file =
            openat(dir, name, CREATE, MODE).map_err(Error::write("cannot create the temporary file"))?;
        own(&file, self.order.owner, "cannot give the temporary file its owner")?;
        fill(&file)?;
        fsync(&file).map_err(Error::write("cannot sync the temporary file"))
    }

    /// Gives a file that is whole, and has no name yet that is looked for, its mode.
    fn widen(&self, file: &OwnedFd) -> Result<(), Error> {
        if self.mode() == MODE {
            return Ok(());
        }
        fchmod(file, self.mode()).map_err(Error::write("cannot give the temporary file its mode"))
    }

    /// A file in a directory of files is 0600, as the directory is 0700.
    fn mode(&self) -> Mode {
        match self.order.format {
            Format::Dir => MODE,
            _ => Mode::from_bits_truncate(self.order.mode.bits().into()),
        }
    }

    /// Makes the directory of files, durable before anything leads to it.
    fn build(&self, document: &Document) -> Result<(), Error> {
        let name = self.leftovers.tree.as_os_str();
        mkdirat(self.dir, name, Mode::S_IRWXU).map_err(Error::write("cannot make the new directory"))?;
        let tree = openat(self.dir, name, DIRECTORY, Mode::empty())
            .map_err(Error::write("cannot open the new directory"))?;
        own(&tree, self.order.owner, "cannot give the new directory its owner")?;
        for (key, value) in document.pairs() {
            self.create(&tree, OsStr::new(key.as_str()), |file| fill(file, value))?;
        }
        for made in [&tree, self.dir] {
            fsync(made).map_err(Error::write("cannot sync the new directory"))?;
        }
        Ok(())
    }

    fn replace(&self) -> Result<(), Error> {
        renameat(self.dir, self.leftovers.temporary.as_os_str(), self.dir, self.order.file.as_os_str())
            .map_err(Error::write("cannot rename the temporary file over the file"))
    }

    /// Removes directories of files that no reader can still be in; all, when
    /// nothing leads to one any more.
    fn sweep(&self) {
        let put = self.order.verb == Verb::Put && self.order.format == Format::Dir;
        let current = self.leftovers.current().map(|(name, _)| name);
        for leftover in &self.leftovers.all {
            if let Some(files) = &leftover.files
                && !(put && (leftover.kept || current == Some(&leftover.name)))
            {
                self.raze(&leftover.name, files.iter().map(OsString::as_os_str));
            }
        }
    }

    /// Removes a directory of files as far as it goes: what somebody else put
    /// there is not ours.
    fn raze<'b>(&self, name: &OsStr, files: impl Iterator<Item = &'b OsStr>) {
        if let Ok(tree) = openat(self.dir, name, DIRECTORY, Mode::empty()) {
            for file in files {
                let _ = unlinkat(&tree, file, UnlinkatFlags::NoRemoveDir);
            }
            let _ = unlinkat(self.dir, name, UnlinkatFlags::RemoveDir);
        }
    }
}

/// Looked at before it is opened: opening a device can have effects.
fn regular(dir: &OwnedFd, name: &OsStr) -> bool {
    fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW)
        .is_ok_and(|state| state.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFREG.bits())
}

fn fill(file: &OwnedFd, text: &str) -> Result<(), Error> {
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        match write(file, rest) {
            Err(Errno::EINTR) => {}
            count => rest = &rest[count.map_err(Error::write("cannot write the temporary file"))?..],
        }
    }
    Ok(())
}

/// Whether the file goes on with that text; anything else is an error.
fn continues(file: &OwnedFd, text: &str) -> nix::Result<()> {
    let (mut rest, mut part) = (text.as_bytes(), [0; 16 * 1024]);
    while !rest.is_empty() {
        let most = rest.len().min(part.len());
        match read(file, &mut part[..most]) {
            Ok(count) if count > 0 && rest.starts_with(&part[..count]) => rest = &rest[count..],
            Ok(_) => return Err(Errno::EILSEQ),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// The whole file; nothing, if it is no regular one.
fn content(dir: &OwnedFd, name: &OsStr, most: usize) -> nix::Result<Vec<u8>> {
    let (mut content, mut part) = (Vec::new(), [0; 16 * 1024]);
    if !regular(dir, name) {
        return Ok(content);
    }
    let file = openat(dir, name, READ, Mode::empty())?;
    loop {
        match read(&file, &mut part) {
            Ok(0) => return Ok(content),
            Ok(count) if content.len() + count > most => return Err(Errno::EFBIG),
            Ok(count) => content.extend_from_slice(&part[..count]),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}
