//! Not on FreeBSD: nothing is mounted.

use colibri_pair::Owner;
use std::io::Result;
use std::path::Path;

/// Mounts nothing.
///
/// # Errors
/// None.
pub fn mount(_dir: &Path, _owner: Owner) -> Result<()> {
    Ok(())
}

/// There is nothing to take away.
///
/// # Errors
/// None.
pub fn unmount(_dir: &Path) -> Result<()> {
    Ok(())
}
