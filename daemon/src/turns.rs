//! One at a time for each jail.

use colibri_tenant::JailName;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The jails for which something goes on or waits.
#[derive(Clone, Debug, Default)]
pub struct Turns(Arc<Mutex<HashMap<JailName, Arc<tokio::sync::Mutex<()>>>>>);

impl Turns {
    /// The jail's. Those that nobody waits for are forgotten.
    pub fn of(&self, jail: &JailName) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        turns.entry(jail.clone()).or_default().clone()
    }
}
