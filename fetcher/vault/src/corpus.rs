//! Notes in the manner of real projects, read without a vault; the end-to-end tests
//! send the same ones through `bw`.
#![cfg(test)]

use crate::answer::Item;
use crate::pairs::{Built, build};
use colibri_session::{Failure, Rules};
use colibri_tenant::{ErrorName::ValueUnreadable, KeyCase, Notes};
use std::collections::BTreeMap;

#[path = "../../../tests/e2e/corpus.rs"]
mod form;

pub use form::malformed;
use form::{Corpus, Note};

fn read(text: &str, rules: &Rules) -> Result<Built, Failure> {
    let item =
        serde_json::json!({"id": "1", "name": "env", "type": 2, "collectionIds": ["c"], "notes": text});
    let item: Item = serde_json::from_value(item).unwrap();
    build(vec![item], rules, Some(&[]))
}

fn setting<T: serde::de::DeserializeOwned>(word: &str) -> T {
    serde_json::from_value(word.into()).unwrap()
}

#[test]
fn each_note_is_read_as_its_project_means_it_or_refused() {
    let corpus: Corpus = toml::from_str(include_str!("../../../tests/e2e/corpus.toml")).unwrap();
    assert!(corpus.note.len() >= 80);
    for Note { name, text, key_case, notes, allow, values, refused, warned } in corpus.note {
        let allow = allow.into_iter().collect();
        let key_case = key_case.map_or(KeyCase::Strict, |word| setting(&word));
        let notes = notes.map_or(Notes::Sh, |word| setting(&word));
        let said = match (read(&text, &Rules { key_case, notes, allow, ..Rules::default() }), refused) {
            (Ok(built), None) => {
                let found =
                    built.pairs.iter().map(|(key, value)| (key.to_string(), value.expose().to_owned()));
                assert_eq!(found.collect::<BTreeMap<_, _>>(), values, "{name}");
                built.warnings.join("\n")
            }
            (Err(failure), Some(line)) => {
                assert_eq!(failure.name, ValueUnreadable, "{name}");
                let place = format!("line {line} of item \"env\"");
                assert!(failure.message.contains(&place), "{name}: {failure}");
                failure.message
            }
            (Ok(built), Some(_)) => panic!("{name} was read: {:?}", built.pairs.keys().collect::<Vec<_>>()),
            (Err(failure), None) => panic!("{name} was refused: {failure}"),
        };
        for word in warned {
            assert!(said.contains(&word), "{name}: {word} in {said}");
        }
    }
}

/// Refusing everything is no answer: plain and quoted assignments, of the notes
/// above and of what passwords are made of.
#[test]
fn nine_in_ten_plain_and_quoted_assignments_pass_without_a_warning() {
    let values = [
        "hunter2",
        "correct horse battery staple",
        "p@ssw0rd!",
        "a=b",
        "x#y",
        "100%",
        "(none)",
        "a,b;c",
        "3.14",
        "true",
        "https://u:p@h.example:8443/x?y=z#f",
        "postgres://app:p%40ss@db:5432/app",
        "user@example.com",
        "*/5 * * * *",
        "mLx5eWzH2uN0+/==",
        "$2y$10$abcdefghijklmnopqrstuv",
        "a&b|c",
        "<none>",
        "[x]",
        "{y}",
        "C:\\dir",
        "it is",
        "-",
        "\u{e9}\u{fc}",
        "~",
        "a:b:c",
        "Tr0ub4dor&3",
        "!",
        "^%$",
        "0123456789abcdef0123456789abcdef",
    ];
    let forms: [fn(&str) -> String; 4] = [
        |value| format!("K={value}"),
        |value| format!("export K='{value}'"),
        |value| format!("K=\"{}\"", value.replace(['\\', '$'], "")),
        |value| format!("K = '{value}' # c"),
    ];
    let notes: Vec<_> = values.iter().flat_map(|value| forms.map(|form| form(value))).collect();
    let passed = |note: &&String| read(note, &Rules::default()).is_ok_and(|built| built.warnings.is_empty());
    let passed = notes.iter().filter(passed).count();
    assert!(passed * 10 >= notes.len() * 9, "{passed} of {}", notes.len());
}
