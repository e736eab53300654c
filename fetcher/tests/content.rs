//! What is in the vault and what becomes of it, with the real fetcher, the real `bw`
//! and the test vault: attachments, keys, backups, collections of one name.

#[cfg(test)]
#[path = "support/driver.rs"]
#[allow(dead_code, reason = "it is shared, and not all of it is needed here")]
mod driver;

use colibri_session::{self as words, Bounds, Fetch, Rules, Sync};
use colibri_tenant::ErrorName::{
    AttachmentUnreadable, CollectionAmbiguous, CollectionNotFound, CollectionReplaced, CollectionUnreadable,
    LimitExceeded, ValueNotCarried,
};
use colibri_tenant::KeyCase;
use colibri_test_vault::{
    Collection, Content, Fault, Field, FieldKind, Fixture, Item, Login, Organization, Route, SshKey, Times,
    Vault,
};
use driver::{Fetcher, Place, name};

/// With time enough for a machine that has much else to do.
fn request(id: u64, collection: &str) -> Fetch {
    Fetch { deadline_ms: 300_000, ..driver::request(id, collection) }
}

fn pair(key: &str, value: &str) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

/// A vault with the collection `web` and these items in it.
#[cfg(test)]
fn vault(place: &Place, items: Vec<Item>) -> Vault {
    let mut fixture = Fixture::machine();
    let id = fixture.add_collection("web");
    items.into_iter().for_each(|item| drop(fixture.add(item.within(&id))));
    Vault::start(fixture, place.path()).unwrap()
}

fn with_files() -> Rules {
    Rules { attachments: true, key_case: KeyCase::Upper, ..Rules::default() }
}

#[test]
fn attachments_that_are_text_become_values() {
    const PEM: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    let place = Place::new();
    let own = Item { own_key: Some(1), ..Item::note("KEYS", "A=1\n").with_file("ca.pem", PEM.as_bytes()) };
    let login = Item::login("DB", "secret").with_file("my cnf", b"").with_file("u", "\u{fc}".as_bytes());
    let vault = vault(&place, vec![own, login]);
    let mut fetcher = Fetcher::start(&place, place.vault(&vault));
    let (done, pairs) = fetcher.fetch(Fetch { rules: with_files(), ..request(1, "web") });
    let all = [
        pair("A", "1"),
        pair("DB", "secret"),
        pair("DB_MY_CNF", ""),
        pair("DB_U", "\u{fc}"),
        pair("KEYS_CA_PEM", PEM),
    ];
    assert_eq!((pairs.as_deref(), &done.warnings), (Some(&all[..]), &vec![]), "{done:?}");
    // Those that nobody wants are not fetched, and said; nor are any without being asked for.
    let fetched = (vault.count(Route::Attachment), vault.count(Route::File));
    assert_eq!(fetched, (3, 3));
    let strict = Rules { attachments: true, only: vec!["KEYS*".into()], ..Rules::default() };
    let (done, pairs) = fetcher.fetch(Fetch { rules: strict, ..request(2, "web") });
    assert_eq!(pairs.unwrap(), [], "{done:?}");
    assert!(done.warnings.iter().any(|line| line.contains("rename it KEYS_CA_PEM")), "{done:?}");
    let (done, pairs) = fetcher.fetch(request(3, "web"));
    assert_eq!(pairs.unwrap(), [pair("A", "1"), pair("DB", "secret")]);
    assert_eq!(done.warnings.len(), 2, "{done:?}");
    assert!(done.warnings.iter().all(|line| line.contains("with --attachments only")), "{done:?}");
    assert_eq!((vault.count(Route::Attachment), vault.count(Route::File), vault.logins()), (3, 3, 1));
    assert!(fetcher.close().success());
}

