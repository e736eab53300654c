//! What `bw` has stored of the vault, as a fingerprint for each collection: where it is
//! the same as before a sync, so are the secrets; where not, whose it is that changed.

use crate::answer::{Anything, Item, nullable};
use crate::parts::{self, FieldParts, LoginParts, Parts, SshKeyParts, there};
use colibri_session::{Failure, Fingerprint, Rules, States};
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::error::Category;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{Error, ErrorKind, Read, Result};

/// The kinds of items that can become pairs: logins, secure notes and SSH keys.
const KINDS: [u32; 3] = [1, 2, 5];

/// Whether an item of a collection can become pairs.
pub fn counts(kind: u32, gone: bool) -> bool {
    KINDS.contains(&kind) && !gone
}

/// Most bytes of states that one answer holds; an eighth of them in lengths.
const MAX_STATES: usize = 96 * 1024;
/// Longest id that is told, in bytes: a UUID has 36.
const MAX_ID: usize = 64;

/// One account's collections and items, without contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    collections: BTreeMap<String, StoredCollection>,
    listed: BTreeSet<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct StoredCollection {
    fingerprint: Fingerprint,
    /// The items that can become pairs, each with what there is of it.
    items: BTreeMap<String, Parts>,
}

impl Stored {
    /// Reads it as `bw` keeps it in data.json.
    ///
    /// # Errors
    /// The system's, and for what is not of the form that is known; `UnexpectedEof` and
    /// `InvalidData` where it may have been read while it was written.
    pub fn read(from: impl Read) -> Result<Self> {
        let Whole { items, collections } = serde_json::from_reader(from).map_err(|error| unknown(&error))?;
        Ok(Self::of(items, collections))
    }

