//! syslogd(8)'s file, where daemon(8) sends what colibrid says.

/// Prints its end.
pub const READ: &[&str] = &["tail", "-n", "500", "/var/log/colibrid.log"];