#[test]
fn an_attachment_that_is_no_value_is_refused_by_name() {
    // The smallest that is known to be too large before it is fetched, and one byte too much.
    let (large, over) = (vec![b'x'; 64 * 1024 + 17], vec![b'x'; 64 * 1024 + 1]);
    for (content, expected) in [
        (b"\xff\xfe".as_slice(), ValueNotCarried),
        (b"a\0b", ValueNotCarried),
        (&over, LimitExceeded),
        (&large, LimitExceeded),
    ] {
        let place = Place::new();
        let vault = vault(&place, vec![Item::login("A", "x").with_file("my file", content)]);
        let mut fetcher = Fetcher::start(&place, place.vault(&vault));
        let (done, pairs) = fetcher.fetch(Fetch { rules: with_files(), ..request(1, "web") });
        assert_eq!((name(&done.outcome), pairs), (expected, None), "{done:?}");
        let said = done.outcome.unwrap_err().message;
        assert!(said.starts_with("attachment \"my file\" of item \"A\" is"), "{said}");
        // What is too large by what the vault says is not even fetched.
        let lists = u64::from(content.len() < large.len());
        assert_eq!(vault.count(Route::File), lists);
        assert!(fetcher.close().success());
    }
}

#[test]
fn an_attachment_that_is_lost_is_its_tenants_trouble_alone() {
    let place = Place::new();
    let vault = vault(&place, vec![Item::login("A", "x").with_file("f", b"text")]);
    let mut fetcher = Fetcher::start(&place, place.vault(&vault));
    assert!(fetcher.fetch(request(1, "web")).1.is_some());
    for (route, fault) in [
        (Route::File, Fault::Status(404)),
        (Route::File, Fault::Html),
        (Route::File, Fault::TruncatedJson),
        (Route::Attachment, Fault::Garbled),
    ] {
        vault.fault(route, fault, Times::Always);
        let (done, pairs) = fetcher.fetch(Fetch { rules: with_files(), ..request(2, "web") });
        assert_eq!((name(&done.outcome), pairs), (AttachmentUnreadable, None), "{fault:?}: {done:?}");
        let said = done.outcome.unwrap_err().message;
        assert!(said.contains("attachment \"f\" of item \"A\""), "{said}");
        vault.heal(route);
    }
    let (done, pairs) = fetcher.fetch(Fetch { rules: with_files(), ..request(3, "web") });
    assert_eq!(pairs.unwrap(), [pair("A", "x"), pair("A_F", "text")], "{done:?}");
    assert_eq!(vault.logins(), 1, "the session was as good as before");
    assert!(fetcher.close().success());
}

#[test]
fn a_vault_that_was_restored_from_a_backup_is_asked_for_everything() {
    let place = Place::new();
    let vault =
        vault(&place, vec![Item::login("A", "old").with_file("f", b"old file"), Item::login("B", "b")]);
    let backup = vault.back_up();
    let id = vault.edit(|fixture| {
        let id = fixture.item_named("A").unwrap().id.clone();
        let item = fixture.item(&id).unwrap();
        item.set_value("new");
        item.attachments[0].content = b"new file".to_vec();
        fixture.item_named("B").unwrap().name = "C".into();
        id
    });
    id.unwrap();
    let bounds = Bounds { again_ms: 1000, ..Bounds::default() };
    let mut fetcher = Fetcher::start(&place, words::Vault { bounds, ..place.vault(&vault) });
    let rules = with_files();
    let (_, pairs) = fetcher.fetch(Fetch { rules: rules.clone(), ..request(1, "web") });
    assert_eq!(pairs.unwrap(), [pair("A", "new"), pair("A_F", "new file"), pair("C", "b")]);
    vault.restore(backup);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    // For bw, an older date is no change.
    let (done, pairs) = fetcher.fetch(Fetch { rules: rules.clone(), ..request(2, "web") });
    assert_eq!(pairs.unwrap()[0], pair("A", "new"), "{done:?}");
    let whole = Fetch { rules, sync: Sync::Everything, ..request(3, "web") };
    let (done, pairs) = fetcher.fetch(whole.clone());
    assert_eq!(pairs.unwrap(), [pair("A", "old"), pair("A_F", "old file"), pair("B", "b")], "{done:?}");
    // It costs a login, so not for each who asks.
    assert!(fetcher.fetch(Fetch { id: 4, ..whole }).1.is_some());
    assert_eq!(vault.logins(), 2);
    assert!(fetcher.close().success());
}

