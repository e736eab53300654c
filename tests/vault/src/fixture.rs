//! What is in the vault, as a person writes it: accounts, organizations,
//! collections and items, in the clear.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::crypto;

/// The whole content of a vault server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fixture {
    /// Who can log in.
    #[serde(default)]
    pub accounts: Vec<Account>,
    /// What they share.
    #[serde(default)]
    pub organizations: Vec<Organization>,
}

/// Somebody who can log in with an API key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// A UUID; made from the e-mail address when empty.
    #[serde(default)]
    pub id: String,
    /// The address, which is also the salt of the master key.
    pub email: String,
    /// The master password.
    pub password: String,
    /// The API key's secret; its client id is `user.` and the account's id.
    pub client_secret: String,
    /// Rounds of PBKDF2-SHA256; `bw` accepts 5,000 to 2,000,000.
    #[serde(default = "real_rounds")]
    pub kdf_iterations: u32,
    /// Items of its own, in no organization.
    #[serde(default)]
    pub items: Vec<Item>,
}

/// An organization. Every account is a member unless `members` names some.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Organization {
    /// A UUID; made from the name when empty.
    #[serde(default)]
    pub id: String,
    /// Its name.
    pub name: String,
    /// E-mail addresses of its members; everybody when empty.
    #[serde(default)]
    pub members: Vec<String>,
    /// Its collections.
    #[serde(default)]
    pub collections: Vec<Collection>,
    /// Its items.
    #[serde(default)]
    pub items: Vec<Item>,
}

/// A collection of an organization.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Collection {
    /// A UUID; made from the organization's and its own name when empty.
    #[serde(default)]
    pub id: String,
    /// Its name; two may bear the same.
    pub name: String,
    /// What a member may do, by e-mail address; [`Access::Manage`] otherwise.
    #[serde(default)]
    pub access: BTreeMap<String, Access>,
}

/// What a member may do with a collection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Everything.
    #[default]
    Manage,
    /// See it all and change nothing.
    ReadOnly,
    /// See it without the passwords: `bw` is sent them and lists `null`.
    HidePasswords,
    /// Not even know of it.
    None,
}

/// One item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// A UUID; made from the name and the place when empty.
    #[serde(default)]
    pub id: String,
    /// Its name; two may bear the same.
    pub name: String,
    /// Collections it is in, by id or by name.
    #[serde(default)]
    pub collections: Vec<String>,
    /// Notes beside the content; those of a [`Content::Note`] are its text.
    #[serde(default)]
    pub notes: Option<String>,
    /// Custom fields.
    #[serde(default)]
    pub fields: Vec<Field>,
    /// Marked as favourite.
    #[serde(default)]
    pub favorite: bool,
    /// In the trash.
    #[serde(default)]
    pub trashed: bool,
    /// In the archive.
    #[serde(default)]
    pub archived: bool,
    /// Encrypted by a key of its own, as newer clients do; another number is another
    /// key, and none is the key of the organization.
    #[serde(default)]
    pub own_key: Option<u32>,
    /// Encrypted by a key that nobody has.
    #[serde(default)]
    pub unreadable: bool,
    /// Its name can be decrypted and nothing else of it.
    #[serde(default)]
    pub garbled: bool,
    /// Its files.
    #[serde(default)]
    pub attachments: Vec<Attachment>,
    /// What it holds.
    #[serde(flatten)]
    pub content: Content,
}

/// What an item holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// Type 1.
    Login(Login),
    /// Type 2, a secure note with this text.
    Note(String),
    /// Type 3; keys as `bw` names them, such as `cardholderName`.
    Card(BTreeMap<String, String>),
    /// Type 4; keys as `bw` names them, such as `firstName`.
    Identity(BTreeMap<String, String>),
    /// Type 5.
    SshKey(SshKey),
}

/// A login. What is empty is stored as absent, as `bw` does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// User name.
    #[serde(default)]
    pub username: Option<String>,
    /// Password.
    #[serde(default)]
    pub password: Option<String>,
    /// Seed of the one-time passwords.
    #[serde(default)]
    pub totp: Option<String>,
    /// Addresses.
    #[serde(default)]
    pub uris: Vec<String>,
}

