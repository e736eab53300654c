//! Whom the vault's return wakes: the tenants that missed their secrets because
//! of it. One that fails again while others succeed has a trouble of its own, and
//! waits out its own backoff.

use colibri_tenant::TenantId;
use std::collections::{HashMap, HashSet};

/// The tenants that missed their secrets.
#[derive(Debug, Default)]
pub(super) struct Missed {
    waiting: HashSet<TenantId>,
    /// How many successes there had been when a tenant was woken, until it
    /// succeeds itself.
    woken: HashMap<TenantId, u64>,
    successes: u64,
}

impl Missed {
    /// A tenant got its secrets: the others are to be tried again.
    pub(super) fn succeeded(&mut self, id: &TenantId) -> HashSet<TenantId> {
        self.forget(id);
        self.successes += 1;
        let again = std::mem::take(&mut self.waiting);
        self.woken.extend(again.iter().map(|id| (id.clone(), self.successes)));
        again
    }

    /// All are to be tried again, whoever has succeeded.
    pub(super) fn woken(&mut self) -> HashSet<TenantId> {
        std::mem::take(&mut self.waiting)
    }

    /// A tenant missed its secrets, as if because of the vault.
    pub(super) fn failed(&mut self, id: TenantId) {
        // Others succeeded since it was woken, so the vault is there.
        if self.woken.get(&id).is_none_or(|then| *then == self.successes) {
            self.waiting.insert(id);
        }
    }

    /// Nothing is known of it any more.
    pub(super) fn forget(&mut self, id: &TenantId) {
        self.waiting.remove(id);
        self.woken.remove(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> TenantId {
        TenantId::try_from(name.to_owned()).unwrap()
    }

    #[test]
    fn the_vaults_return_wakes_all_that_missed_it() {
        let mut missed = Missed::default();
        missed.failed(id("a"));
        missed.failed(id("b"));
        assert_eq!(missed.succeeded(&id("c")), [id("a"), id("b")].into());
        assert_eq!(missed.succeeded(&id("c")), [].into(), "once");
    }

    #[test]
    fn one_that_fails_while_others_succeed_is_woken_by_nobody() {
        let mut missed = Missed::default();
        missed.failed(id("large"));
        assert_eq!(missed.succeeded(&id("warm")), [id("large")].into());
        for _ in 0..3 {
            assert!(missed.succeeded(&id("warm")).is_empty());
            missed.failed(id("large"));
        }
        assert!(missed.succeeded(&id("warm")).is_empty());
        // Until it has been well itself.
        assert!(missed.succeeded(&id("large")).is_empty());
        missed.failed(id("large"));
        assert_eq!(missed.succeeded(&id("warm")), [id("large")].into());
    }

    #[test]
    fn a_vault_that_goes_away_again_is_no_tenants_trouble() {
        let mut missed = Missed::default();
        missed.failed(id("a"));
        missed.succeeded(&id("b"));
        missed.failed(id("a"));
        missed.failed(id("b"));
        assert_eq!(missed.succeeded(&id("c")), [id("a"), id("b")].into());
        missed.forget(&id("a"));
        assert!(missed.succeeded(&id("c")).is_empty());
        missed.failed(id("a"));
        assert_eq!((missed.woken(), missed.woken()), ([id("a")].into(), [].into()));
        missed.failed(id("a"));
        assert_eq!(missed.woken(), [id("a")].into(), "it is still to be woken");
    }
}
