//! Pairs into the bytes of a file, in a format of which each reader is known.
//! Part of the writer's trusted base: it does no I/O, and a value is never
//! interpreted, only quoted or refused.

mod difference;
mod reserved;

use colibri_pair::{EnvKey, Format};
use std::fmt::Write;
use std::ops::Range;

pub use difference::{differences, pairs};
pub use reserved::{is_barred, is_reserved};

/// The comment line of the formats that have comments; a note of the caller's stands
/// behind it. It has no time stamp, so that equal secrets make equal files.
pub const HEADER: &str = "# Written by colibri from the vault. Edits are lost.\n";
/// How much is rendered at a time, in bytes, as long as no value is longer.
const PIECE: usize = 32 * 1024;
/// Longest line that docker and podman read, in bytes.
const DOCKER_LINE: usize = 64 * 1024 - 1;

/// The format cannot carry a value.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("format {} cannot carry the value of {key}: it has {why}; formats that can: {}", format.as_str(), able.join(", "))]
pub struct NotCarried {
    /// The value's key.
    pub key: EnvKey,
    /// The format.
    pub format: Format,
    /// What the value has, in words.
    pub why: &'static str,
    /// The formats that can carry it.
    pub able: Vec<&'static str>,
}

/// Pairs that a format can carry, to be rendered a piece at a time: a file may be
/// several times as large as its values.
pub struct Document {
    format: Format,
    values: String,
    parts: Vec<(EnvKey, Range<usize>)>,
}

impl Document {
    /// An empty file of that format.
    pub const fn new(format: Format) -> Self {
        Self { format, values: String::new(), parts: Vec::new() }
    }

    /// Adds one pair; the caller sees to order and bounds.
    ///
    /// # Errors
    /// When the format cannot carry the value; nothing was added.
    pub fn push(&mut self, key: EnvKey, value: &str) -> Result<(), NotCarried> {
        if let Some(why) = obstacle(self.format, &key, value) {
            // A raw file is no other form of several pairs.
            let able =
                |format: &&Format| **format != Format::Raw && obstacle(**format, &key, value).is_none();
            let able = Format::ALL.iter().filter(able).map(|format| format.as_str()).collect();
            return Err(NotCarried { key, format: self.format, why, able });
        }
        let start = self.values.len();
        self.values.push_str(value);
        self.parts.push((key, start..self.values.len()));
        Ok(())
    }

    /// The format.
    pub const fn format(&self) -> Format {
        self.format
    }

    /// Number of pairs.
    pub const fn keys(&self) -> usize {
        self.parts.len()
    }

    /// The pairs, in the order of their coming.
    pub fn pairs(&self) -> impl DoubleEndedIterator<Item = (&EnvKey, &str)> {
        self.parts.iter().map(|(key, range)| (key, &self.values[range.clone()]))
    }

    /// Hands on the file's text, some pairs at a time. `note` is whole comment lines,
    /// or empty. A raw file is its one value. A directory of files has no text: its values
    /// are written as they are.
    ///
    /// # Errors
    /// The first of `put`'s.
    pub fn render<E>(&self, note: &str, mut put: impl FnMut(&str) -> Result<(), E>) -> Result<(), E> {
        let (start, before, between, after, end) = match self.format {
            Format::Env | Format::Dotenv | Format::Docker => ([HEADER, note], "", "=", "\n", ""),
            Format::Json => (["{", ""], "\n  \"", "\": \"", "\"", "\n}\n"),
            Format::Raw => (["", ""], "", "", "", ""),
            Format::Dir => return Ok(()),
        };
        let mut text = String::with_capacity(2 * PIECE);
        text.extend(start);
        for (place, (key, value)) in self.pairs().enumerate() {
            let comma = if place > 0 && self.format == Format::Json { "," } else { "" };
            let key = if self.format == Format::Raw { "" } else { key.as_str() };
            text.extend([comma, before, key, between]);
            write_value(self.format, &mut text, value);
            text.push_str(after);
            if text.len() >= PIECE {
                put(&text)?;
                text.clear();
            }
        }
        text.push_str(if self.keys() == 0 { end.trim_start() } else { end });
        put(&text)
    }
}

