//! Children that were killed and have not ended yet: in a system call on a file
//! system that does not answer, a kill comes through only when that does. Nobody
//! waits for them; each is reaped when it ends, and until then its jail is left
//! alone.

use colibri_tenant::{ErrorName, Fault, JailName};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::process::Child;
use tokio::time::timeout;

/// What a child that is not held up by its system call needs to end.
const DYING: Duration = Duration::from_secs(1);

/// How many there are of each jail.
#[derive(Clone, Debug, Default)]
pub struct Leaving(Arc<Mutex<HashMap<JailName, u32>>>);

impl Leaving {
    /// Proceeds only in a jail that has none.
    ///
    /// # Errors
    /// `RootUnresponsive`.
    pub fn none(&self, jail: &JailName) -> Result<(), Fault> {
        match self.with(|all| all.get(jail).copied()) {
            None => Ok(()),
            Some(_) => {
                let message = format!("the root of {jail} does not answer: a process there cannot be ended");
                Err(Fault::new(ErrorName::RootUnresponsive, message))
            }
        }
    }

    /// Kills a child and reaps it, now or whenever it ends.
    ///
    /// # Errors
    /// `RootUnresponsive` where it does not end at once.
    pub async fn kill(&self, jail: &JailName, mut child: Child) -> Result<(), Fault> {
        let _gone = child.start_kill();
        if timeout(DYING, child.wait()).await.is_ok() {
            return Ok(());
        }
        self.with(|all| *all.entry(jail.clone()).or_default() += 1);
        tracing::warn!(%jail, pid = child.id(), "a process does not end: its file system does not answer");
        let (leaving, name) = (self.clone(), jail.clone());
        tokio::spawn(async move {
            let _status = child.wait().await;
            leaving.forget(&name);
        });
        self.none(jail)
    }

    fn forget(&self, jail: &JailName) {
        self.with(|all| {
            if let Some(count) = all.get_mut(jail) {
                *count -= 1;
                if *count == 0 {
                    all.remove(jail);
                }
            }
        });
        tracing::info!(%jail, "the process that did not end has ended");
    }

    fn with<T>(&self, look: impl FnOnce(&mut HashMap<JailName, u32>) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
