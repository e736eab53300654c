//! What the writer does before it reads a byte of the fetcher's: harden, open the
//! target directory, confine itself to it for ever. What a platform allows stands
//! in its own file, one line a right, each with its why.

#[cfg(not(any(target_os = "freebsd", target_os = "linux")))]
compile_error!("no sandbox here, so no writer here");

use colibri_pair::{Failure::SandboxUnavailable, FileMode, Format, Order, Verb};
use nix::unistd::{Gid, Uid, geteuid, setgroups};
use std::os::fd::OwnedFd;

mod error;
mod harden;
mod leftover;
#[cfg_attr(target_os = "freebsd", path = "capsicum.rs")]
#[cfg_attr(target_os = "linux", path = "landlock.rs")]
mod platform;
mod target;

pub use error::Error;
pub use harden::{DESCRIPTORS, FILE, MEMORY, harden};
pub use leftover::{Leftover, Leftovers};
#[cfg(target_os = "linux")]
pub use platform::Grant;
pub use platform::{RIGHTS, Right};
pub use target::{DIRECTORY, Target, look, open_root, open_target, own};

/// Which orders need a right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For {
    /// All.
    All,
    /// Those that put.
    Put,
    /// Those that put or remove.
    Change,
    /// Those that put a file of another mode than 0600.
    Mode,
    /// Those that put a directory of files.
    PutDir,
    /// Those that find or put a directory of files.
    Dir,
    /// Those that remove one, or may have to.
    RemoveDir,
}

impl For {
    /// Whether it is this order, where directories were found.
    pub fn is(self, order: &Order, found: bool) -> bool {
        let (put, change) = (order.verb == Verb::Put, matches!(order.verb, Verb::Put | Verb::Remove));
        let dir = order.format == Format::Dir;
        match self {
            Self::All => true,
            Self::Put => put,
            Self::Change => change,
            Self::Mode => put && !dir && order.mode != FileMode::Owner,
            Self::PutDir => put && dir,
            Self::Dir => dir || found,
            Self::RemoveDir => change && (dir || found),
        }
    }
}

/// Proof that this process is confined, around the one directory it still has.
#[derive(Debug)]
pub struct Confined {
    dir: OwnedFd,
}

impl Confined {
    /// The target directory.
    pub const fn dir(&self) -> &OwnedFd {
        &self.dir
    }
}

/// Gives up what the order does not need, then all that is outside `dir`, which
/// is `owner`'s and holds directories or not.
///
/// # Errors
/// Any; nothing may be read from the fetcher then.
pub fn confine(dir: OwnedFd, owner: Uid, order: &Order, directories: bool) -> Result<Confined, Error> {
    confine_with(dir, owner, order, &|right| right.1.is(order, directories))
}

/// The same with only the rights that `keep` keeps: to show that each is needed.
///
/// # Errors
/// As for [`confine`].
pub fn confine_with(
    dir: OwnedFd,
    owner: Uid,
    order: &Order,
    keep: &dyn Fn(&Right) -> bool,
) -> Result<Confined, Error> {
    if geteuid().is_root() {
        setgroups(&[]).map_err(Error::system(SandboxUnavailable, "cannot give up root's groups"))?;
        let user = Uid::from_raw(order.owner.uid);
        platform::step_down(user, Gid::from_raw(order.owner.gid), owner == user)?;
        // A change of user clears both.
        harden::hide()?;
        harden::die_with_parent()?;
    }
    platform::enclose(&dir, keep)?;
    Ok(Confined { dir })
}