#[test]
fn items_that_were_moved_renamed_or_encrypted_anew_are_followed() {
    let place = Place::new();
    let key = |text: &str| {
        Content::SshKey(SshKey { private: text.into(), public: "p".into(), fingerprint: "f".into() })
    };
    let items = vec![Item::login("A", "a"), Item::login("B", "b"), Item::new("S", key("s"))];
    let vault = vault(&place, items);
    let other = vault.edit(|fixture| fixture.add_collection("other")).unwrap();
    let mut fetcher = Fetcher::start(&place, place.vault(&vault));
    let ssh = [pair("S", "s"), pair("S_FINGERPRINT", "f"), pair("S_PUB", "p")];
    let mut id = 0;
    let mut expect = |fetcher: &mut Fetcher<'_>, collection: &str, expected: &[(String, String)]| {
        id += 1;
        let (done, pairs) = fetcher.fetch(request(id, collection));
        assert_eq!(pairs.as_deref(), Some(expected), "{done:?}");
    };
    expect(&mut fetcher, "web", &[&[pair("A", "a"), pair("B", "b")], ssh.as_slice()].concat());
    for number in [Some(1), Some(2), None] {
        vault.edit(|fixture| fixture.item_named("A").map(|item| item.own_key = number)).unwrap();
        expect(&mut fetcher, "web", &[&[pair("A", "a"), pair("B", "b")], ssh.as_slice()].concat());
    }
    vault.edit(|fixture| fixture.item_named("B").map(|item| item.name = "C".into())).unwrap();
    expect(&mut fetcher, "web", &[&[pair("A", "a"), pair("C", "b")], ssh.as_slice()].concat());
    vault.edit(|fixture| fixture.item_named("A").map(|item| item.collections = vec![other])).unwrap();
    expect(&mut fetcher, "web", &[&[pair("C", "b")], ssh.as_slice()].concat());
    expect(&mut fetcher, "other", &[pair("A", "a")]);
    assert!(fetcher.close().success());
}

#[test]
fn an_item_that_cannot_be_decrypted_fails_by_its_id() {
    let place = Place::new();
    let vault = vault(&place, vec![Item::login("A", "a"), Item::login("B", "b")]);
    let mut fetcher = Fetcher::start(&place, place.vault(&vault));
    assert!(fetcher.fetch(request(1, "web")).1.is_some());
    let id = vault.edit(|fixture| {
        let item = fixture.item_named("B").unwrap();
        item.unreadable = true;
        item.id.clone()
    });
    let (done, pairs) = fetcher.fetch(request(2, "web"));
    assert_eq!((name(&done.outcome), pairs), (CollectionUnreadable, None), "{done:?}");
    let said = done.outcome.unwrap_err().message;
    let id = id.unwrap();
    assert!(said.contains(&id) && said.contains("decrypt"), "{said}");
    vault.edit(|fixture| fixture.item(&id).map(|item| item.trashed = true)).unwrap();
    let (done, pairs) = fetcher.fetch(request(3, "web"));
    assert_eq!(pairs.unwrap(), [pair("A", "a")], "{done:?}");
    assert!(fetcher.close().success());
}

