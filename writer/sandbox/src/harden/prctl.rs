//! Linux's part of hardening.

use crate::Error;
use colibri_pair::Failure::SandboxUnavailable;
use nix::dir::Dir;
use nix::fcntl::OFlag;
use nix::libc;
use nix::sys::mman::MlockAllFlags;
use nix::sys::prctl;
use nix::sys::resource::{Resource, rlim_t};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::getppid;

/// Bounds the address space.
pub const MAPPED: Resource = Resource::RLIMIT_AS;
/// Most memory that may be mapped, in bytes.
pub const MEMORY: rlim_t = 64 * 1024 * 1024;
/// Largest core file: a program that core_pattern pipes to gets one at 0, none at 1.
pub const CORE: rlim_t = 1;
/// Lock pages as they are touched, so that untouched ones stay out of memory.
pub const ON_FAULT: MlockAllFlags = MlockAllFlags::from_bits_retain(libc::MCL_ONFAULT);

/// Refuses a process that inherited more than its three descriptors.
///
/// # Errors
/// When there is one more, or when it cannot be known.
pub fn alone() -> Result<(), Error> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let open = Dir::open("/proc/self/fd", flags, Mode::empty())
        .and_then(|mut listing| listing.iter().try_fold(0, |count, entry| entry.map(|_| count + 1)));
    match open {
        // Two dots, three of ours, and the listing itself.
        Ok(6) => Ok(()),
        Ok(_) => Err(Error::refused("there are inherited descriptors")),
        Err(_) => Err(Error::refused("cannot list the inherited descriptors")),
    }
}

/// Keeps other processes, of the same user too, from reading this one.
///
/// # Errors
/// When the system refuses.
pub fn hide() -> Result<(), Error> {
    prctl::set_dumpable(false).map_err(Error::system(SandboxUnavailable, "cannot become undumpable"))
}

/// Ends this process when its parent ends. To be said again after a change of
/// user, which clears it.
///
/// # Errors
/// When the system refuses, or when the parent went meanwhile.
pub fn die_with_parent() -> Result<(), Error> {
    let parent = getppid();
    prctl::set_pdeathsig(Signal::SIGKILL)
        .map_err(Error::system(SandboxUnavailable, "cannot die with the parent"))?;
    if getppid() != parent {
        return Err(Error::refused("the parent is gone"));
    }
    Ok(())
}
