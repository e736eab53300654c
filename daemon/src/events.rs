//! What happens, for whoever watches. Nobody waits for a slow watcher: it is
//! told how much it missed.

use colibri_control::Event;
use tokio::sync::broadcast;

const KEPT: usize = 256;

/// A handle that events are announced with and watched through.
#[derive(Clone, Debug)]
pub struct Events(broadcast::Sender<Event>);

impl Default for Events {
    fn default() -> Self {
        Self(broadcast::Sender::new(KEPT))
    }
}

impl Events {
    /// Tells all watchers; nobody may be there.
    pub fn announce(&self, event: Event) {
        let _nobody = self.0.send(event);
    }

    /// Watches from now on.
    pub fn watch(&self) -> Watcher {
        Watcher(self.0.subscribe())
    }
}

/// One watcher.
#[derive(Debug)]
pub struct Watcher(broadcast::Receiver<Event>);

impl Watcher {
    /// The next event; `None` when there will be no more.
    pub async fn next(&mut self) -> Option<Event> {
        match self.0.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(missed)) => Some(Event::Missed(missed)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}
