//! The lines of a secure note, in the dialects that people paste; docs/notes.md
//! says how each is read and why. Nothing in a value is run, and what cannot be
//! read for certain is not guessed.

use crate::bare::{
    are_closed, bare, continues, has_heredoc, is_builtin, is_invisible, shell_agrees, uncommented,
};
use crate::block;
use crate::word::{BLANK, Word, word};
use colibri_pair::{MAX_PAIRS, MAX_TOTAL, Secret};
use std::collections::BTreeMap;

/// Most entries that one note may have: more would take long, and be refused.
const MAX_ENTRIES: usize = 4 * MAX_PAIRS;

/// Whose reading of escapes and variables counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// That of sh and systemd, and variables stay as they are.
    #[default]
    Shell,
    /// That of the dotenv libraries.
    Dotenv,
}

/// Values by name, for `${NAME}`.
pub type Variables = BTreeMap<String, Secret>;

/// What a note holds.
#[derive(Debug, PartialEq, Eq)]
pub enum Entry {
    /// A variable.
    Pair(Pair),
    /// Something after `=` that could not be read.
    Unread(Unread),
    /// A line that is skipped: it is no variable, and no part of one.
    Stray(Stray),
}

/// A variable, and the number of the line that it begins on, from 1.
#[derive(Debug, PartialEq, Eq)]
pub struct Pair {
    /// The line.
    pub line: usize,
    /// Its name as it stands in the note.
    pub name: String,
    /// Its value.
    pub value: Secret,
    /// What not every reader would make of it.
    pub doubts: Vec<Doubt>,
}

/// Something that could not be read, and the number of its line.
#[derive(Debug, PartialEq, Eq)]
pub struct Unread {
    /// The line.
    pub line: usize,
    /// Whose value it is, if that can be told, and where it ends.
    pub name: Option<String>,
    /// Why.
    pub why: Why,
}

/// A line that is skipped, or several, and the number of the first.
#[derive(Debug, PartialEq, Eq)]
pub struct Stray {
    /// The line.
    pub line: usize,
    /// What it is, for people.
    pub what: &'static str,
    /// All of it: a key that it names was not removed.
    pub text: Secret,
}

/// In what a value may be taken otherwise than it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// A shell would not set it to this.
    Shell,
    /// dotenv libraries read escapes or variables in it.
    Dotenv,
    /// It has `$'…'`, which not every sh knows.
    Ansi,
    /// Quotes are joined to something else, which dotenv for Node keeps as it is.
    Joined,
    /// Three quotes, and the line's end behind them.
    Triple,
    /// YAML means something else by it.
    Yaml,
    /// One of its lines looks like an assignment.
    Assigns,
    /// A block over lines that no quotes enclose.
    Block,
    /// It holds characters without ink.
    Invisible,
    /// Its name had some around it.
    Name,
}

impl Doubt {
    /// What is said of it, after the key's name and where it is.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Shell => {
                "it is taken as it stands, and sh would read it otherwise: put it in single quotes"
            }
            Self::Dotenv => {
                "its escapes or variables are taken as they stand; dotenv libraries read them, and so does --notes dotenv"
            }
            Self::Ansi => "$'…' is read as POSIX has it, which dash does not",
            Self::Joined => "its joined quotes are read as sh has them; dotenv libraries keep some of them",
            Self::Triple => "the line's end after its three quotes is a part of it, as sh has it",
            Self::Yaml => "it is taken as it stands, and YAML would read it otherwise",
            Self::Assigns => "a line within its quotes looks like a variable of its own",
            Self::Block => "it runs over lines without quotes: sh and dotenv libraries would not read it so",
            Self::Invisible => "it holds characters that cannot be seen",
            Self::Name => "characters that cannot be seen are taken off its name",
        }
    }
}

/// Why something could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A quote has no end.
    Open,
    /// A quote ends where another value seems to begin.
    Swallowed,
    /// `\'` in single quotes.
    EscapedSingle,
    /// `$(`, `${` or a backtick beside quotes.
    Expansion,
    /// A command whose end is not certain.
    Code,
    /// `$"…"`.
    Locale,
    /// An escape in `$'…'`.
    Escape,
    /// `${NAME}` without a value.
    Variable,
    /// More than a value may have.
    Large,
    /// A here-document.
    Heredoc,
    /// A carriage return that ends no line.
    CarriageReturn,
    /// A `\` at a line's end.
    Continuation,
    /// A PEM block that is not whole.
    Pem,
    /// A `{` or `[` that begins no JSON.
    Json,
    /// YAML's `|` or `>`.
    Yaml,
    /// Something after a quoted value.
    Tail,
    /// JSON in double quotes that has such quotes of its own.
    Inner,
    /// A `#` within quotes in an unquoted value.
    Comment,
    /// Quotes of a word processor.
    Typographic,
    /// Invisible characters at the ends.
    Invisible,
    /// No name before the `=`.
    Name,
    /// What stands before the `=` looks like base64 or base32, and `=` like its end.
    Encoded,
    /// A command of sh that sets variables.
    Sets,
    /// A line right after a value that is nothing of its own.
    Following,
}

