//! FreeBSD: jail(8) runs what the file says as root, so it has to be root's.

use anyhow::{Context, bail};
use nix::unistd::geteuid;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Whether the file may say what jail is made.
///
/// # Errors
/// With what is wrong, and its mend.
pub fn admit(setting: &str, file: &Path) -> anyhow::Result<()> {
    if !geteuid().is_root() {
        bail!("{setting} needs root: leave it unset, or run colibrid as root");
    }
    let shown = file.display();
    let found = file.metadata().with_context(|| format!("cannot look at {setting}, {shown}"))?;
    if !found.is_file() || found.uid() != 0 || found.mode() & 0o022 != 0 {
        bail!("{shown} has to be a file of root's that nobody else may write: chown root and chmod 644");
    }
    Ok(())
}