    fn of(items: BTreeMap<String, StoredItem>, names: BTreeMap<String, StoredName>) -> Self {
        let mut hashers: BTreeMap<String, (Sha256, BTreeMap<String, Parts>)> = BTreeMap::new();
        let listed = names.keys().cloned().collect();
        for (id, name) in names {
            let mut hasher = Sha256::new();
            add(&mut hasher, &name);
            hashers.insert(id, (hasher, BTreeMap::new()));
        }
        for (id, mut item) in items {
            item.collection_ids.sort_unstable();
            item.collection_ids.dedup();
            let counts = counts(item.r#type, item.is_gone());
            for collection in &item.collection_ids {
                let (hasher, alive) = hashers.entry(collection.clone()).or_default();
                add(hasher, &(&id, &item));
                alive.extend(counts.then(|| (id.clone(), item.parts())));
            }
        }
        let finished = |(hasher, items): (Sha256, _)| {
            let mut fingerprint = Fingerprint::default();
            fingerprint.iter_mut().zip(hasher.finalize()).for_each(|(to, from)| *to = from);
            StoredCollection { fingerprint, items }
        };
        Self { collections: hashers.into_iter().map(|(id, hashed)| (id, finished(hashed))).collect(), listed }
    }

    /// The ids of a collection's items that can become pairs.
    pub fn items(&self, collection: &str) -> BTreeSet<&str> {
        let stored = self.collections.get(collection);
        stored.into_iter().flat_map(|one| one.items.keys()).map(String::as_str).collect()
    }

    /// That all is listed which is stored and wanted of a collection's items.
    ///
    /// # Errors
    /// `CollectionUnreadable`.
    pub fn whole(&self, collection: &str, items: &[Item], rules: &Rules) -> std::result::Result<(), Failure> {
        let Some(stored) = self.collections.get(collection) else { return Ok(()) };
        let known = items.iter().filter_map(|item| Some((item, stored.items.get(&item.id)?)));
        known.into_iter().try_for_each(|(item, parts)| parts.whole(item, rules))
    }

    /// The ids of the collections that the account sees.
    pub fn collections(&self) -> BTreeSet<&str> {
        self.listed.iter().map(String::as_str).collect()
    }

    /// Tells the states of a collection apart; one that nobody has is none's.
    pub fn fingerprint(&self, collection: &str) -> Option<Fingerprint> {
        self.collections.get(collection).map(|one| one.fingerprint)
    }

    /// That of each collection which the account sees, as many as an answer holds.
    pub fn states(&self) -> States {
        let mut room = MAX_STATES;
        let shown = self.listed.iter().filter_map(|id| {
            let fingerprint = self.fingerprint(id)?;
            let needed = id.len() + fingerprint.len() + 1;
            let fits = id.len() <= MAX_ID && needed <= room;
            room -= if fits { needed } else { 0 };
            fits.then(|| (id.clone(), fingerprint))
        });
        let shown: Vec<_> = shown.collect();
        let more = u32::try_from(self.listed.len() - shown.len()).unwrap_or(u32::MAX);
        States { shown, more }
    }
}

/// Adds what is stored, so that no two contents are added as the same bytes.
fn add(hasher: &mut Sha256, value: &impl Serialize) {
    let bytes = serde_json::to_vec(value).unwrap_or_default();
    hasher.update(bytes.len().to_le_bytes());
    hasher.update(bytes);
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct StoredItem {
    r#type: u32,
    #[serde(default, deserialize_with = "nullable")]
    collection_ids: Vec<String>,
    revision_date: Option<String>,
    #[serde(default, rename = "deletedDate", deserialize_with = "there")]
    deleted: bool,
    #[serde(default, rename = "archivedDate", deserialize_with = "there")]
    archived: bool,
    /// What the account may see of it can change without a new date.
    view_password: Option<bool>,
    #[serde(default, deserialize_with = "there")]
    notes: bool,
    login: Option<LoginParts>,
    ssh_key: Option<SshKeyParts>,
    #[serde(default, deserialize_with = "parts::fields")]
    fields: Vec<FieldParts>,
}

impl StoredItem {
    fn parts(&self) -> Parts {
        Parts {
            kind: self.r#type,
            view_password: self.view_password,
            notes: self.notes,
            login: self.login.clone().unwrap_or_default(),
            ssh_key: self.ssh_key.clone().unwrap_or_default(),
            fields: self.fields.clone(),
        }
    }

    const fn is_gone(&self) -> bool {
        self.deleted || self.archived
    }
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct StoredName {
    /// Encrypted.
    name: String,
    /// Whether the account may not see passwords in it.
    hide_passwords: Option<bool>,
}

/// The parser's own words hold what was read.
pub(crate) fn unknown(error: &serde_json::Error) -> Error {
    let kind = error.io_error_kind().unwrap_or(match error.classify() {
        Category::Eof => ErrorKind::UnexpectedEof,
        _ => ErrorKind::InvalidData,
    });
    let (line, column) = (error.line(), error.column());
    Error::new(kind, format!("it is of no form that is known, from line {line} column {column} on"))
}

/// The whole file: `user_<id>_<what>` to value, and more.
struct Whole {
    items: BTreeMap<String, StoredItem>,
    collections: BTreeMap<String, StoredName>,
}

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        from.deserialize_map(Entries)
    }
}

struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Whole;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("what bw stores")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Whole, A::Error> {
        let (mut items, mut collections) = (None, None);
        while let Some(key) = map.next_key::<String>()? {
            let twice = match key.strip_prefix("user_").and_then(|key| key.split_once('_')) {
                Some((_, "ciphers_ciphers")) => items.replace(map.next_value::<Option<_>>()?).is_some(),
                Some((_, "collection_collections")) => {
                    collections.replace(map.next_value::<Option<_>>()?).is_some()
                }
                _ => map.next_value::<Anything>().map(|_| false)?,
            };
            if twice {
                return Err(A::Error::custom("there is more than one account"));
            }
        }
        match (items, collections) {
            (Some(items), Some(collections)) => Ok(Whole {
                items: Option::unwrap_or_default(items),
                collections: Option::unwrap_or_default(collections),
            }),
            _ => Err(A::Error::custom("there are no items or no collections")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn item(collection: &str, date: &str) -> Value {
        json!({"id": "x", "type": 1, "collectionIds": [collection], "revisionDate": date, "deletedDate": null,
            "login": {"password": "2.encrypted"}, "name": "2.encrypted"})
    }

    fn sample() -> Value {
        json!({
            "user_7a_token_apiKeyClientSecret": "secret",
            "user_7a_ciphers_ciphers": {
                "1": item("web", "2026-11-23T11:07:05.298123Z"),
                "2": item("web", "2026-11-23T11:07:05Z"),
                "3": item("db", "2026-11-23T11:07:05Z"),
                "4": {"type": 3, "collectionIds": ["web"]},
                "5": {"type": 1, "collectionIds": ["web"], "deletedDate": "2026-11-23T11:07:05Z"},
                "6": {"type": 2, "collectionIds": null, "revisionDate": null},
                "7": {"type": 2, "collectionIds": ["web", "db"], "attachments": [{"url": "https://a"}]},
            },
            "user_7a_collection_collections": {"web": {"id": "web", "name": "2.w"}, "db": {"name": "2.d"}},
            "user_7a_ciphers_localData": {},
            "global_account_accounts": {"7a": {"deep": [[[1]]]}},
        })
    }

    fn stored(content: &Value) -> Stored {
        Stored::read(content.to_string().as_bytes()).unwrap()
    }

    /// Whose fingerprints differ from the sample's after the change.
    fn changed(change: impl FnOnce(&mut Value)) -> Vec<String> {
        let mut content = sample();
        change(&mut content);
        let (before, after) = (stored(&sample()), stored(&content));
        let ids: BTreeSet<_> = before.collections.keys().chain(after.collections.keys()).cloned().collect();
        ids.into_iter().filter(|id| before.fingerprint(id) != after.fingerprint(id)).collect()
    }

    #[test]
    fn a_fingerprint_tells_whose_collection_changed_and_nobody_elses() {
        let items = "user_7a_ciphers_ciphers";
        let names = "user_7a_collection_collections";
        assert_eq!(changed(|_| {}), [""; 0]);
        assert_eq!(changed(|it| it[items]["1"]["revisionDate"] = json!("2026-11-24T00:00:00Z")), ["web"]);
        assert_eq!(
            changed(|it| it[items]["7"]["revisionDate"] = json!("2026-11-24T00:00:00Z")),
            ["db", "web"]
        );
        assert_eq!(changed(|it| it[items]["3"]["collectionIds"] = json!(["web"])), ["db", "web"], "moved");
        assert_eq!(changed(|it| it[items]["3"]["collectionIds"] = json!([])), ["db"], "moved out");
        assert_eq!(changed(|it| it[items]["2"]["deletedDate"] = json!("2026")), ["web"], "trashed");
        assert_eq!(changed(|it| it[items]["2"]["archivedDate"] = json!("2026")), ["web"], "archived");
        assert_eq!(changed(|it| it[items]["2"]["viewPassword"] = json!(false)), ["web"]);
        assert_eq!(changed(|it| it[items]["8"] = item("new", "x")), ["new"]);
        assert_eq!(changed(|it| it[names]["db"]["name"] = json!("2.e")), ["db"], "renamed");
        assert_eq!(changed(|it| it[names]["db"]["hidePasswords"] = json!(true)), ["db"]);
        assert_eq!(changed(|it| drop(it[names].as_object_mut().unwrap().remove("db"))), ["db"], "taken away");
        // What a forced sync changes of what is the same, and who is nobody's.
        let address = |it: &mut Value| it[items]["7"]["attachments"][0]["url"] = json!("https://b");
        assert_eq!(changed(address), [""; 0]);
        assert_eq!(changed(|it| it[items]["7"]["collectionIds"] = json!(["db", "web"])), [""; 0]);
        assert_eq!(changed(|it| it[items]["6"]["revisionDate"] = json!("x")), [""; 0]);
    }

    #[test]
    fn what_can_become_pairs_is_known_by_its_id() {
        let stored = stored(&sample());
        assert_eq!(stored.items("web"), ["1", "2", "7"].into());
        assert_eq!(stored.items("none"), [].into());
        assert_eq!(stored.collections(), ["db", "web"].into());
        assert_eq!(stored.fingerprint("none"), None);
    }

    #[test]
    fn the_states_of_all_are_told_within_the_bound_of_a_frame() {
        let states = stored(&sample()).states();
        let ids: Vec<_> = states.shown.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!((ids, states.more), (vec!["db", "web"], 0));
        let mut many = sample();
        many["user_7a_collection_collections"] = (0..5000)
            .map(|at| (format!("{at:036}"), json!({"name": "2.x"})))
            .collect::<serde_json::Map<_, _>>()
            .into();
        let states = stored(&many).states();
        assert!(states.shown.len() > 1000 && states.shown.len() + states.more as usize == 5000);
        assert!(colibri_pair::encode(&states).unwrap().len() < colibri_session::MAX_WORD);
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
            assert!(Stored::read(content.as_bytes()).is_err(), "{content}");
        }
        let said = Stored::read(&br#"{"user_1_ciphers_ciphers":"CANARY"}"#[..]).unwrap_err().to_string();
        assert!(!said.contains("CANARY") && said.contains("line 1"), "{said}");
        let none = br#"{"user_1_ciphers_ciphers":null,"user_1_collection_collections":{}}"#;
        assert_eq!(Stored::read(&none[..]).unwrap().items("web"), [].into());
        let deep = format!(r#"{{"x":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert!(Stored::read(deep.as_bytes()).is_err());
    }
}
