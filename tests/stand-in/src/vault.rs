//! The vault as files, and what `bw` would keep of it in its own directory.

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// Collections, each with its items' names and passwords.
pub type Content = BTreeMap<String, BTreeMap<String, String>>;

/// Where the content is, and where `bw` stores it.
#[derive(Debug)]
pub struct Vault {
    content: PathBuf,
    store: PathBuf,
}

impl Vault {
    /// The vault beside the program.
    pub fn beside(program: &Path) -> Result<Self> {
        let own = std::env::var_os("BITWARDENCLI_APPDATA_DIR").context("no BITWARDENCLI_APPDATA_DIR")?;
        Ok(Self { content: named(program, ".vault"), store: PathBuf::from(own).join("data.json") })
    }

    /// What is in it now.
    pub fn content(&self, reached: &BTreeMap<String, String>) -> Result<Content> {
        let mut content = Content::from([("reach".to_owned(), reached.clone())]);
        for collection in entries(&self.content)? {
            let items =
                entries(&collection)?.into_iter().map(|item| Ok((name(&item)?, fs::read_to_string(item)?)));
            content.insert(name(&collection)?, items.collect::<Result<_>>()?);
        }
        Ok(content)
    }

    /// The server that it was set up for.
    pub fn server(&self) -> Result<Value> {
        Ok(self.stored()?["server"].clone())
    }

    /// Sets it up.
    pub fn set_server(&self, url: &str) -> Result<()> {
        Ok(fs::write(&self.store, json!({ "server": url }).to_string())?)
    }

    /// Stores what the fetcher compares with what is listed.
    pub fn store(&self, content: &Content) -> Result<()> {
        let mut stored = self.stored()?;
        let items =
            content.iter().flat_map(|(collection, items)| items.keys().map(move |it| (collection, it)));
        let stored_item = |(collection, item): (&String, &String)| {
            let id = item_id(collection, item);
            (id.clone(), json!({ "id": id, "type": 1, "collectionIds": [collection] }))
        };
        stored["user_1_ciphers_ciphers"] = items.map(stored_item).collect::<Map<_, _>>().into();
        let collections = content.keys().map(|name| (name.clone(), json!({ "name": format!("2.{name}") })));
        stored["user_1_collection_collections"] = collections.collect::<Map<_, _>>().into();
        Ok(fs::write(&self.store, stored.to_string())?)
    }

    fn stored(&self) -> Result<Value> {
        Ok(serde_json::from_slice(&fs::read(&self.store)?)?)
    }
}

/// An item's id.
pub fn item_id(collection: &str, name: &str) -> String {
    format!("{collection}.{name}")
}

/// The file of that ending beside the program.
pub fn named(program: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(program);
    name.push(ending);
    name.into()
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    match fs::read_dir(dir) {
        Ok(entries) => Ok(entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

fn name(path: &Path) -> Result<String> {
    Ok(path.file_name().and_then(|name| name.to_str()).context("a name that is no text")?.to_owned())
}
