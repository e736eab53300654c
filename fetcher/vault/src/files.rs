//! From a collection's items to what each of a tenant's files gets. Pure. Each file
//! succeeds or fails by itself.

use crate::answer::Item;
use crate::answer_check::shrunken;
use crate::pairs::{self, Built};
use colibri_session::{Age, Failure, Fetch, FileFetch, Rules};
use colibri_tenant::ErrorName::LimitExceeded;

/// Most bytes of the names of all keys in all files: they go into one answer.
const MAX_KEYS: usize = 80 * 1024;

/// The rules of all files, the first's in front.
pub fn rules(fetch: &Fetch) -> impl Iterator<Item = &Rules> {
    std::iter::once(&fetch.rules).chain(fetch.further.iter().map(|file| &file.rules))
}

/// Warnings of a further file that are kept, so that those of all fit into one answer.
const MAX_WARNINGS: usize = 10;

/// Builds them all.
///
/// # Errors
/// The first file's failure, where no other gets anything; what was found before it
/// is in `warnings`.
pub fn build(
    items: Vec<Item>,
    fetch: &Fetch,
    age: Age,
    warnings: &mut Vec<String>,
) -> Result<Vec<Result<Built, Failure>>, Failure> {
    let further: Vec<_> =
        fetch.further.iter().map(|file| self::further(copies(&items, &file.rules), file, age)).collect();
    let Fetch { known_keys, shrunken_to, .. } = *fetch;
    let file = FileFetch { known_keys, shrunken_to, held: fetch.held.clone(), rules: fetch.rules.clone() };
    let mut first = one(items, &file, age);
    match &mut first {
        Ok(built) => warnings.append(&mut built.warnings),
        Err(failure) => warnings.append(&mut failure.warnings),
    }
    let mut files: Vec<_> = std::iter::once(first).chain(further).collect();
    match files.first() {
        Some(Err(failure)) if !files.iter().any(Result::is_ok) => return Err(failure.clone()),
        _ => bounded(&mut files),
    }
    Ok(files)
}

/// Only what a file can take: a value that it does not get is not copied for it.
fn copies(items: &[Item], rules: &Rules) -> Vec<Item> {
    let taken = |item: &&Item| rules.item.as_ref().is_none_or(|name| pairs::is_named(item, name));
    items.iter().filter(taken).map(Item::copy).collect()
}

fn further(items: Vec<Item>, file: &FileFetch, age: Age) -> Result<Built, Failure> {
    let few = |mut lines: Vec<String>| {
        let more = lines.len().saturating_sub(MAX_WARNINGS);
        lines.truncate(MAX_WARNINGS);
        lines.extend((more > 0).then(|| format!("{more} more warnings")));
        lines
    };
    match one(items, file, age) {
        Ok(built) => Ok(Built { warnings: few(built.warnings), ..built }),
        Err(failure) => Err(Failure { warnings: few(failure.warnings.clone()), ..failure }),
    }
}

fn one(items: Vec<Item>, file: &FileFetch, age: Age) -> Result<Built, Failure> {
    let mut built = pairs::build(items, &file.rules, file.held.as_deref())?;
    // What is old confirms nothing.
    let confirming = if age == Age::Stale { None } else { file.shrunken_to };
    match shrunken(file.known_keys, confirming, built.pairs.len(), &mut built.warnings) {
        Ok(()) => Ok(built),
        Err(failure) => {
            let shrunken_to = failure.shrunken_to.filter(|_| age == Age::Current);
            Err(Failure { shrunken_to, warnings: built.warnings, ..failure })
        }
    }
}

