//! FreeBSD without a jail: whatever this process's children start stays below
//! it, so that it can be ended. What `bw` may reach is the packet filter's to
//! say, by the fetcher's user; the relay is on the host's loopback.

use super::View;
use colibri_session::Vault;
use rustix::process::{Pid, set_reaper_status};
use std::io::{Error, Result};
use std::path::Path;
use std::process::Command;

/// The command that runs `warden`; its arguments can be appended.
pub fn command(_vault: &Vault, _view: &View, warden: &Path) -> Result<Command> {
    set_reaper_status(true)?;
    Ok(Command::new(warden))
}

/// Ends it and all that was started there, whatever group it has gone to.
pub fn end(_top: Pid) -> Result<()> {
    colibri_freebsd::kill_descendants().map_err(Error::from)
}
