//! What a put would change: the pairs of a file as it is, against those of one
//! that is rendered. A file that somebody edited is read as far as it goes.

use crate::{Document, write_value};
use colibri_pair::{Change, EnvKey, Format, RAW};
use std::collections::BTreeMap;

/// How the file's pairs differ from the document's, and how many do not.
pub fn differences(
    mut file: BTreeMap<EnvKey, impl AsRef<[u8]>>,
    document: &Document,
) -> (Vec<(Change, EnvKey)>, u32) {
    let (mut found, mut same) = (Vec::new(), 0);
    let mut written = String::new();
    for (key, value) in document.pairs() {
        written.clear();
        write_value(document.format(), &mut written, value);
        match file.remove(key) {
            None => found.push((Change::Added, key.clone())),
            Some(held) if held.as_ref() == written.as_bytes() => same += 1,
            Some(_) => found.push((Change::Changed, key.clone())),
        }
    }
    found.extend(file.into_keys().map(|key| (Change::Removed, key)));
    (found, same)
}

/// Each key of a file with its value as it is written there.
pub fn pairs(format: Format, mut text: &str) -> BTreeMap<EnvKey, &str> {
    let mut found = BTreeMap::new();
    if format == Format::Raw {
        return EnvKey::try_from(RAW).map_or(found, |key| [(key, text)].into());
    }
    while !text.is_empty() {
        let (line, rest) = text.split_at(end_of_pair(format, text));
        text = rest;
        let line = line.strip_suffix('\n').unwrap_or(line);
        let pair = match format {
            Format::Json => json(line),
            _ => line.split_once('='),
        };
        if let Some((key, value)) = pair
            && let Ok(key) = EnvKey::try_from(key.to_owned())
        {
            found.insert(key, value);
        }
    }
    found
}

fn json(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_start().strip_prefix('"')?;
    let line = line.strip_suffix(',').unwrap_or(line);
    line.strip_suffix('"')?.split_once("\": \"")
}

/// Where the pair ends that `text` begins with: behind a newline that stands in
/// no quotes.
fn end_of_pair(format: Format, text: &str) -> usize {
    let quoting = matches!(format, Format::Env | Format::Dotenv) && !text.starts_with('#');
    let (mut quote, mut escaped) = (None, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\n' if quote.is_none() => return at + 1,
            b'\\' if quoting && quote != Some(b'\'') => escaped = true,
            b'\'' | b'"' if quoting && quote.is_none() => quote = Some(byte),
            byte if quote == Some(byte) => quote = None,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> EnvKey {
        EnvKey::try_from(name.to_owned()).unwrap()
    }

    fn document(format: Format, pairs: &[(&str, &str)]) -> Document {
        let mut document = Document::new(format);
        for (name, value) in pairs {
            document.push(key(name), value).unwrap();
        }
        document
    }

    #[test]
    fn what_was_rendered_is_found_again() {
        let hard =
            [("A", ""), ("B", "it's \"x\" $(id)\nC=1\n"), ("C", "'\nD=\\\n'"), ("D", "#"), ("E", "a\nF=b")];
        let plain = [("A", ""), ("B", "it's \"x\" = \\"), ("C", "#")];
        for (format, pairs) in [
            (Format::Env, &hard[..]),
            (Format::Json, &hard),
            (Format::Docker, &plain),
            (Format::Dotenv, &[("A", "a b\nC=1")]),
        ] {
            let document = document(format, pairs);
            let text = crate::tests::whole(&document);
            let found = super::pairs(format, &text);
            assert_eq!(found.len(), pairs.len(), "{format:?}");
            let (differences, same) = differences(found, &document);
            assert_eq!((differences, same as usize), (vec![], pairs.len()), "{format:?}");
        }
    }

    #[test]
    fn keys_are_told_apart_by_what_became_of_them() {
        let document = document(Format::Env, &[("A", "1"), ("B", "2"), ("C", "3")]);
        let file = super::pairs(Format::Env, "# it's a comment\nA=1\nB='2 2'\nno pair\nD=4\nE='open\n");
        let (differences, same) = differences(file, &document);
        let expected = [
            (Change::Changed, key("B")),
            (Change::Added, key("C")),
            (Change::Removed, key("D")),
            (Change::Removed, key("E")),
        ];
        assert_eq!((differences, same), (expected.to_vec(), 1));
    }
}
