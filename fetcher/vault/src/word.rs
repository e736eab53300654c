//! One word as a shell reads it: quotes of all kinds, joined, and escapes. Nothing
//! is run or expanded; what a shell or a dotenv library would is only marked.

use crate::note::{Dialect, Variables, Why};
use colibri_pair::MAX_VALUE;
use std::iter::Peekable;
use std::str::CharIndices;

/// Blanks between words.
pub const BLANK: [char; 2] = [' ', '\t'];
/// What ends a word, outside quotes, beside a blank and a newline.
const OPERATORS: [char; 7] = [';', '&', '|', '<', '>', '(', ')'];

/// A word that was read to its end.
#[derive(Debug, Default)]
pub struct Word {
    /// What it says.
    pub value: String,
    /// How much of the text it was, in bytes.
    pub len: usize,
    /// A shell would put something else in its place.
    pub expands: bool,
    /// It has `$'…'`, which dash does not know.
    pub ansi: bool,
    /// There is `\'` in it, where dash ends the quote.
    pub ansi_quote: bool,
    /// A dotenv library would read the escapes or variables in it.
    pub dotenv: bool,
    /// Quotes are joined to what is in none, or to quotes like them.
    pub joined: bool,
    /// A quoted line in it looks like an assignment.
    pub assigns: bool,
    /// Why its value is none, though its end is known.
    pub trouble: Option<Why>,
}

/// Whether `text` begins with an assignment's name and `=`.
pub fn assigns(text: &str) -> bool {
    let text = text.trim_start_matches(BLANK);
    let text = text.strip_prefix("export ").unwrap_or(text).trim_start_matches(BLANK);
    let end = text.find(|char: char| !char.is_ascii_alphanumeric() && char != '_').unwrap_or(text.len());
    text.starts_with(|char: char| char.is_ascii_alphabetic() || char == '_') && text[end..].starts_with('=')
}

/// Whether these are lines of one length, and a last one, of padded base64.
fn is_wrapped(text: &str) -> bool {
    let text = text.trim_matches('\n');
    let Some((lines, last)) = text.rsplit_once('\n') else { return false };
    let base64 = |line: &str| line.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(&byte));
    let width = lines.split('\n').next().unwrap_or_default().len();
    let whole = |line: &str| line.len() == width && base64(line);
    let data = last.strip_suffix('=').map_or(last, |rest| rest.strip_suffix('=').unwrap_or(rest));
    let last = last.len() <= width && last.len().is_multiple_of(4) && base64(data);
    width > 15 && width.is_multiple_of(4) && last && lines.split('\n').all(whole)
}

/// Whether a shell reads `$` before this as more than a dollar.
pub fn is_expansion(after: Option<char>) -> bool {
    after.is_some_and(|char| char.is_ascii_alphanumeric() || "_{(@*#?!$-".contains(char))
}

/// Reads the word that `text` begins with.
///
/// # Errors
/// A quote that is not closed, and all whose end or meaning is uncertain.
pub fn word(text: &str, dialect: Dialect, earlier: &Variables) -> Result<Word, Why> {
    let mut reader = Reader {
        text,
        chars: text.char_indices().peekable(),
        word: Word::default(),
        dialect,
        earlier,
        spanned: false,
    };
    reader.read()?;
    let Reader { mut word, mut chars, .. } = reader;
    word.len = chars.peek().map_or(text.len(), |&(at, _)| at);
    Ok(word)
}

struct Reader<'a> {
    text: &'a str,
    chars: Peekable<CharIndices<'a>>,
    word: Word,
    dialect: Dialect,
    earlier: &'a Variables,
    /// A quoted part ran over lines.
    spanned: bool,
}

