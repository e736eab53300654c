//! systemd's journal.

/// Prints its end.
pub const READ: &[&str] = &["journalctl", "-u", "colibrid", "-n", "200", "-o", "cat", "-q", "--no-pager"];
