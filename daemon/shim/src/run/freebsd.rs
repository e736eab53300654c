//! FreeBSD: root of a jail is the jail's, and so are its setuid programs.

/// protect(1) hands on nothing unless it is told to.
pub fn no_preference() -> std::io::Result<()> {
    Ok(())
}

/// Leaves them be.
pub fn no_new_privileges() -> nix::Result<()> {
    Ok(())
}

/// There are none.
pub fn no_keys() -> nix::Result<()> {
    Ok(())
}
