//! How long each step of a request took.

use super::Moment;

/// Steps, one after another.
#[derive(Clone, Debug)]
pub struct Steps {
    current: &'static str,
    since: Moment,
    done: Vec<(String, u64)>,
}

impl Steps {
    /// Begins the first step.
    pub fn new(first: &'static str, since: Moment) -> Self {
        Self { current: first, since, done: Vec::new() }
    }

    /// Ends the step under way and begins the next, if it is another.
    pub fn begin(&mut self, next: &'static str, now: Moment) {
        if next != self.current {
            self.done.push((self.current.to_owned(), millis(now.saturating_sub(self.since))));
            (self.current, self.since) = (next, now);
        }
    }

    /// The step under way.
    pub fn current(&self) -> &'static str {
        self.current
    }

    /// Name and milliseconds of each, the one under way so far.
    pub fn list(mut self, now: Moment) -> Vec<(String, u64)> {
        self.begin("", now);
        self.done
    }
}

fn millis(time: Moment) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
