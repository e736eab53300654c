//! A value without quotes: up to the end of its line or a comment, as it stands;
//! and what a shell would make of it.

use crate::note::{Dialect, Doubt, Head, Variables, Why};
use crate::word::{BLANK, assigns, expanded, word};

/// How far the end of a quote is looked for, in bytes.
const REACH: usize = 64 * 1024;
/// Before these a shell keeps the assignment, sets other variables, or does not go on.
const BUILTINS: &str = " : . break builtin command continue eval exec exit export getopts local mapfile \
    read readarray readonly return set shift times trap unset ";
/// Marks that word processors make of quotes.
const TYPOGRAPHIC: &str = "“”„‟‘’‚‛«»‹›′″‵‶´❛❜❝❞〝〞〟「」『』＂＇";

/// A value that was read to its end.
#[derive(Debug, Default)]
pub struct Bare {
    /// What it says.
    pub value: String,
    /// How much of the text it was, in bytes, up to the end of a line.
    pub len: usize,
    /// What not every reader would make of it.
    pub doubts: Vec<Doubt>,
    /// Why its value is none, though its end is known.
    pub trouble: Option<Why>,
}

/// Whether a character has no ink, and is no blank that every reader knows. Those
/// that only choose how the one before them looks, as in emoji, are none.
pub fn is_invisible(char: char) -> bool {
    let known = matches!(char, ' ' | '\t' | '\n' | '\r');
    // What Unicode has readers ignore, the blank of braille, and what lies between lines.
    let ignored =
        matches!(char, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}')
            || matches!(char, '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
            || matches!(char, '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}')
            || matches!(char, '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}')
            || matches!(char, '\u{e0000}'..='\u{e0fff}');
    !known && (char.is_whitespace() || char.is_control() || ignored)
}

/// Whether a here-document begins on the line.
pub fn has_heredoc(line: &str) -> bool {
    line.match_indices("<<").any(|(at, _)| {
        let word = line[at + 2..].trim_start_matches(['-', '~']).trim_start_matches(BLANK);
        let word = word.strip_prefix(['\'', '"', '\\']).unwrap_or(word);
        let begins = |char: char| char.is_ascii_alphabetic() || "_!%$.@+".contains(char);
        !line[..at].ends_with('<') && word.starts_with(begins)
    })
}

/// Reads the value of `head` that `text` begins with, after the `=`.
///
/// # Errors
/// It may go on over further lines in a way that is not known.
pub fn bare(text: &str, head: &Head<'_>, dialect: Dialect, earlier: &Variables) -> Result<Bare, Why> {
    let line = text.split('\n').next().unwrap_or_default();
    goes_on(line)?;
    if dialect == Dialect::Shell && continues(line) && line.len() < text.len() {
        return continued(text, head);
    }
    let content = uncommented(line);
    let mut bare = Bare { value: content.into(), len: line.len(), ..Bare::default() };
    bare.trouble = marred(content).or_else(|| cuts_quotes(line, content).then_some(Why::Comment));
    bare.trouble = bare.trouble.or_else(|| hides_comment(content).then_some(Why::Invisible));
    match dialect {
        Dialect::Dotenv => match expanded(content, earlier) {
            Ok(value) => bare.value = value,
            Err(why) => bare.trouble = Some(why),
        },
        Dialect::Shell => {
            bare.value = exported(content, head.name).unwrap_or(content).into();
            bare.doubts.extend(content.contains("${").then_some(Doubt::Dotenv));
            judged(&mut bare, text, head)?;
        }
    }
    bare.doubts.extend((head.colon && is_yaml(&bare.value)).then_some(Doubt::Yaml));
    bare.doubts.extend(bare.value.contains(is_invisible).then_some(Doubt::Invisible));
    Ok(bare)
}

/// A shell's reading is what is doubted, unless its quotes run on.
fn judged(bare: &mut Bare, text: &str, head: &Head<'_>) -> Result<(), Why> {
    let spaced = text.starts_with(BLANK) && !bare.value.is_empty();
    // With a backslash in front the blank after the value is a part of it, and so is
    // what would be a comment.
    let after = text[..bare.len].trim_start_matches(BLANK).get(bare.value.len()..);
    let escaped = bare.value.ends_with('\\') && after.is_some_and(|after| after.starts_with(BLANK));
    let agrees = match (head.exported, head.colon) {
        _ if escaped => false,
        // A command's name and its words, unless another command follows.
        (_, true) => !bare.value.contains([';', '&', '|']),
        // Each further word is a name to export.
        (true, _) => !spaced && !bare.value.contains(BLANK) && shell_agrees(&bare.value),
        (false, _) if spaced => is_plain_command(&bare.value),
        (false, _) => shell_agrees(&bare.value),
    };
    if agrees || bare.trouble.is_some() {
        return Ok(());
    }
    if !are_closed(&bare.value) && are_closed(text) {
        return Err(Why::Swallowed);
    }
    bare.doubts.push(Doubt::Shell);
    Ok(())
}

/// What can only be the first line of more.
fn goes_on(line: &str) -> Result<(), Why> {
    let value = uncommented(line);
    if has_heredoc(line) {
        return Err(Why::Heredoc);
    }
    if value.contains('\r') {
        return Err(Why::CarriageReturn);
    }
    let closed = |open: &str, close: &str| {
        let rest = value.rsplit_once(open).map(|(_, rest)| rest);
        rest.is_none_or(|rest| rest.contains(close))
    };
    let array = value.starts_with('(') && !value.contains(')');
    // A command that is made of what another prints may set anything.
    let command = [" `", "\t`", " $(", "\t$("].iter().any(|word| value.contains(word));
    if array || command || !closed("$(", ")") || !closed("${", "}") {
        return Err(Why::Code);
    }
    Ok(())
}

/// What YAML reads as more than its letters.
fn is_yaml(value: &str) -> bool {
    let word = ["null", "Null", "NULL", "~"].contains(&value);
    word || value.starts_with(['&', '*', '!', '|', '>', '%', '@', '{', '[', '`'])
}

/// Up to a blank and `#`; blanks at the ends are no part of it.
pub fn uncommented(line: &str) -> &str {
    let comment = line.char_indices().find(|&(at, char)| char == '#' && line[..at].ends_with(BLANK));
    comment.map_or(line, |(at, _)| &line[..at]).trim_matches(BLANK)
}

/// What is at an end of the value and was hardly meant.
fn marred(value: &str) -> Option<Why> {
    let ends = |of: fn(char) -> bool| value.starts_with(of) || value.ends_with(of);
    if ends(|char| TYPOGRAPHIC.contains(char)) {
        Some(Why::Typographic)
    } else {
        ends(is_invisible).then_some(Why::Invisible)
    }
}

/// Whether a `#` stands behind a blank that only looks like one.
fn hides_comment(value: &str) -> bool {
    value.match_indices('#').any(|(at, _)| value[..at].ends_with(is_invisible))
}

/// Whether a quote that is opened in the value closes in its comment.
fn cuts_quotes(line: &str, value: &str) -> bool {
    let odd = |text: &str, quote: char| text.matches(quote).count() % 2 == 1;
    ['\'', '"'].iter().any(|&quote| odd(value, quote) && !odd(line, quote))
}

/// `x` of `x; export NAME`.
fn exported<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    let (value, export) = value.rsplit_once(';').filter(|(value, _)| !value.ends_with('\\'))?;
    let exported = export.trim_matches(BLANK).strip_prefix("export")?;
    (exported.starts_with(BLANK) && exported.trim_matches(BLANK) == name)
        .then(|| value.trim_end_matches(BLANK))
}

