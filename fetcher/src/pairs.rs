//! From a collection's items to the pairs of one file. Pure: the same items in
//! any order give the same pairs, warnings and failures.

use crate::answer::Item;
use crate::item::{Extent, Found, found};
use crate::naming::{self, Named};
use crate::warnings::{Warnings, quoted};
use crate::words::{Failure, OnDuplicate, Rules};
use colibri_control::ErrorName::{
    CollectionUnreadable, KeyConflict, KeyMissing, LimitExceeded, ValueNotCarried,
};
use colibri_ipc::{EnvKey, MAX_PAIRS, MAX_TOTAL, MAX_VALUE, Secret};
use colibri_order::Format;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Most bytes of all keys: their list has to fit in one word to the daemon.
const MAX_KEYS: usize = 64 * 1024;

/// The pairs, ascending, and what is to be said about them.
#[derive(Debug)]
pub struct Built {
    /// Key to value.
    pub pairs: BTreeMap<EnvKey, Secret>,
    /// What was skipped, or is doubtful.
    pub warnings: Vec<String>,
}

/// Builds the pairs of one file.
///
/// # Errors
/// `CollectionUnreadable`, `KeyConflict`, `KeyMissing`, `LimitExceeded` or
/// `ValueNotCarried`, naming items and keys, never a value.
pub fn build(mut items: Vec<Item>, rules: &Rules) -> Result<Built, Failure> {
    let mut warnings = Warnings::default();
    let mut chosen = BTreeMap::new();
    let extent = if rules.fields { Extent::Fields } else { Extent::Plain };
    items.retain(|item| item.deleted_date.is_none() && item.archived_date.is_none());
    items.sort_by(|a, b| a.id.cmp(&b.id));
    for item in items {
        readable(&item)?;
        for one in found(item, extent, &mut warnings) {
            if let Some(key) = key(&one, rules, &mut warnings) {
                choose(&mut chosen, key, one, rules.on_duplicate, &mut warnings)?;
            }
        }
    }
    expected(&chosen, rules)?;
    bounds(&chosen)?;
    doubtful(&chosen, rules, &mut warnings);
    let pairs = chosen.into_iter().map(|(key, found)| (key, found.value)).collect();
    Ok(Built { pairs, warnings: warnings.into_lines() })
}

/// A login that lacks even its empty history is one whose password the account
/// may not see: `bw` leaves both out.
fn readable(item: &Item) -> Result<(), Failure> {
    let password = item.login.as_ref().and_then(|login| login.password.as_ref());
    if item.r#type == 1 && password.is_none() && item.password_history.is_none() {
        let message =
            format!("the password of item {} is hidden from the machine account", quoted(&item.name));
        return Err(Failure::new(CollectionUnreadable, message));
    }
    Ok(())
}

fn key(found: &Found, rules: &Rules, warnings: &mut Warnings) -> Option<EnvKey> {
    match naming::key(&found.name, rules) {
        Named::Key(key) => return Some(key),
        Named::Unwanted => {}
        Named::Invalid(why) => warnings.add(format!("{}: {why}: skipped", found.label)),
        Named::Reserved(key) => warnings.add(format!(
            "{}: {key} would take over its reader and is not allowed for this tenant: skipped",
            found.label
        )),
    }
    None
}

fn choose(
    chosen: &mut BTreeMap<EnvKey, Found>,
    key: EnvKey,
    found: Found,
    on_duplicate: OnDuplicate,
    warnings: &mut Warnings,
) -> Result<(), Failure> {
    let mut before = match chosen.entry(key) {
        Entry::Vacant(place) => {
            place.insert(found);
            return Ok(());
        }
        Entry::Occupied(before) => before,
    };
    let both = format!("{} and {} both become {}", before.get().label, found.label, before.key());
    if before.get().source != found.source || on_duplicate == OnDuplicate::Reject {
        return Err(Failure::new(KeyConflict, both));
    }
    warnings.add(format!("{both}: the latter is taken"));
    before.insert(found);
    Ok(())
}

