//! Items of the vault into named values. Which of them become pairs, `pairs`
//! decides.

use crate::answer::{Attachment, Field, Item, Login, SshKey};
use crate::naming::{self, Named, trimmed};
use crate::note::{self, Dialect, Doubt, Entry, Stray, Why};
use crate::warnings::{Warnings, quoted};
use colibri_pair::Secret;
use colibri_session::Rules;
use colibri_tenant::Notes;

/// A value and where it came from.
#[derive(Debug)]
pub struct Found {
    /// The name as the vault has it; a field's follows its item's and `_`.
    pub name: String,
    /// What the name was made of, so that `A_X` and field `X` of `A` differ.
    pub source: String,
    /// The item, for people.
    pub label: String,
    /// The value.
    pub value: Secret,
    /// What not every reader of a note would make of it.
    pub doubts: Vec<Doubt>,
}

/// What could not be read.
#[derive(Debug)]
pub struct Unread {
    /// Where, for people.
    pub label: String,
    /// Whose value, if that can be told.
    pub name: Option<String>,
    /// Why.
    pub why: Why,
}

/// A line of a note that is skipped.
#[derive(Debug)]
pub struct Skipped {
    /// Where, for people.
    pub label: String,
    /// All of it.
    pub text: Secret,
}

/// What is in one item, or in several.
#[derive(Debug, Default)]
pub struct Contents {
    /// Values, in a fixed order.
    pub found: Vec<Found>,
    /// What is there, too.
    pub unread: Vec<Unread>,
    /// Lines that are none of these.
    pub skipped: Vec<Skipped>,
}

/// Whether to look at more than passwords and notes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Passwords and notes.
    Plain,
    /// Custom fields, user names, URIs and seeds too.
    Fields,
}

