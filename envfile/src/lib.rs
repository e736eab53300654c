//! Pairs into the bytes of a file, in a format of which each reader is known.
//! Part of the writer's trusted base: it does no I/O, and a value is never
//! interpreted, only quoted or refused.

mod reserved;

use colibri_ipc::{EnvKey, Pair};
use colibri_order::Format;
use std::fmt::Write;
use zeroize::Zeroizing;

pub use reserved::is_reserved;

/// The comment line of the formats that have comments. It has no time stamp, so
/// that equal secrets make equal files.
pub const HEADER: &str = "# Written by colibri from the vault. Edits are lost.\n";
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

/// A file being rendered; zeroed when dropped.
#[derive(Debug)]
pub struct Document {
    format: Format,
    text: Zeroizing<String>,
}

impl Document {
    /// An empty file of that format.
    pub fn new(format: Format) -> Self {
        let start = match format {
            Format::Env | Format::Dotenv | Format::Docker => HEADER,
            Format::Json => "{",
            Format::Dir => "",
        };
        Self { format, text: Zeroizing::new(start.to_owned()) }
    }

    /// Adds one pair; the caller sees to order and bounds.
    ///
    /// # Errors
    /// When the format cannot carry the value; nothing was added.
    pub fn push(&mut self, pair: &Pair) -> Result<(), NotCarried> {
        let (key, value) = (&pair.key, pair.value.expose());
        if let Some(why) = obstacle(self.format, key, value) {
            let able = |format: &&Format| obstacle(**format, key, value).is_none();
            let able = Format::ALL.iter().filter(able).map(|format| format.as_str()).collect();
            return Err(NotCarried { key: key.clone(), format: self.format, why, able });
        }
        let text = &mut *self.text;
        match self.format {
            Format::Env | Format::Dotenv => {
                text.extend([key.as_str(), "="]);
                quote(text, value);
                text.push('\n');
            }
            Format::Docker => text.extend([key.as_str(), "=", value, "\n"]),
            Format::Json => {
                let separator = if text.len() > 1 { ",\n  \"" } else { "\n  \"" };
                text.push_str(separator);
                text.extend([key.as_str(), "\": \""]);
                escape(text, value);
                text.push('"');
            }
            // A file of its own holds the value and nothing else.
            Format::Dir => text.push_str(value),
        }
        Ok(())
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.text.len()
    }

    /// Whether it holds no byte, not even a header.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The file's bytes.
    pub fn finish(mut self) -> Zeroizing<String> {
        if self.format == Format::Json {
            let end = if self.text.len() > 1 { "\n}\n" } else { "}\n" };
            self.text.push_str(end);
        }
        self.text
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
        Format::Dotenv | Format::Docker | Format::Json | Format::Dir => None,
    }
}

/// systemd refuses a whole file with a Unicode noncharacter in it.
fn obstacle_env(value: &str) -> Option<&'static str> {
    let noncharacter = |c: char| matches!(c, '\u{FDD0}'..='\u{FDEF}') || u32::from(c) & 0xFFFE == 0xFFFE;
    value.contains(noncharacter).then_some("a Unicode noncharacter")
}

/// Bare where every byte is harmless, single quotes where there is none inside,
/// else double quotes: the one way that sh and systemd read alike. zsh takes
/// `=ls`, in front or after a colon, for the path of ls.
fn quote(text: &mut String, value: &str) {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "_./:=@%+,-".contains(c);
    let path_of = value.starts_with('=') || value.contains(":=");
    if value.chars().all(harmless) && !path_of {
        text.push_str(value);
    } else if !value.contains('\'') {
        text.extend(["'", value, "'"]);
    } else {
        text.push('"');
        for c in value.chars() {
            if "\\\"$`".contains(c) {
                text.push('\\');
            }
            text.push(c);
        }
        text.push('"');
    }
}

fn escape(text: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            // Writing to a string cannot fail.
            c if c < ' ' || c == '\u{7f}' => drop(write!(text, "\\u{:04x}", u32::from(c))),
            c => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use colibri_ipc::Secret;

    fn pair(key: &str, value: &str) -> Pair {
        Pair { key: EnvKey::try_from(key.to_owned()).unwrap(), value: Secret::new(value.to_owned()) }
    }

    fn render(format: Format, pairs: &[(&str, &str)]) -> Result<String, NotCarried> {
        let mut document = Document::new(format);
        for (key, value) in pairs {
            document.push(&pair(key, value))?;
        }
        Ok(document.finish().to_string())
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
