//! What the bell gives up before it reads a byte: all but its descriptors.

#[cfg_attr(target_os = "linux", path = "confine/linux.rs")]
#[cfg_attr(target_os = "freebsd", path = "confine/freebsd.rs")]
mod platform;

/// Leaves this process its descriptors and memory. On Linux that is this thread,
/// and the program has no other.
///
/// # Errors
/// When the system does not enforce all of it.
pub fn confine() -> anyhow::Result<()> {
    platform::confine()
}