impl Why {
    /// What is said of it, after where it is.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Open => "a quote is opened and not closed",
            Self::Swallowed => "a quote that is opened here closes where another value seems to begin",
            Self::EscapedSingle => {
                "a backslash before a single quote within single quotes is read differently by sh and dotenv libraries: write '\"'\"' for it"
            }
            Self::Expansion => {
                "a command, or a variable in braces, stands beside quotes: nothing is expanded here"
            }
            Self::Code => {
                "it holds a command or variable whose end is not certain: put the value in single quotes"
            }
            Self::Locale => "$\"…\" is read differently by shells",
            Self::Escape => "an escape within $'…' is not one that shells agree on",
            Self::Variable => "a variable in braces has no value in an earlier line of the note",
            Self::Large => "it is larger than a value may be",
            Self::Heredoc => "a here-document: write its text in quotes",
            Self::CarriageReturn => "a carriage return ends no line here",
            Self::Continuation => {
                "what follows the backslash at the line's end is not certain to belong to the value: put it in quotes"
            }
            Self::Pem => "a PEM block is not whole: paste it from BEGIN to END",
            Self::Json => "what begins like JSON is none: put the value in single quotes",
            Self::Yaml => "a block of YAML: write its text in quotes",
            Self::Tail => "something follows the closing quote",
            Self::Inner => "its quotes end before its last one: put the value in single quotes",
            Self::Comment => {
                "the value, or a comment in it, is not certain to end here: put it in single quotes"
            }
            Self::Typographic => "typographic quotes: put ' or \" in their place",
            Self::Invisible => {
                "the value has characters at its ends that cannot be seen: remove them or put it in quotes"
            }
            Self::Name => "what stands before the = is no name of a variable",
            Self::Encoded => {
                "the line looks like encoded data, and not like a name: put data in quotes behind KEY=, and \"\" behind the = of an empty value"
            }
            Self::Sets => "a command that may set variables: write KEY=VALUE, and prose behind #",
            Self::Following => {
                "the line is neither KEY=VALUE nor a comment, and may belong to the value before it"
            }
        }
    }
}

/// Reads a note.
pub fn parse(text: &str, dialect: Dialect) -> Vec<Entry> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
    let mut note = Note {
        dialect,
        line: 1,
        before: Before::Nothing,
        open: false,
        empty: false,
        earlier: Variables::new(),
        entries: Vec::new(),
    };
    if text.len() > MAX_TOTAL {
        note.refuse(Why::Large);
        return note.entries;
    }
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let used = match note.step(rest) {
            Ok(used) if note.entries.len() <= MAX_ENTRIES => used,
            Ok(_) => {
                note.refuse(Why::Large);
                break;
            }
            Err(why) => {
                note.refuse(why);
                break;
            }
        };
        note.line += rest[..used].matches('\n').count() + 1;
        rest = rest.get(used + 1..).unwrap_or_default();
    }
    note.entries
}

/// What was read last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    /// Nothing that could go on.
    Nothing,
    /// A value in quotes.
    Quoted,
    /// A value without quotes; whether it is empty, and whether it is a long
    /// line of base64 that may go on.
    Bare { empty: bool, base64: bool },
    /// A line that was skipped.
    Stray,
}

struct Note {
    dialect: Dialect,
    line: usize,
    before: Before,
    /// The last value is empty or a PEM block, and only blank lines and comments
    /// came since: a block without a name may be the rest of it.
    open: bool,
    /// It is an empty one.
    empty: bool,
    earlier: Variables,
    entries: Vec<Entry>,
}

/// What stands before a value.
#[derive(Debug)]
pub struct Head<'a> {
    /// The variable's name.
    pub name: &'a str,
    /// `export` stands in front.
    pub exported: bool,
    /// `NAME: value`.
    pub colon: bool,
    /// There are invisible characters.
    marred: bool,
    value: &'a str,
}

impl Note {
    fn refuse(&mut self, why: Why) {
        self.entries.push(Entry::Unread(Unread { line: self.line, name: None, why }));
    }

    fn stray(&mut self, what: &'static str, text: &str) {
        (self.before, self.open) = (Before::Stray, false);
        let text = Secret::new(text.to_owned());
        self.entries.push(Entry::Stray(Stray { line: self.line, what, text }));
    }

    /// Reads what the text begins with. Returns how much of it that was, without
    /// the end of the line.
    ///
    /// # Errors
    /// Nothing after this can be told.
    fn step(&mut self, text: &str) -> Result<usize, Why> {
        let line = text.split('\n').next().unwrap_or_default();
        let content = line.trim_matches(|char| BLANK.contains(&char) || is_invisible(char));
        if content.is_empty() || content.starts_with('#') {
            self.before = Before::Nothing;
            return Ok(line.len());
        }
        let start =
            line.len() - line.trim_start_matches(|char| BLANK.contains(&char) || is_invisible(char)).len();
        let rest = &text[start..];
        if let Some(len) = self.unnamed(rest)? {
            return Ok(start + len);
        }
        match head(rest) {
            Some(_) if self.is_encoded(content) => Err(Why::Encoded),
            Some(mut head) => {
                head.marred |= line[..start].contains(is_invisible);
                self.value(text, &head)
            }
            None => self.other(rest, content, line.len()),
        }
    }

