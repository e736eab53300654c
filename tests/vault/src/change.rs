//! What a change of the content means to an account: whether the bell rings for
//! it, and whether its revision date moves. As measured against a Vaultwarden.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::fixture::{Access, Account, Fixture, Item};

/// What one account notices of a change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Effect {
    /// Its revision date moves.
    pub(crate) moves: bool,
    /// The bell rings: the change was made to an item that it sees afterwards, or
    /// one that it saw was removed for good.
    pub(crate) rings: bool,
}

/// What an account sees.
#[derive(PartialEq)]
struct View<'a> {
    /// By id: the item, and which of its collections.
    items: BTreeMap<&'a str, (&'a Item, BTreeSet<&'a str>)>,
    /// By id: the name, and what may be done.
    collections: BTreeMap<&'a str, (&'a str, Access)>,
}

impl Effect {
    pub(crate) fn of(before: &Fixture, after: &Fixture, account: &Account) -> Self {
        let (old, new) = (View::of(before, account), View::of(after, account));
        let known = Collections::of(after);
        let all: HashMap<&str, &Item> = before.items().map(|item| (item.id.as_str(), item)).collect();
        let touched = |item: &Item| !all.get(item.id.as_str()).is_some_and(|old| known.same(old, item));
        let left: BTreeSet<&str> = after.items().map(|item| item.id.as_str()).collect();
        let rings = new.items.values().any(|(item, _)| touched(item))
            || old.items.keys().any(|id| !left.contains(id));
        Self { moves: rings || old != new, rings }
    }
}

/// Those that there are: to remove one is no change of its items.
struct Collections<'a>(BTreeSet<&'a str>);

impl<'a> Collections<'a> {
    fn of(fixture: &'a Fixture) -> Self {
        let all = fixture.organizations.iter().flat_map(|all| &all.collections);
        Self(all.map(|collection| collection.id.as_str()).collect())
    }

    fn same(&self, old: &Item, new: &Item) -> bool {
        let without = |item: &Item| {
            let mut item = item.clone();
            item.collections.retain(|id| self.0.contains(id.as_str()));
            item
        };
        old == new || without(old) == without(new)
    }
}

impl<'a> View<'a> {
    fn of(fixture: &'a Fixture, account: &Account) -> Self {
        let mut view = Self { items: BTreeMap::new(), collections: BTreeMap::new() };
        let own = fixture.accounts.iter().filter(|one| one.id == account.id).flat_map(|one| &one.items);
        view.items.extend(own.map(|item| (item.id.as_str(), (item, BTreeSet::new()))));
        for organization in fixture.organizations.iter().filter(|all| all.has(account)) {
            for collection in &organization.collections {
                let access = collection.access_of(account);
                if access != Access::None {
                    view.collections.insert(&collection.id, (&collection.name, access));
                }
            }
            for item in &organization.items {
                let within = item.collections.iter().map(String::as_str);
                let within: BTreeSet<_> = within.filter(|id| view.collections.contains_key(id)).collect();
                if !within.is_empty() {
                    view.items.insert(&item.id, (item, within));
                }
            }
        }
        view
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENT: Effect = Effect { moves: true, rings: false };
    const RINGS: Effect = Effect { moves: true, rings: true };

    /// One collection that the account sees with the item SEEN, one that it does not
    /// with UNSEEN.
    fn world() -> (Fixture, [String; 2]) {
        let mut fixture = Fixture::machine();
        let ids = ["seen", "unseen"].map(|name| fixture.add_collection(name));
        let hidden = fixture.collection(&ids[1]).unwrap();
        hidden.access.insert("machine@example.com".to_owned(), Access::None);
        fixture.add(Item::login("SEEN", "x").within(&ids[0]));
        fixture.add(Item::login("UNSEEN", "x").within(&ids[1]));
        fixture.settle().unwrap();
        (fixture, ids)
    }

    fn effect(change: impl FnOnce(&mut Fixture, [String; 2])) -> Effect {
        let (before, ids) = world();
        let mut after = before.clone();
        change(&mut after, ids);
        after.settle().unwrap();
        Effect::of(&before, &after, &before.accounts[0])
    }

    #[test]
    fn an_item_that_is_seen_rings_when_it_is_touched() {
        assert_eq!(effect(|it, _| it.item_named("SEEN").unwrap().set_value("y")), RINGS);
        assert_eq!(effect(|it, _| it.item_named("SEEN").unwrap().trashed = true), RINGS);
        assert_eq!(effect(|it, [seen, _]| drop(it.add(Item::login("NEW", "x").within(&seen)))), RINGS);
        let moved_in = |it: &mut Fixture, [seen, _]: [String; 2]| {
            it.item_named("UNSEEN").unwrap().collections.push(seen);
        };
        assert_eq!(effect(moved_in), RINGS);
        let removed = |it: &mut Fixture, _| {
            let id = it.item_named("SEEN").unwrap().id.clone();
            it.remove_item(&id);
        };
        assert_eq!(effect(removed), RINGS);
    }

    #[test]
    fn what_is_moved_out_or_done_to_a_collection_is_silent() {
        let moved_out = |it: &mut Fixture, [_, unseen]: [String; 2]| {
            it.item_named("SEEN").unwrap().collections = vec![unseen];
        };
        assert_eq!(effect(moved_out), SILENT);
        let renamed = |it: &mut Fixture, [seen, _]: [String; 2]| {
            it.collection(&seen).unwrap().name = "other".to_owned();
        };
        assert_eq!(effect(renamed), SILENT);
        let granted = |it: &mut Fixture, [_, unseen]: [String; 2]| {
            it.collection(&unseen).unwrap().access.clear();
        };
        assert_eq!(effect(granted), SILENT);
        assert_eq!(effect(|it, [seen, _]| it.remove_collection(&seen)), SILENT);
    }

    #[test]
    fn what_is_not_seen_is_not_told() {
        assert_eq!(effect(|it, _| it.item_named("UNSEEN").unwrap().set_value("y")), Effect::default());
        assert_eq!(effect(|_, _| ()), Effect::default());
    }
}
