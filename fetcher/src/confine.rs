//! What the fetcher and `bw` may still do: own directory, program files, the
//! vault's port.

use crate::warden::View;
pub use colibri_session::{Confinement, Part};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

#[cfg_attr(target_os = "linux", path = "confine/landlock.rs")]
#[cfg_attr(target_os = "freebsd", path = "confine/user.rs")]
mod platform;
#[cfg(not(any(target_os = "freebsd", target_os = "linux")))]
compile_error!("no confinement here, so no fetcher here");

/// No confinement is to be had.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unconfined(pub String);

/// Confines this process, and what it starts, for `bw`: it may connect to the
/// relay's port only.
///
/// # Errors
/// When the system offers nothing to do it with.
pub fn bw(view: &View, relay: u16) -> Result<Confinement, Unconfined> {
    platform::bw(view, relay)
}

/// `bw`'s private directory, for the fetcher, where nobody outside the cage sees
/// it. On FreeBSD it is seen, and a directory's descriptor leads out of a jail.
///
/// # Errors
/// The system's.
pub fn hand_out(dir: &Path) -> std::io::Result<Option<OwnedFd>> {
    platform::hand_out(dir)
}

/// Confines this process for the fetcher: it may read, empty and
/// remove `dir`, read `inside`, which is what `bw` sees there, and connect to the vault's port. It starts nothing any more.
///
/// # Errors
/// When the system offers nothing to do it with.
pub fn fetcher(dir: &Path, inside: BorrowedFd<'_>, vault: u16) -> Result<Confinement, Unconfined> {
    platform::fetcher(dir, inside, vault)
}

/// Confines this process for the resolver: it may ask name servers, and what of
/// the system answers for them.
///
/// # Errors
/// When the system offers nothing to do it with.
pub fn resolver() -> Result<Confinement, Unconfined> {
    platform::resolver()
}

/// Confines this process for what counts memory: it may read /proc.
///
/// # Errors
/// When the system offers nothing to do it with.
#[cfg(target_os = "linux")]
pub fn gauge() -> Result<(), Unconfined> {
    platform::gauge()
}

/// Keeps other processes of the same user, as `bw` is, from looking into this one,
/// and this one and all that it starts out of core files.
///
/// # Errors
/// When the system refuses: on FreeBSD when this process is being traced.
pub fn hide() -> Result<(), Unconfined> {
    platform::hide()
}
