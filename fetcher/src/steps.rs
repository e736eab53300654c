//! How long each step of a request took.

use tokio::time::Instant;

/// Steps, each ended by a mark.
#[derive(Debug)]
pub struct Steps {
    last: Instant,
    done: Vec<(String, u64)>,
}

impl Steps {
    /// Begins the first step at `start`.
    pub fn since(start: Instant) -> Self {
        Self { last: start, done: Vec::new() }
    }

    /// Ends a step.
    pub fn mark(&mut self, name: &str) {
        let now = Instant::now();
        let took = now.duration_since(self.last).as_millis();
        self.done.push((name.to_owned(), u64::try_from(took).unwrap_or(u64::MAX)));
        self.last = now;
    }

    /// Name and milliseconds of each.
    pub fn into_list(self) -> Vec<(String, u64)> {
        self.done
    }
}
