//! Linux: a container is entered without any program that gains rights.

/// For this process and all that come of it.
pub fn no_new_privileges() -> nix::Result<()> {
    nix::sys::prctl::set_no_new_privs()
}