/// Whether an odd number of backslashes ends the line, and no comment does.
pub fn continues(line: &str) -> bool {
    let backslashes = line.len() - line.trim_end_matches('\\').len();
    let commented = uncommented(line).len() < line.trim_matches(BLANK).len();
    backslashes % 2 == 1 && !commented
}

/// A value that goes on after `\` at the line's end, as systemd reads it.
fn continued(text: &str, head: &Head<'_>) -> Result<Bare, Why> {
    let mut raw = String::new();
    let (mut len, mut trouble) = (0, None);
    for line in text.split('\n') {
        let first = len == 0;
        let comment = uncommented(line).len() < line.trim_matches(BLANK).len();
        if !first && (assigns(line) || line.trim_start_matches(BLANK).starts_with('#')) || comment {
            return Err(Why::Continuation);
        }
        if !first && line.trim_matches(BLANK).is_empty() {
            // Nothing goes on: to a shell the backslash is none, to others it is one.
            (len, trouble) = (len - 1, Some(Why::Continuation));
            break;
        }
        if !first {
            goes_on(line)?;
        }
        len += line.len();
        if !continues(line) || len == text.len() {
            raw.push_str(line);
            break;
        }
        raw.push_str(&line[..line.len() - 1]);
        len += 1;
    }
    let raw = raw.trim_matches(BLANK);
    trouble = trouble.or_else(|| marred(raw));
    // dotenv libraries end it with its first line.
    let mut bare = Bare { value: unescaped(raw), len, trouble, doubts: vec![Doubt::Dotenv] };
    let runs_on = !are_closed(raw) && are_closed(text);
    if runs_on || raw.starts_with(['\'', '"', '`']) || raw.contains("-----BEGIN") {
        return Err(Why::Continuation);
    }
    let shell = word(raw, Dialect::Shell, &Variables::new());
    let apart = text.starts_with(BLANK) || head.exported;
    if apart || !shell.is_ok_and(|word| word.len == raw.len() && !word.expands && word.value == bare.value) {
        bare.doubts.push(Doubt::Shell);
    }
    Ok(bare)
}

