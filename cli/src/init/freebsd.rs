//! What a FreeBSD host needs. The base directory is bastille's, which should be there
//! before: it is only closed then. pf(4) is the operator's: its rules are written beside the settings, to be included, and
//! so is the jail that bw can run in.

/// The file with settings and credentials.
pub const PROVIDER: &str = "/usr/local/etc/colibri/provider.env";
/// Directories and their modes.
pub const DIRS: &[(&str, u32)] = &[
    ("/usr/local/etc/colibri", 0o755),
    ("/var/db/colibri", 0o700),
    ("/var/log/colibri", 0o700),
    ("/usr/local/etc/newsyslog.conf.d", 0o755),
    ("/usr/local/etc/syslog.d", 0o755),
    // No package need have made it yet, and a jail is not made without it.
    ("/usr/local/share/certs", 0o755),
    // The root of bw's jail, and what bw-jail.conf mounts there.
    ("/var/db/colibri/bw-jail", 0o755),
    ("/var/db/colibri/bw-jail/dev", 0o755),
    ("/var/db/colibri/bw-jail/etc", 0o755),
    ("/var/db/colibri/bw-jail/etc/ssl", 0o755),
    ("/var/db/colibri/bw-jail/lib", 0o755),
    ("/var/db/colibri/bw-jail/libexec", 0o755),
    ("/var/db/colibri/bw-jail/usr", 0o755),
    ("/var/db/colibri/bw-jail/usr/lib", 0o755),
    ("/var/db/colibri/bw-jail/usr/share", 0o755),
    ("/var/db/colibri/bw-jail/usr/share/certs", 0o755),
    ("/var/db/colibri/bw-jail/usr/local", 0o755),
    ("/var/db/colibri/bw-jail/usr/local/bin", 0o755),
    ("/var/db/colibri/bw-jail/usr/local/lib", 0o755),
    ("/var/db/colibri/bw-jail/usr/local/libexec", 0o755),
    ("/var/db/colibri/bw-jail/usr/local/libexec/colibri", 0o755),
    ("/var/db/colibri/bw-jail/usr/local/share", 0o755),
    ("/var/db/colibri/bw-jail/usr/local/share/certs", 0o755),
    ("/var/db/colibri/bw-jail/var", 0o755),
    ("/var/db/colibri/bw-jail/var/run", 0o755),
    ("/var/db/colibri/bw-jail/var/run/colibri", 0o755),
    ("/var/db/colibri/bw-jail/var/run/colibri/session", 0o755),
    ("/var/db/colibri/bw-jail/var/run/colibri/session/bw", 0o755),
    // The root of the fetcher's, the same.
    ("/var/db/colibri/fetcher-jail", 0o755),
    ("/var/db/colibri/fetcher-jail/dev", 0o755),
    ("/var/db/colibri/fetcher-jail/etc", 0o755),
    ("/var/db/colibri/fetcher-jail/etc/ssl", 0o755),
    ("/var/db/colibri/fetcher-jail/lib", 0o755),
    ("/var/db/colibri/fetcher-jail/libexec", 0o755),
    ("/var/db/colibri/fetcher-jail/usr", 0o755),
    ("/var/db/colibri/fetcher-jail/usr/lib", 0o755),
    ("/var/db/colibri/fetcher-jail/usr/share", 0o755),
    ("/var/db/colibri/fetcher-jail/usr/share/certs", 0o755),
    ("/var/db/colibri/fetcher-jail/usr/local", 0o755),
    ("/var/db/colibri/fetcher-jail/usr/local/bin", 0o755),
    ("/var/db/colibri/fetcher-jail/usr/local/lib", 0o755),
    ("/var/db/colibri/fetcher-jail/usr/local/libexec", 0o755),
    ("/var/db/colibri/fetcher-jail/usr/local/libexec/colibri", 0o755),
    ("/var/db/colibri/fetcher-jail/usr/local/share", 0o755),
    ("/var/db/colibri/fetcher-jail/usr/local/share/certs", 0o755),
    ("/var/db/colibri/fetcher-jail/var", 0o755),
    ("/var/db/colibri/fetcher-jail/var/run", 0o755),
    ("/var/db/colibri/fetcher-jail/var/run/colibri", 0o755),
    ("/var/db/colibri/fetcher-jail/var/run/colibri/session", 0o755),
    ("/var/db/colibri/fetcher-jail/var/run/colibri/session/bw", 0o755),
];
/// Directories that others may not pass: a setuid program of a jail's root is root's.
pub const CLOSED: &[&str] = &["/usr/local/bastille/jails"];
/// Logs, for root alone: syslogd(8) writes to none that is not there.
pub const LOGS: &[&str] = &["/var/log/colibrid.log"];
/// Further files.
pub const FILES: &[(&str, &str)] = &[
    ("/usr/local/etc/colibri/bw-jail.conf", include_str!("../../../packaging/freebsd/bw-jail.conf.example")),
    (
        "/usr/local/etc/colibri/fetcher-jail.conf",
        include_str!("../../../packaging/freebsd/fetcher-jail.conf.example"),
    ),
    ("/usr/local/etc/colibri/pf.conf", include_str!("../../../packaging/freebsd/pf.conf.example")),
    ("/usr/local/etc/colibri/jail.conf", include_str!("../../../packaging/freebsd/jail.conf.example")),
    ("/usr/local/etc/colibri/rctl.conf", include_str!("../../../packaging/freebsd/rctl.conf.example")),
    (
        "/usr/local/etc/newsyslog.conf.d/colibri.conf",
        include_str!("../../../packaging/freebsd/newsyslog.conf.example"),
    ),
    ("/usr/local/etc/syslog.d/colibri.conf", include_str!("../../../packaging/freebsd/syslog.conf.example")),
];
/// Makes the fetcher's user.
pub const ADD_USER: &[&str] = &[
    "pw",
    "useradd",
    super::USER,
    "-d",
    "/nonexistent",
    "-s",
    "/usr/sbin/nologin",
    "-c",
    "Colibri's vault session",
];
/// Holds bw to the vault, then starts the daemon.
pub const START: &[&str] = &[
    "give bw its jail: COLIBRI_BW_JAIL=/usr/local/etc/colibri/bw-jail.conf in that file",
    "give the fetcher its jail: COLIBRI_FETCHER_JAIL=/usr/local/etc/colibri/fetcher-jail.conf in that file",
    "pf(4) keeps the fetcher, which has the host's network, from other hosts: see /usr/local/etc/colibri/pf.conf",
    "bound each jail: see /usr/local/etc/colibri/rctl.conf",
    "jails elsewhere than in /usr/local/bastille/jails: name their directory in that file, and chmod 700 it",
    "take the hook from /usr/local/etc/colibri/jail.conf into your jail.conf",
    "service syslogd reload: colibrid's log is /var/log/colibrid.log",
    "sysrc colibrid_enable=YES && service colibrid start",
];