fn bounded(files: &mut [Result<Built, Failure>]) {
    let mut room = MAX_KEYS;
    for file in files {
        let Ok(built) = file else { continue };
        let names = built.pairs.keys().map(|key| key.as_str().len() + 8).sum::<usize>();
        match room.checked_sub(names) {
            Some(left) => room = left,
            None => *file = Err(Failure::new(LimitExceeded, "the keys of all files are too many together")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use colibri_session::{Sync, Want};
    use colibri_tenant::ErrorName::{
        AnswerShrunken, KeyConflict, KeyMissing, LimitExceeded, ValueNotCarried,
    };
    use serde_json::{Value, json};

    fn login(id: &str, name: &str, password: Option<&str>) -> Value {
        json!({"id": id, "name": name, "type": 1, "collectionIds": ["c"], "passwordHistory": [],
            "login": {"password": password}})
    }

    fn note(id: &str, name: &str, text: Option<&str>) -> Value {
        json!({"id": id, "name": name, "type": 2, "collectionIds": ["c"], "notes": text})
    }

    fn items(all: &[Value]) -> Vec<Item> {
        all.iter().map(|item| serde_json::from_value(item.clone()).unwrap()).collect()
    }

    fn only(globs: &[&str]) -> FileFetch {
        let only = globs.iter().map(|glob| (*glob).to_owned()).collect();
        FileFetch {
            held: Some(Vec::new()),
            rules: Rules { only, ..Rules::default() },
            ..FileFetch::default()
        }
    }

    fn raw(item: Option<&str>, globs: &[&str]) -> FileFetch {
        let mut file = only(globs);
        file.rules.item = item.map(str::to_owned);
        file.rules.format = "raw".into();
        file
    }

    fn fetch(taken: &[&str], further: Vec<FileFetch>) -> Fetch {
        let taken = taken.iter().map(|name| (*name).to_owned()).collect();
        Fetch {
            id: 1,
            collection: "c".into(),
            pinned: None,
            chosen: None,
            organization: None,
            sync: Sync::Changes,
            known_keys: 0,
            held: Some(Vec::new()),
            shrunken_to: None,
            rules: Rules { taken, ..Rules::default() },
            further,
            deadline_ms: 1,
            want: Want::Pairs,
        }
    }

    fn text(file: &Result<Built, Failure>) -> String {
        match file {
            Ok(built) => {
                let pairs = built.pairs.iter().map(|(key, value)| format!("{key}={}", value.expose()));
                pairs.collect::<Vec<_>>().join(" ")
            }
            Err(failure) => failure.name.to_string(),
        }
    }

    #[test]
    fn each_file_gets_what_it_chose_and_fails_by_itself() {
        let all = [
            login("1", "DB_A", Some("a")),
            login("2", "WEB_B", Some("b")),
            note("3", "TLS key", Some("-----BEGIN\nX=1\n")),
        ];
        let fetch = fetch(
            &["TLS key"],
            vec![only(&["WEB_*"]), raw(Some("TLS key"), &[]), raw(None, &["DB_A"]), raw(Some("none"), &[])],
        );
        let mut warnings = Vec::new();
        let files = build(items(&all), &fetch, Age::Current, &mut warnings).unwrap();
        let seen: Vec<_> = files.iter().map(text).collect();
        assert_eq!(seen, ["DB_A=a WEB_B=b", "WEB_B=b", "VALUE=-----BEGIN\nX=1\n", "VALUE=a", "KeyMissing"]);
        assert_eq!(warnings, [""; 0], "an item that a file takes is none of the others' business");
    }

    #[test]
    fn a_raw_file_is_one_value_or_nothing() {
        let all = [
            login("1", "A", Some("a")),
            login("2", "B", Some("b")),
            login("3", "EMPTY", None),
            note("4", "NOTE", None),
            login("5", "TWICE", Some("x")),
            login("6", "TWICE", Some("y")),
            login("7", "NUL", Some("\0")),
            json!({"id": "8", "name": "CARD", "type": 3}),
            json!({"id": "9", "name": "SSH", "type": 5, "sshKey": {"privateKey": "k", "publicKey": "p"}}),
            json!({"id": "10", "name": "GONE", "type": 1, "deletedDate": "2026", "login": {"password": "x"}}),
            login("11", "LONG", Some(&"x".repeat(65_537))),
        ];
        for (file, expected) in [
            (raw(None, &["C"]), KeyMissing.as_str()),
            (raw(None, &["A", "B"]), KeyMissing.as_str()),
            (raw(Some("EMPTY"), &[]), KeyMissing.as_str()),
            (raw(Some("NOTE"), &[]), KeyMissing.as_str()),
            (raw(Some("GONE"), &[]), KeyMissing.as_str()),
            (raw(Some("CARD"), &[]), KeyMissing.as_str()),
            (raw(Some("TWICE"), &[]), KeyConflict.as_str()),
            (raw(Some("NUL"), &[]), ValueNotCarried.as_str()),
            (raw(Some("LONG"), &[]), LimitExceeded.as_str()),
            (raw(Some("SSH"), &[]), "VALUE=k"),
            (raw(Some(" A "), &[]), "VALUE=a"),
        ] {
            let name = file.rules.item.clone();
            let first = Rules { only: vec!["A".into()], ..Rules::default() };
            let fetch = Fetch { rules: first, ..fetch(&[], vec![file]) };
            let files = build(items(&all), &fetch, Age::Current, &mut Vec::new()).unwrap();
            assert_eq!((text(&files[0]), text(&files[1])), ("A=a".into(), expected.into()), "{name:?}");
        }
    }

    #[test]
    fn a_first_file_that_fails_keeps_no_other_from_its_own() {
        let mut fetch = fetch(&[], vec![only(&["A"])]);
        fetch.rules.expect = vec!["NONE".into()];
        let all = items(&[login("1", "A", Some("a"))]);
        let files = build(all, &fetch, Age::Current, &mut Vec::new()).unwrap();
        assert_eq!((text(&files[0]), text(&files[1])), ("KeyMissing".into(), "A=a".into()));
        fetch.further = vec![raw(Some("none"), &[])];
        let all = items(&[login("1", "A", Some("a"))]);
        let failure = build(all, &fetch, Age::Current, &mut Vec::new()).unwrap_err();
        assert!(failure.message.contains("NONE"), "{failure}");
    }

    #[test]
    fn each_file_that_shrinks_is_doubted_by_itself() {
        let file = FileFetch { known_keys: 3, ..only(&["A*"]) };
        let fetch = fetch(&[], vec![file.clone(), FileFetch { shrunken_to: Some(1), ..file }]);
        for (age, third) in [(Age::Current, "A=a"), (Age::Stale, AnswerShrunken.as_str())] {
            let all = items(&[login("1", "A", Some("a"))]);
            let files = build(all, &fetch, age, &mut Vec::new()).unwrap();
            let seen: Vec<_> = files.iter().map(text).collect();
            assert_eq!(seen, ["A=a", AnswerShrunken.as_str(), third]);
        }
    }

    #[test]
    fn the_names_of_all_files_fit_into_one_answer() {
        let lines: String =
            (0..400).map(|number| format!("{}{number:03}='x'\n", "DATABASE_".repeat(11))).collect();
        let all = items(&[note("1", "note", Some(&lines))]);
        let files = build(all, &fetch(&[], vec![only(&[]); 3]), Age::Current, &mut Vec::new()).unwrap();
        let ends: Vec<_> = files.iter().map(|file| file.as_ref().map(|_| ()).map_err(|it| it.name)).collect();
        assert_eq!(ends, [Ok(()), Err(LimitExceeded), Err(LimitExceeded), Err(LimitExceeded)]);
    }
}
