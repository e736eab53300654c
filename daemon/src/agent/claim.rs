//! A range of agents' users is one daemon's at a time: another one on the same host,
//! with a database of its own, would give the same users to its jails.

use super::users::AgentUsers;
use std::fs::File;
use std::sync::{Arc, OnceLock};

#[cfg_attr(target_os = "freebsd", path = "claim/freebsd.rs")]
#[cfg_attr(target_os = "linux", path = "claim/linux.rs")]
mod platform;

/// What holds the range, once an agent has needed a user of it.
#[derive(Clone, Debug, Default)]
pub struct Claim(Arc<OnceLock<File>>);

impl Claim {
    /// Holds the range as long as this process lives.
    ///
    /// # Errors
    /// That another daemon does, or that it cannot be known.
    pub fn hold(&self, range: AgentUsers) -> Result<(), String> {
        if self.0.get().is_none() {
            let _one_range_for_one_process = self.0.set(platform::hold(range)?);
        }
        Ok(())
    }
}
