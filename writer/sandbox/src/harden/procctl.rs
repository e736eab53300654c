//! FreeBSD's part of hardening.

use crate::Error;
use colibri_pair::Failure::SandboxUnavailable;
use nix::sys::mman::MlockAllFlags;
use nix::sys::resource::{Resource, rlim_t};
use nix::unistd::getppid;
use rustix::process::{Signal, set_parent_process_death_signal};

/// Bounds the address space.
pub const MAPPED: Resource = Resource::RLIMIT_VMEM;
/// Most memory that may be mapped, in bytes; jemalloc maps more than it uses.
pub const MEMORY: rlim_t = 256 * 1024 * 1024;
/// Largest core file: none.
pub const CORE: rlim_t = 0;
/// FreeBSD has no such flag.
pub const ON_FAULT: MlockAllFlags = MlockAllFlags::empty();

/// Closes what was inherited beside the three descriptors: FreeBSD shows which
/// they are only where fdescfs is mounted, so they cannot be refused.
///
/// # Errors
/// None.
pub fn alone() -> Result<(), Error> {
    colibri_freebsd::close_inherited();
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
/// When the system refuses, or when the parent went meanwhile.
pub fn die_with_parent() -> Result<(), Error> {
    let parent = getppid();
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|_| Error::refused("cannot die with the parent"))?;
    if getppid() != parent {
        return Err(Error::refused("the parent is gone"));
    }
    Ok(())
}
