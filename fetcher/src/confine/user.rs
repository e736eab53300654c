//! FreeBSD: Capsicum would take the network away, and only root makes jails: the
//! daemon starts fetcher and warden in theirs. What is given up here is the rest.

use super::{Confinement, Part, Unconfined, View};
use rustix::process::{Resource, Rlimit, getrlimit, set_no_new_privs, setrlimit};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

/// Bounds on the fetcher, its resolver, the warden and `bw`, which what they start keeps.
/// `RLIMIT_AS` is none: Node reserves far more than it uses; memory is bounded by rctl(8),
/// and by the daemon, which looks at bw's jail.
const BOUNDS: [(Resource, u64); 3] = [
    // Of this user, on the host and in its jails; bw and the fetcher have a handful.
    (Resource::Nproc, 64),
    (Resource::Data, 2 << 30),
    // The memory file system of a session has as much.
    (Resource::Fsize, 128 << 20),
];

pub fn bw(_view: &View, _relay: u16) -> Result<Confinement, Unconfined> {
    bound()?;
    restrict(Part::Bw)
}

/// A limit that is lower already stays.
fn bound() -> Result<(), Unconfined> {
    BOUNDS.into_iter().try_for_each(|(resource, most)| {
        let before = getrlimit(resource).maximum;
        let most = Some(before.map_or(most, |before| before.min(most)));
        setrlimit(resource, Rlimit { current: most, maximum: most })
            .map_err(|error| Unconfined(format!("cannot limit {resource:?}: {error}")))
    })
}

pub fn fetcher(_dir: &Path, _inside: BorrowedFd<'_>, _vault: u16) -> Result<Confinement, Unconfined> {
    bound()?;
    restrict(Part::Fetcher)
}

pub fn hand_out(_dir: &Path) -> std::io::Result<Option<OwnedFd>> {
    Ok(None)
}

pub fn resolver() -> Result<Confinement, Unconfined> {
    bound()?;
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