/// An SSH key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SshKey {
    /// In OpenSSH's format.
    pub private: String,
    /// In OpenSSH's format.
    pub public: String,
    /// `SHA256:…`.
    pub fingerprint: String,
}

/// A file of an item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attachment {
    /// 20 letters of a hexadecimal number, as Vaultwarden gives.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its content.
    pub content: Vec<u8>,
}

/// A custom field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// How it is shown.
    #[serde(default)]
    pub kind: FieldKind,
}

/// How a custom field is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FieldKind {
    /// As it is.
    #[default]
    Text,
    /// As dots.
    Hidden,
    /// As a box to tick.
    Boolean,
}

fn real_rounds() -> u32 {
    600_000
}

impl Fixture {
    /// One machine account with the fewest rounds that `bw` accepts, and the
    /// organization `fleet` with nothing in it.
    pub fn machine() -> Self {
        let mut account = Account::new("machine@example.com", "correct horse battery staple");
        account.kdf_iterations = 5_000;
        Self { accounts: vec![account], organizations: vec![Organization::new("fleet")] }
    }

    /// [`Fixture::machine`] with collections `jail-0000`, `jail-0001`, … of
    /// `items` logins `KEY_0`, `KEY_1`, … each; the password of the second
    /// item of the first collection is `value-0-1`.
    pub fn fleet(collections: usize, items: usize) -> Self {
        let mut fixture = Self::machine();
        for number in 0..collections {
            let id = fixture.add_collection(&format!("jail-{number:04}"));
            for item in 0..items {
                let login = Item::login(&format!("KEY_{item}"), &format!("value-{number}-{item}"));
                fixture.add(login.within(&id));
            }
        }
        fixture
    }

    /// Every odd case: the collection `edge` holds them all, and one item is
    /// in the collection `second` too.
    ///
    /// # Errors
    /// None, unless the list that comes with this crate is broken.
    pub fn edge() -> Result<Self> {
        let mut fixture = Self::machine();
        let list = include_str!("../fixtures/edge.json");
        let names = [
            ("1cdb55aa-8f02-4d93-8e65-dd54cbc9c713", "edge"),
            ("db593140-f3e0-48d6-a9c7-035138a2f90a", "second"),
        ];
        fixture.add_bw_list(list, &names)?;
        Ok(fixture)
    }

    /// Reads a TOML file.
    ///
    /// # Errors
    /// When it cannot be read, is no fixture, or refers to what is not there.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let mut fixture: Self =
            toml::from_str(&text).with_context(|| format!("understanding {}", path.display()))?;
        fixture.settle().with_context(|| format!("checking {}", path.display()))?;
        Ok(fixture)
    }

    /// Adds a collection to the first organization and gives its id.
    pub fn add_collection(&mut self, name: &str) -> String {
        let collection = Collection::new(name);
        let id = collection.id.clone();
        self.first().collections.push(collection);
        id
    }

    /// Adds an item to the first organization and gives its id.
    pub fn add(&mut self, item: Item) -> String {
        let id = item.id.clone();
        self.first().items.push(item);
        id
    }

    /// The item of that id.
    pub fn item(&mut self, id: &str) -> Option<&mut Item> {
        self.items_mut().find(|item| item.id == id)
    }

    /// The first item of that name.
    pub fn item_named(&mut self, name: &str) -> Option<&mut Item> {
        self.items_mut().find(|item| item.name == name)
    }

    /// The collection of that id or, failing that, the first of that name.
    pub fn collection(&mut self, which: &str) -> Option<&mut Collection> {
        let all = || self.organizations.iter().flat_map(|organization| &organization.collections);
        let known = all().any(|collection| collection.id == which);
        let mut all = self.organizations.iter_mut().flat_map(|organization| &mut organization.collections);
        all.find(|collection| if known { collection.id == which } else { collection.name == which })
    }

    /// Removes the item of that id for good.
    pub fn remove_item(&mut self, id: &str) {
        self.accounts.iter_mut().for_each(|account| account.items.retain(|item| item.id != id));
        self.organizations.iter_mut().for_each(|all| all.items.retain(|item| item.id != id));
    }

    /// Removes the collection of that id. Its items stay, and those that are
    /// in no other collection are seen by nobody.
    pub fn remove_collection(&mut self, id: &str) {
        for organization in &mut self.organizations {
            organization.collections.retain(|collection| collection.id != id);
            for item in &mut organization.items {
                item.collections.retain(|collection| collection != id);
            }
        }
    }

    fn first(&mut self) -> &mut Organization {
        if self.organizations.is_empty() {
            self.organizations.push(Organization::new("fleet"));
        }
        &mut self.organizations[0]
    }

    /// All items, those of accounts first.
    pub(crate) fn items(&self) -> impl Iterator<Item = &Item> {
        let own = self.accounts.iter().flat_map(|account| &account.items);
        own.chain(self.organizations.iter().flat_map(|organization| &organization.items))
    }

    fn items_mut(&mut self) -> impl Iterator<Item = &mut Item> {
        let own = self.accounts.iter_mut().flat_map(|account| &mut account.items);
        own.chain(self.organizations.iter_mut().flat_map(|organization| &mut organization.items))
    }

    /// Fills in the ids that are missing, turns names of collections into
    /// ids, and refuses what is contradictory.
    pub(crate) fn settle(&mut self) -> Result<()> {
        for account in &mut self.accounts {
            name_after(&mut account.id, &["account", &account.email]);
            settle_ids(&mut account.items, &account.id);
        }
        for organization in &mut self.organizations {
            organization.settle()?;
        }
        let mut seen = HashSet::new();
        let collections = self.organizations.iter().flat_map(|all| &all.collections);
        let ids = self.items().map(|item| &item.id).chain(collections.map(|collection| &collection.id));
        for id in ids.chain(self.accounts.iter().map(|account| &account.id)) {
            ensure!(seen.insert(id), "the id {id} is there twice");
        }
        Ok(())
    }
}

