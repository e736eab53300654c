//! Where things lie on Linux, unless settings say otherwise.

/// All jail roots.
pub const BASE: &str = "/srv/jails";
/// The tenants database.
pub const STATE: &str = "/var/lib/colibri";
/// Sockets and the session.
pub const RUN: &str = "/run/colibri";
/// The file with settings and credentials.
pub const PROVIDER: &str = "/etc/colibri/provider.env";
/// The operator's programs for after a change.
pub const ACTIONS: &str = "/etc/colibri/actions";
