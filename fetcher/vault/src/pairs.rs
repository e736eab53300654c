//! From a collection's items to the pairs of one file. Pure: the same items in
//! any order give the same pairs, warnings and failures.

use crate::answer::Item;
use crate::item::{Found, Skipped, Unread, contents};
use crate::naming::{self, Named};
use crate::warnings::{Warnings, quoted};
use colibri_pair::{EnvKey, Format, MAX_PAIRS, MAX_TOTAL, MAX_VALUE, RAW, Secret};
use colibri_session::{Failure, Rules};
use colibri_tenant::ErrorName::{
    CollectionUnreadable, KeyConflict, KeyMissing, LimitExceeded, ValueNotCarried, ValueUnreadable,
};
use colibri_tenant::{KeyCase, OnDuplicate};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Most bytes of all keys: their list has to fit in one word to the daemon.
const MAX_KEYS: usize = 64 * 1024;

/// The pairs, ascending, and what is to be said about them.
#[derive(Debug, Default)]
pub struct Built {
    /// Key to value.
    pub pairs: BTreeMap<EnvKey, Secret>,
    /// What was skipped, or is doubtful.
    pub warnings: Vec<String>,
}

/// Most places that one failure names.
const MAX_NAMED: usize = 5;

/// Builds the pairs of one file, which holds the keys `held` now; `None` if that is
/// not known.
///
/// # Errors
/// `CollectionUnreadable`, `KeyConflict`, `KeyMissing`, `LimitExceeded`,
/// `ValueUnreadable` or `ValueNotCarried`, naming items and keys, never a value,
/// with the warnings so far.
pub fn build(items: Vec<Item>, rules: &Rules, held: Option<&[String]>) -> Result<Built, Failure> {
    let mut warnings = Warnings::default();
    match pairs(items, rules, held, &mut warnings) {
        Ok(pairs) => Ok(Built { pairs, warnings: warnings.into_lines() }),
        Err(failure) => Err(Failure { warnings: warnings.into_lines(), ..failure }),
    }
}

fn pairs(
    mut items: Vec<Item>,
    rules: &Rules,
    held: Option<&[String]>,
    warnings: &mut Warnings,
) -> Result<BTreeMap<EnvKey, Secret>, Failure> {
    let (mut chosen, mut unread, mut skipped) = (BTreeMap::new(), Vec::new(), Vec::new());
    items.retain(|item| item.deleted_date.is_none() && item.archived_date.is_none());
    if let Some(name) = &rules.item {
        return whole(items, name);
    }
    items.retain(|item| !rules.taken.iter().any(|name| is_named(item, name)));
    items.sort_by(|a, b| a.id.cmp(&b.id));
    for item in items {
        readable(&item)?;
        let contents = contents(item, rules, warnings);
        unread.extend(contents.unread);
        skipped.extend(contents.skipped);
        for one in contents.found {
            if let Some(key) = key(&one, rules, warnings) {
                one.doubts
                    .iter()
                    .for_each(|doubt| warnings.add(format!("{key}, {}: {}", one.label, doubt.text())));
                choose(&mut chosen, key, one, rules.on_duplicate, warnings)?;
            }
        }
    }
    let named = named(&skipped, &chosen, rules, held.unwrap_or_default());
    told(unread, named, rules, held, warnings)?;
    expected(&chosen, rules)?;
    bounds(&chosen)?;
    doubtful(&chosen, rules, warnings);
    if Format::parse(&rules.format) == Some(Format::Raw) {
        return single(chosen);
    }
    Ok(chosen.into_iter().map(|(key, found)| (key, found.value)).collect())
}

/// Whether an item bears a name, but for what cannot be seen around it.
pub fn is_named(item: &Item, name: &str) -> bool {
    naming::trimmed(&item.name) == naming::trimmed(name)
}

