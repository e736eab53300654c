//! The reader of notes. Laws: no note makes it panic, numbers of lines ascend and
//! are in the note, names are of their alphabet, no value is longer than the note
//! unless variables were put into it, and a quoted value between two others is read
//! back as it was.
#![no_main]

#[path = "../../../fetcher/vault/src/bare.rs"]
mod bare;
#[path = "../../../fetcher/vault/src/block.rs"]
mod block;
#[path = "../../../fetcher/vault/src/note.rs"]
mod note;
#[path = "../../../fetcher/vault/src/word.rs"]
mod word;

use note::{Dialect, Entry, Pair, Stray, Unread, parse};

fn check(text: &str, dialect: Dialect) {
    let (mut last, most) = (0, text.matches('\n').count() + 1);
    for entry in parse(text, dialect) {
        let (Entry::Pair(Pair { line, .. })
        | Entry::Unread(Unread { line, .. })
        | Entry::Stray(Stray { line, .. })) = &entry;
        assert!(*line > last && *line <= most);
        last = *line;
        if let Entry::Pair(Pair { name, value, .. }) = &entry {
            assert!(!name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b)));
            assert!(dialect == Dialect::Dotenv || value.expose().len() <= text.len());
        }
    }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    check(text, Dialect::Shell);
    check(text, Dialect::Dotenv);
    if text.contains(['\'', '\r']) || text.split('\n').skip(1).any(word::assigns) {
        return;
    }
    let lines = parse(&format!("A=1\nB='{text}'\nC=3"), Dialect::Shell);
    let values: Vec<_> = lines
        .iter()
        .map(|line| match line {
            Entry::Pair(Pair { name, value, .. }) => (name.as_str(), value.expose()),
            Entry::Unread(_) | Entry::Stray(..) => ("", ""),
        })
        .collect();
    assert_eq!(values, [("A", "1"), ("B", text), ("C", "3")]);
});