    /// A PEM block or JSON that no name stands before.
    fn unnamed(&mut self, text: &str) -> Result<Option<usize>, Why> {
        let len = if block::is_pem(text) {
            block::pem(text)?.1
        } else if text.starts_with(['{', '[']) {
            match block::json(text) {
                Some(len) => len,
                None if block::opens_json(text) => return Err(Why::Json),
                None => return Ok(None),
            }
        } else {
            return Ok(None);
        };
        self.follows()?;
        if self.open {
            return Err(Why::Following);
        }
        self.stray("a PEM block or JSON without KEY= in front: skipped", &text[..len]);
        Ok(Some(text[..len].len() + text[len..].find('\n').unwrap_or(text.len() - len)))
    }

    /// Whether a line that is nothing of its own may belong to the value before.
    fn follows(&self) -> Result<(), Why> {
        match self.before {
            Before::Quoted | Before::Bare { .. } => Err(Why::Following),
            Before::Nothing | Before::Stray => Ok(()),
        }
    }

    /// The end of base64 looks like a name and `=`.
    fn is_encoded(&self, line: &str) -> bool {
        let line = uncommented(line).trim_end_matches(['\\', ' ', '\t', ';', ',']);
        let data = line.trim_end_matches('=');
        let padding = line.len() - data.len();
        if padding == 0 || !data.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/_-".contains(&byte)) {
            return false;
        }
        let goes_on = matches!(self.before, Before::Stray | Before::Bare { base64: true, .. });
        padding > 1 || (goes_on && line.len().is_multiple_of(4)) || is_random(data)
    }

    /// A line without a name and `=`.
    fn other(&mut self, text: &str, line: &str, len: usize) -> Result<usize, Why> {
        if is_fence(line) {
            (self.before, self.open) = (Before::Nothing, false);
            return Ok(len);
        }
        if has_heredoc(line) {
            return Err(Why::Heredoc);
        }
        if !are_closed(line) && are_closed(text) {
            return Err(Why::Swallowed);
        }
        if continues(line) && len < text.len() {
            return Err(Why::Continuation);
        }
        if is_statement(line) {
            return Ok(len);
        }
        if sets(line) {
            return Err(Why::Sets);
        }
        let code = line.split(" #").next().unwrap_or_default();
        if code.contains('=') {
            self.follows()?;
            return Err(Why::Name);
        }
        let section = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if section.is_none_or(|name| {
            !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" _.:-".contains(&byte))
        }) {
            self.follows()?;
            // One word that is no heading may be the value that an empty one above waits for.
            if self.open && self.empty && !line.contains(BLANK) && !line.ends_with(':') {
                return Err(Why::Following);
            }
            self.stray("not of the form KEY=VALUE: skipped", line);
        } else {
            self.stray("the name of a section: skipped", line);
            self.before = Before::Nothing;
        }
        Ok(len)
    }

    fn value(&mut self, text: &str, head: &Head<'_>) -> Result<usize, Why> {
        let before = text.len() - head.value.len();
        let value = head.value.trim_start_matches(BLANK);
        let blanks = head.value.len() - value.len();
        let used = match value.chars().next() {
            Some('\'' | '"') => self.quoted(value, head)?,
            Some('$') if value.starts_with("$'") => self.quoted(value, head)?,
            Some('$') if value.starts_with("$\"") => return Err(Why::Locale),
            // As a command, what it prints may set anything.
            Some('`') if blanks > 0 && !head.colon => return Err(Why::Code),
            Some('`') => self.backtick(value, head)?,
            Some('-') if block::is_pem(value) => {
                let (pem, len) = block::pem(value)?;
                self.pair(head, pem, vec![Doubt::Block], Before::Quoted);
                self.open = true;
                len
            }
            Some('{' | '[') => match block::json(value) {
                Some(len) => self.json(value, len, head),
                None if block::opens_json(value) => return Err(Why::Json),
                None => return Ok(before + self.bare(head)?),
            },
            _ => return Ok(before + self.bare(head)?),
        };
        Ok(before + blanks + used)
    }

    fn pair(&mut self, head: &Head<'_>, value: String, mut doubts: Vec<Doubt>, before: Before) {
        doubts.extend(head.marred.then_some(Doubt::Name));
        self.before = before;
        self.empty = matches!(before, Before::Bare { empty: true, .. });
        self.open = self.empty;
        if self.dialect == Dialect::Dotenv {
            self.earlier.insert(head.name.to_owned(), Secret::new(value.clone()));
        }
        let (line, name) = (self.line, head.name.to_owned());
        self.entries.push(Entry::Pair(Pair { line, name, value: Secret::new(value), doubts }));
    }

    fn unread(&mut self, head: &Head<'_>, why: Why) {
        (self.before, self.open) = (Before::Quoted, false);
        self.entries.push(Entry::Unread(Unread { line: self.line, name: Some(head.name.to_owned()), why }));
    }

    fn quoted(&mut self, text: &str, head: &Head<'_>) -> Result<usize, Why> {
        let word = word(text, self.dialect, &self.earlier)?;
        let len = word.len;
        if !is_plain_triple(&text[..len]) {
            return Err(Why::Tail);
        }
        let tail = text[len..].split('\n').next().unwrap_or_default();
        let line = &text[..len + tail.len()];
        // To dash other quotes begin and end from there on.
        if word.ansi_quote && (line.contains('\n') || (!are_closed(line) && are_closed(text))) {
            return Err(Why::Swallowed);
        }
        let after = tail.trim_start_matches(BLANK);
        let next = after.strip_prefix(';').map(|next| next.trim_matches(BLANK));
        let ends = after.is_empty() || (after.starts_with('#') && after.len() < tail.len());
        // In YAML and for dotenv libraries only one pair of quotes is a value.
        let joined = head.colon && !is_one_part(&text[..len]);
        // What follows a `;` is sh's alone.
        let foreign = next.is_some() && (head.colon || self.dialect == Dialect::Dotenv);
        match next {
            _ if joined || has_comma(&text[..len]) => self.unread(head, Why::Tail),
            Some(next) if foreign && !next.contains('=') => self.unread(head, Why::Tail),
            None if ends && is_inner_json(&text[..len]) => self.unread(head, Why::Inner),
            None if ends => self.take(word, &text[..len], head),
            Some(next) if next.is_empty() || next.starts_with('#') || is_statement(next) => {
                self.take(word, &text[..len], head)
            }
            // What is set there cannot be told.
            _ if tail.contains('=') => return Err(Why::Tail),
            _ => self.unread(head, Why::Tail),
        }
        Ok(len + tail.len())
    }

    fn take(&mut self, word: Word, raw: &str, head: &Head<'_>) {
        if let Some(why) = word.trouble.or_else(|| raw.ends_with(is_invisible).then_some(Why::Invisible)) {
            return self.unread(head, why);
        }
        let mut doubts = Vec::new();
        if self.dialect == Dialect::Shell {
            doubts.extend(word.expands.then_some(Doubt::Shell));
            doubts.extend(word.dotenv.then_some(Doubt::Dotenv));
        }
        let joined = match self.dialect {
            Dialect::Shell => word.joined,
            Dialect::Dotenv => !word.ansi && !is_one_part(raw),
        };
        doubts.extend(joined.then_some(Doubt::Joined));
        let triple = ["\"\"\"\n", "'''\n"].iter().any(|open| raw.starts_with(open));
        doubts.extend(triple.then_some(Doubt::Triple));
        let yaml = head.colon && (raw.contains('\n') || raw.starts_with('"') && raw.contains('\\'));
        doubts.extend(yaml.then_some(Doubt::Yaml));
        doubts.extend(word.ansi.then_some(Doubt::Ansi));
        doubts.extend(word.assigns.then_some(Doubt::Assigns));
        let apart = head.value.starts_with(BLANK) && (head.exported || is_builtin(&word.value));
        doubts.extend(apart.then_some(Doubt::Shell));
        doubts.extend(word.value.contains(is_invisible).then_some(Doubt::Invisible));
        self.pair(head, word.value, doubts, Before::Quoted);
    }

    /// In backticks, as dotenv for Node has them: over lines, without escapes.
    fn backtick(&mut self, text: &str, head: &Head<'_>) -> Result<usize, Why> {
        let (value, rest) = text[1..].split_once('`').ok_or(Why::Open)?;
        let tail = rest.split('\n').next().unwrap_or_default();
        let comment = tail.trim_start_matches(BLANK);
        if comment.is_empty() || (comment.starts_with('#') && comment.len() < tail.len()) {
            let lines = value.contains('\n');
            if lines && value.split('\n').skip(1).any(crate::word::assigns) {
                return Err(Why::Swallowed);
            }
            self.pair(head, value.to_owned(), vec![Doubt::Shell], Before::Quoted);
        } else if tail.contains('=') {
            return Err(Why::Tail);
        } else {
            self.unread(head, Why::Tail);
        }
        Ok(text.len() - rest.len() + tail.len())
    }

    fn json(&mut self, text: &str, len: usize, head: &Head<'_>) -> usize {
        let value = &text[..len];
        let doubt = if value.contains('\n') {
            Some(Doubt::Block)
        } else if head.colon {
            Some(Doubt::Yaml)
        } else {
            (!shell_agrees(value)).then_some(Doubt::Shell)
        };
        let doubt = doubt.filter(|doubt| self.dialect == Dialect::Shell || *doubt == Doubt::Block);
        self.pair(head, value.to_owned(), doubt.into_iter().collect(), Before::Quoted);
        len + text[len..].find('\n').unwrap_or(text.len() - len)
    }

    fn bare(&mut self, head: &Head<'_>) -> Result<usize, Why> {
        let value = head.value.trim_start_matches(BLANK);
        if head.colon && is_yaml_block(value) {
            return Err(Why::Yaml);
        }
        if value.starts_with("-----BEGIN ")
            && !value.split('\n').next().unwrap_or_default().contains("-----END ")
        {
            return Err(Why::Pem);
        }
        let bare = bare(head.value, head, self.dialect, &self.earlier)?;
        if let Some(why) = bare.trouble {
            self.unread(head, why);
        } else {
            let base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/".contains(&byte);
            let before = Before::Bare {
                empty: bare.value.is_empty(),
                base64: bare.value.len() >= 40 && bare.value.bytes().all(base64),
            };
            self.pair(head, bare.value, bare.doubts, before);
        }
        Ok(bare.len)
    }
}

