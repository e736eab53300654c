//! What earlier writers left in the target directory: temporaries of killed
//! ones, and directories of files that a new one has taken the place of. It is
//! listed before confinement, so that the confined writer need not list.

use crate::Error;
use crate::target::DIRECTORY;
use colibri_pair::{MAX_PAIRS, Order, TEMPORARY};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, openat, readlinkat};
use nix::sys::stat::{Mode, fstatat};
use std::ffi::{OsStr, OsString};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, SystemTime};

/// Most entries of the target directory that are looked at.
const MAX_ENTRIES: usize = 65_536;
/// Most leftovers of one run, and most entries of each; the next run goes on.
/// Who owns the directory can make any number.
const MAX_LEFTOVERS: usize = 256;
/// How long a reader may take for a directory of files that was replaced.
const GRACE: Duration = Duration::from_secs(10);
/// Most directories that are kept for such readers.
const KEPT: usize = 64;

/// One entry with a temporary's name.
#[derive(Debug)]
pub struct Leftover {
    /// Its name.
    pub name: OsString,
    /// The names in it, if it is a directory.
    pub files: Option<Vec<OsString>>,
    /// Whether it is a directory that a reader may still be in.
    pub kept: bool,
    made: SystemTime,
}

/// All of them, and names for new ones.
#[derive(Debug)]
pub struct Leftovers {
    /// The entries, the oldest first.
    pub all: Vec<Leftover>,
    /// A name of nothing yet: for a file, or for a link.
    pub temporary: OsString,
    /// Another: for a directory of files.
    pub tree: OsString,
    current: Option<OsString>,
}

impl Leftovers {
    /// Lists `dir`, where the order's file may be a link to one of them.
    ///
    /// # Errors
    /// When the directory cannot be listed.
    pub fn list(dir: &OwnedFd, order: &Order) -> Result<Self, Error> {
        let own = order.temporary();
        let names = names(dir, MAX_ENTRIES).map_err(Error::write("cannot list the target directory"))?;
        let found = names.into_iter().filter_map(|name| look(dir, name, &own)).take(MAX_LEFTOVERS);
        let mut all: Vec<_> = found.collect();
        all.sort_by_key(|leftover| leftover.made);
        // Each was replaced when the next was made.
        let (mut replaced, mut places) = (None, 0..KEPT);
        for leftover in all.iter_mut().rev().filter(|leftover| leftover.files.is_some()) {
            let made = replaced.replace(leftover.made);
            leftover.kept = places.next().is_some() && made.is_some_and(young);
        }
        let current = match readlinkat(dir, order.file.as_os_str()) {
            Err(Errno::ENOENT | Errno::EINVAL) => None,
            link => Some(link.map_err(Error::write("cannot read the link to the current directory"))?),
        };
        Ok(Self { all, temporary: unused(&own, "file"), tree: unused(&own, "tree"), current })
    }

    /// Whether there are directories among them.
    pub fn directories(&self) -> bool {
        self.all.iter().any(|leftover| leftover.files.is_some())
    }

    /// The directory that the name leads to, and what is in it.
    pub fn current(&self) -> Option<(&OsStr, &[OsString])> {
        let current = self.all.iter().find(|leftover| Some(&leftover.name) == self.current.as_ref())?;
        Some((current.name.as_os_str(), current.files.as_deref()?))
    }
}

fn young(made: SystemTime) -> bool {
    made.elapsed().is_ok_and(|age| age < GRACE)
}

/// A name that no other writer has.
fn unused(own: &str, what: &str) -> OsString {
    // The standard library's hashers are seeded at random.
    let random = RandomState::new().build_hasher().finish();
    format!("{own}{what}-{random:016x}{}", TEMPORARY.1).into()
}

/// One that vanishes meanwhile was not left over.
fn look(dir: &OwnedFd, name: OsString, own: &str) -> Option<Leftover> {
    let bytes = name.as_bytes();
    if !bytes.starts_with(own.as_bytes()) || !bytes.ends_with(TEMPORARY.1.as_bytes()) {
        return None;
    }
    let state = fstatat(dir, name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
    let made = Duration::new(state.st_mtime.try_into().ok()?, state.st_mtime_nsec.try_into().ok()?);
    let files = match openat(dir, name.as_os_str(), DIRECTORY, Mode::empty()) {
        // A link: ELOOP or ENOTDIR on Linux, EMLINK on FreeBSD.
        Err(Errno::ENOTDIR | Errno::ELOOP | Errno::EMLINK) => None,
        tree => Some(tree.and_then(|tree| names(&tree, MAX_PAIRS + 1)).ok()?),
    };
    Some(Leftover { name, files, kept: false, made: SystemTime::UNIX_EPOCH + made })
}

pub(crate) fn names(dir: &OwnedFd, most: usize) -> nix::Result<Vec<OsString>> {
    let mut listing = Dir::openat(dir, ".", DIRECTORY, Mode::empty())?;
    let name = |entry: nix::Result<nix::dir::Entry>| {
        entry.map(|entry| OsStr::from_bytes(entry.file_name().to_bytes()).to_owned())
    };
    let dots = |name: &OsString| name == "." || name == "..";
    listing.iter().map(name).filter(|name| !name.as_ref().is_ok_and(dots)).take(most).collect()
}