impl Account {
    /// The id of its API key.
    pub fn client_id(&self) -> String {
        format!("user.{}", self.id)
    }

    pub(crate) fn name(&self) -> &str {
        self.email.split('@').next().unwrap_or_default()
    }

    /// An account with 600,000 rounds and a secret made from its address.
    pub fn new(email: &str, password: &str) -> Self {
        Self {
            id: crypto::uuid_of(&["account", email]),
            email: email.to_owned(),
            password: password.to_owned(),
            client_secret: crypto::uuid_of(&["client secret", email]).replace('-', ""),
            kdf_iterations: real_rounds(),
            items: Vec::new(),
        }
    }
}

impl Organization {
    pub(crate) fn has(&self, account: &Account) -> bool {
        self.members.is_empty() || self.members.contains(&account.email)
    }

    /// An empty organization of everybody.
    pub fn new(name: &str) -> Self {
        let id = crypto::uuid_of(&["organization", name]);
        let (members, collections, items) = Default::default();
        Self { id, name: name.to_owned(), members, collections, items }
    }

    fn settle(&mut self) -> Result<()> {
        name_after(&mut self.id, &["organization", &self.name]);
        let mut numbers = HashMap::new();
        for collection in &mut self.collections {
            let number = numbers.entry(collection.name.clone()).and_modify(|n| *n += 1).or_insert(0);
            let path = ["collection", &self.id, &collection.name, &number.to_string()];
            name_after(&mut collection.id, &path);
        }
        settle_ids(&mut self.items, &self.id);
        self.resolve()
    }

    fn resolve(&mut self) -> Result<()> {
        let mut ids: HashMap<&str, Vec<&str>> = HashMap::new();
        for collection in &self.collections {
            ids.entry(&collection.name).or_default().push(&collection.id);
            ids.insert(&collection.id, vec![&collection.id]);
        }
        for item in &mut self.items {
            for collection in &mut item.collections {
                match ids.get(collection.as_str()).map(Vec::as_slice) {
                    Some([id]) => *collection = (*id).to_owned(),
                    Some(_) => bail!("the item {} is in one of several {collection}: say its id", item.name),
                    None => bail!("the item {} is in {collection}, which is not there", item.name),
                }
            }
        }
        Ok(())
    }
}

impl Collection {
    pub(crate) fn access_of(&self, account: &Account) -> Access {
        self.access.get(&account.email).copied().unwrap_or_default()
    }

