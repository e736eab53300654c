//! What the writer gives up before it opens anything.

use crate::Error;
use colibri_pair::{Failure::SandboxUnavailable, Order, Verb};
use nix::sys::mman::{MlockAllFlags, mlockall};
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::alarm;

#[cfg_attr(target_os = "freebsd", path = "harden/procctl.rs")]
#[cfg_attr(target_os = "linux", path = "harden/prctl.rs")]
mod platform;

pub use platform::{MEMORY, die_with_parent, hide};

/// Most descriptors: the standard three, the directory, and for a moment a
/// listing and a file.
pub const DESCRIPTORS: rlim_t = 8;
/// Largest file that may be written, in bytes; what is rendered stays below.
pub const FILE: rlim_t = 8 * 1024 * 1024;

/// Each limit with what it is for. The first is not for a look, which hands a descriptor
/// over: Linux compares it with all that are in flight from anybody of the same user.
const LIMITS: &[(Resource, rlim_t, &str)] = &[
    (Resource::RLIMIT_NOFILE, DESCRIPTORS, "nothing is hoarded"),
    (Resource::RLIMIT_CORE, platform::CORE, "no secret in a core file"),
    (Resource::RLIMIT_NPROC, 0, "no child; binds every user but root"),
    (platform::MAPPED, platform::MEMORY, "a hostile fetcher cannot exhaust the host"),
    (Resource::RLIMIT_FSIZE, FILE, "nor the jail's file system"),
    (Resource::RLIMIT_CPU, 10, "nor the processor, in seconds"),
];

/// Hardens this process, which ends itself after the order's seconds.
///
/// # Errors
/// When the system refuses any of it but the locking of memory, for which the
/// limits of an ordinary user may be too low.
pub fn harden(order: &Order) -> Result<(), Error> {
    platform::alone()?;
    platform::hide()?;
    platform::die_with_parent()?;
    umask(Mode::from_bits_truncate(0o077));
    alarm::set(order.seconds);
    // Locked only if all that may ever be mapped can be: a lock that fails
    // later would fail an allocation.
    if setrlimit(Resource::RLIMIT_MEMLOCK, platform::MEMORY, platform::MEMORY).is_ok() {
        let _ = mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE | platform::ON_FAULT);
    }
    for (resource, limit, _why) in &LIMITS[usize::from(order.verb == Verb::Look)..] {
        // A limit that is lower already cannot be raised.
        getrlimit(*resource)
            .and_then(|(_, hard)| setrlimit(*resource, hard.min(*limit), hard.min(*limit)))
            .map_err(Error::system(SandboxUnavailable, "cannot lower a resource limit"))?;
    }
    Ok(())
}
