//! Values that readers of env files are known to differ on, by kind, and the
//! edge list: what items of a made-up vault hold.

use anyhow::Result;
use std::collections::BTreeMap;

/// Values of one kind: a row of the table.
#[derive(Debug)]
pub struct Kind {
    /// What they have in common.
    pub name: &'static str,
    /// Some of them.
    pub values: Vec<String>,
}

/// The values of the edge list by the names of their items.
///
/// # Errors
/// The fixture is not what it should be.
pub fn edge_list() -> Result<BTreeMap<String, String>> {
    Ok(serde_json::from_str(include_str!("../fixtures/edge.json"))?)
}

/// The kinds of the table.
pub fn kinds() -> Vec<Kind> {
    let mut kinds: Vec<Kind> = SHORT
        .iter()
        .map(|&(name, values)| Kind { name, values: values.iter().map(|&v| v.to_owned()).collect() })
        .collect();
    let controls = |range: std::ops::RangeInclusive<char>| {
        range.filter(|c| !"\t\n\r".contains(*c)).map(|c| format!("a{c}b")).collect()
    };
    kinds.push(Kind { name: "control characters, U+0001 to U+001F", values: controls('\u{1}'..='\u{1f}') });
    kinds.push(Kind { name: "control characters, U+007F to U+009F", values: controls('\u{7f}'..='\u{9f}') });
    kinds.push(Kind { name: "one line of 60,000 letters", values: vec!["k".repeat(60_000)] });
    kinds.push(Kind { name: "one line of 65,536 letters", values: vec!["k".repeat(65_536)] });
    kinds.push(Kind { name: "many lines, 60,000 letters", values: vec!["0123456789abcde\n".repeat(3750)] });
    kinds
}

const SHORT: &[(&str, &[&str])] = &[
    (
        "letters, digits, `_./:=@%+,-`",
        &["hunter2", "a=b=c", "https://u:p@h:1/x", "100%", "%s%n", "-n", "k=="],
    ),
    ("`=` in front or after `:`", &["=ls", "==", "a:=ls"]),
    ("nothing", &[""]),
    ("a blank inside", &["a b", "a\tb", "correct horse battery staple"]),
    ("a blank at an end", &["  lead", "trail  ", "\tlead", "trail\t", " "]),
    ("`#` without a blank before it", &["a#b", "a#", "a##b"]),
    ("`#` after a blank or in front", &["a #b", "#a", "a#b #c", "#"]),
    ("`$NAME`", &["$HOME", "pa$$word", "a$HOME/b", "$1"]),
    ("`${NAME}`", &["${HOME}", "a${X}b", "${X:-y}", "${"]),
    ("`$(…)`, backticks", &["$(id)", "x$(reboot)y", "`id`", "$((1+1))"]),
    ("`\"`", &["say \"hi\"", "\"", "\"quoted\""]),
    ("`'`", &["it's", "'", "'quoted'"]),
    ("`'` and `\"`", &["it's \"x\"", "'\"", "'\"'\"'"]),
    ("`'` and `$`", &["it's $5", "'$HOME'"]),
    ("`'` and a backtick", &["it's `x`"]),
    ("`'` and `#` after a blank", &["it's #1"]),
    ("`\\`", &["a\\nb\\", "\\", "C:\\new", "\\\\", "a\\\\b", "\\$", "\\\""]),
    ("`'` and `\\`", &["it's\\n", "\\'", "'\\"]),
    ("`!`, globs", &["hi!there", "!!", "!$", "*?[a]", "{a,b}"]),
    ("`;|&<>()`", &["a;b|c&d", "a>b<c", "(a)", "a&&b", "&"]),
    ("`~`", &["~root", "~", "a:~b"]),
    ("`export `, `NAME=` in front", &["export X=1", "X=1", "X: y"]),
    ("JSON", &[r#"{"a":"b c","d":[1]}"#]),
    ("a newline", &["line1\nline2", "\n", "a\n", "\na", "a\n\nb"]),
    ("a newline, then what looks like a pair", &["a\nX=1", "a\n#b\nX='1"]),
    ("a PEM block", &["-----BEGIN KEY-----\nMIIB+/==\n-----END KEY-----\n"]),
    ("a newline and `'`", &["it's\nline2"]),
    ("a newline after `\\`", &["a\\\nb"]),
    ("CR LF", &["a\r\nb", "a\r\n"]),
    ("CR", &["a\rb", "\r", "a\r"]),
    ("letters beyond ASCII", &["пароль-密码-é", "🔑", "e\u{301}", "\u{e000}\u{10fffd}"]),
    (
        "blanks beyond ASCII",
        &["a\u{a0}b", "\u{a0}a\u{2003}", "a\u{3000}", "a\u{2028}b", "\u{feff}a", "a\u{85}b", "\u{85}"],
    ),
    ("marks without a glyph", &["a\u{202e}b", "a\u{200b}", "\u{ad}", "a\u{200d}b"]),
    ("noncharacters", &["a\u{fffe}b", "\u{fdd0}", "\u{10ffff}"]),
    ("NUL", &["a\0b", "\0"]),
];
