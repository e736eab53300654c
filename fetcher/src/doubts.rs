//! What is thought of a list of `bw` that differs from what it has stored: it
//! is asked for again, then by a new `bw serve`; what even that does not put
//! right is believed, with a warning.

use colibri_session::Failure;
use colibri_tenant::ErrorName::VaultError;
use colibri_vault::warnings::quoted;
use std::collections::BTreeSet;

/// How many differences of one list are looked at.
pub const MAX_FOUND: usize = 1000;
/// How many new `bw serve` in a row may have been of no use.
pub const MAX_RENEWALS: u32 = 3;

/// An entry of a list that is not as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// The collection's id for a list of items; empty for that of collections.
    pub list: String,
    /// The entry's id.
    pub id: String,
    /// What tells its states apart, as stored.
    pub stored: Option<String>,
    /// Whether it is listed at all.
    pub listed: bool,
}

/// What is thought of a list.
#[derive(Debug, PartialEq, Eq)]
pub enum Weighed {
    /// It is believed.
    Sound,
    /// It is believed for want of better, and this is said.
    Warned(String),
    /// It is not believed yet.
    Doubted(BTreeSet<Difference>),
    /// An item is stored and not listed, whatever is done: it is not gone, but cannot
    /// be read, and this is said.
    Unreadable(String),
}

/// The differences for which a new `bw serve` was started in a session.
#[derive(Debug, Default)]
pub struct Doubts {
    known: BTreeSet<Difference>,
    renewals: u32,
    renew: bool,
}

impl Doubts {
    /// Weighs the differences of a list.
    pub fn weigh(&mut self, list: &str, found: BTreeSet<Difference>) -> Weighed {
        let count = self.known.len();
        self.known.retain(|known| known.list != list || found.contains(known));
        if self.known.len() < count {
            self.renewals = 0;
        }
        let Some(first) = found.first() else { return Weighed::Sound };
        if self.renewals < MAX_RENEWALS && !found.is_subset(&self.known) {
            return Weighed::Doubted(found);
        }
        let unlisted = found.iter().find(|one| !list.is_empty() && !one.listed);
        if let Some(one) = unlisted {
            let id = quoted(&one.id);
            return Weighed::Unreadable(format!(
                "the vault has an item with the id {id} that bw does not list: it cannot decrypt it"
            ));
        }
        let what = if list.is_empty() { "collection" } else { "item" };
        Weighed::Warned(format!(
            "bw does not list {what} {} as it has stored it, {}{} of the list in all",
            quoted(&first.id),
            if found.len() < MAX_FOUND { "" } else { "at least " },
            found.len()
        ))
    }

    /// A new `bw serve` is needed.
    pub fn renew(&mut self, found: BTreeSet<Difference>) -> Failure {
        self.known.extend(found);
        self.renewals += 1;
        self.renew = true;
        Failure::new(VaultError, "bw lists other than it has stored")
    }

    /// Whether a new `bw serve` is needed; once.
    pub fn renewing(&mut self) -> bool {
        std::mem::take(&mut self.renew)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(list: &str, id: &str, stored: &str) -> Difference {
        Difference { list: list.into(), id: id.into(), stored: Some(stored.into()), listed: true }
    }

    #[test]
    fn an_item_that_is_never_listed_is_not_taken_for_gone() {
        for (list, unreadable) in [("web", true), ("", false)] {
            let mut doubts = Doubts::default();
            let found = BTreeSet::from([Difference { listed: false, ..difference(list, "1", "a") }]);
            assert_eq!(doubts.weigh(list, found.clone()), Weighed::Doubted(found.clone()));
            doubts.renew(found.clone());
            let weighed = doubts.weigh(list, found);
            assert_eq!(matches!(weighed, Weighed::Unreadable(_)), unreadable, "{weighed:?}");
            assert_eq!(matches!(weighed, Weighed::Warned(_)), !unreadable, "{weighed:?}");
        }
    }

    #[test]
    fn what_a_new_serve_does_not_put_right_is_believed_with_a_warning() {
        let mut doubts = Doubts::default();
        let found = BTreeSet::from([difference("web", "1", "a")]);
        assert_eq!(doubts.weigh("web", BTreeSet::new()), Weighed::Sound);
        assert_eq!(doubts.weigh("web", found.clone()), Weighed::Doubted(found.clone()));
        assert_eq!(doubts.renew(found.clone()).name, VaultError);
        assert!(doubts.renewing() && !doubts.renewing());
        assert!(
            matches!(doubts.weigh("web", found.clone()), Weighed::Warned(text) if text.contains("\"1\""))
        );
        // What is new is doubted, and so is what was right in between.
        let more = BTreeSet::from([difference("web", "1", "a"), difference("web", "2", "a")]);
        assert_eq!(doubts.weigh("web", more.clone()), Weighed::Doubted(more));
        let other = BTreeSet::from([difference("db", "1", "a")]);
        assert_eq!(doubts.weigh("db", other.clone()), Weighed::Doubted(other));
        assert_eq!(doubts.weigh("web", BTreeSet::new()), Weighed::Sound);
        assert_eq!(doubts.weigh("web", found.clone()), Weighed::Doubted(found));
    }

    #[test]
    fn a_vault_that_no_new_serve_helps_is_not_doubted_for_ever() {
        let mut doubts = Doubts::default();
        for list in ["1", "2", "3"] {
            let found = BTreeSet::from([difference(list, "x", "a")]);
            assert!(matches!(doubts.weigh(list, found.clone()), Weighed::Doubted(_)));
            doubts.renew(found);
        }
        assert!(matches!(doubts.weigh("4", BTreeSet::from([difference("4", "x", "a")])), Weighed::Warned(_)));
        assert_eq!(doubts.weigh("3", BTreeSet::new()), Weighed::Sound);
        assert!(matches!(
            doubts.weigh("4", BTreeSet::from([difference("4", "x", "a")])),
            Weighed::Doubted(_)
        ));
    }
}
