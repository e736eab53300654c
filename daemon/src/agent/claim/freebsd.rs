//! FreeBSD: a jail's agents have no users of their own on the host.

use super::AgentUsers;
use std::fs::File;

pub fn hold(_range: AgentUsers) -> Result<File, String> {
    Err("a jail's agents have no users of their own here".into())
}
