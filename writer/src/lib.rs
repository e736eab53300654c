//! The privileged half of the pair, as a library: so that its loop can be
//! fuzzed and its sandbox be tried out. It holds one directory, one socket and
//! its report pipe, and nothing else.

#[cfg(not(any(target_os = "freebsd", target_os = "linux")))]
compile_error!("no sandbox here, so no writer here");

mod error;
pub mod harden;
pub mod receive;
pub mod sandbox;
pub mod store;
pub mod target;

pub use error::Error;
