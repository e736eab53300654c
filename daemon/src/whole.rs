//! Small files of the state directory, written whole or not at all.

use std::fs::{File, remove_file, rename};
use std::io::{ErrorKind, Result, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Writes a file in place of the one before, 0600, and durably.
///
/// # Errors
/// What the system refused; the one before is there then.
pub fn write(dir: &Path, name: &str, text: &str) -> Result<()> {
    let (new, file) = (dir.join(format!("{name}.new")), dir.join(name));
    match remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut written = File::options().write(true).create_new(true).mode(0o600).open(&new)?;
    written.write_all(text.as_bytes())?;
    written.sync_all()?;
    rename(&new, &file)?;
    File::open(dir)?.sync_all()
}