/// Everything in one item.
pub fn contents(item: Item, rules: &Rules, warnings: &mut Warnings) -> Contents {
    let extent = if rules.fields { Extent::Fields } else { Extent::Plain };
    let label = format!("item {} ({})", quoted(&item.name), short(&item.id));
    let source = Source { name: item.name, label };
    let (kind, mut notes) = (item.r#type, item.notes);
    let login = item.login.as_ref().filter(|_| kind == 1);
    let seed = login.is_some_and(|login| login.totp.is_some());
    if login.is_some_and(|login| !login.passkeys.is_empty()) {
        warnings.add(format!("{} has passkeys: they are not carried", source.label));
    }
    let mut contents: Contents = match kind {
        1 => from_login(item.login, extent, &source, warnings).into(),
        2 => from_note(notes.take(), rules.notes, &source, warnings),
        5 => from_ssh_key(item.ssh_key.unwrap_or_default(), &source).into(),
        kind => {
            warnings.add(format!("{} is {}: skipped", source.label, kind_name(kind)));
            return Contents::default();
        }
    };
    if trimmed(&source.name) != source.name {
        let what = "blanks or characters that cannot be seen are taken off the ends of its name";
        warnings.add(format!("{}: {what}", source.label));
    }
    let files = item.attachments.len();
    if rules.attachments {
        contents.found.extend(item.attachments.into_iter().map(|file| from_file(file, &source)));
    } else if files > 0 {
        let what = format!("has attachments, {files} in number: they are carried with --attachments only");
        warnings.add(format!("{} {what}", source.label));
    }
    match extent {
        Extent::Fields => {
            let fields = item.fields.into_iter().filter_map(|field| from_field(field, &source, warnings));
            contents.found.extend(fields);
            contents.found.extend(notes.map(|text| source.part("NOTES", "the notes of ", text)));
        }
        Extent::Plain => left_out(item.fields.len(), notes.is_some(), seed, &source, warnings),
    }
    contents
}

/// What only `--fields` would carry.
fn left_out(fields: usize, notes: bool, seed: bool, source: &Source, warnings: &mut Warnings) {
    let fields = (fields > 0).then(|| format!("custom fields, {fields} in number"));
    let parts =
        [fields, notes.then(|| "notes".to_owned()), seed.then(|| "a seed of one-time passwords".to_owned())];
    let all: Vec<_> = parts.into_iter().flatten().collect();
    if !all.is_empty() {
        let what = all.join(", and ");
        warnings.add(format!("{} has {what}: they are carried with --fields only", source.label));
    }
}

impl From<Vec<Found>> for Contents {
    fn from(found: Vec<Found>) -> Self {
        Self { found, ..Self::default() }
    }
}

struct Source {
    name: String,
    label: String,
}

impl Source {
    fn itself(&self, value: Secret) -> Found {
        Found {
            name: self.name.clone(),
            source: self.name.clone(),
            label: self.label.clone(),
            value,
            doubts: Vec::new(),
        }
    }

    /// A part, and what it is called in front of the item's label.
    fn part(&self, part: &str, what: &str, value: Secret) -> Found {
        let name = joined(&self.name, part);
        let label = format!("{what}{}", self.label);
        Found { name, source: format!("{}\0{part}", self.name), label, value, doubts: Vec::new() }
    }
}

fn from_login(login: Option<Login>, extent: Extent, source: &Source, warnings: &mut Warnings) -> Vec<Found> {
    let login = login.unwrap_or_default();
    let password = login.password.unwrap_or_else(|| {
        warnings.add(format!("{} has no password: its value is empty", source.label));
        Secret::new(String::new())
    });
    let mut found = vec![source.itself(password)];
    if extent == Extent::Fields {
        let uris = login.uris.into_iter().filter_map(|uri| uri.uri).enumerate().map(|(at, value)| match at {
            0 => source.part("URI", "the address of ", value),
            at => source.part(&format!("URI_{}", at + 1), &format!("address {} of ", at + 1), value),
        });
        found.extend(login.username.map(|value| source.part("USERNAME", "the user name of ", value)));
        found.extend(login.totp.map(|value| source.part("TOTP", "the seed of ", value)));
        found.extend(uris);
    }
    found
}

fn from_ssh_key(key: SshKey, source: &Source) -> Vec<Found> {
    let parts = [
        key.private_key.map(|value| source.itself(value)),
        key.public_key.map(|value| source.part("PUB", "the public key of ", value)),
        key.key_fingerprint.map(|value| source.part("FINGERPRINT", "the fingerprint of ", value)),
    ];
    parts.into_iter().flatten().collect()
}

fn from_note(text: Option<Secret>, notes: Notes, source: &Source, warnings: &mut Warnings) -> Contents {
    let text = text.as_ref().map_or("", Secret::expose);
    let label = |line| format!("line {line} of {}", source.label);
    let mut contents = Contents::default();
    for entry in note::parse(text, notes.into()) {
        match entry {
            Entry::Pair(note::Pair { line, name, value, doubts }) => {
                contents.found.push(Found { source: name.clone(), name, label: label(line), value, doubts });
            }
            Entry::Unread(note::Unread { line, name, why }) => {
                contents.unread.push(Unread { label: label(line), name, why });
            }
            Entry::Stray(Stray { line, what, text }) => {
                warnings.add(format!("{} is {what}", label(line)));
                contents.skipped.push(Skipped { label: label(line), text });
            }
        }
    }
    contents
}

impl From<Notes> for Dialect {
    fn from(notes: Notes) -> Self {
        match notes {
            Notes::Sh => Self::Shell,
            Notes::Dotenv => Self::Dotenv,
        }
    }
}

fn from_field(field: Field, source: &Source, warnings: &mut Warnings) -> Option<Found> {
    let name = field.name.unwrap_or_default();
    let what = format!("field {} of ", quoted(&name));
    if field.value.is_none() {
        warnings.add(format!("{what}{} has no value: skipped", source.label));
    }
    field.value.map(|value| source.part(&name, &what, value))
}

/// One that was not fetched is found too, without content, so that its name is judged
/// like all others.
fn from_file(file: Attachment, source: &Source) -> Found {
    let name = file.file_name.unwrap_or_default();
    let what = format!("attachment {} of ", quoted(&name));
    source.part(&name, &what, file.content.unwrap_or_else(|| Secret::new(String::new())))
}

/// Whether a file's content becomes a pair.
pub fn is_wanted(item: &str, file: &Attachment, rules: &Rules) -> bool {
    let name = joined(item, file.file_name.as_deref().unwrap_or_default());
    rules.attachments && matches!(naming::key(&name, rules), Named::Key(_))
}

/// The name of a part of an item, such as a field or a file.
fn joined(item: &str, part: &str) -> String {
    format!("{}_{}", trimmed(item), trimmed(part))
}

/// Enough of an id to tell two items apart.
fn short(id: &str) -> String {
    id.chars().filter(|char| char.is_ascii_alphanumeric() || *char == '-').take(8).collect()
}

fn kind_name(kind: u32) -> &'static str {
    match kind {
        3 => "a card",
        4 => "an identity",
        _ => "of a kind that is not known here",
    }
}
