//! Puts into the log what `bw` tries and may not.

use crate::warden::View;
use std::io::Result;

#[cfg_attr(target_os = "linux", path = "attempts/watch.rs")]
#[cfg_attr(target_os = "freebsd", path = "attempts/pflog.rs")]
mod platform;

/// From now on, of all that the calling thread starts. Nothing is allowed or
/// refused by it that was not before, but that on Linux what goes to the network
/// past the relay's port is refused a second time.
///
/// # Errors
/// The system's, where it offers nothing to do it with.
pub fn record(view: &View, relay: u16) -> Result<()> {
    platform::record(view, relay)
}
