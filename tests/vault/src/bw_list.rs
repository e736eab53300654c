//! Reads what `bw list items` prints back into a fixture.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::fixture::{Content, Field, FieldKind, Fixture, Item, Login, SshKey};

/// An item as `bw` prints it, without what it makes up itself.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    id: String,
    #[serde(rename = "type")]
    kind: u8,
    name: String,
    notes: Option<String>,
    #[serde(default)]
    favorite: bool,
    #[serde(default)]
    collection_ids: Vec<String>,
    #[serde(default)]
    fields: Vec<ListedField>,
    deleted_date: Option<String>,
    archived_date: Option<String>,
    login: Option<ListedLogin>,
    card: Option<HashMap<String, Option<String>>>,
    identity: Option<HashMap<String, Option<String>>>,
    ssh_key: Option<ListedSshKey>,
}

#[derive(Deserialize)]
struct ListedField {
    #[serde(rename = "type")]
    kind: u8,
    name: Option<String>,
    value: Option<String>,
}

#[derive(Deserialize)]
struct ListedLogin {
    username: Option<String>,
    password: Option<String>,
    totp: Option<String>,
    #[serde(default)]
    uris: Vec<ListedUri>,
}

#[derive(Deserialize)]
struct ListedUri {
    uri: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListedSshKey {
    private_key: String,
    public_key: String,
    key_fingerprint: String,
}

impl Fixture {
    /// Adds the items of a JSON array as `bw list items` prints it to the
    /// first organization. `names` gives collections' names by their ids; one
    /// that is not in it is named by its id.
    ///
    /// # Errors
    /// When it is not such an array.
    pub fn add_bw_list(&mut self, json: &str, names: &[(&str, &str)]) -> Result<()> {
        let listed: Vec<Listed> = serde_json::from_str(json).context("reading a list of items")?;
        for item in listed {
            for id in &item.collection_ids {
                self.know_collection(id, names);
            }
            let item = item.into_item()?;
            self.add(item);
        }
        Ok(())
    }

    fn know_collection(&mut self, id: &str, names: &[(&str, &str)]) {
        let known = self.organizations.iter().flat_map(|all| &all.collections).any(|it| it.id == id);
        if !known {
            let name = names.iter().find(|(known, _)| *known == id).map_or(id, |(_, name)| name);
            let added = self.add_collection(name);
            if let Some(collection) = self.collection(&added) {
                collection.id = id.to_owned();
            }
        }
    }
}

impl Listed {
    fn into_item(self) -> Result<Item> {
        let (content, notes) = match (self.kind, self.login, self.card, self.identity, self.ssh_key) {
            (1, Some(login), ..) => (Content::Login(login.into()), self.notes),
            (2, ..) => (Content::Note(self.notes.unwrap_or_default()), None),
            (3, _, Some(card), ..) => (Content::Card(present(card)), self.notes),
            (4, _, _, Some(identity), _) => (Content::Identity(present(identity)), self.notes),
            (5, .., Some(key)) => (Content::SshKey(key.into()), self.notes),
            (kind, ..) => bail!("the item {} is of type {kind} and has nothing of it", self.id),
        };
        Ok(Item {
            id: self.id,
            name: self.name,
            collections: self.collection_ids,
            notes,
            fields: self.fields.into_iter().map(Field::from).collect(),
            favorite: self.favorite,
            trashed: self.deleted_date.is_some(),
            archived: self.archived_date.is_some(),
            own_key: None,
            unreadable: false,
            garbled: false,
            attachments: Vec::new(),
            content,
        })
    }
}

impl From<ListedLogin> for Login {
    fn from(login: ListedLogin) -> Self {
        let uris = login.uris.into_iter().map(|uri| uri.uri).collect();
        Self { username: login.username, password: login.password, totp: login.totp, uris }
    }
}

impl From<ListedSshKey> for SshKey {
    fn from(key: ListedSshKey) -> Self {
        Self { private: key.private_key, public: key.public_key, fingerprint: key.key_fingerprint }
    }
}

impl From<ListedField> for Field {
    fn from(field: ListedField) -> Self {
        let kind = match field.kind {
            1 => FieldKind::Hidden,
            2 => FieldKind::Boolean,
            _ => FieldKind::Text,
        };
        Self { name: field.name.unwrap_or_default(), value: field.value.unwrap_or_default(), kind }
    }
}

fn present(map: HashMap<String, Option<String>>) -> BTreeMap<String, String> {
    map.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}
