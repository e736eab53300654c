//! Items of the vault into named values. Which of them become pairs, `pairs`
//! decides.

use crate::answer::{Field, Item, Login};
use crate::note::{self, Line};
use crate::warnings::{Warnings, quoted};
use colibri_ipc::Secret;

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
}

/// Whether to look at more than passwords and notes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Passwords and notes.
    Plain,
    /// Custom fields, user names, URIs and seeds too.
    Fields,
}

/// Everything in one item, in a fixed order.
pub fn found(item: Item, extent: Extent, warnings: &mut Warnings) -> Vec<Found> {
    let label = format!("item {} ({})", quoted(&item.name), short(&item.id));
    let source = Source { name: item.name, label };
    let mut found = match (item.r#type, item.login) {
        (1, login) => from_login(login, extent, &source, warnings),
        (2, _) => from_note(item.notes, &source, warnings),
        (kind, _) => {
            warnings.add(format!("{} is {}: skipped", source.label, kind_name(kind)));
            return Vec::new();
        }
    };
    if extent == Extent::Fields {
        found.extend(item.fields.into_iter().filter_map(|field| from_field(field, &source, warnings)));
    }
    found
}

struct Source {
    name: String,
    label: String,
}

impl Source {
    fn itself(&self, value: Secret) -> Found {
        Found { name: self.name.clone(), source: self.name.clone(), label: self.label.clone(), value }
    }

    fn part(&self, part: &str, value: Secret) -> Found {
        let name = format!("{}_{part}", self.name);
        Found { name, source: format!("{}\0{part}", self.name), label: self.label.clone(), value }
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
            0 => source.part("URI", value),
            at => source.part(&format!("URI_{}", at + 1), value),
        });
        found.extend(login.username.map(|value| source.part("USERNAME", value)));
        found.extend(login.totp.map(|value| source.part("TOTP", value)));
        found.extend(uris);
    }
    found
}

fn from_note(text: Option<Secret>, source: &Source, warnings: &mut Warnings) -> Vec<Found> {
    let text = text.as_ref().map_or("", Secret::expose);
    let line = |line| match line {
        Line::Pair(number, name, value) => {
            let label = format!("line {number} of {}", source.label);
            Some(Found { source: name.clone(), name, label, value })
        }
        Line::Bad(number) => {
            warnings.add(format!("line {number} of {} is not of the form KEY=VALUE: skipped", source.label));
            None
        }
    };
    note::parse(text).into_iter().filter_map(line).collect()
}

fn from_field(field: Field, source: &Source, warnings: &mut Warnings) -> Option<Found> {
    let name = field.name.unwrap_or_default();
    if field.value.is_none() {
        warnings.add(format!("field {} of {} has no value: skipped", quoted(&name), source.label));
    }
    field.value.map(|value| source.part(&name, value))
}

/// Enough of an id to tell two items apart.
fn short(id: &str) -> String {
    id.chars().filter(|char| char.is_ascii_alphanumeric() || *char == '-').take(8).collect()
}

fn kind_name(kind: u32) -> &'static str {
    match kind {
        3 => "a card",
        4 => "an identity",
        5 => "an SSH key",
        _ => "of a kind that is not known here",
    }
}
