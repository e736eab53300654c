//! Strings of the file that would say something else on a screen than they are: line
//! feeds, what reorders, what nobody sees. They are written with TOML's escapes, which
//! its writer has for control characters alone.

use colibri_tenant::plain;
use serde_json::{Map, Value};
use std::fmt::Write;

/// Encloses the number of a string; no string that is written as it is has one.
const MARK: char = '\u{e000}';

/// Puts a mark for each such string, and gives those.
pub fn taken(value: Value) -> (Value, Vec<String>) {
    let mut hidden = Vec::new();
    let value = marked(value, &mut hidden);
    (value, hidden)
}

/// Puts the strings in the places of their marks.
pub fn put(text: String, hidden: &[String]) -> String {
    let one = |text: String, (number, string): (usize, &String)| {
        text.replace(&format!("\"{}\"", mark(number)), &quoted(string))
    };
    hidden.iter().enumerate().fold(text, one)
}

fn marked(value: Value, hidden: &mut Vec<String>) -> Value {
    match value {
        Value::String(text) => Value::String(masked(text, hidden)),
        Value::Array(values) => values.into_iter().map(|value| marked(value, hidden)).collect(),
        Value::Object(values) => {
            let pairs = values.into_iter().map(|(key, value)| (masked(key, hidden), marked(value, hidden)));
            Value::Object(pairs.collect::<Map<_, _>>())
        }
        other => other,
    }
}

fn masked(text: String, hidden: &mut Vec<String>) -> String {
    if plain(&text) == text {
        return text;
    }
    hidden.push(text);
    mark(hidden.len() - 1)
}

fn mark(number: usize) -> String {
    format!("{MARK}{number}{MARK}")
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let escaped = text.chars().fold(String::new(), |mut quoted, c| {
        let _never_fails = match c {
            '"' | '\\' => write!(quoted, "\\{c}"),
            '\n' => write!(quoted, "\\n"),
            '\t' => write!(quoted, "\\t"),
            _ if plain(&c.to_string()) == c.to_string() => write!(quoted, "{c}"),
            _ => write!(quoted, "\\U{:08X}", u32::from(c)),
        };
        quoted
    });
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_screen_would_not_show_is_escaped_and_means_the_same() {
        let strings = [
            "a\nb",
            "\u{202e}x",
            "\u{e000}0\u{e000}",
            "\u{1b}[2J\"\\",
            "tab\t\r",
            "it's \"plain\" $(id)",
            "",
        ];
        let value = json!({ "x": strings, "key \u{202e}": { "a\nb": "c\u{200b}" } });
        let (masked, hidden) = taken(value.clone());
        let text = put(toml::to_string(&masked).unwrap(), &hidden);
        assert_eq!(toml::from_str::<Value>(&text).unwrap(), value, "{text}");
        assert!(text.lines().all(|line| plain(line) == line), "{text}");
    }
}
