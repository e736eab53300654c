//! Not on FreeBSD: bubblewrap makes the cage, or nothing does.

use anyhow::bail;
use std::path::Path;

/// Refuses.
///
/// # Errors
/// Always.
pub fn admit(setting: &str, _file: &Path) -> anyhow::Result<()> {
    bail!("{setting} is for FreeBSD: here bubblewrap and Landlock do its work, so leave it unset")
}