/// The value of the item that a raw file is: a login's password, a note's text, an SSH
/// key's private key.
fn whole(mut items: Vec<Item>, name: &str) -> Result<BTreeMap<EnvKey, Secret>, Failure> {
    items.retain(|item| is_named(item, name));
    if items.len() > 1 {
        return Err(Failure::new(KeyConflict, format!("more than one item has the name {}", quoted(name))));
    }
    let missing = || Failure::new(KeyMissing, format!("the vault has no item {}", quoted(name)));
    let item = items.pop().ok_or_else(missing)?;
    readable(&item)?;
    let value = match item.r#type {
        1 => item.login.and_then(|login| login.password),
        2 => item.notes,
        5 => item.ssh_key.and_then(|key| key.private_key),
        _ => None,
    };
    // Nothing is no key of anybody's: the old one stays.
    let value = value.filter(|value| !value.expose().is_empty());
    let value = value.ok_or_else(|| {
        let what = "has no value: no password, note or private key, or an empty one";
        Failure::new(KeyMissing, format!("item {} {what}", quoted(&item.name)))
    })?;
    within_bounds(&format!("of item {}", quoted(&item.name)), &value)?;
    only(value)
}

/// The one key that was chosen for a raw file.
fn single(mut chosen: BTreeMap<EnvKey, Found>) -> Result<BTreeMap<EnvKey, Secret>, Failure> {
    match (chosen.pop_first(), chosen.len()) {
        (Some((_, found)), 0) => only(found.value),
        (found, more) => {
            let count = more + usize::from(found.is_some());
            let message = format!("a raw file is one key's value, and {count} keys are chosen for it");
            Err(Failure::new(KeyMissing, message))
        }
    }
}

fn only(value: Secret) -> Result<BTreeMap<EnvKey, Secret>, Failure> {
    let key = EnvKey::try_from(RAW).map_err(|error| Failure::new(ValueNotCarried, error.to_string()))?;
    Ok([(key, value)].into())
}

/// What cannot be read does not count as removed: it fails if the file has its
/// key, or may have, or should have. Else it is skipped.
fn told(
    unread: Vec<Unread>,
    mut lost: Vec<String>,
    rules: &Rules,
    held: Option<&[String]>,
    warnings: &mut Warnings,
) -> Result<(), Failure> {
    for one in unread {
        let line = format!("{}: {}", one.label, one.why.text());
        let has = |keys: &[String], key: &EnvKey| keys.iter().any(|held| held == key.as_str());
        match one.name.as_deref().map(|name| naming::key(name, rules)) {
            None => lost.push(line),
            Some(Named::Key(key)) if held.is_none_or(|held| has(held, &key)) || has(&rules.expect, &key) => {
                lost.push(format!("{key}, {line}"));
            }
            Some(Named::Key(key)) => warnings.add(format!("{key}, {line}: skipped")),
            Some(Named::Unwanted) => {}
            Some(Named::Reserved(key) | Named::Barred(key)) => {
                warnings.add(format!("{key}, {line}: skipped"))
            }
            Some(Named::Invalid(_)) => {
                warnings.add(format!("{}, {line}: skipped", quoted(&one.name.unwrap_or_default())));
            }
        }
    }
    if lost.is_empty() {
        return Ok(());
    }
    let more = lost.len().saturating_sub(MAX_NAMED);
    lost.truncate(MAX_NAMED);
    let more = if more == 0 { String::new() } else { format!("; and {more} more") };
    Err(Failure::new(ValueUnreadable, format!("cannot be read for certain: {}{more}", lost.join("; "))))
}

/// Keys that the file has, or should have, and the vault has not, though a line that is
/// skipped names them: they may stand there in a form that is not known.
fn named(
    skipped: &[Skipped],
    chosen: &BTreeMap<EnvKey, Found>,
    rules: &Rules,
    held: &[String],
) -> Vec<String> {
    let is_chosen = |name: &&String| chosen.keys().any(|key| key.as_str() == **name);
    let gone: Vec<_> = held.iter().chain(&rules.expect).filter(|name| !is_chosen(name)).collect();
    let mut named = BTreeMap::new();
    for line in skipped.iter().filter(|_| !gone.is_empty()) {
        let no_name = |char: char| !char.is_ascii_alphanumeric() && !"_-.".contains(char);
        for word in line.text.expose().split(no_name).filter(|word| !word.is_empty()) {
            if let Named::Key(key) = naming::key(word, rules)
                && gone.iter().any(|name| *name == key.as_str())
            {
                named.entry(key).or_insert_with_key(|key| {
                    let how = "write KEY=VALUE, or put it behind #";
                    format!("{key}, {}: the line is skipped, no other sets the key: {how}", line.label)
                });
            }
        }
    }
    named.into_values().collect()
}

