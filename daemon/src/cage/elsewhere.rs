//! Not on FreeBSD: bubblewrap makes the cage, or nothing does.

use anyhow::bail;
use std::path::Path;

/// Refuses.
///
/// # Errors
/// Always.
pub fn admit(_file: &Path) -> anyhow::Result<()> {
    bail!("COLIBRI_BW_JAIL is for FreeBSD: here bubblewrap makes bw's cage, so leave it unset")
}
