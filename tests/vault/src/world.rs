//! The vault's content as the server keeps it: the fixture, when each item
//! changed, and what of it has been encrypted already.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::format_description;

use crate::account::{AccountKeys, organization_key};
use crate::change::Effect;
use crate::cipher::{self, Stamp};
use crate::crypto::SymmetricKey;
use crate::fixture::{Access, Account, Collection, Fixture, Item, Organization};

/// The address of an item's file.
pub(crate) type Address<'a> = dyn Fn(&str, &str) -> String + 'a;

/// The content at a point in time, with its dates: what a backup holds.
#[derive(Clone)]
pub struct Backup {
    fixture: Fixture,
    stamps: HashMap<String, Stamp>,
    revisions: HashMap<String, i64>,
}

pub(crate) struct World {
    fixture: Fixture,
    keys: HashMap<String, AccountKeys>,
    /// By item.
    stamps: HashMap<String, Stamp>,
    /// By item; made when it is first asked for.
    encrypted: HashMap<String, Value>,
    /// By account: of the last change that it could see, in milliseconds since 1970.
    revisions: HashMap<String, i64>,
}

impl World {
    pub(crate) fn new(fixture: Fixture) -> Result<Self> {
        let (keys, stamps, encrypted, revisions) = Default::default();
        let mut world = Self { fixture: Fixture::default(), keys, stamps, encrypted, revisions };
        world.change(fixture)?;
        Ok(world)
    }

    pub(crate) fn fixture(&self) -> &Fixture {
        &self.fixture
    }

    /// Replaces the content: what differs from before is stamped with a new
    /// revision date, and so is each account that sees it. Gives the accounts that
    /// the bell rings for.
    pub(crate) fn change(&mut self, mut fixture: Fixture) -> Result<Vec<String>> {
        fixture.settle()?;
        let latest = self.revisions.values().copied().max().unwrap_or_default();
        let revision = now().max(latest + 1);
        let date = date(revision)?;
        for account in &fixture.accounts {
            if !self.keys.get(&account.id).is_some_and(|keys| keys.fit(account)) {
                self.keys.insert(account.id.clone(), AccountKeys::new(account)?);
            }
        }
        let before: HashMap<&str, &Item> =
            self.fixture.items().map(|item| (item.id.as_str(), item)).collect();
        for item in fixture.items().filter(|item| before.get(item.id.as_str()) != Some(item)) {
            let fresh = || Stamp { created: date.clone(), revised: date.clone() };
            self.stamps.entry(item.id.clone()).or_insert_with(fresh).revised.clone_from(&date);
            self.encrypted.remove(&item.id);
        }
        let mut rung = Vec::new();
        for account in &fixture.accounts {
            let effect = Effect::of(&self.fixture, &fixture, account);
            if effect.moves || !self.revisions.contains_key(&account.id) {
                self.revisions.insert(account.id.clone(), revision);
            }
            rung.extend(effect.rings.then(|| account.id.clone()));
        }
        self.fixture = fixture;
        Ok(rung)
    }

    /// What a backup holds.
    pub(crate) fn back_up(&self) -> Backup {
        let (fixture, stamps) = (self.fixture.clone(), self.stamps.clone());
        Backup { fixture, stamps, revisions: self.revisions.clone() }
    }

    /// Puts a backup in place of all there is: its dates are older again.
    pub(crate) fn restore(&mut self, Backup { fixture, stamps, revisions }: Backup) {
        self.encrypted.clear();
        (self.fixture, self.stamps, self.revisions) = (fixture, stamps, revisions);
    }

    /// The date of the last change that the account could see.
    pub(crate) fn revision(&self, account: &str) -> i64 {
        self.revisions.get(account).copied().unwrap_or_default()
    }

    pub(crate) fn account(&self, id: &str) -> Option<&Account> {
        self.fixture.accounts.iter().find(|account| account.id == id)
    }

    pub(crate) fn keys(&self, account: &Account) -> Result<&AccountKeys> {
        self.keys.get(&account.id).ok_or_else(|| anyhow!("the account {} has no keys", account.email))
    }

