//! Puts into the log what `bw` tries and may not (Linux). Namespaces and
//! Landlock refuse it without a word; here its system calls are heard of before
//! they happen, by a thread of the process that starts it.
//!
//! What reaches the network other than by the relay is refused here, too, and
//! here alone that it starts processes. Files are only recorded: the kernel's own
//! view of them decides.
#![cfg(target_os = "linux")]

mod call;
mod filter;
mod listener;
mod policy;
mod record;

pub use policy::Policy;

use listener::Listener;
use std::io::{Error, Result};
use std::sync::mpsc;

/// Records, from now on and for good, what all that the calling thread starts
/// tries. The thread itself is let do what it wants, slower; other threads of this process are not concerned.
///
/// # Errors
/// The system's: no seccomp, or a container around this process that listens
/// already (`EBUSY`: there can be one listener).
pub fn start(policy: Policy) -> Result<()> {
    let program = filter::program().map_err(Error::other)?;
    let (hand, take) = mpsc::sync_channel::<Listener>(1);
    // Orphans stay below this process: Yama lets it read their memory only then.
    nix::sys::prctl::set_child_subreaper(true)?;
    let own = nix::unistd::gettid().as_raw();
    // Begun before the filter is there, so that it is free of it.
    std::thread::Builder::new().name("watch".into()).spawn(move || {
        if let Ok(listener) = take.recv() {
            record::run(&listener, &policy, own);
        }
    })?;
    let listener = listener::install(&program)?;
    hand.send(listener).map_err(Error::other)
}