impl Reader<'_> {
    fn read(&mut self) -> Result<(), Why> {
        let (mut after_colon, mut after_quote, mut before) = (true, false, None);
        while let Some(&(_, char)) = self.chars.peek() {
            if char == '\n' || BLANK.contains(&char) || OPERATORS.contains(&char) {
                break;
            }
            self.chars.next();
            let len = self.word.value.len();
            match char {
                '\'' => self.single()?,
                '"' => self.double()?,
                '\\' => self.escaped(),
                '$' => self.dollar()?,
                '`' => return Err(Why::Expansion),
                _ if self.spanned => return Err(Why::Swallowed),
                _ => {
                    // To dotenv libraries a comment.
                    if char == '#' && after_quote {
                        self.word.trouble = Some(Why::Tail);
                    }
                    self.word.expands |= char == '~' && after_colon;
                    self.word.value.push(char);
                }
            }
            // An escape, or the other quotes, are sh's own way to have a quote.
            let part = match char {
                '\'' | '"' if self.word.value.len() > len => Some(char),
                '\'' | '"' | '\\' => None,
                _ => Some('x'),
            };
            let quoted = |part: Option<char>| part.is_some_and(|part| part != 'x');
            let both = part.is_some() && before.is_some() && (quoted(part) || quoted(before));
            self.word.joined |= both && (part == before || !(quoted(part) && quoted(before)));
            before = part;
            (after_colon, after_quote) = (char == ':', "'\"".contains(char));
            self.bounded()?;
        }
        Ok(())
    }

    fn bounded(&self) -> Result<(), Why> {
        if self.word.value.len() > MAX_VALUE { Err(Why::Large) } else { Ok(()) }
    }

    fn next(&mut self) -> Result<char, Why> {
        self.chars.next().map(|(_, char)| char).ok_or(Why::Open)
    }

    fn peek(&mut self) -> Option<char> {
        self.chars.peek().map(|&(_, char)| char)
    }

    fn rest(&mut self) -> &str {
        self.chars.peek().map_or("", |&(at, _)| &self.text[at..])
    }

    fn single(&mut self) -> Result<(), Why> {
        let start = self.word.value.len();
        loop {
            match self.next()? {
                '\'' => break,
                char => self.word.value.push(char),
            }
        }
        let escaped = self.word.value[start..].ends_with('\\');
        let goes_on = self.peek().is_some_and(|char| !char.is_whitespace() && !"'\"\\$;".contains(char));
        if escaped && goes_on {
            return Err(Why::EscapedSingle);
        }
        self.quoted(start)
    }

    /// A quoted part has ended: what ran over lines may be two values with the
    /// quotes of each other.
    fn quoted(&mut self, start: usize) -> Result<(), Why> {
        let part = &self.word.value[start..];
        let Some((_, more)) = part.split_once('\n') else { return Ok(()) };
        let last = more.rsplit('\n').next().unwrap_or_default();
        let swallows = assigns(last) && last.trim_end_matches(BLANK).ends_with('=');
        let wrapped = swallows && is_wrapped(part);
        self.word.assigns |= more.split('\n').any(assigns);
        if swallows && !(wrapped && self.ends_line()) {
            return Err(Why::Swallowed);
        }
        self.spanned = true;
        Ok(())
    }

    /// Whether nothing follows on the line.
    fn ends_line(&mut self) -> bool {
        let rest = self.rest().trim_start_matches(BLANK);
        rest.is_empty() || rest.starts_with('\n')
    }

    fn double(&mut self) -> Result<(), Why> {
        let start = self.word.value.len();
        let mut nested = 0_usize;
        let mut ticks = 0_usize;
        loop {
            match self.next()? {
                '"' => break,
                '\\' => self.double_escaped()?,
                '$' if self.peek() == Some('{') => self.variable()?,
                '$' => {
                    nested += usize::from(self.peek() == Some('('));
                    self.word.expands |= is_expansion(self.peek());
                    self.word.value.push('$');
                }
                char => {
                    nested = nested.saturating_sub(usize::from(char == ')'));
                    ticks += usize::from(char == '`');
                    self.word.expands |= char == '`';
                    self.word.value.push(char);
                }
            }
            self.bounded()?;
        }
        let code = self.word.expands && self.word.value[start..].contains("<<");
        if nested > 0 || !ticks.is_multiple_of(2) || code {
            return Err(Why::Code);
        }
        self.quoted(start)
    }

    fn double_escaped(&mut self) -> Result<(), Why> {
        let char = self.next()?;
        let control = control(char);
        match self.dialect {
            _ if "\"\\$`".contains(char) => self.word.value.push(char),
            Dialect::Shell if char == '\n' => self.word.dotenv = true,
            Dialect::Dotenv if control.is_some() => self.word.value.extend(control),
            Dialect::Dotenv if char == '\'' => self.word.value.push(char),
            _ => {
                self.word.dotenv |= control.is_some();
                self.word.value.extend(['\\', char]);
            }
        }
        Ok(())
    }

    /// `${…}` in double quotes; the dollar was read.
    fn variable(&mut self) -> Result<(), Why> {
        (self.word.expands, self.word.dotenv) = (true, true);
        let inside = self.rest().strip_prefix('{').and_then(|rest| rest.split_once('}'));
        let inside = inside.map(|(inside, _)| inside.to_owned()).ok_or(Why::Code)?;
        if inside.contains(['"', '\n', '`', '\\']) {
            return Err(Why::Code);
        }
        self.chars.nth(inside.chars().count() + 1);
        match self.dialect {
            Dialect::Shell => self.word.value.extend(["${", &inside, "}"]),
            Dialect::Dotenv => match looked_up(&inside, self.earlier) {
                Ok(value) => self.word.value.push_str(value),
                Err(why) => self.word.trouble = Some(why),
            },
        }
        Ok(())
    }

    /// A backslash outside quotes; before a newline both go.
    fn escaped(&mut self) {
        match self.chars.next() {
            Some((_, '\n')) => {}
            Some((_, char)) => self.word.value.push(char),
            None => self.word.value.push('\\'),
        }
    }

    fn dollar(&mut self) -> Result<(), Why> {
        match self.peek() {
            Some('\'') => {
                self.chars.next();
                self.ansi()
            }
            Some('"') => Err(Why::Locale),
            Some('{' | '(') => Err(Why::Expansion),
            after => {
                self.word.expands |= is_expansion(after);
                self.word.value.push('$');
                Ok(())
            }
        }
    }

    /// `$'…'`, by POSIX 2024; what shells read differently is refused.
    fn ansi(&mut self) -> Result<(), Why> {
        self.word.ansi = true;
        let start = self.word.value.len();
        let mut bytes = Vec::new();
        loop {
            match self.next()? {
                '\'' => break,
                '\\' => self.ansi_escaped(&mut bytes)?,
                char => bytes.extend(char.encode_utf8(&mut [0; 4]).bytes()),
            }
        }
        match std::str::from_utf8(&bytes) {
            Ok(text) if !text.contains('\0') => self.word.value.push_str(text),
            _ => self.word.trouble = Some(Why::Escape),
        }
        self.quoted(start)
    }

    fn ansi_escaped(&mut self, bytes: &mut Vec<u8>) -> Result<(), Why> {
        let code = match self.next()? {
            char @ ('\\' | '\'' | '"') => {
                self.word.ansi_quote |= char == '\'';
                u32::from(char)
            }
            'e' => 0x1b,
            'c' => match self.next()? {
                char if char.is_ascii_alphabetic() => u32::from(char) & 0x1f,
                _ => return Err(Why::Escape),
            },
            'x' => return self.byte("", 16, 2, bytes),
            digit @ '0'..='7' => return self.byte(digit.encode_utf8(&mut [0; 4]), 8, 2, bytes),
            'u' => self.number("", 16, 4)?,
            'U' => self.number("", 16, 8)?,
            char => control(char).map(u32::from).ok_or(Why::Escape)?,
        };
        let char = char::from_u32(code).ok_or(Why::Escape)?;
        bytes.extend(char.encode_utf8(&mut [0; 4]).bytes());
        Ok(())
    }

    fn byte(&mut self, first: &str, radix: u32, most: usize, bytes: &mut Vec<u8>) -> Result<(), Why> {
        let code = self.number(first, radix, most)?;
        bytes.push(u8::try_from(code).map_err(|_| Why::Escape)?);
        Ok(())
    }

    /// At most `most` further digits.
    fn number(&mut self, first: &str, radix: u32, most: usize) -> Result<u32, Why> {
        let mut digits = first.to_owned();
        for _ in 0..most {
            let Some(digit) = self.peek().filter(|char| char.is_digit(radix)) else { break };
            self.chars.next();
            digits.push(digit);
        }
        u32::from_str_radix(&digits, radix).map_err(|_| Why::Escape)
    }
}

/// The control characters that have a letter, in a shell and in dotenv libraries.
fn control(letter: char) -> Option<char> {
    Some(match letter {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        _ => return None,
    })
}

/// A variable's value by what is in its braces: an earlier line's, or the default
/// after `:-`.
fn looked_up<'a>(inside: &'a str, earlier: &'a Variables) -> Result<&'a str, Why> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    if name.contains(|char: char| !char.is_ascii_alphanumeric() && char != '_') {
        return Err(Why::Variable);
    }
    earlier.get(name).map(colibri_pair::Secret::expose).or(default).ok_or(Why::Variable)
}

/// `${…}` outside quotes, as python-dotenv reads it; the dollar of any other kind
/// is itself.
pub fn expanded(text: &str, earlier: &Variables) -> Result<String, Why> {
    let mut value = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (inside, more) = after.split_once('}').ok_or(Why::Variable)?;
        value.extend([before, looked_up(inside, earlier)?]);
        rest = more;
        if value.len() > MAX_VALUE {
            return Err(Why::Large);
        }
    }
    Ok(value + rest)
}