/// A login that lacks even its empty history is one whose password the account
/// may not see: `bw` leaves both out. A name is never empty: what `bw` cannot decrypt
/// it lists without one.
fn readable(item: &Item) -> Result<(), Failure> {
    let unreadable = |message: String| Err(Failure::new(CollectionUnreadable, message));
    let password = item.login.as_ref().and_then(|login| login.password.as_ref());
    let private = item.ssh_key.as_ref().and_then(|key| key.private_key.as_ref());
    if item.name.is_empty() {
        unreadable(format!(
            "the item with the id {} has no name: bw may not be able to decrypt it",
            quoted(&item.id)
        ))
    } else if item.r#type == 1 && password.is_none() && item.password_history.is_none() {
        unreadable(format!("the password of item {} is hidden from the machine account", quoted(&item.name)))
    } else if item.r#type == 5 && private.is_none() {
        unreadable(format!("the private key of item {} cannot be read", quoted(&item.name)))
    } else {
        Ok(())
    }
}

fn key(found: &Found, rules: &Rules, warnings: &mut Warnings) -> Option<EnvKey> {
    match naming::key(&found.name, rules) {
        Named::Key(key) => return Some(key),
        Named::Unwanted => {}
        Named::Invalid(why) => {
            let name = quoted(&found.name);
            warnings.add(format!(
                "{}: {name} is no name of a variable ({why}): skipped{}",
                found.label,
                advice(&found.name, rules)
            ));
        }
        Named::Reserved(key) => warnings.add(format!(
            "{}: {key} would take over its reader and is not allowed for this tenant: skipped",
            found.label
        )),
        Named::Barred(key) => {
            warnings.add(format!(
                "{}: a shell evaluates {key} itself, so it is never written: skipped",
                found.label
            ));
        }
    }
    None
}

/// Which name, or which setting, would do.
fn advice(name: &str, rules: &Rules) -> String {
    let Some(better) = naming::better(name) else { return String::new() };
    let setting = if rules.key_case == KeyCase::Strict && naming::is_only_lower(name) {
        ", or use --key-case upper or keep"
    } else {
        ""
    };
    format!("; rename it {better}{setting}")
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
        within_bounds(&format!("of {key}"), &found.value)?;
        keys += key.as_str().len();
        total += key.as_str().len() + value.len();
        if keys > MAX_KEYS || total > MAX_TOTAL {
            return over(format!("with {key} all keys and values are too large together"));
        }
    }
    Ok(())
}