impl std::fmt::Debug for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Document({} pairs)", self.keys())
    }
}

/// The value as it stands in a file of that format.
fn write_value(format: Format, text: &mut String, value: &str) {
    match format {
        Format::Env | Format::Dotenv => quote(text, value),
        Format::Docker | Format::Dir | Format::Raw => text.push_str(value),
        Format::Json => escape(text, value),
    }
}

/// Whether the dotenv libraries read the `env` rendering of `value` as sh and
/// systemd do. They differ about backslashes, `${`, carriage returns, and every
/// escape that a value with a single quote would need.
pub fn agreed(value: &str) -> bool {
    let escaped = value.contains('\'') && value.contains(['"', '$', '`']);
    !(escaped || value.contains(['\\', '\r', '\0']) || value.contains("${")) && obstacle_env(value).is_none()
}

/// Why `format` cannot carry `value`, or `None` if it can.
fn obstacle(format: Format, key: &EnvKey, value: &str) -> Option<&'static str> {
    match format {
        _ if value.contains('\0') => Some("a NUL"),
        Format::Env => obstacle_env(value),
        Format::Dotenv if !agreed(value) => Some("characters that dotenv libraries read differently"),
        Format::Docker if value.contains('\n') => Some("a newline"),
        Format::Docker if value.ends_with('\r') => Some("a carriage return at its end"),
        Format::Docker if key.as_str().len() + 1 + value.len() > DOCKER_LINE => {
            Some("more than 64 KiB with its key")
        }
        Format::Dotenv | Format::Docker | Format::Json | Format::Dir | Format::Raw => None,
    }
}

/// systemd refuses a whole file with a Unicode noncharacter in it.
fn obstacle_env(value: &str) -> Option<&'static str> {
    let noncharacter = |c: char| matches!(c, '\u{FDD0}'..='\u{FDEF}') || u32::from(c) & 0xFFFE == 0xFFFE;
    (!value.is_ascii() && value.contains(noncharacter)).then_some("a Unicode noncharacter")
}

/// The bytes that no reader takes for anything but themselves: `[A-Za-z0-9]` and
/// `_./:=@%+,-`.
const HARMLESS: [bool; 256] = {
    let (mut table, mut byte) = ([false; 256], 0_u8);
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric()
            || matches!(byte, b'_' | b'.' | b'/' | b':' | b'=' | b'@' | b'%' | b'+' | b',' | b'-');
        byte += 1;
    }
    table
};

/// Bare where every byte is harmless, single quotes where there is none inside,
/// else double quotes: the one way that sh and systemd read alike. zsh takes
/// `=ls`, in front or after a colon, for the path of ls.
fn quote(text: &mut String, value: &str) {
    if value.bytes().all(|byte| HARMLESS[usize::from(byte)])
        && !value.starts_with('=')
        && !value.contains(":=")
    {
        text.push_str(value);
    } else if !value.contains('\'') {
        text.extend(["'", value, "'"]);
    } else {
        text.push('"');
        replace(
            text,
            value,
            |byte| matches!(byte, b'\\' | b'"' | b'$' | b'`'),
            |text, c| text.extend(['\\', c]),
        );
        text.push('"');
    }
}

fn escape(text: &mut String, value: &str) {
    let special = |byte: u8| byte < b' ' || matches!(byte, b'"' | b'\\' | 0x7f);
    replace(text, value, special, |text, c| match c {
        '"' | '\\' => text.extend(['\\', c]),
        // Writing to a string cannot fail.
        c => drop(write!(text, "\\u{:04x}", u32::from(c))),
    });
}

