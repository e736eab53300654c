//! FreeBSD: capability mode, in which nothing has a name.

use anyhow::{Context as _, Result, bail};
use rustix::process::{Resource, Rlimit, setrlimit};

/// Memory of this process at most, in bytes.
const MEMORY: u64 = 256 << 20;

pub fn confine() -> Result<()> {
    colibri_freebsd::hide().context("cannot become untraceable")?;
    for (resource, most) in [(Resource::Core, 0), (Resource::Data, MEMORY)] {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    if capsicum::enter().is_err() || !capsicum::sandboxed() {
        bail!("cannot enter capability mode");
    }
    Ok(())
}
