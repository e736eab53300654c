//! What a Linux host needs, as the packages make it too.

/// The file with settings and credentials.
pub const PROVIDER: &str = "/etc/colibri/provider.env";
/// Directories and their modes.
pub const DIRS: &[(&str, u32)] = &[
    ("/etc/colibri", 0o755),
    ("/srv/jails", 0o711),
    ("/var/lib/colibri", 0o700),
    ("/var/log/colibri", 0o700),
];
/// Directories that others may not pass: root in a jail is nobody on the host.
pub const CLOSED: &[&str] = &[];
/// Logs, for root alone: journald keeps colibrid's.
pub const LOGS: &[&str] = &[];
/// Further files.
pub const FILES: &[(&str, &str)] = &[];
/// Makes the fetcher's user.
pub const ADD_USER: &[&str] = &[
    "useradd",
    "--system",
    "--user-group",
    "--no-create-home",
    "--home-dir",
    "/nonexistent",
    "--shell",
    "/usr/sbin/nologin",
    "--comment",
    "Colibri's vault session",
    super::USER,
];
/// Starts the daemon.
pub const START: &[&str] = &["systemctl enable --now colibrid"];
