//! The unprivileged half of the pair: one `bw` session that answers requests
//! for collections.

mod attempts;
mod bell;
mod bw;
mod cage;
mod check;
mod confine;
mod data_json;
mod memory;
mod program;
mod relay;
mod requests;
mod resolver;
mod serve;
mod version;
mod warden;
mod workdir;

use anyhow::Context;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Runs the fetcher; with the argument `warden` what is in its cage, with
/// `resolver` what looks names up, with `gauge` what counts memory (Linux), and with
/// `check` what looks at `bw`.
///
/// # Errors
/// One line that says what could not be done.
pub fn run() -> anyhow::Result<()> {
    let word = std::env::args_os().nth(1).unwrap_or_default();
    if word == check::CHECK {
        return check::run();
    }
    confine::hide().context("cannot hide this process's memory")?;
    if let Some(ended) = memory::counted(&word) {
        return ended;
    }
    if word == resolver::RESOLVER {
        return resolver::run();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if word == cage::WARDEN {
        return runtime.block_on(warden::run());
    }
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files })?;
    runtime.block_on(requests::run())
}
