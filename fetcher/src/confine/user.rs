//! FreeBSD: Capsicum would take the network away, and only root makes jails: the
//! daemon starts fetcher and warden in theirs. What is given up here is the rest.

use super::{Confinement, Part, Unconfined, View};
use rustix::process::{Resource, Rlimit, set_no_new_privs, setrlimit};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

pub fn bw(_view: &View, _relay: u16) -> Result<Confinement, Unconfined> {
    restrict(Part::Bw)
}

pub fn fetcher(_dir: &Path, _inside: BorrowedFd<'_>, _vault: u16) -> Result<Confinement, Unconfined> {
    restrict(Part::Fetcher)
}

pub fn hand_out(_dir: &Path) -> std::io::Result<Option<OwnedFd>> {
    Ok(None)
}

pub fn resolver() -> Result<Confinement, Unconfined> {
    restrict(Part::Resolver)
}

fn restrict(process: Part) -> Result<Confinement, Unconfined> {
    set_no_new_privs(None).map_err(|error| Unconfined(error.to_string()))?;
    // What else there is the daemon knows.
    Ok(Confinement { process, by: vec!["no new privileges".into()], lacking: Vec::new() })
}

pub fn hide() -> Result<(), Unconfined> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
        .map_err(|error| Unconfined(error.to_string()))?;
    colibri_freebsd::hide().map_err(|error| Unconfined(error.to_string()))
}
