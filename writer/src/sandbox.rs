//! The sandbox: two functions, and a proof that the store asks for. What a
//! platform allows stands in its own file, one line a right, each with its why.

use crate::Error;
use crate::harden::{die_with_parent, hide};
use crate::target::Target;
use colibri_ipc::Failure::SandboxUnavailable;
use colibri_order::Order;
use nix::unistd::{Gid, Uid, geteuid, setgroups};
use std::os::fd::OwnedFd;

#[cfg_attr(target_os = "freebsd", path = "sandbox/capsicum.rs")]
#[cfg_attr(target_os = "linux", path = "sandbox/landlock.rs")]
mod platform;

pub use platform::{RIGHTS, Right};

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

/// Gives up what the order does not need, then all that is outside the target
/// directory, for ever.
///
/// # Errors
/// `SandboxUnavailable`; nothing may be read from the fetcher then.
pub fn confine(target: Target, order: &Order) -> Result<Confined, Error> {
    confine_with(target, order, &|_| true)
}

/// The same with only the rights that `keep` keeps: to show that each is needed.
///
/// # Errors
/// As for [`confine`].
pub fn confine_with(target: Target, order: &Order, keep: &dyn Fn(&Right) -> bool) -> Result<Confined, Error> {
    if geteuid().is_root() {
        step_down(&target, order)?;
        // A change of user clears both.
        hide()?;
        die_with_parent()?;
    }
    platform::enclose(&target.dir, keep)?;
    Ok(Confined { dir: target.dir })
}

/// Becomes the owner of the target directory, who can write there without being
/// root; a file's owner of another name needs the right to give it away.
fn step_down(target: &Target, order: &Order) -> Result<(), Error> {
    let refused = Error::system(SandboxUnavailable, "cannot give up root");
    setgroups(&[]).map_err(&refused)?;
    let same = target.owner.as_raw() == order.owner.uid;
    let uid = platform::user_for(target.owner, same);
    platform::set_ids(Uid::from_raw(uid), Gid::from_raw(order.owner.gid), same)
}