fn unescaped(raw: &str) -> String {
    let mut value = String::new();
    let mut chars = raw.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => value.extend(chars.next()),
            char => value.push(char),
        }
    }
    value
}

/// Whether a shell sets the variable to just this, or not at all.
pub fn shell_agrees(raw: &str) -> bool {
    match word(raw, Dialect::Shell, &Variables::new()) {
        Ok(word) if word.len == raw.len() => !word.expands && !word.ansi && word.value == raw,
        Ok(word) => is_plain_command(&raw[word.len..]),
        Err(_) => false,
    }
}

/// Whether a shell keeps an assignment that stands before this command.
pub fn is_builtin(command: &str) -> bool {
    BUILTINS.contains(&format!(" {command} "))
}

/// Words after the first that are a command's name and arguments, and no more.
fn is_plain_command(rest: &str) -> bool {
    let mut words = rest.split_ascii_whitespace();
    let plain = |word: &str| {
        word.chars()
            .all(|char| !char.is_ascii() || char.is_ascii_alphanumeric() || "_./:@%+,-".contains(char))
    };
    words.next().is_some_and(|first| plain(first) && !is_builtin(first)) && words.all(plain)
}

/// Whether all quotes that a shell sees opened are closed by the end of some line.
/// If that is a later one, it reads the lines up to there in another way.
pub fn are_closed(text: &str) -> bool {
    let (mut quote, mut blank) = (None, false);
    let mut chars = text.chars().take(REACH).peekable();
    while let Some(char) = chars.next() {
        match quote {
            None if char == '\n' => return true,
            None if char == '#' && blank => while chars.next_if(|&char| char != '\n').is_some() {},
            None if "'\"`".contains(char) => quote = Some(char),
            Some('\'') if char != '\'' => {}
            _ if char == '\\' => drop(chars.next()),
            Some(open) if open == char => quote = None,
            _ => {}
        }
        blank = BLANK.contains(&char) || char == '\n';
    }
    quote.is_none()
}