/// `bw` lists what it cannot decrypt as if it were not there.
#[test]
fn a_part_of_an_item_that_cannot_be_decrypted_is_not_an_empty_one() {
    let place = Place::new();
    let key = SshKey { private: "s".into(), public: "p".into(), fingerprint: "f".into() };
    let field = Field { name: "F".into(), value: "f".into(), kind: FieldKind::Hidden };
    let items = vec![
        Item::login("LOGIN", "a"),
        Item::note("NOTE", "N=b\n"),
        Item::new("KEY", Content::SshKey(key)),
        Item { fields: vec![field], ..Item::new("FIELD", Content::Login(Login::default())) },
    ];
    let vault = vault(&place, items);
    let mut fetcher = Fetcher::start(&place, place.vault(&vault));
    let rules = Rules { fields: true, attachments: true, ..Rules::default() };
    let mut id = 0;
    let mut fetch = |garbled: Option<&str>, rules: &Rules| {
        vault
            .edit(|fixture| {
                let items = fixture.organizations.iter_mut().flat_map(|all| &mut all.items);
                items.for_each(|item| item.garbled = garbled == Some(item.name.as_str()));
            })
            .unwrap();
        id += 1;
        fetcher.fetch(Fetch { rules: rules.clone(), ..request(id, "web") })
    };
    assert!(fetch(None, &rules).1.is_some());
    for (name, part) in
        [("LOGIN", "password"), ("NOTE", "text"), ("KEY", "private key"), ("FIELD", "custom field")]
    {
        let (done, pairs) = fetch(Some(name), &rules);
        assert_eq!((self::name(&done.outcome), pairs), (CollectionUnreadable, None), "{done:?}");
        let said = done.outcome.unwrap_err().message;
        assert!(said.contains(part) && said.contains(name) && said.contains("decrypt"), "{said}");
    }
    // What is not wanted of an item may be what it likes.
    let (done, pairs) = fetch(Some("FIELD"), &Rules::default());
    assert!(pairs.unwrap().contains(&pair("N", "b")), "{done:?}");
    assert!(fetch(None, &rules).1.is_some());
    assert!(fetcher.close().success());
}

#[test]
fn with_fields_each_warning_names_its_field() {
    let place = Place::new();
    let field = |name: &str| colibri_test_vault::Field {
        name: name.into(),
        value: "v".into(),
        kind: Default::default(),
    };
    let login = Login { password: Some("p".into()), ..Login::default() };
    let mut item = Item::new("A", Content::Login(login));
    item.fields = ["one", "two", "Ok!", "X Y", "X.Y"].map(field).into();
    item.notes = Some("for people".into());
    let vault = vault(&place, vec![item]);
    let mut fetcher = Fetcher::start(&place, place.vault(&vault));
    let rules = Rules { fields: true, ..Rules::default() };
    let (done, pairs) = fetcher.fetch(Fetch { rules: rules.clone(), ..request(1, "web") });
    assert_eq!(pairs, None);
    let said = done.outcome.unwrap_err().message;
    assert!(said.contains("field \"X Y\" of item \"A\"") && said.contains("field \"X.Y\" of"), "{said}");
    vault.edit(|fixture| fixture.item_named("A").unwrap().fields.truncate(4)).unwrap();
    let (done, pairs) = fetcher.fetch(Fetch { rules, ..request(2, "web") });
    assert_eq!(pairs.unwrap(), [pair("A", "p"), pair("A_NOTES", "for people"), pair("A_X_Y", "v")]);
    for part in ["field \"one\"", "field \"two\"", "field \"Ok!\""] {
        assert_eq!(done.warnings.iter().filter(|line| line.contains(part)).count(), 1, "{part}: {done:?}");
    }
    assert!(fetcher.close().success());
}

#[test]
fn of_two_organizations_with_a_collection_of_that_name_one_is_chosen() {
    let place = Place::new();
    let mut fixture = Fixture::fleet(1, 1);
    let mut other = Organization::new("other");
    let twin = Collection::new("jail-0000");
    let id = twin.id.clone();
    other.collections.push(twin);
    other.items.push(Item::login("OTHER", "o").within(&id));
    fixture.organizations.push(other);
    let vault = Vault::start(fixture, place.path()).unwrap();
    let mut fetcher = Fetcher::start(&place, place.vault(&vault));
    let failure = fetcher.fetch(request(1, "jail-0000")).0.outcome.unwrap_err();
    assert_eq!(failure.name, CollectionAmbiguous);
    for part in [&id, "organization \"fleet\"", "organization \"other\""] {
        assert!(failure.message.contains(part), "{failure}");
    }
    let by_name = Fetch { organization: Some("other".into()), ..request(2, "jail-0000") };
    assert_eq!(fetcher.fetch(by_name.clone()).1.unwrap(), [pair("OTHER", "o")]);
    let by_id = Fetch { chosen: Some(id.clone()), ..request(3, "whatever") };
    assert_eq!(fetcher.fetch(by_id.clone()).1.unwrap(), [pair("OTHER", "o")]);
    vault.edit(|fixture| fixture.remove_collection(&id)).unwrap();
    let failure = fetcher.fetch(Fetch { id: 4, ..by_name }).0.outcome.unwrap_err();
    assert_eq!(failure.name, CollectionNotFound);
    assert!(failure.message.contains("of organization \"other\""), "{failure}");
    assert_eq!(name(&fetcher.fetch(Fetch { id: 5, ..by_id }).0.outcome), CollectionNotFound);
    assert!(fetcher.close().success());
}

