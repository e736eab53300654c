//! The directory of all jails, and who may pass through it.

/// Whether root in a jail has root's number on the host. Then a setuid program that it
/// leaves in its root is root's for whoever reaches it from the host.
pub const ROOT_INSIDE_IS_ROOT: bool = cfg!(target_os = "freebsd");

/// Whether a directory of this group and mode keeps every user but its owner out of
/// what is below it. Members of root's own group can become root anyway.
pub const fn keeps_others_out(gid: u32, mode: u32) -> bool {
    mode & 0o001 == 0 && (mode & 0o010 == 0 || gid == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_the_owner_passes_by_one_bit() {
        for (gid, mode) in [(0, 0o700), (0, 0o710), (0, 0o750), (80, 0o700), (80, 0o766), (80, 0o740)] {
            assert!(keeps_others_out(gid, mode), "{gid} {mode:o}");
        }
        for (gid, mode) in [(0, 0o755), (0, 0o711), (80, 0o710), (80, 0o750), (0, 0o1777), (80, 0o701)] {
            assert!(!keeps_others_out(gid, mode), "{gid} {mode:o}");
        }
    }
}