fn within_bounds(whose: &str, value: &Secret) -> Result<(), Failure> {
    if value.expose().contains('\0') {
        let message = format!("the value {whose} holds a NUL, which no format can carry");
        return Err(Failure::new(ValueNotCarried, message));
    }
    if value.expose().len() > MAX_VALUE {
        return Err(Failure::new(LimitExceeded, format!("the value {whose} is over {MAX_VALUE} bytes")));
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
    use colibri_tenant::Notes;
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
        building(items, rules, Some(&[]))
    }

    fn building(
        items: &[serde_json::Value],
        rules: &Rules,
        held: Option<&[String]>,
    ) -> Result<Built, Failure> {
        build(items.iter().map(|item| serde_json::from_value(item.clone()).unwrap()).collect(), rules, held)
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
            note("5", "A=1\n\nCANARY\nlower=CANARY"),
        ];
        let built = built(&items, &Rules::default()).unwrap();
        assert_eq!(text(&built), ["A=1"]);
        assert_eq!(built.warnings.len(), 5);
        let said = built.warnings.join("\n");
        assert!(!said.contains("CANARY") && !said.contains('\u{1b}'));
        for part in
            ["\"CARD\" (1) is a card", "bad\\u{1b}key", "LD_PRELOAD", "line 3 of item \"note\"", "line 4"]
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
            "notes": "K='x", "fields": [{"name": "X", "value": "h", "type": 1}, {"name": "low", "value": "t"}, {"name": "N"}],
            "login": {"password": "p", "username": "u", "totp": "seed", "fido2Credentials": [{}],
                "uris": [{"uri": "https://a"}, {"uri": "https://b"}]}});
        let without = built(std::slice::from_ref(&item), &Rules::default()).unwrap();
        assert_eq!(text(&without), ["A=p"]);
        let left_out = "has custom fields, 3 in number, and notes, and a seed of one-time passwords: \
            they are carried with --fields only";
        let passkeys = "has passkeys: they are not carried";
        assert_eq!(without.warnings, [passkeys, left_out].map(|what| format!("item \"A\" (1) {what}")));
        let rules = Rules { fields: true, ..Rules::default() };
        let with = built(std::slice::from_ref(&item), &rules).unwrap();
        let expected = [
            "A=p",
            "A_NOTES=K='x",
            "A_TOTP=seed",
            "A_URI=https://a",
            "A_URI_2=https://b",
            "A_USERNAME=u",
            "A_X=h",
        ];
        assert_eq!(text(&with), expected);
        assert_eq!(with.warnings.len(), 3);
        let named = ["field \"low\"", "field \"N\"", passkeys];
        assert!(with.warnings.iter().all(|line| named.iter().any(|name| line.contains(name))));
        // An item without a password has the same value as without `fields`.
        let mut open = item.clone();
        open["login"] = json!({"username": "u"});
        let open = built(&[open], &rules).unwrap();
        assert_eq!(
            (text(&open), open.warnings.len()),
            (vec!["A=".into(), "A_NOTES=K='x".into(), "A_USERNAME=u".into(), "A_X=h".into()], 3)
        );
        let conflict = built(&[item, login("2", "A_X", Some("x"))], &rules).unwrap_err();
        assert_eq!(conflict.name, KeyConflict);
    }

    #[test]
    fn an_ssh_key_is_three_variables() {
        let key = json!({"id": "1", "name": "DEPLOY", "type": 5, "collectionIds": ["c"],
            "attachments": [{"id": "f", "fileName": "x.pem", "size": "70"}],
            "sshKey": {"privateKey": "p\nq", "publicKey": "u", "keyFingerprint": "f"}});
        let found = built(std::slice::from_ref(&key), &Rules::default()).unwrap();
        assert_eq!(text(&found), ["DEPLOY=p\nq", "DEPLOY_FINGERPRINT=f", "DEPLOY_PUB=u"]);
        let said =
            r#"item "DEPLOY" (1) has attachments, 1 in number: they are carried with --attachments only"#;
        assert_eq!(found.warnings, [said]);
        let mut hidden = key;
        hidden["sshKey"]["privateKey"].take();
        assert_eq!(built(&[hidden], &Rules::default()).unwrap_err().name, CollectionUnreadable);
    }

    #[test]
    fn names_are_trimmed_and_what_would_do_is_said() {
        let found =
            built(&[login("1", "A ", Some("x")), login("2", "api-token", Some("y"))], &Rules::default());
        let found = found.unwrap();
        assert_eq!(text(&found), ["A=x"]);
        assert!(found.warnings[0].starts_with("item \"A \" (1): blanks"), "{found:?}");
        assert!(
            found.warnings[1].ends_with("rename it API_TOKEN, or use --key-case upper or keep"),
            "{found:?}"
        );
        // One that differs in blanks alone is another item's.
        let two = [login("1", "A ", Some("x")), login("2", "A", Some("y"))];
        assert_eq!(built(&two, &Rules::default()).unwrap_err().name, KeyConflict);
        let failure = built(&[login("12345678-9", "", None)], &Rules::default()).unwrap_err();
        assert_eq!(failure.name, CollectionUnreadable);
        assert!(failure.message.contains("12345678-9"), "{failure}");
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
    fn what_cannot_be_read_is_not_what_was_removed() {
        let items = [note("1", "A=1\nB='x' y\nC=2")];
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let build = |held: Option<&[String]>, rules: &Rules| building(&items, rules, held);
        let rules = Rules::default();
        // It was not in the file: the others are written.
        let skipped = build(Some(&names(&["A"])), &rules).unwrap();
        assert_eq!(text(&skipped), ["A=1", "C=2"]);
        assert!(skipped.warnings[0].starts_with("B, line 2 of item \"note\" (1): something follows"));
        let expecting = Rules { expect: names(&["B"]), ..Rules::default() };
        for (held, rules) in
            [(Some(names(&["A", "B"])), &rules), (None, &rules), (Some(names(&[])), &expecting)]
        {
            let failure = build(held.as_deref(), rules).unwrap_err();
            assert_eq!(failure.name, ValueUnreadable, "{held:?}");
            assert!(failure.message.contains("line 2 of item \"note\" (1): something follows"), "{failure}");
        }
        let unwanted = Rules { only: names(&["A"]), ..Rules::default() };
        assert_eq!(text(&build(Some(&names(&["A", "B"])), &unwanted).unwrap()), ["A=1"]);
        // Where its end cannot be told, neither can what follows it.
        let open = [note("1", "A='x\nB=1"), login("2", "C", None)];
        let failure = building(&open, &rules, Some(&[])).unwrap_err();
        assert_eq!(failure.name, ValueUnreadable);
        assert_eq!(failure.warnings, [r#"item "C" (2) has no password: its value is empty"#]);
    }

    /// Set as csh, a Dockerfile, YAML or JSON has it, a key that was in the file is not
    /// one that was removed.
    #[test]
    fn a_line_that_is_skipped_removes_no_key_that_it_names() {
        let held = ["A".to_owned(), "K".to_owned()];
        for form in
            ["setenv K v", "set -gx K v", "ENV K v", "K:\n  - v", "{\"K\": \"v\"}", "\"K\": \"v\",", "K:v"]
        {
            let items = [note("1", &format!("{form}\n\nA=1"))];
            let failure = building(&items, &Rules::default(), Some(&held)).unwrap_err();
            assert_eq!(failure.name, ValueUnreadable, "{form}");
            assert!(failure.message.contains("K, line 1 of item \"note\" (1)"), "{failure}");
            assert_eq!(failure.warnings.len(), 1 + form.matches('\n').count(), "{failure:?}");
            // Which was not in the file is skipped, and what is removed is removed.
            assert_eq!(text(&building(&items, &Rules::default(), Some(&held[..1])).unwrap()), ["A=1"]);
            let expecting = Rules { expect: vec!["K".into()], ..Rules::default() };
            assert_eq!(building(&items, &expecting, Some(&[])).unwrap_err().name, ValueUnreadable);
        }
        let items = [note("1", "# K was here\nA=1\n\nprose of OK and K9")];
        assert_eq!(text(&building(&items, &Rules::default(), Some(&held)).unwrap()), ["A=1"]);
    }

    /// Values that were made for this test, in every malformed form.
    #[test]
    fn no_piece_of_a_value_becomes_a_key_or_a_message() {
        const LINES: [&str; 4] = [
            "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC",
            "QUJDREVGR0hJSktMTU5PUFFSU1RVVldY",
            "VGhyb3dBd2F5S2V5/+abcdEFGH",
            "WDNKS0VZVFJBUFBFRA==",
        ];
        let body = LINES.join("\n");
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----");
        let no_begin = pem.split_once('\n').unwrap().1;
        let no_end = pem.rsplit_once('\n').unwrap().0;
        let capitals = "WDNKS0VZVFJBUFBF\nWDNKS0VZ====\nWDNKS0VZVFJBUA==\nWDNKS0VZVFJB=";
        let mut forms = vec![body.clone(), capitals.into()];
        for text in
            [&pem, no_begin, no_end, &body, capitals, &pem.replace('\n', " \\\n"), &pem.replace('\n', "\n  ")]
        {
            forms.extend(crate::corpus::malformed(text));
        }
        let rules = [KeyCase::Strict, KeyCase::Upper, KeyCase::Keep].map(|key_case| Rules {
            key_case,
            format: "env".into(),
            ..Rules::default()
        });
        let rules: Vec<_> = rules
            .iter()
            .flat_map(|rules| [Notes::Sh, Notes::Dotenv].map(|notes| Rules { notes, ..rules.clone() }))
            .collect();
        for form in forms {
            for rules in &rules {
                for held in [None, Some(&["K".to_owned()][..]), Some(&[])] {
                    let (keys, said) = match building(&[note("1", &form)], rules, held) {
                        Ok(built) => (built.pairs.into_keys().map(String::from).collect(), built.warnings),
                        Err(failure) => (Vec::new(), [vec![failure.message], failure.warnings].concat()),
                    };
                    assert!(
                        keys.iter().all(|key| ["K", "B", "C"].contains(&key.as_str())),
                        "{keys:?} of {form}"
                    );
                    let said = said.join("\n").to_ascii_uppercase();
                    let pieces = LINES
                        .iter()
                        .chain(&["WDNKS0VZ"])
                        .flat_map(|line| [&line[..6], &line[line.len() - 8..]]);
                    for piece in pieces {
                        let piece = piece.trim_end_matches('=').to_ascii_uppercase();
                        assert!(!said.contains(&piece), "{piece} of {form} in {said}");
                    }
                }
            }
        }
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
