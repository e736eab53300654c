//! Where things lie on FreeBSD, unless settings say otherwise.

/// All jail roots: bastille's.
pub const BASE: &str = "/usr/local/bastille/jails";
/// The tenants database.
pub const STATE: &str = "/var/db/colibri";
/// Sockets and the session.
pub const RUN: &str = "/var/run/colibri";
/// The file with settings and credentials.
pub const PROVIDER: &str = "/usr/local/etc/colibri/provider.env";
/// The operator's programs for after a change.
pub const ACTIONS: &str = "/usr/local/etc/colibri/actions";
