//! How long each step of a request took, and which is under way.

use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// Steps, one after another. Who waits for them can look, too.
#[derive(Debug)]
pub struct Steps(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    current: &'static str,
    since: Instant,
    done: Vec<(String, u64)>,
}

impl Steps {
    /// Begins the first step at `since`.
    pub fn new(first: &'static str, since: Instant) -> Self {
        Self(Mutex::new(Inner { current: first, since, done: Vec::new() }))
    }

    /// Ends the step under way and begins the next.
    pub fn begin(&self, next: &'static str) {
        let mut inner = self.inner();
        let now = Instant::now();
        let done = (inner.current.to_owned(), millis(inner.since, now));
        inner.done.push(done);
        (inner.current, inner.since) = (next, now);
    }

    /// The step under way.
    pub fn current(&self) -> &'static str {
        self.inner().current
    }

    /// Name and milliseconds of each, the one under way so far.
    pub fn list(&self) -> Vec<(String, u64)> {
        let inner = self.inner();
        let current = (inner.current.to_owned(), millis(inner.since, Instant::now()));
        inner.done.iter().cloned().chain([current]).collect()
    }

    /// Whoever panicked while it was held left it whole.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn millis(since: Instant, now: Instant) -> u64 {
    u64::try_from(now.duration_since(since).as_millis()).unwrap_or(u64::MAX)
}
