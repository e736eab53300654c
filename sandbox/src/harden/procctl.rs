//! FreeBSD's part of hardening.

use crate::Error;
use colibri_ipc::Failure::SandboxUnavailable;
use nix::sys::mman::MlockAllFlags;
use nix::sys::resource::{Resource, rlim_t};
use rustix::process::{Signal, set_parent_process_death_signal};

/// Bounds the address space.
pub const MAPPED: Resource = Resource::RLIMIT_VMEM;
/// Most memory that may be mapped, in bytes; jemalloc maps more than it uses.
pub const MEMORY: rlim_t = 256 * 1024 * 1024;
/// FreeBSD has no such flag.
pub const ON_FAULT: MlockAllFlags = MlockAllFlags::empty();

/// FreeBSD shows its descriptors only where fdescfs is mounted. What the daemon
/// opens is closed on exec; capability mode cannot widen what remains.
///
/// # Errors
/// None.
pub const fn alone() -> Result<(), Error> {
    Ok(())
}

/// Keeps other processes from tracing this one, and the kernel from dumping it.
///
/// # Errors
/// When the system refuses.
pub fn hide() -> Result<(), Error> {
    colibri_freebsd::hide().map_err(Error::system(SandboxUnavailable, "cannot become untraceable"))
}

/// Ends this process when its parent ends.
///
/// # Errors
/// When the system refuses.
pub fn die_with_parent() -> Result<(), Error> {
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|_| Error::refused("cannot die with the parent"))
}