/// Takes a line's name off, and what may stand before it.
fn head(text: &str) -> Option<Head<'_>> {
    let line = text.split('\n').next()?;
    let after = |word: &str| line.strip_prefix(word).filter(|rest| rest.starts_with(BLANK));
    let exported = after("export").or_else(|| after("declare -x"));
    let rest = exported.unwrap_or(line).trim_start_matches(BLANK);
    let name = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    let end = rest.bytes().position(|byte| !name(byte)).unwrap_or(rest.len());
    let (name, rest) = rest.split_at(end);
    let after = rest.trim_start_matches(|char| BLANK.contains(&char) || is_invisible(char));
    let marred = rest[..rest.len() - after.len()].contains(is_invisible);
    let colon =
        rest.strip_prefix(':').filter(|rest| rest.starts_with(BLANK) && !rest.trim_matches(BLANK).is_empty());
    let (value, colon) = match (after.strip_prefix('='), colon) {
        (Some(value), _) => (value, false),
        (None, Some(value)) if exported.is_none() => (value, true),
        _ => return None,
    };
    let value = &text[line.len() - value.len()..];
    (!name.is_empty()).then_some(Head { name, exported: exported.is_some(), colon, marred, value })
}

/// Where code begins or ends in Markdown.
fn is_fence(line: &str) -> bool {
    line.strip_prefix("```").is_some_and(|language| language.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// What a shell does with variables that were set, or are to be.
fn is_statement(line: &str) -> bool {
    let line = line.trim_end_matches(|char| char == ';' || BLANK.contains(&char));
    let mut words = line.split(BLANK).filter(|word| !word.is_empty());
    let name = |word: &str| {
        word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && word.starts_with(|char: char| !char.is_ascii_digit())
    };
    match words.next() {
        Some("export") => words.clone().next().is_some() && words.all(name),
        Some("set") => matches!(line, "set -a" | "set +a" | "set -o allexport" | "set +o allexport"),
        _ => false,
    }
}

/// `|` or `>`, with what YAML lets follow them.
fn is_yaml_block(text: &str) -> bool {
    let line = uncommented(text.split('\n').next().unwrap_or_default());
    let mut words = line.split(BLANK).filter(|word| !word.is_empty());
    // A type or an anchor may stand in front.
    words.find(|word| !word.starts_with(['!', '&'])).is_some_and(|word| {
        word.strip_prefix(['|', '>'])
            .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit() || b"+-".contains(&byte)))
    }) && words.next().is_none()
}