#[test]
fn a_collection_that_was_made_anew_is_followed_and_said_when() {
    let place = Place::new();
    let vault = vault(&place, vec![Item::login("A", "a")]);
    let mut fetcher = Fetcher::start(&place, place.vault(&vault));
    let first = fetcher.fetch(request(1, "web")).0.outcome.unwrap().collection_id;
    let again = vault.edit(|fixture| {
        fixture.remove_collection(&first);
        let id = fixture.add_collection("web");
        fixture.add(Item::login("B", "b").within(&id));
        id
    });
    let again = again.unwrap();
    // Somebody else has just used up the look at all of the vault.
    assert_eq!(name(&fetcher.fetch(request(2, "nothing")).0.outcome), CollectionNotFound);
    let held = Fetch { pinned: Some("11111111-1111-4111-8111-111111111111".into()), ..request(3, "nothing") };
    assert_eq!(name(&fetcher.fetch(held).0.outcome), CollectionNotFound);
    let (done, pairs) = fetcher.fetch(Fetch { pinned: Some(first.clone()), ..request(4, "web") });
    assert_eq!(pairs.unwrap(), [pair("B", "b")], "that look has shown it: {done:?}");
    assert!(done.warnings[0].contains(&again), "{done:?}");
    let third = vault.edit(|fixture| {
        fixture.remove_collection(&again);
        fixture.add_collection("web")
    });
    let failure = fetcher.fetch(Fetch { pinned: Some(again), ..request(5, "web") }).0.outcome.unwrap_err();
    assert_eq!(failure.name, CollectionReplaced, "within a minute it is not asked for again");
    for part in ["is followed by itself, in ", " s at the earliest", &third.unwrap()] {
        assert!(failure.message.contains(part), "{failure}");
    }
    assert!(fetcher.close().success());
}

/// The name that one sees may be another: of letters that look the same, or of none any
/// more. What was found first is told by the name that it has now, and can be followed.
#[test]
fn a_collection_of_another_name_is_told_by_it_and_followed() {
    let place = Place::new();
    let mut fixture = Fixture::machine();
    for name in ["caf\u{e9}", "Mail", "web"] {
        let id = fixture.add_collection(name);
        fixture.add(Item::login("A", name).within(&id));
    }
    let vault = Vault::start(fixture, place.path()).unwrap();
    let mut fetcher = Fetcher::start(&place, place.vault(&vault));
    let first = fetcher.fetch(request(1, "web")).0.outcome.unwrap().collection_id;
    for (id, wanted, part) in [
        (2, "cafe\u{301}", "Unicode form of its letters: U+00E9 there, U+0301 here"),
        (3, "mail", "\"Mail\" looks alike, and differs in letter case"),
    ] {
        let failure = fetcher.fetch(request(id, wanted)).0.outcome.unwrap_err();
        assert_eq!(failure.name, CollectionNotFound);
        assert!(failure.message.contains(part), "{failure}");
    }
    vault.edit(|fixture| fixture.collection(&first).map(|one| one.name = "www".into())).unwrap();
    let pinned = |id, name| Fetch { pinned: Some(first.clone()), ..request(id, name) };
    let failure = fetcher.fetch(pinned(4, "web")).0.outcome.unwrap_err();
    assert_eq!(failure.name, CollectionNotFound);
    for part in ["is named \"www\" now", "colibri update-tenant NAME --collection"] {
        assert!(failure.message.contains(part), "{failure}");
    }
    let (done, pairs) = fetcher.fetch(pinned(5, "www"));
    assert_eq!(pairs.unwrap(), [pair("A", "web")], "{done:?}");
    assert_eq!(done.outcome.unwrap().collection_id, first);
    assert!(fetcher.close().success());
}