/// Copies `value`; in place of each special character, all of which are ASCII,
/// stands what `put` puts.
fn replace(text: &mut String, value: &str, special: impl Fn(u8) -> bool, put: impl Fn(&mut String, char)) {
    let mut rest = value;
    while let Some(at) = rest.bytes().position(&special) {
        text.push_str(&rest[..at]);
        put(text, char::from(rest.as_bytes()[at]));
        rest = &rest[at + 1..];
    }
    text.push_str(rest);
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn render(format: Format, pairs: &[(&str, &str)]) -> Result<String, NotCarried> {
        let mut document = Document::new(format);
        for (key, value) in pairs {
            document.push(EnvKey::try_from((*key).to_owned()).unwrap(), value)?;
        }
        Ok(whole(&document))
    }

    pub fn whole(document: &Document) -> String {
        let mut text = String::new();
        let all: Result<(), ()> = document.render("", |piece| {
            text.push_str(piece);
            Ok(())
        });
        all.unwrap();
        text
    }

    #[test]
    fn the_pieces_are_the_whole() {
        let mut document = Document::new(Format::Env);
        let value = "v".repeat(PIECE / 3);
        let keys = ["A", "B", "C", "D"].map(|name| EnvKey::try_from(name.to_owned()).unwrap());
        keys.iter().for_each(|key| document.push(key.clone(), &value).unwrap());
        let mut pieces = 0;
        let counted: Result<(), ()> = document.render("", |_| {
            pieces += 1;
            Ok(())
        });
        assert_eq!((counted, pieces), (Ok(()), 2));
        let lines = keys.iter().map(|key| format!("{key}={value}\n"));
        assert_eq!(whole(&document), format!("{HEADER}{}", lines.collect::<String>()));
        assert!(!format!("{document:?}").contains("vv"));
    }

    fn body(format: Format, value: &str) -> String {
        render(format, &[("K", value)]).unwrap().replace(HEADER, "")
    }

    #[test]
    fn env_quotes_only_what_has_to_be_quoted() {
        assert_eq!(body(Format::Env, ""), "K=\n");
        assert_eq!(body(Format::Env, "a=b/c:d@e%f+g,h-i.j"), "K=a=b/c:d@e%f+g,h-i.j\n");
        assert_eq!(body(Format::Env, "$(id) \\ \" #\n"), "K='$(id) \\ \" #\n'\n");
        assert_eq!(
            body(Format::Env, "it's $(id) #1 \"x\" \\ `a`"),
            "K=\"it's \\$(id) #1 \\\"x\\\" \\\\ \\`a\\`\"\n"
        );
        assert_eq!(body(Format::Env, "~root"), "K='~root'\n");
        assert_eq!(body(Format::Env, "=ls"), "K='=ls'\n");
        assert_eq!(body(Format::Env, "a:=ls"), "K='a:=ls'\n");
    }

    #[test]
    fn a_format_refuses_what_it_cannot_carry_and_names_those_that_can() {
        let refused = render(Format::Docker, &[("K", "a\nb")]).unwrap_err();
        assert_eq!(refused.able, ["env", "dotenv", "json", "dir"]);
        assert!(refused.to_string().contains("the value of K: it has a newline"), "{refused}");
        assert!(render(Format::Docker, &[("K", "a\r")]).is_err());
        assert!(render(Format::Docker, &[("K", &"v".repeat(DOCKER_LINE - 1))]).is_err());
        assert!(render(Format::Dotenv, &[("K", "${X}")]).is_err());
        assert!(render(Format::Env, &[("K", "\u{ffff}")]).is_err());
        for &format in Format::ALL {
            assert!(render(format, &[("K", "a\0b")]).unwrap_err().able.is_empty());
        }
    }

    #[test]
    fn json_is_one_object() {
        assert_eq!(render(Format::Json, &[]).unwrap(), "{}\n");
        let text = render(Format::Json, &[("A", "\"\\\n\u{1}é"), ("B", "")]).unwrap();
        assert_eq!(text, "{\n  \"A\": \"\\\"\\\\\\u000a\\u0001é\",\n  \"B\": \"\"\n}\n");
    }

    #[test]
    fn docker_is_raw() {
        assert_eq!(body(Format::Docker, "it's \"$X\" "), "K=it's \"$X\" \n");
    }

    #[test]
    fn the_error_does_not_hold_the_value() {
        let refused = render(Format::Env, &[("K", "hunter2\u{ffff}")]).unwrap_err();
        assert!(!format!("{refused} {refused:?}").contains("hunter2"));
    }
}
