//! Not on Linux: sockets have paths only.

use std::io::{Error, ErrorKind, Result};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::SocketAddr;

/// The address of that name.
pub fn address(name: &[u8]) -> Result<SocketAddr> {
    if name.starts_with(b"@") {
        return Err(Error::from(ErrorKind::Unsupported));
    }
    SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name))
}