fn expected(chosen: &BTreeMap<EnvKey, Found>, rules: &Rules) -> Result<(), Failure> {
    let there = |name: &str| chosen.keys().any(|key| key.as_str() == name);
    let missing: Vec<_> = rules.expect.iter().map(String::as_str).filter(|name| !there(name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::new(KeyMissing, format!("the vault has no value for {}", missing.join(", "))))
}

fn bounds(chosen: &BTreeMap<EnvKey, Found>) -> Result<(), Failure> {
    let (mut keys, mut total) = (0, 0);
    let over = |what: String| Err(Failure::new(LimitExceeded, what));
    if chosen.len() > MAX_PAIRS {
        return over(format!("{} keys; at most {MAX_PAIRS} are carried", chosen.len()));
    }
    for (key, found) in chosen {
        let value = found.value.expose();
        if value.contains('\0') {
            let message = format!("the value of {key} holds a NUL, which no format can carry");
            return Err(Failure::new(ValueNotCarried, message));
        }
        if value.len() > MAX_VALUE {
            return over(format!("the value of {key} is over {MAX_VALUE} bytes"));
        }
        keys += key.as_str().len();
        total += key.as_str().len() + value.len();
        if keys > MAX_KEYS || total > MAX_TOTAL {
            return over(format!("with {key} all keys and values are too large together"));
        }
    }
    Ok(())
}

/// The default format is read alike by sh and systemd, whatever the value; by
/// the dotenv libraries only within a class.
fn doubtful(chosen: &BTreeMap<EnvKey, Found>, rules: &Rules, warnings: &mut Warnings) {
    if Format::parse(&rules.format) == Some(Format::Env) {
        for (key, _) in chosen.iter().filter(|(_, found)| !colibri_envfile::agreed(found.value.expose())) {
            warnings
                .add(format!("{key}: sh and systemd read its value as it is, dotenv libraries do not all"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::KeyCase;
    use proptest::prelude::*;
    use serde_json::json;

    fn login(id: &str, name: &str, password: Option<&str>) -> serde_json::Value {
        json!({"id": id, "name": name, "type": 1, "collectionIds": ["c"], "passwordHistory": [],
            "login": {"password": password}})
    }

    fn note(id: &str, text: &str) -> serde_json::Value {
        json!({"id": id, "name": "note", "type": 2, "collectionIds": ["c"], "notes": text})
    }

    fn built(items: &[serde_json::Value], rules: &Rules) -> Result<Built, Failure> {
        build(items.iter().map(|item| serde_json::from_value(item.clone()).unwrap()).collect(), rules)
    }

    fn text(built: &Built) -> Vec<String> {
        built.pairs.iter().map(|(key, value)| format!("{key}={}", value.expose())).collect()
    }

    #[test]
    fn logins_and_notes_become_pairs_in_order() {
        let items =
            [login("2", "B-X", Some("it's $(id)")), note("1", "C=1\nA = 'x y'"), login("3", "E", None)];
        let built = built(&items, &Rules::default()).unwrap();
        assert_eq!(text(&built), ["A=x y", "B_X=it's $(id)", "C=1", "E="]);
        assert_eq!(built.warnings, [r#"item "E" (3) has no password: its value is empty"#]);
    }

    #[test]
    fn what_is_skipped_is_named_without_its_value() {
        let mut card = login("1", "CARD", None);
        card["type"] = json!(3);
        let mut trashed = login("2", "GONE", Some("CANARY"));
        trashed["deletedDate"] = json!("2026-01-01");
        let items = [
            card,
            trashed,
            login("3", "bad\u{1b}key", Some("CANARY")),
            login("4", "LD_PRELOAD", Some("CANARY")),
            note("5", "A=1\nCANARY\nlower=CANARY"),
        ];
        let built = built(&items, &Rules::default()).unwrap();
        assert_eq!(text(&built), ["A=1"]);
        assert_eq!(built.warnings.len(), 5);
        let said = built.warnings.join("\n");
        assert!(!said.contains("CANARY") && !said.contains('\u{1b}'));
        for part in
            ["\"CARD\" (1) is a card", "bad\\u{1b}key", "LD_PRELOAD", "line 2 of item \"note\"", "line 3"]
        {
            assert!(said.contains(part), "{part} in {said}");
        }
    }

    #[test]
    fn of_two_items_of_one_name_the_later_id_wins() {
        let items =
            [login("b", "DUP", Some("late")), login("a", "DUP", Some("early")), note("c", "X=1\nX=2")];
        let built = built(&items, &Rules::default()).unwrap();
        assert_eq!(text(&built), ["DUP=late", "X=2"]);
        assert!(built.warnings[0].starts_with(r#"item "DUP" (a) and item "DUP" (b) both become DUP"#));
        let reject = Rules { on_duplicate: OnDuplicate::Reject, ..Rules::default() };
        assert_eq!(super::tests::built(&items, &reject).unwrap_err().name, KeyConflict);
    }

    #[test]
    fn different_names_that_become_one_key_are_refused() {
        let rules = Rules { key_case: KeyCase::Upper, ..Rules::default() };
        for (one, other) in [("API-KEY", "API.KEY"), ("a", "A")] {
            let items = [login("1", one, Some("x")), login("2", other, Some("x"))];
            let failure = built(&items, &rules).unwrap_err();
            assert_eq!(failure.name, KeyConflict);
            assert!(failure.message.contains(one) && failure.message.contains(other), "{failure}");
        }
    }

    #[test]
    fn fields_are_taken_only_when_asked_for() {
        let item = json!({"id": "1", "name": "A", "type": 1, "collectionIds": ["c"], "passwordHistory": [],
            "fields": [{"name": "X", "value": "h", "type": 1}, {"name": "low", "value": "t"}, {"name": "N"}],
            "login": {"password": "p", "username": "u", "totp": "seed",
                "uris": [{"uri": "https://a"}, {"uri": "https://b"}]}});
        assert_eq!(text(&built(std::slice::from_ref(&item), &Rules::default()).unwrap()), ["A=p"]);
        let rules = Rules { fields: true, ..Rules::default() };
        let with = built(std::slice::from_ref(&item), &rules).unwrap();
        let expected =
            ["A=p", "A_TOTP=seed", "A_URI=https://a", "A_URI_2=https://b", "A_USERNAME=u", "A_X=h"];
        assert_eq!(text(&with), expected);
        assert_eq!(with.warnings.len(), 2);
        // An item without a password has the same value as without `fields`.
        let mut open = item.clone();
        open["login"] = json!({"username": "u"});
        let open = built(&[open], &rules).unwrap();
        assert_eq!(
            (text(&open), open.warnings.len()),
            (vec!["A=".into(), "A_USERNAME=u".into(), "A_X=h".into()], 3)
        );
        let conflict = built(&[item, login("2", "A_X", Some("x"))], &rules).unwrap_err();
        assert_eq!(conflict.name, KeyConflict);
    }

    #[test]
    fn a_hidden_password_is_not_an_empty_one() {
        let mut hidden = login("1", "A", None);
        hidden["passwordHistory"].take();
        let failure = built(&[hidden], &Rules::default()).unwrap_err();
        assert_eq!(failure.name, CollectionUnreadable);
    }

    #[test]
    fn expected_keys_have_to_be_there() {
        let rules = Rules { expect: vec!["A".into(), "B".into()], ..Rules::default() };
        let failure = built(&[login("1", "A", Some("x"))], &rules).unwrap_err();
        assert_eq!((failure.name, failure.message.as_str()), (KeyMissing, "the vault has no value for B"));
    }

    #[test]
    fn bounds_name_the_key() {
        let large = "x".repeat(MAX_VALUE);
        let rules = Rules::default();
        assert!(built(&[login("1", "A", Some(&large))], &rules).is_ok());
        let failure = built(&[login("1", "A", Some(&format!("{large}x")))], &rules).unwrap_err();
        assert_eq!(failure.name, LimitExceeded);
        assert!(failure.message.contains("of A "));
        let many: Vec<_> =
            (0..16).map(|at| login(&format!("{at:02}"), &format!("K{at:02}"), Some(&large))).collect();
        assert!(built(&many, &rules).unwrap_err().message.contains("K15"));
        let lines: String = (0..=MAX_PAIRS).map(|at| format!("K{at}=\n")).collect();
        assert_eq!(built(&[note("1", &lines)], &rules).unwrap_err().name, LimitExceeded);
        let failure = built(&[login("1", "A", Some("a\0b"))], &rules).unwrap_err();
        assert_eq!(failure.name, ValueNotCarried);
    }

    #[test]
    fn a_value_that_dotenv_libraries_read_differently_is_named_by_key() {
        let items = [login("1", "A", Some("plain")), login("2", "B", Some(r"CANARY\"))];
        let rules = Rules { format: "env".into(), ..Rules::default() };
        let warnings = built(&items, &rules).unwrap().warnings;
        assert_eq!(warnings, ["B: sh and systemd read its value as it is, dotenv libraries do not all"]);
        let rules = Rules { format: "json".into(), ..Rules::default() };
        assert!(built(&items, &rules).unwrap().warnings.is_empty());
    }

    proptest! {
        #[test]
        fn the_order_of_the_answer_does_not_matter(
            (ordered, shuffled) in prop::collection::vec(("[A-C]", "[a-z]{0,3}"), 0..6).prop_flat_map(|items| {
                let items: Vec<_> = items.iter().enumerate()
                    .map(|(id, (name, value))| login(&id.to_string(), name, Some(value))).collect();
                (Just(items.clone()), Just(items).prop_shuffle())
            })
        ) {
            let (one, other) = (built(&ordered, &Rules::default()).unwrap(), built(&shuffled, &Rules::default()).unwrap());
            prop_assert_eq!(text(&one), text(&other));
            prop_assert_eq!(one.warnings, other.warnings);
        }
    }
}