    /// The whole vault as that account sees it; `address` of an item and a file.
    pub(crate) fn sync(&self, id: &str, address: &Address<'_>) -> Result<Value> {
        let account = self.account(id).context("no such account")?;
        let keys = self.keys(account)?;
        let own = account
            .items
            .iter()
            .map(|item| self.shown(item, (None, keys.user_key()), &[], Access::Manage, address));
        let mut ciphers: Vec<Value> = own.collect::<Result<_>>()?;
        let mut collections = Vec::new();
        for organization in self.fixture.organizations.iter().filter(|all| all.has(account)) {
            self.show_organization(organization, account, (&mut collections, &mut ciphers), address)?;
        }
        Ok(json!({
            "profile": keys.profile(account, &self.fixture, &date(self.revision(id))?)?,
            "folders": [], "collections": collections, "policies": [], "ciphers": ciphers,
            "domains": null, "sends": [], "userDecryption": keys.decryption(account), "object": "sync",
        }))
    }

    fn show_organization(
        &self,
        organization: &Organization,
        account: &Account,
        (collections, ciphers): (&mut Vec<Value>, &mut Vec<Value>),
        address: &Address<'_>,
    ) -> Result<()> {
        let key = organization_key(organization);
        let seen = |collection: &&Collection| collection.access_of(account) != Access::None;
        let seen: HashMap<&str, &Collection> =
            organization.collections.iter().filter(seen).map(|it| (it.id.as_str(), it)).collect();
        for collection in organization.collections.iter().filter(|it| seen.contains_key(it.id.as_str())) {
            let access = collection.access_of(account);
            collections.push(cipher::collection(collection, &organization.id, access, &key)?);
        }
        for item in &organization.items {
            let within: Vec<&Collection> =
                item.collections.iter().filter_map(|id| seen.get(id.as_str()).copied()).collect();
            if let Some(best) = within.iter().map(|collection| collection.access_of(account)).min_by_key(rank)
            {
                ciphers.push(self.shown(item, (Some(&organization.id), &key), &within, best, address)?);
            }
        }
        Ok(())
    }

    fn shown(
        &self,
        item: &Item,
        (owner, key): (Option<&str>, &SymmetricKey),
        within: &[&Collection],
        best: Access,
        address: &Address<'_>,
    ) -> Result<Value> {
        let mut encrypted = self.encrypted.get(&item.id).context("an item was not encrypted")?.clone();
        if !item.attachments.is_empty() {
            let files = item.attachments.iter();
            let files = files.map(|file| cipher::attachment(item, file, key, &address(&item.id, &file.id)));
            encrypted["attachments"] = Value::Array(files.collect::<Result<_>>()?);
        }
        Ok(cipher::show(encrypted, owner, within, best))
    }

    /// One file as its item lists it, if that account sees the item.
    pub(crate) fn attachment(
        &self,
        account: &str,
        item: &str,
        file: &str,
        address: &Address<'_>,
    ) -> Result<Option<Value>> {
        let all = self.sync(account, address)?;
        let entry = |list: &Value, id: &str| {
            list.as_array().and_then(|all| all.iter().find(|one| one["id"] == id)).cloned()
        };
        Ok(entry(&all["ciphers"], item).and_then(|item| entry(&item["attachments"], file)))
    }

    /// What lies on the server of one file.
    pub(crate) fn file(&self, item: &str, file: &str) -> Result<Option<Vec<u8>>> {
        let item = self.fixture.items().find(|one| one.id == item);
        let file = item.and_then(|item| item.attachments.iter().find(|one| one.id == file));
        file.map(cipher::file).transpose()
    }

    /// Encrypts what was not asked for yet.
    pub(crate) fn encrypt_all(&mut self) -> Result<()> {
        for account in &self.fixture.accounts {
            let keys = self.keys.get(&account.id).context("an account has no keys")?;
            encrypt(&account.items, keys.user_key(), &self.stamps, &mut self.encrypted)?;
        }
        for organization in &self.fixture.organizations {
            let key = organization_key(organization);
            encrypt(&organization.items, &key, &self.stamps, &mut self.encrypted)?;
        }
        Ok(())
    }
}

fn encrypt(
    items: &[Item],
    key: &SymmetricKey,
    stamps: &HashMap<String, Stamp>,
    encrypted: &mut HashMap<String, Value>,
) -> Result<()> {
    for item in items {
        if !encrypted.contains_key(&item.id) {
            let stamp = stamps.get(&item.id).context("an item has no date")?;
            encrypted.insert(item.id.clone(), cipher::encrypt(item, stamp, key)?);
        }
    }
    Ok(())
}

