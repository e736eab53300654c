//! Files whose mode is what we say, whatever was there and whatever the umask.

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::{Context, Result};

/// Only for the owner.
pub(crate) const PRIVATE: u32 = 0o600;
/// For everybody to read.
pub(crate) const PUBLIC: u32 = 0o644;

/// Writes a file in place of the one that may be there.
pub(crate) fn write(path: &Path, mode: u32, text: &str) -> Result<()> {
    create(path, mode, text).with_context(|| format!("writing {}", path.display()))
}

fn create(path: &Path, mode: u32, text: &str) -> std::io::Result<()> {
    let _ = fs::remove_file(path);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(text.as_bytes())
}