/// Whether these letters and digits are as mixed as those of base64 or base32, and no
/// name that somebody thought of.
fn is_random(data: &str) -> bool {
    let kind = |byte: &u8| {
        let kinds = [u8::is_ascii_digit, u8::is_ascii_uppercase, u8::is_ascii_lowercase];
        kinds.iter().position(|is| is(byte))
    };
    let kinds: Vec<_> = data.bytes().map(|byte| kind(&byte)).collect();
    let changes = kinds.windows(2).filter(|two| two[0] != two[1]).count();
    let numbers = kinds.chunk_by(|one, other| one == other).filter(|run| run[0] == Some(0)).count();
    let both_cases = kinds.contains(&Some(1)) && kinds.contains(&Some(2));
    let unseparated = !kinds.contains(&None);
    let base32 = data.bytes().all(|byte| byte.is_ascii_uppercase() || (b'2'..=b'7').contains(&byte))
        && (data.len() + 1).is_multiple_of(8);
    let mixed = changes * 20 >= data.len() * 9
        || (numbers > 2 && (both_cases || unseparated))
        || (numbers > 1 && base32);
    // A shorter line has the length of padded data, and mixes its letters all the time.
    let short = data.len() > 10
        && unseparated
        && (data.len() + 1).is_multiple_of(4)
        && (changes * 20 >= data.len() * 9 || (numbers > 1 && base32));
    short || (data.len() >= 20 && (mixed || (unseparated && data.len() >= 40)))
}

/// Whether a shell may set variables by this without any `=`.
fn sets(line: &str) -> bool {
    const BEFORE: [&str; 10] = ["if", "then", "elif", "else", "while", "until", "do", "!", "{", "("];
    line.split([';', '&', '|']).any(|command| {
        let words = command.split(BLANK).filter(|word| !word.is_empty());
        let mut words = words.skip_while(|word| BEFORE.contains(word));
        match words.next() {
            Some("read" | "getopts" | "eval" | "mapfile" | "readarray") => words.next().is_some(),
            Some("for" | "select") => words.nth(1) == Some("in"),
            Some("printf") => words.next() == Some("-v"),
            _ => false,
        }
    })
}

/// JSON that stands in double quotes and has some of its own.
fn is_inner_json(text: &str) -> bool {
    let inside = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default();
    !is_one_part(text) && inside.starts_with(['{', '[']) && block::json(inside) == Some(inside.len())
}

/// Whether what begins with three quotes has no more of them than three at its end.
fn is_plain_triple(text: &str) -> bool {
    ["\"\"\"", "'''"].iter().all(|triple| {
        let inside = text.strip_prefix(triple).map(|rest| rest.strip_suffix(triple).unwrap_or("\"'"));
        inside.is_none_or(|inside| !inside.contains(&triple[..1]))
    })
}

/// Whether a comma follows a value in quotes, as between those of JavaScript or Python.
fn has_comma(text: &str) -> bool {
    text.strip_suffix(',').is_some_and(is_one_part)
}