fn rank(access: &Access) -> u8 {
    match access {
        Access::Manage => 0,
        Access::ReadOnly => 1,
        Access::HidePasswords => 2,
        Access::None => 3,
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn date(millis: i64) -> Result<String> {
    let date = OffsetDateTime::from_unix_timestamp_nanos(i128::from(millis) * 1_000_000)?;
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");
    Ok(date.format(format)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changed_gets_a_new_date() {
        let mut world = World::new(Fixture::fleet(1, 2)).unwrap();
        let account = world.fixture().accounts[0].id.clone();
        let before = world.revision(&account);
        let stamps = world.stamps.clone();
        let mut fixture = world.fixture().clone();
        fixture.item_named("KEY_1").unwrap().set_value("new");
        world.change(fixture).unwrap();
        let differs = |item: &&Item| stamps[&item.id].revised != world.stamps[&item.id].revised;
        let changed: Vec<&str> =
            world.fixture.items().filter(differs).map(|item| item.name.as_str()).collect();
        assert_eq!(changed, ["KEY_1"]);
        assert!(world.revision(&account) > before);
    }

    #[test]
    fn an_item_is_seen_through_the_best_of_its_collections() {
        let mut fixture = Fixture::machine();
        let ids = ["a", "b", "c"].map(|name| fixture.add_collection(name));
        let kinds = [Access::HidePasswords, Access::ReadOnly, Access::None];
        for (id, access) in ids.iter().zip(kinds) {
            let collection = fixture.collection(id).unwrap();
            collection.access.insert("machine@example.com".to_owned(), access);
        }
        fixture.add(Item::login("BOTH", "x").within(&ids[0]).within(&ids[1]));
        fixture.add(Item::login("HIDDEN", "x").within(&ids[0]).within(&ids[2]));
        fixture.add(Item::login("UNSEEN", "x").within(&ids[2]));
        let id = fixture.accounts[0].id.clone();
        let mut world = World::new(fixture).unwrap();
        world.encrypt_all().unwrap();
        let sync = world.sync(&id, &|_, _| String::new()).unwrap();
        let flags = |n: usize| {
            let cipher = &sync["ciphers"][n];
            (cipher["edit"].clone(), cipher["viewPassword"].clone(), cipher["collectionIds"].clone())
        };
        assert_eq!(flags(0), (json!(false), json!(true), json!([ids[0], ids[1]])));
        assert_eq!(flags(1), (json!(false), json!(false), json!([ids[0]])));
        assert_eq!(sync["ciphers"].as_array().unwrap().len(), 2);
        assert_eq!(sync["collections"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn a_backup_brings_its_dates_back() {
        let mut world = World::new(Fixture::fleet(1, 1)).unwrap();
        let account = world.fixture().accounts[0].id.clone();
        let (backup, revision) = (world.back_up(), world.revision(&account));
        let mut fixture = world.fixture().clone();
        fixture.item_named("KEY_0").unwrap().set_value("new");
        world.change(fixture).unwrap();
        world.restore(backup.clone());
        assert_eq!((world.revision(&account), &world.fixture), (revision, &backup.fixture));
    }

    #[test]
    fn a_file_is_listed_for_those_who_see_its_item() {
        let mut fixture = Fixture::machine();
        let [seen, unseen] = ["a", "b"].map(|name| fixture.add_collection(name));
        let collection = fixture.collection(&unseen).unwrap();
        collection.access.insert("machine@example.com".to_owned(), Access::None);
        let of = |id: &str| Item::note("N", "").with_file("f", b"x").within(id);
        let items = [&seen, &unseen].map(|id| fixture.add(of(id)));
        let files = items.clone().map(|id| fixture.item(&id).unwrap().attachments[0].id.clone());
        let account = fixture.accounts[0].id.clone();
        let mut world = World::new(fixture).unwrap();
        world.encrypt_all().unwrap();
        let listed = |at: usize| world.attachment(&account, &items[at], &files[at], &|_, _| "u".into());
        assert_eq!(listed(0).unwrap().unwrap()["url"], "u");
        assert!(listed(1).unwrap().is_none());
        assert_eq!(world.file(&items[0], &files[0]).unwrap().unwrap()[0], 2);
        assert!(world.file(&items[0], &files[1]).unwrap().is_none());
    }
}
