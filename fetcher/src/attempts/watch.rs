//! Linux: its system calls are heard of.

use crate::warden::View;
use colibri_watch::Policy;
use std::io::Result;

pub fn record(view: &View, relay: u16) -> Result<()> {
    let (dir, readable) = (view.dir.clone(), view.readable.clone());
    colibri_watch::start(Policy { dir, readable, relay })
}