    /// A collection that every member may manage, with an id of its own.
    pub fn new(name: &str) -> Self {
        Self { id: crypto::next_uuid(), name: name.to_owned(), access: BTreeMap::new() }
    }
}

impl Item {
    /// An item in no collection, with an id of its own.
    pub fn new(name: &str, content: Content) -> Self {
        Self {
            id: crypto::next_uuid(),
            name: name.to_owned(),
            collections: Vec::new(),
            notes: None,
            fields: Vec::new(),
            favorite: false,
            trashed: false,
            archived: false,
            own_key: None,
            unreadable: false,
            garbled: false,
            attachments: Vec::new(),
            content,
        }
    }

    /// A login with that password.
    pub fn login(name: &str, password: &str) -> Self {
        let login = Login { password: Some(password.to_owned()), ..Login::default() };
        Self::new(name, Content::Login(login))
    }

    /// A secure note with that text.
    pub fn note(name: &str, text: &str) -> Self {
        Self::new(name, Content::Note(text.to_owned()))
    }

    /// The same item in a collection more, which is named by id or by name.
    #[must_use]
    pub fn within(mut self, collection: &str) -> Self {
        self.collections.push(collection.to_owned());
        self
    }

    /// The same item with a file more.
    #[must_use]
    pub fn with_file(mut self, name: &str, content: &[u8]) -> Self {
        let id = crypto::next_uuid().replace('-', "")[..20].to_owned();
        self.attachments.push(Attachment { id, name: name.to_owned(), content: content.to_vec() });
        self
    }

    /// Sets a login's password or a note's text; another item is left alone.
    pub fn set_value(&mut self, value: &str) {
        match &mut self.content {
            Content::Login(login) => login.password = Some(value.to_owned()),
            Content::Note(text) => *text = value.to_owned(),
            Content::Card(_) | Content::Identity(_) | Content::SshKey(_) => {}
        }
    }
}

fn name_after(id: &mut String, path: &[&str]) {
    if id.is_empty() {
        *id = crypto::uuid_of(path);
    }
}

/// An item without an id gets one by its name and its number among those of
/// the same name: reading the same file again gives the same ids.
fn settle_ids(items: &mut [Item], owner: &str) {
    let mut numbers = HashMap::new();
    for item in items {
        let number = numbers.entry(item.name.clone()).and_modify(|n| *n += 1).or_insert(0);
        name_after(&mut item.id, &["item", owner, &item.name, &number.to_string()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Fixture> {
        let mut fixture: Fixture = toml::from_str(text)?;
        fixture.settle()?;
        Ok(fixture)
    }

    #[test]
    fn the_example_is_read_and_keeps_its_ids() {
        let path = colibri_test_host::tree().join("tests/vault/fixtures/example.toml");
        let first = Fixture::load(&path).unwrap();
        assert_eq!(first, Fixture::load(&path).unwrap());
        assert!(first.items().count() > 5);
    }

    #[test]
    fn an_item_in_an_unknown_collection_is_refused() {
        let text = "[[organizations]]\nname = 'o'\n[[organizations.items]]\nname = 'A'\n\
                    collections = ['nowhere']\nlogin = {}";
        assert!(read(text).unwrap_err().to_string().contains("nowhere"));
    }

    #[test]
    fn a_collection_of_an_ambiguous_name_has_to_be_named_by_id() {
        let text = "[[organizations]]\nname = 'o'\n[[organizations.collections]]\nname = 'c'\n\
                    [[organizations.collections]]\nname = 'c'\n[[organizations.items]]\nname = 'A'\n\
                    collections = ['c']\nlogin = {}";
        assert!(read(text).unwrap_err().to_string().contains("several"));
    }

    #[test]
    fn an_item_without_content_is_refused() {
        assert!(read("[[organizations]]\nname = 'o'\n[[organizations.items]]\nname = 'A'").is_err());
    }

    #[test]
    fn every_odd_case_is_in_the_edge_collection() {
        let mut fixture = Fixture::edge().unwrap();
        fixture.settle().unwrap();
        let edge = fixture.collection("edge").unwrap().id.clone();
        assert!(fixture.items().all(|item| item.collections.contains(&edge)));
        assert_eq!(fixture.items().filter(|item| item.collections.len() == 2).count(), 1);
    }
}
