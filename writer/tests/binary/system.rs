//! What these tests ask of the system, each in the system's own way.

#[cfg_attr(target_os = "linux", path = "system/linux.rs")]
#[cfg_attr(target_os = "freebsd", path = "system/freebsd.rs")]
mod platform;

pub use platform::*;
