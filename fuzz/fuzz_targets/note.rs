//! The note parser. Laws: no note makes it panic, numbers of lines ascend and
//! are in the note, keys are of its alphabet, no value is longer than the note,
//! and a quoted value between two others is read back as it was.
#![no_main]

#[path = "../../fetcher/src/note.rs"]
mod note;

use note::{Line, parse};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (mut last, most) = (0, text.matches('\n').count() + 1);
    for line in parse(text) {
        let (Line::Pair(number, ..) | Line::Bad(number)) = &line;
        assert!(*number > last && *number <= most);
        last = *number;
        if let Line::Pair(_, key, value) = &line {
            assert!(!key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b)));
            assert!(value.expose().len() <= text.len());
        }
    }
    if text.contains(['\'', '\r']) {
        return;
    }
    let lines = parse(&format!("A=1\nB='{text}'\nC=3"));
    let values: Vec<_> = lines
        .iter()
        .map(|line| match line {
            Line::Pair(_, key, value) => (key.as_str(), value.expose()),
            Line::Bad(_) => ("", ""),
        })
        .collect();
    assert_eq!(values, [("A", "1"), ("B", text), ("C", "3")]);
});