/// Whether one pair of quotes is all there is.
fn is_one_part(text: &str) -> bool {
    let quote = text.chars().next().unwrap_or_default();
    let inside = text.get(1..text.len().saturating_sub(1)).unwrap_or_default();
    text.len() > 1
        && text.ends_with(quote)
        && !inside.replace("\\\\", "").replace(&format!("\\{quote}"), "").contains(quote)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What became of each entry: `line NAME=value` with `?` if there are doubts,
    /// `line NAME! Why`, `line! Why` or `line -`.
    fn read(text: &str, dialect: Dialect) -> Vec<String> {
        let entry = |entry| match entry {
            Entry::Pair(Pair { line, name, value, doubts }) => {
                let doubtful = if doubts.is_empty() { "" } else { "?" };
                format!("{line} {name}={}{doubtful}", value.expose())
            }
            Entry::Unread(Unread { line, name: Some(name), why }) => format!("{line} {name}! {why:?}"),
            Entry::Unread(Unread { line, name: None, why }) => format!("{line}! {why:?}"),
            Entry::Stray(Stray { line, .. }) => format!("{line} -"),
        };
        parse(text, dialect).into_iter().map(entry).collect()
    }

    fn sh(text: &str) -> Vec<String> {
        read(text, Dialect::Shell)
    }

    /// Whoever edits an item holds up no other tenant by it.
    #[test]
    fn no_form_of_the_largest_note_takes_long() {
        for piece in [
            "''",
            "\"\"",
            "'\n'",
            "\"x\"",
            "$''",
            "\\",
            "`",
            "``\n",
            "$(",
            "${",
            "{",
            "[",
            "#",
            " #",
            "=",
            "A=\n",
            "A='\n",
            "A=x\\\n",
            "K=\"QUJDREVGR0hJSktM\nQ=\"\n",
            "-----BEGIN X-----\n",
            "\n\n",
            "<<",
            "\u{a0}#",
            "a,",
        ] {
            for before in ["A=", "", "A='", "A=\""] {
                let text = before.to_owned() + &piece.repeat(MAX_TOTAL / piece.len() - 1);
                let began = std::time::Instant::now();
                let entries = parse(&text, Dialect::Shell).len();
                let took = began.elapsed();
                assert!(took.as_secs() < 5 && entries <= MAX_ENTRIES + 2, "{before:?} {piece:?}: {took:?}");
            }
        }
    }

    #[test]
    fn a_value_of_one_line() {
        for (line, value) in [
            ("K=v", "v"),
            ("K=", ""),
            ("K=  ", ""),
            ("  K = spaced \t", "spaced"),
            ("export K=v", "v"),
            ("export\tK=v", "v"),
            ("declare -x K=\"v\"", "v"),
            ("K: v", "v"),
            ("K: 'v w' # c", "v w"),
            ("K=a=b", "a=b"),
            ("K=a b", "a b"),
            ("K=a # c", "a"),
            ("K=a#b", "a#b"),
            ("K=#a", "#a"),
            ("K= # c", ""),
            ("K='a # b' # c", "a # b"),
            ("K=\"a # b\"\t# c", "a # b"),
            ("K='it\"s'", "it\"s"),
            (r#"K="say \"hi\" \\ \$X \` \d""#, r#"say "hi" \ $X ` \d"#),
            (r"K='a\'", r"a\"),
            (r"K='it'\''s'", "it's"),
            (r#"K='it'"'"'s'"#, "it's"),
            (r#"K="""v""""#, "v"),
            ("K='a\nb'", "a\nb"),
            ("K=\"a\r\n\r\nb\"", "a\n\nb"),
            ("K=\"\"", ""),
            ("K='x';", "x"),
            ("K='x'; export K", "x"),
            ("K=x; export K", "x"),
            ("K=100$", "100$"),
            ("K=\"5$ a\"", "5$ a"),
            ("\u{feff}K=v", "v"),
            ("K=[abc]", "[abc]"),
            ("K=p@ss:w/o%rd+,-!*?[a]", "p@ss:w/o%rd+,-!*?[a]"),
        ] {
            assert_eq!(sh(line), [format!("1 K={value}")], "{line:?}");
        }
    }

    #[test]
    fn a_value_that_readers_do_not_agree_on_is_named() {
        for (line, value) in [
            ("K=$(id)`id`x ${X}", "$(id)`id`x ${X}"),
            ("K=\\; export K", "\\; export K"),
            ("K= ':'", ":"),
            ("K=\\ ", "\\"),
            ("K=\\ # c", "\\"),
            ("K: & A=1", "& A=1"),
            ("K: a; A=1", "a; A=1"),
            ("K=a&b=c", "a&b=c"),
            ("K=a;b", "a;b"),
            ("K=it's", "it's"),
            ("K=C:\\new", "C:\\new"),
            ("K=~/x", "~/x"),
            ("K=a'b'", "a'b'"),
            ("K=a B=b", "a B=b"),
            ("export K=a b", "a b"),
            ("export K= a", "a"),
            ("K=a exit", "a exit"),
            ("K=\"$X\"", "$X"),
            ("K=\"a\\nb\"", "a\\nb"),
            ("K=\"a\\\nb\"", "ab"),
            ("K=\"${X}\"", "${X}"),
            ("K={\"a\": \"b # c\"} # d", "{\"a\": \"b # c\"}"),
            ("K={\n\"a\": [1]\n} # c", "{\n\"a\": [1]\n}"),
            ("K=`a\n'b'`", "a\n'b'"),
            ("K=$'a\\tb\\'\\x41\\101\\u00e9\\cA'", "a\tb'AA\u{e9}\u{1}"),
            ("K=a\\\nb", "ab"),
            ("K=-a \\\n  -b", "-a   -b"),
            ("K='a\nB=c'", "a\nB=c"),
            ("K=a\u{a0}b", "a\u{a0}b"),
            ("\u{200b}K\u{a0}=v", "v"),
            ("K=-----BEGIN X-----\nAA==\n-----END X-----", "-----BEGIN X-----\nAA==\n-----END X-----"),
            // What is joined without a blank, dotenv for Node keeps with its quotes.
            (r#"K="a"b'c'"#, "abc"),
            ("K='it''s'", "its"),
            (r#"K="x"y"z""#, "xyz"),
            ("K=\"\"\"\nx\n\"\"\"", "\nx\n"),
            // Invisible within quotes, too; controls, and letters without ink.
            ("K='a\u{2028}B=b'", "a\u{2028}B=b"),
            ("K=a\u{1b}[2Jb", "a\u{1b}[2Jb"),
            ("K=a\u{3164}b", "a\u{3164}b"),
            // YAML means something else by these.
            ("K: 'a\n  b'", "a\n  b"),
            ("K: *anchor", "*anchor"),
            ("K: !!str v", "!!str v"),
            ("K: null", "null"),
            ("K: {a: b}", "{a: b}"),
        ] {
            assert_eq!(sh(line), [format!("1 K={value}?")], "{line:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_not_guessed() {
        for (text, said) in [
            ("K='open", "1! Open"),
            ("K=\"open\nA='x'\nB=1", "1! Open"),
            ("K=\"open\nA=\"x\"", "1! Swallowed"),
            ("K='open\nA=''", "1! Swallowed"),
            ("D=it's\nE=don't", "1! Swallowed"),
            (r"K='it\'s'", "1! EscapedSingle"),
            ("K='a'$(id)", "1! Expansion"),
            ("K=\"$(echo \"x\")\"", "1! Code"),
            ("K=$(cat <<EOF\nA=1\nEOF\n)", "1! Heredoc"),
            ("cat > f <<'EOF'\nA=1\nEOF", "1! Heredoc"),
            ("K = <<-EOT\nA=1\nEOT", "1! Heredoc"),
            ("K=$(\nA=1\n)", "1! Code"),
            ("K=(\na\n)", "1! Code"),
            ("K=$\"x\"", "1! Locale"),
            (r"K=$'\q'", "1! Escape"),
            ("K=$'a\\''\nD='\nB=1\n'", "1! Swallowed"),
            ("K=$'a\\'\nB=1\nc'", "1! Swallowed"),
            (r"K=$'\0'", "1 K! Escape"),
            ("K=a\rA=1", "1! CarriageReturn"),
            ("K=C:\\dir\\\nA=1", "1! Continuation"),
            ("K=a\\\n\"x\nB=\"", "1! Continuation"),
            ("exit\\\nA=1", "1! Continuation"),
            ("K= `export`", "1! Code"),
            ("K=a $(id)", "1! Code"),
            ("K=-----BEGIN X-----\nAA", "1! Pem"),
            ("K=-----BEGIN X----- \\\nAA \\\n-----END X-----", "1! Pem"),
            ("K={\na = 1\n}", "1! Json"),
            ("K: |\n  a\n", "1! Yaml"),
            ("K='a' b", "1 K! Tail"),
            ("K='a'#b", "1 K! Tail"),
            ("K=\"\"\"{\"a\": 1}\"\"\"", "1! Tail"),
            ("K='a'; B='b'", "1! Tail"),
            ("K='a' B=b", "1! Tail"),
            ("K=a 'b # c'", "1 K! Comment"),
            ("K: 'a',", "1 K! Tail"),
            ("K: 'a';", "1 K! Tail"),
            ("K=\u{201c}a\u{201d}", "1 K! Typographic"),
            ("K=\u{ff02}a\u{ff02}", "1 K! Typographic"),
            ("K=\u{300c}a\u{300d}", "1 K! Typographic"),
            ("K=\u{2032}a\u{2032}", "1 K! Typographic"),
            ("K=a\u{3164}", "1 K! Invisible"),
            ("K=\u{7}", "1 K! Invisible"),
            ("K=\"{\"a\":\"b\"}\"", "1 K! Inner"),
            ("K=C:\\dir\\\n", "1 K! Continuation"),
            ("K: | # c\n\n  a", "1! Yaml"),
            ("K: !vault |\n\n  a", "1! Yaml"),
            // The names would be pieces of what is encoded.
            ("JBSWY3DPEHPK3PXP====", "1! Encoded"),
            ("JBSWY3DPEHPK3PXPJBSWY3D=", "1! Encoded"),
            ("zK9-4vXq_T2mB7wLr0Yc8dHs5jNf1GaPQe6uIo3RtVk= # key", "1! Encoded"),
            ("AbCd-efG_==", "1! Encoded"),
            ("for K in a b; do :; done", "1! Sets"),
            ("read -r K", "1! Sets"),
            ("while read K; do :; done", "1! Sets"),
            ("K=\u{a0}a", "1 K! Invisible"),
            ("=x", "1! Name"),
            ("E F=1", "1! Name"),
            ("\u{dc}=1", "1! Name"),
            ("K+=1", "1! Name"),
            ("K==", "1! Encoded"),
        ] {
            assert_eq!(sh(text), [said], "{text:?}");
        }
        assert_eq!(sh("A=1\nmore of it\nB=2"), ["1 A=1", "2! Following"]);
        assert_eq!(sh("A=\n\n-----BEGIN X-----\nAA\n-----END X-----"), ["1 A=", "3! Following"]);
        let lines = format!("A={}\nabcd+/\nefghABC=", "QUFB".repeat(16));
        assert_eq!(sh(&lines)[1..], ["2! Following"]);
        let lines = format!("A={}\nABC=\nB=1", "QUFB".repeat(16));
        assert_eq!(sh(&lines)[1..], ["2! Encoded"]);
        assert_eq!(sh("A=\nzK94vXqT2mB7wLr0Yc8dHs5jNf1GaPQe6uIo3RtVkxY="), ["1 A=", "2! Encoded"]);
        // A block after an empty value or another block is the rest of that.
        let block = "-----BEGIN X-----\nAA\n-----END X-----";
        assert_eq!(sh(&format!("A=\n# c\n{block}")), ["1 A=", "3! Following"]);
        assert_eq!(sh(&format!("A={block}\n\n# c\n{block}")).last().unwrap(), "6! Following");
        assert_eq!(sh(&format!("A=1\n\n# c\n{block}")), ["1 A=1", "4 -"]);
        assert_eq!(sh("K=a\\\n\nB=1"), ["1 K! Continuation", "3 B=1"]);
        let names = "OAuth2ClientSecretForTheApp=\nspring.datasource.url=\nread the manual";
        assert_eq!(sh(names), ["1 OAuth2ClientSecretForTheApp=", "2 spring.datasource.url=", "3! Sets"]);
    }

    #[test]
    fn lines_are_counted_and_what_is_no_value_is_passed_over() {
        let text = "Prose\r\n# c\r\nA=1\r\nexport A\r\nset -a\r\n\r\nB='x\r\ny' # c\r\n\r\nno pair\r\n[Section]\r\nH.x-y=2\r\n\r\n-----BEGIN X-----\r\nAA==\r\n-----END X-----\r\nZ=1";
        assert_eq!(sh(text), ["1 -", "3 A=1", "7 B=x\ny", "10 -", "11 -", "12 H.x-y=2", "14 -", "17 Z=1"]);
        assert_eq!(sh("{\"a\": 1}"), ["1 -"]);
    }

    #[test]
    fn the_dotenv_reading_expands_and_unescapes() {
        let text = "A=a\nB=\"${A}\\n\\t\\\"${X:-d}\"\nC=${A}/${B}x\nD='${A}\\n'\nE=${NONE}\nF=\"${NONE}\"\nG=a&b\nH=\"$A\\$\"";
        assert_eq!(
            read(text, Dialect::Dotenv),
            [
                "1 A=a",
                "2 B=a\n\t\"d",
                "3 C=a/a\n\t\"dx",
                "4 D=${A}\\n",
                "5 E! Variable",
                "6 F! Variable",
                "7 G=a&b",
                "8 H=$A$"
            ]
        );
        // What is sh's alone is not theirs.
        let text = "A=\"x\";\nB='it'\\''s'\nC='a'\"b\"\nD={\n\"a\": 1\n}\nE: [1,\n2]";
        assert_eq!(
            read(text, Dialect::Dotenv),
            ["1 A! Tail", "2 B=it's?", "3 C=ab?", "4 D={\n\"a\": 1\n}?", "7 E=[1,\n2]?"]
        );
        let bomb: String = (0..40).map(|at| format!("A{}=${{A{at}}}${{A{at}}}\n", at + 1)).collect();
        assert!(read(&format!("A0=xxxx\n{bomb}"), Dialect::Dotenv).last().unwrap().ends_with("Variable"));
    }

    #[test]
    fn a_note_without_end_is_refused() {
        assert_eq!(sh(&"x".repeat(MAX_TOTAL + 1)), ["1! Large"]);
        assert!(sh(&"A=\n".repeat(MAX_ENTRIES + 9)).last().unwrap().ends_with("Large"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_trouble(
            text in "[ \t\r\n'\"`\\\\#=$(){}\\[\\]<:;a-c\u{e9}\u{a0}]{0,60}", dotenv: bool,
        ) {
            let dialect = if dotenv { Dialect::Dotenv } else { Dialect::Shell };
            let lines = text.replace("\r\n", "\n").split('\n').count();
            prop_assert!(parse(&text, dialect).len() <= lines);
        }

        #[test]
        fn any_value_can_be_written_in_single_quotes(value in "[^\r']{0,40}", next in "[A-Z]{1,5}") {
            prop_assume!(!value.split('\n').skip(1).any(crate::word::assigns));
            let found = sh(&format!("K='{value}'\n{next}=1"));
            let first = format!("1 K={value}");
            prop_assert!(found[0] == first || found[0] == first + "?");
            let last = format!("{next}=1");
            prop_assert!(found[1].ends_with(&last));
        }
    }
}
