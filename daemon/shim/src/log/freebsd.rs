//! FreeBSD: no process in a jail sees one of the host.

/// Does nothing.
pub fn hide() -> nix::Result<()> {
    Ok(())
}
