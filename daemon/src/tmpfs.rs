//! A memory file system for what a session keeps, where the daemon may mount one:
//! `bw` writes the client secret there in clear. As `elsewhere` on Linux, where
//! the run directory lies on one already.

#[cfg_attr(target_os = "freebsd", path = "tmpfs/freebsd.rs")]
#[cfg_attr(not(target_os = "freebsd"), path = "tmpfs/elsewhere.rs")]
mod platform;

#[cfg(target_os = "freebsd")]
pub use platform::holds;
pub use platform::{mount, unmount};
