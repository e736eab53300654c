//! FreeBSD: root of a jail is the jail's, and so are its setuid programs.

/// Leaves them be.
pub fn no_new_privileges() -> nix::Result<()> {
    Ok(())
}

/// There are none.
pub fn no_keys() -> nix::Result<()> {
    Ok(())
}
