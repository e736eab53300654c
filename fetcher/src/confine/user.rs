//! FreeBSD: Capsicum would take the network away, and a jail is the operator's
//! to set up. What holds here is the user of its own, the private directory,
//! and the packet filter's rule for that user, which docs write out.

use super::{Unconfined, View};
use rustix::process::set_no_new_privs;
use std::path::Path;

pub fn bw(_view: &View, _relay: u16) -> Result<(), Unconfined> {
    set_no_new_privs(None).map_err(|error| Unconfined(error.to_string()))
}

pub fn fetcher(_dir: &Path, _vault: u16) -> Result<(), Unconfined> {
    set_no_new_privs(None).map_err(|error| Unconfined(error.to_string()))
}

pub fn hide() -> Result<(), Unconfined> {
    colibri_freebsd::hide().map_err(|error| Unconfined(error.to_string()))
}
