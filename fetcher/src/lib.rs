//! The unprivileged half of the pair: one `bw` session that answers requests
//! for collections.

mod answer;
mod attempts;
mod bare;
mod belief;
mod block;
mod cage;
mod check;
mod classify;
mod confine;
#[cfg(test)]
mod corpus;
mod doubts;
mod everything;
mod item;
mod memory;
mod naming;
mod note;
mod pairs;
mod program;
mod relay;
mod requests;
mod resolver;
mod serve;
mod session;
#[cfg(all(test, target_os = "linux"))]
mod shell;
mod steps;
mod store;
mod version;
mod warden;
mod warnings;
mod word;
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
