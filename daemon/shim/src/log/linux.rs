//! Linux: it runs as the agent's user, who shall not look into it.

/// No other process of its user may trace it or open its descriptors.
pub fn hide() -> nix::Result<()> {
    nix::sys::prctl::set_dumpable(false)
}
