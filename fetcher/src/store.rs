//! What `bw` has stored of the vault. After a sync that brought changes,
//! `bw serve` may go on listing what it held before, until its end; the file
//! that it keeps is right by then, so its lists are compared with that.

use crate::doubts::{Difference, MAX_FOUND};
use colibri_pair::Secret;
use colibri_session::{Failure, Rules};
use colibri_tenant::ErrorName::CollectionUnreadable;
use colibri_vault::answer::{Anything, Collection, Item, Login, SshKey, nullable};
use colibri_vault::warnings::quoted;
use rustix::fs::{Mode, OFlags, openat};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::error::Category;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result, Take};
use std::os::fd::AsFd;
use zeroize::Zeroizing;

/// In `bw`'s directory.
const FILE: &str = "data.json";
/// Longest file that is read, in bytes.
const MAX_FILE: u64 = 64 * 1024 * 1024;
/// How much of it is held at a time, in bytes.
const PIECE: usize = 64 * 1024;
/// The kinds of items that can become pairs: logins, secure notes and SSH keys.
const KINDS: [u32; 3] = [1, 2, 5];

/// What is stored of one account's collections and items, without contents. Where it is
/// the same after a sync, so is what `bw` lists.
#[derive(Debug, PartialEq)]
pub struct Store {
    items: BTreeMap<String, StoredItem>,
    collections: BTreeMap<String, StoredCollection>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredItem {
    r#type: u32,
    #[serde(default, deserialize_with = "nullable")]
    collection_ids: Vec<String>,
    revision_date: Option<String>,
    deleted_date: Option<Anything>,
    archived_date: Option<Anything>,
    /// What the account may see of it can change without a new date.
    view_password: Option<bool>,
    notes: Option<Anything>,
    login: Option<StoredLogin>,
    ssh_key: Option<StoredSshKey>,
    #[serde(default, deserialize_with = "nullable")]
    fields: Vec<StoredField>,
}

/// Which parts of a login there are.
#[derive(Debug, Default, PartialEq, Deserialize)]
struct StoredLogin {
    username: Option<Anything>,
    password: Option<Anything>,
    totp: Option<Anything>,
}

/// Which parts of an SSH key there are.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredSshKey {
    private_key: Option<Anything>,
    public_key: Option<Anything>,
    key_fingerprint: Option<Anything>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct StoredField {
    name: Option<Anything>,
    value: Option<Anything>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StoredCollection {
    /// Encrypted.
    name: String,
    /// Whether the account may not see passwords in it.
    hide_passwords: Option<bool>,
}

/// The names of collections as they were listed, each with what was stored.
pub type Names = BTreeMap<String, (String, String)>;

/// Entries by id, each with what tells its states apart, where that is known.
type States<'a> = BTreeMap<&'a str, Option<String>>;

impl Store {
    /// Reads what `bw` keeps in its directory, and does not trust it to be a plain file.
    ///
    /// # Errors
    /// The system's, and for what is not of the form that is known.
    pub fn read(dir: impl AsFd) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = File::from(openat(dir, FILE, flags, Mode::empty())?);
        let found = file.metadata()?;
        if !found.is_file() || found.len() > MAX_FILE {
            return Err(Error::other(format!("{FILE} is not a file of at most {MAX_FILE} bytes")));
        }
        serde_json::from_reader(Pieces::of(file)).map_err(|error| unknown(&error))
    }

    /// The items of a collection that are not listed as they are stored.
    pub fn items(&self, collection: &str, listed: &[Item]) -> BTreeSet<Difference> {
        let counts = |kind: u32, collections: &[String], gone: bool| {
            collections.iter().any(|id| id == collection) && KINDS.contains(&kind) && !gone
        };
        let state = |date: &Option<String>| date.as_deref().and_then(milliseconds);
        let listed = listed.iter().filter(|item| {
            let gone = item.deleted_date.is_some() || item.archived_date.is_some();
            counts(item.r#type, &item.collection_ids, gone)
        });
        let stored = self.items.iter().filter(|(_, item)| {
            let gone = item.deleted_date.is_some() || item.archived_date.is_some();
            counts(item.r#type, &item.collection_ids, gone)
        });
        let listed = listed.map(|item| (item.id.as_str(), state(&item.revision_date))).collect();
        let stored = stored.map(|(id, item)| (id.as_str(), state(&item.revision_date))).collect();
        differences(collection, &listed, &stored)
    }

    /// What is stored of an item and wanted of it, and not listed: `bw` lists what it
    /// cannot decrypt, or must not show, as if it were not there.
    ///
    /// # Errors
    /// `CollectionUnreadable`.
    pub fn whole(&self, item: &Item, rules: &Rules) -> std::result::Result<(), Failure> {
        let Some(stored) = self.items.get(&item.id) else { return Ok(()) };
        let Some(part) = stored.lost(item, rules) else { return Ok(()) };
        let why = match stored.view_password {
            Some(false) => "is hidden from the machine account",
            _ => "cannot be decrypted by bw",
        };
        let message = format!("{part} of item {} {why}", quoted(&item.name));
        Err(Failure::new(CollectionUnreadable, message))
    }

    /// The collections that are not listed as they are stored. `known` tells
    /// that a name stayed while what is stored changed.
    pub fn collections(&self, listed: &[Collection], known: &Names) -> BTreeSet<Difference> {
        let state = |listed: &Collection| {
            let known = known.get(&listed.id).filter(|(name, _)| *name == listed.name);
            known.map(|(_, stored)| stored.clone())
        };
        let listed = listed.iter().map(|one| (one.id.as_str(), state(one))).collect();
        let stored = self.collections.iter().map(|(id, one)| (id.as_str(), Some(one.name.clone()))).collect();
        differences("", &listed, &stored)
    }

    /// The names of collections that were listed and believed.
    pub fn names(&self, listed: &[Collection]) -> Names {
        let name = |one: &Collection| {
            let stored = self.collections.get(&one.id)?;
            Some((one.id.clone(), (one.name.clone(), stored.name.clone())))
        };
        listed.iter().filter_map(name).collect()
    }
}

impl StoredItem {
    /// The first part that is stored and wanted, and not listed.
    fn lost(&self, item: &Item, rules: &Rules) -> Option<&'static str> {
        let (no_login, no_key) = (StoredLogin::default(), StoredSshKey::default());
        let (login, key) =
            (self.login.as_ref().unwrap_or(&no_login), self.ssh_key.as_ref().unwrap_or(&no_key));
        let listed =
            |part: fn(&Login) -> &Option<Secret>| item.login.as_ref().and_then(|it| part(it).as_ref());
        let secret =
            |part: fn(&SshKey) -> &Option<Secret>| item.ssh_key.as_ref().and_then(|it| part(it).as_ref());
        let part = |part: Option<&Secret>| part.is_some_and(|part| !part.expose().is_empty());
        let field = |(at, stored): (usize, &StoredField)| {
            let listed = item.fields.get(at);
            (stored.name.is_some() && listed.is_none_or(|it| it.name.is_none()))
                || (stored.value.is_some() && listed.is_none_or(|it| it.value.is_none()))
        };
        let note = self.r#type == 2;
        let parts = [
            (login.password.is_some() && listed(|it| &it.password).is_none(), "the password"),
            (self.notes.is_some() && (note || rules.fields) && item.notes.is_none(), "the text"),
            (key.private_key.is_some() && !part(secret(|it| &it.private_key)), "the private key"),
            (key.public_key.is_some() && !part(secret(|it| &it.public_key)), "the public key"),
            (key.key_fingerprint.is_some() && !part(secret(|it| &it.key_fingerprint)), "the fingerprint"),
            (
                rules.fields && login.username.is_some() && listed(|it| &it.username).is_none(),
                "the user name",
            ),
            (rules.fields && login.totp.is_some() && listed(|it| &it.totp).is_none(), "the seed"),
            (rules.fields && self.fields.iter().enumerate().any(field), "a custom field"),
            (
                rules.attachments
                    && item.attachments.iter().any(|it| it.file_name.as_ref().is_none_or(String::is_empty)),
                "an attachment's name",
            ),
        ];
        parts.into_iter().find_map(|(lost, part)| lost.then_some(part))
    }
}

/// The parser's own words hold what was read.
fn unknown(error: &serde_json::Error) -> Error {
    let kind = error.io_error_kind().unwrap_or(match error.classify() {
        Category::Eof => ErrorKind::UnexpectedEof,
        _ => ErrorKind::InvalidData,
    });
    let (line, column) = (error.line(), error.column());
    Error::new(kind, format!("{FILE} is of no form that is known, from line {line} column {column} on"))
}

fn differences(list: &str, listed: &States<'_>, stored: &States<'_>) -> BTreeSet<Difference> {
    let differs = |id: &&&str| match (listed.get(**id), stored.get(**id)) {
        (Some(Some(listed)), Some(Some(stored))) => listed != stored,
        (listed, stored) => listed.is_some() != stored.is_some(),
    };
    let lone = listed.keys().filter(|id| !stored.contains_key(**id));
    let difference = |id: &&str| {
        let stored = stored.get(id).map(|state| state.clone().unwrap_or_default());
        let listed = listed.contains_key(id);
        Difference { list: list.to_owned(), id: (*id).to_owned(), stored, listed }
    };
    stored.keys().chain(lone).filter(differs).take(MAX_FOUND).map(difference).collect()
}

/// Servers give 0 to 7 digits of a second, `bw` lists three of them.
fn milliseconds(date: &str) -> Option<String> {
    let date = date.strip_suffix('Z').or_else(|| date.strip_suffix("+00:00"))?;
    let (whole, fraction) = date.split_once('.').unwrap_or((date, ""));
    let known = whole.len() == "2026-01-31T00:00:00".len() && fraction.bytes().all(|it| it.is_ascii_digit());
    known.then(|| format!("{whole}.{fraction:0<3.3}"))
}

impl<'de> Deserialize<'de> for Store {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        from.deserialize_map(Whole)
    }
}

/// The whole file: `user_<id>_<what>` to value, and more.
struct Whole;

impl<'de> Visitor<'de> for Whole {
    type Value = Store;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("what bw stores")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Store, A::Error> {
        let (mut items, mut collections) = (None, None);
        while let Some(key) = map.next_key::<String>()? {
            let twice = match key.strip_prefix("user_").and_then(|key| key.split_once('_')) {
                Some((_, "ciphers_ciphers")) => items.replace(map.next_value()?).is_some(),
                Some((_, "collection_collections")) => collections.replace(map.next_value()?).is_some(),
                _ => map.next_value::<Anything>().map(|_| false)?,
            };
            if twice {
                return Err(A::Error::custom("there is more than one account"));
            }
        }
        match (items, collections) {
            (Some(items), Some(collections)) => Ok(Store {
                items: Option::unwrap_or_default(items),
                collections: Option::unwrap_or_default(collections),
            }),
            _ => Err(A::Error::custom("there are no items or no collections")),
        }
    }
}

/// Reads piece by piece: the file holds the client secret in clear, and what
/// was read is wiped.
struct Pieces {
    file: Take<File>,
    piece: Zeroizing<Vec<u8>>,
    at: usize,
    end: usize,
}

impl Pieces {
    fn of(file: File) -> Self {
        Self { file: file.take(MAX_FILE), piece: Zeroizing::new(vec![0; PIECE]), at: 0, end: 0 }
    }
}

impl Read for Pieces {
    fn read(&mut self, to: &mut [u8]) -> Result<usize> {
        if self.at == self.end {
            (self.at, self.end) = (0, self.file.read(&mut self.piece)?);
        }
        let mut rest = self.piece.get(self.at..self.end).unwrap_or_default();
        let count = rest.read(to)?;
        self.at += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::os::unix::fs::symlink;

    fn stored(content: &str) -> Result<Store> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), content).unwrap();
        Store::read(File::open(dir.path()).unwrap())
    }

    fn item(collection: &str, date: &str) -> serde_json::Value {
        json!({"id": "x", "type": 1, "collectionIds": [collection], "revisionDate": date, "deletedDate": null,
            "login": {"password": "2.encrypted"}, "name": "2.encrypted"})
    }

    fn sample() -> Store {
        let mut items = json!({
            "1": item("web", "2026-11-23T11:07:05.298123Z"),
            "2": item("web", "2026-11-23T11:07:05Z"),
            "3": item("db", "2026-11-23T11:07:05Z"),
            "4": item("web", "2026-11-23T11:07:05Z"),
            "5": item("web", "2026-11-23T11:07:05Z"),
            "6": {"type": 2, "collectionIds": null, "revisionDate": null},
        });
        items["4"]["type"] = json!(3);
        items["5"]["deletedDate"] = json!("2026-11-23T11:07:05Z");
        let whole = json!({
            "user_7a_token_apiKeyClientSecret": "secret",
            "user_7a_ciphers_ciphers": items,
            "user_7a_collection_collections": {"web": {"id": "web", "name": "2.w"}, "db": {"name": "2.d"}},
            "user_7a_ciphers_localData": {},
            "global_account_accounts": {"7a": {"deep": [[[1]]]}},
        });
        stored(&serde_json::to_string_pretty(&whole).unwrap()).unwrap()
    }

    fn listed(items: &[(&str, &str, &str)]) -> Vec<Item> {
        let item = |(id, collection, date): &(&str, &str, &str)| json!({"id": id, "name": "A", "type": 1, "collectionIds": [collection], "revisionDate": date});
        items.iter().map(|it| serde_json::from_value(item(it)).unwrap()).collect()
    }

    fn ids(found: BTreeSet<Difference>) -> Vec<(String, Option<String>)> {
        found.into_iter().map(|found| (found.id, found.stored)).collect()
    }

    #[test]
    fn a_list_is_compared_with_what_is_stored() {
        let store = sample();
        let differ = |items: &[_]| ids(store.items("web", &listed(items)));
        let one = ("1", "web", "2026-11-23T11:07:05.298Z");
        let two = ("2", "web", "2026-11-23T11:07:05.000Z");
        assert_eq!(differ(&[one, two]), []);
        // What is not of the collection is not compared.
        assert_eq!(differ(&[two, one, ("3", "db", "x"), ("9", "db", "x")]), []);
        let state = |state: &str| Some(state.to_owned());
        let (first, second) = (state("2026-11-23T11:07:05.298"), state("2026-11-23T11:07:05.000"));
        assert_eq!(differ(&[two]), [("1".into(), first.clone())]);
        assert_eq!(differ(&[]), [("1".into(), first.clone()), ("2".into(), second)]);
        assert_eq!(differ(&[("1", "web", "2026-11-23T11:07:05.297Z"), two]), [("1".into(), first)]);
        assert_eq!(differ(&[one, two, ("8", "web", "x")]), [("8".into(), None)]);
        // A date of another form tells nothing.
        assert_eq!(differ(&[("1", "web", "yesterday"), two]), []);
        assert_eq!(ids(store.items("none", &[])), []);
    }

    #[test]
    fn a_name_that_stays_while_what_is_stored_changes_is_a_difference() {
        let list = |names: [(&str, &str); 2]| {
            names.map(|(id, name)| Collection {
                id: id.to_owned(),
                name: name.to_owned(),
                organization_id: None,
            })
        };
        let old = sample();
        let before = list([("web", "Web"), ("db", "Db")]);
        assert_eq!(ids(old.collections(&before, &Names::new())), []);
        let names = old.names(&before);
        let mut new = sample();
        new.collections.get_mut("web").unwrap().name = "2.x".into();
        assert_eq!(ids(new.collections(&before, &names)), [("web".into(), Some("2.x".into()))]);
        assert_eq!(ids(new.collections(&list([("web", "Www"), ("db", "Db")]), &names)), []);
        assert_eq!(ids(old.collections(&before[..1], &names)), [("db".into(), Some("2.d".into()))]);
    }

    #[test]
    fn a_date_is_compared_to_the_millisecond() {
        for (date, expected) in [
            ("2026-11-23T11:07:05.298123Z", Some("2026-11-23T11:07:05.298")),
            ("2026-11-23T11:07:05.29Z", Some("2026-11-23T11:07:05.290")),
            ("2026-11-23T11:07:05+00:00", Some("2026-11-23T11:07:05.000")),
            ("2026-11-23T11:07:05.298", None),
            ("2026-11-23T11:07:05.2x8Z", None),
            ("", None),
        ] {
            assert_eq!(milliseconds(date).as_deref(), expected, "{date}");
        }
    }

    #[test]
    fn what_is_not_such_a_file_is_refused() {
        for content in [
            "",
            "{",
            "[]",
            "{\"server\":\"x\"}",
            r#"{"user_1_ciphers_ciphers":{},"user_1_collection_collections":{},"user_2_ciphers_ciphers":{}}"#,
            r#"{"user_1_ciphers_ciphers":[],"user_1_collection_collections":{}}"#,
        ] {
            assert!(stored(content).is_err(), "{content}");
        }
        let said = stored(r#"{"user_1_ciphers_ciphers":"CANARY"}"#).unwrap_err().to_string();
        assert!(!said.contains("CANARY") && said.contains("line 1"), "{said}");
        let none = stored(r#"{"user_1_ciphers_ciphers":null,"user_1_collection_collections":{}}"#).unwrap();
        assert_eq!(ids(none.items("web", &[])), []);
        let deep = format!(r#"{{"x":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert!(stored(&deep).is_err());

        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(FILE);
        assert_eq!(
            Store::read(File::open(dir.path()).unwrap()).unwrap_err().kind(),
            std::io::ErrorKind::NotFound
        );
        symlink("/dev/zero", &file).unwrap();
        assert!(Store::read(File::open(dir.path()).unwrap()).is_err());
        std::fs::remove_file(&file).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &file, Mode::RUSR).unwrap();
        assert!(Store::read(File::open(dir.path()).unwrap()).is_err(), "and it does not wait for a writer");
        std::fs::remove_file(&file).unwrap();
        File::create(&file).unwrap().set_len(MAX_FILE + 1).unwrap();
        assert!(Store::read(File::open(dir.path()).unwrap()).is_err());
    }
}
