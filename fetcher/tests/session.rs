//! The real fetcher with the real `bw` and the test vault.

#[cfg(test)]
#[path = "support/driver.rs"]
mod driver;
#[cfg(test)]
#[path = "support/late.rs"]
mod late;

use colibri_pair::Secret;
use colibri_session::{Bounds, Done, Fetch, Names, SessionState, Want};
use colibri_tenant::ErrorName::{
    self, BadCredentials, CollectionNotFound, CollectionReplaced, VaultTimeout, VaultUnreachable,
};
use colibri_test_vault::{Content, Fault, Fixture, Item, Route, Times, Transport, Vault};
use driver::{Fetcher, Place, fleet, name, request};

#[test]
fn a_hundred_requests_share_one_login() {
    let place = Place::new();
    let vault = Vault::start(Fixture::fleet(100, 2), place.path()).unwrap();
    let mut fetcher = Fetcher::start(&place, place.vault(&vault));
    let asked: Vec<_> = (0..100).map(|at| fetcher.ask(request(at, &format!("jail-{at:04}")))).collect();
    for _ in 0..100 {
        let done = fetcher.done();
        assert_eq!(done.outcome.unwrap().keys.len(), 2);
    }
    for (at, pair) in asked.into_iter().enumerate() {
        let pairs = driver::pairs(pair).unwrap();
        let expected = [0, 1].map(|key| (format!("KEY_{key}"), format!("value-{at}-{key}")));
        assert_eq!(pairs, expected);
    }
    assert_eq!((vault.logins(), vault.count(Route::Sync)), (1, 1));
    assert!(fetcher.ready.is_sorted(), "in the order of arrival: {:?}", fetcher.ready);
    assert_eq!(place.log().matches(AT_ONCE).count(), 1);
    assert!(fetcher.close().success());
}

/// What the fetcher's log says of one list for all that wait.
const AT_ONCE: &str = "all items are listed at once";

/// Also after a change, which `bw serve` lists late, and with an item in two collections.
#[test]
fn many_that_wait_get_what_the_vault_holds() {
    const MANY: u64 = 40;
    let place = Place::new();
    let mut fixture = Fixture::fleet(usize::try_from(MANY).unwrap(), 2);
    let shared = fixture.organizations[0].collections[1].id.clone();
    fixture.organizations[0].items[0].collections.push(shared);
    let vault = Vault::start(fixture, place.path()).unwrap();
    let bw = late::bw();
    let settings = colibri_session::Vault { bw: bw.to_path_buf(), ..place.vault(&vault) };
    let mut fetcher = Fetcher::start(&place, settings);
    for round in 0..2 {
        if round == 1 {
            vault.edit(|fixture| set_passwords(fixture, "new")).unwrap();
        }
        let asked: Vec<_> =
            (0..MANY).map(|at| fetcher.ask(request(round * MANY + at, &format!("jail-{at:04}")))).collect();
        for _ in 0..MANY {
            let done = fetcher.done();
            assert!(done.outcome.is_ok() && done.warnings.is_empty() || done.id % MANY == 1, "{done:?}");
        }
        for (at, pair) in asked.into_iter().enumerate() {
            let values: Vec<_> = driver::pairs(pair).unwrap().into_iter().map(|(_, value)| value).collect();
            let old = |at, key: u32| format!("value-{at}-{key}");
            let expected = match (round, at) {
                (0, 1) => vec![],
                (0, _) => vec![old(at, 0), old(at, 1)],
                _ => vec!["new".to_owned(); 2],
            };
            assert!(expected.is_empty() || values == expected, "{at}: {values:?}");
        }
    }
    assert!(place.log().contains(AT_ONCE), "{}", place.log());
    assert!(fetcher.close().success());
}

/// And a collection that is not there is told with those that are like it.
#[test]
fn the_names_of_collections_cost_no_login_of_their_own() {
    let place = Place::new();
    let vault = fleet(&place);
    let mut fetcher = Fetcher::start(&place, place.vault(&vault));
    for id in 1..3 {
        let (done, pairs) = fetcher.fetch(Fetch { want: Want::Names, ..request(id, "") });
        let shown = ["jail-0000", "jail-0001", "jail-0002"].map(Into::into).into();
        let fetched = done.outcome.unwrap();
        assert_eq!((fetched.names, pairs), (Some(Names { shown, more: 0 }), None));
        assert_eq!((fetched.keys, done.warnings, &fetcher.ready), (vec![], vec![], &vec![]));
    }
    assert_eq!((vault.logins(), vault.count(Route::Sync)), (1, 1));
    assert!(!place.log().contains("no pairs"), "{}", place.log());
    let (done, _) = fetcher.fetch(request(3, "jail-002"));
    let failure = done.outcome.unwrap_err();
    assert_eq!(failure.name, CollectionNotFound);
    assert!(failure.message.contains("did you mean \"jail-0002\""), "{failure}");
    assert!(fetcher.close().success());
}

#[test]
fn each_request_ends_at_its_own_deadline() {
    let place = Place::new();
    let vault = fleet(&place);
    vault.transport(Transport::Hang);
    let mut fetcher = Fetcher::start(&place, place.vault(&vault));
    let long = fetcher.ask(Fetch { deadline_ms: 6_000, ..request(1, "jail-0000") });
    let short = fetcher.ask(Fetch { deadline_ms: 500, ..request(2, "jail-0001") });
    for (id, pair) in [(2, short), (1, long)] {
        let done = fetcher.done();
        assert_eq!((done.id, name(&done.outcome)), (id, VaultTimeout));
        assert_eq!(driver::pairs(pair), None);
    }
    assert!(fetcher.close().success());
}

#[test]
fn nothing_is_left_when_the_end_comes_in_the_middle() {
    let ends: [fn(&mut Fetcher<'_>); 2] = [
        |fetcher| fetcher.socket.shutdown(std::net::Shutdown::Write).unwrap(),
        |fetcher| {
            let pid = rustix::process::Pid::from_raw(fetcher.child.id().cast_signed()).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        },
    ];
    for end in ends {
        let place = Place::new();
        let vault = fleet(&place);
        vault.transport(Transport::Hang);
        let mut fetcher = Fetcher::start(&place, place.vault(&vault));
        let pair = fetcher.ask(request(1, "jail-0000"));
        while !place.processes().iter().any(|(_, command)| command.contains(" login ")) {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        end(&mut fetcher);
        assert!(fetcher.ended().success());
        assert_eq!(driver::pairs(pair), None);
    }
}

#[test]
fn the_session_goes_through_its_states_and_ends_when_idle() {
    let place = Place::new();
    let vault = fleet(&place);
    let settings = colibri_session::Vault { idle_ms: 0, ..place.vault(&vault) };
    let mut fetcher = Fetcher::start(&place, settings);
    assert!(fetcher.fetch(request(1, "jail-0000")).1.is_some());
    assert!(fetcher.ended().success());
    use SessionState::{Closed, Idle, LoggedIn, Serving, Unlocked};
    assert_eq!(fetcher.states, [LoggedIn, Serving, Unlocked, Idle, Closed]);
}

#[test]
fn wrong_credentials_have_a_name() {
    type Spoil = fn(&mut colibri_session::Credentials);
    let spoils: [Spoil; 3] = [
        |it| it.client_secret = Secret::new("wrong".into()),
        |it| it.client_id = Secret::new("user.00000000-0000-4000-8000-000000000000".into()),
        |it| it.password = Secret::new("wrong".into()),
    ];
    for spoil in spoils {
        let place = Place::new();
        let vault = fleet(&place);
        let mut settings = place.vault(&vault);
        spoil(&mut settings.credentials);
        let mut fetcher = Fetcher::start(&place, settings);
        let (done, pairs) = fetcher.fetch(request(1, "jail-0000"));
        assert_eq!((name(&done.outcome), pairs), (BadCredentials, None), "{done:?}");
        // The vault is not asked again and again.
        let asked = vault.count(Route::Token);
        assert_eq!(name(&fetcher.fetch(request(2, "jail-0000")).0.outcome), BadCredentials);
        assert_eq!(vault.count(Route::Token), asked);
        assert!(fetcher.close().success());
    }
}

#[test]
fn a_vault_that_is_down_hangs_or_closes_has_a_name() {
    for (transport, expected) in [
        (Transport::Refuse, VaultUnreachable),
        (Transport::Close, VaultUnreachable),
        (Transport::Untrusted, ErrorName::TlsUntrusted),
        (Transport::Expired, ErrorName::TlsOutOfDate),
        (Transport::Early, ErrorName::TlsOutOfDate),
        (Transport::Hang, VaultTimeout),
    ] {
        let place = Place::new();
        let vault = fleet(&place);
        vault.transport(transport);
        let deadline_ms = if transport == Transport::Hang { 5_000 } else { 60_000 };
        let mut fetcher = Fetcher::start(&place, place.vault(&vault));
        let (done, pairs) = fetcher.fetch(Fetch { deadline_ms, ..request(1, "jail-0000") });
        assert_eq!((name(&done.outcome), pairs), (expected, None), "{transport:?}: {done:?}");
        if expected == ErrorName::TlsOutOfDate {
            assert!(fetcher.close().success());
            continue;
        }
        vault.transport(Transport::Sound);
        let (mut done, mut pairs) = fetcher.fetch(request(2, "jail-0000"));
        if transport == Transport::Hang && pairs.is_none() {
            // It waited for a login that failed, and shares how.
            assert!(matches!(name(&done.outcome), VaultTimeout | VaultUnreachable), "{done:?}");
            (done, pairs) = fetcher.fetch(request(3, "jail-0000"));
        }
        assert_eq!(pairs.map(|pairs| pairs.len()), Some(2), "{transport:?}: {done:?}");
        assert!(fetcher.close().success());
    }
}

#[test]
fn a_collection_that_is_missing_is_asked_for_twice() {
    let place = Place::new();
    let vault = fleet(&place);
    let mut fetcher = Fetcher::start(&place, place.vault(&vault));
    // What a sync has left out, the forced one brings.
    vault.edit(|fixture| fixture.add_collection("new")).unwrap();
    vault.fault(Route::Sync, Fault::KeepCollections(0), Times::Next(1));
    assert!(fetcher.fetch(request(0, "jail-0000")).1.is_some());
    let (done, pairs) = fetcher.fetch(request(1, "jail-9999"));
    assert_eq!((name(&done.outcome), pairs), (CollectionNotFound, None));
    vault.edit(|fixture| fixture.add_collection("jail-9999")).unwrap();
    assert!(fetcher.fetch(request(2, "jail-9999")).1.is_some_and(|pairs| pairs.is_empty()));
    assert!(fetcher.close().success());
}

/// Others have their answers as if nobody asked for it.
#[test]
fn a_collection_that_stays_missing_costs_one_forced_sync() {
    let place = Place::new();
    let vault = fleet(&place);
    let bounds = Bounds { forced_ms: 0, ..Bounds::default() };
    let mut fetcher = Fetcher::start(&place, colibri_session::Vault { bounds, ..place.vault(&vault) });
    assert!(fetcher.fetch(request(0, "jail-0000")).1.is_some());
    let cost = || (vault.logins(), vault.count(Route::Sync));
    let before = cost();
    assert_eq!(name(&fetcher.fetch(request(1, "jail-9999")).0.outcome), CollectionNotFound);
    let looked = cost();
    assert!(looked.1 > before.1, "what a sync has left out, a forced one brings");
    for id in 1..4 {
        let missing = ["jail-9999", "jail-8888"].map(|name| fetcher.ask(request(id * 10, name)));
        let began = std::time::Instant::now();
        let other = fetcher.ask(request(id * 10 + 1, "jail-0000"));
        for _ in 0..2 {
            assert_eq!(name(&fetcher.done().outcome), CollectionNotFound);
        }
        assert!(fetcher.done().outcome.is_ok());
        assert!(began.elapsed() < std::time::Duration::from_secs(3), "{:?}", began.elapsed());
        assert!(
            driver::pairs(other).is_some() && missing.into_iter().all(|pair| driver::pairs(pair).is_none())
        );
    }
    assert_eq!(cost(), looked);
    // It is found as soon as the vault tells of a change.
    vault.edit(|fixture| fixture.add_collection("jail-9999")).unwrap();
    assert!(fetcher.fetch(request(50, "jail-9999")).1.is_some_and(|pairs| pairs.is_empty()));
    // One that is missing from another list may have been left out of it.
    let found = cost();
    assert_eq!(name(&fetcher.fetch(request(51, "jail-8888")).0.outcome), CollectionNotFound);
    assert!(cost().1 > found.1);
    assert!(fetcher.close().success());
}

#[test]
fn a_killed_fetcher_leaves_no_process_and_the_next_removes_its_directory() {
    let place = Place::new();
    let vault = fleet(&place);
    let mut fetcher = Fetcher::start(&place, place.vault(&vault));
    assert!(fetcher.fetch(request(1, "jail-0000")).1.is_some());
    assert!(place.processes().iter().any(|(_, command)| command.contains("serve")));
    fetcher.child.kill().unwrap();
    fetcher.child.wait().unwrap();
    let mut next = Fetcher::start(&place, place.vault(&vault));
    assert!(next.fetch(request(2, "jail-0000")).1.is_some());
    assert_eq!(std::fs::read_dir(place.base()).unwrap().count(), 1);
    assert!(next.close().success());
    assert_eq!((vault.logins(), vault.devices()), (2, [driver::DEVICE.to_owned()].into()));
}

#[test]
fn an_expired_token_and_a_crash_are_put_right_without_anybody() {
    let place = Place::new();
    let vault = fleet(&place);
    let mut fetcher = Fetcher::start(&place, place.vault(&vault));
    assert!(fetcher.fetch(request(1, "jail-0000")).1.is_some());
    vault.expire_tokens();
    assert!(fetcher.fetch(request(2, "jail-0000")).1.is_some());
    let logins = vault.logins();
    let serve =
        place.processes().into_iter().filter(|(_, command)| command.contains(" serve ")).map(|(pid, _)| pid);
    for pid in serve {
        let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
    assert!(fetcher.fetch(request(3, "jail-0000")).1.is_some());
    assert_eq!(vault.logins(), logins, "a new bw serve needs no login");
    assert!(fetcher.close().success());
}

#[test]
fn a_bw_serve_that_is_worn_out_is_replaced_without_a_login() {
    let (requests, growth, whole_ms, again_ms) = (u32::MAX, u64::MAX, u64::MAX, u64::MAX);
    let never = Bounds { requests, growth, whole_ms, again_ms, ..Bounds::default() };
    for bounds in [Bounds { requests: 6, ..never }, Bounds { growth: 0, ..never }] {
        let place = Place::new();
        let vault = fleet(&place);
        let settings = colibri_session::Vault { bounds, ..place.vault(&vault) };
        let mut fetcher = Fetcher::start(&place, settings);
        let mut served_by = std::collections::BTreeSet::new();
        for id in 1..=3 {
            let (done, pairs) = fetcher.fetch(request(id, "jail-0001"));
            assert_eq!(pairs.unwrap().len(), 2, "{done:?}");
            let serve = place.processes().into_iter().filter(|(_, command)| command.contains(" serve "));
            served_by.extend(serve.map(|(pid, _)| pid));
        }
        assert!(served_by.len() > 1, "{bounds:?}: {served_by:?}");
        assert_eq!(vault.logins(), 1, "{bounds:?}");
        assert!(fetcher.close().success());
    }
}

#[test]
fn a_bw_serve_that_is_worn_out_is_replaced_while_nobody_waits() {
    let place = Place::new();
    let vault = fleet(&place);
    let bounds = Bounds { requests: u32::MAX, growth: 0, whole_ms: u64::MAX, ..Bounds::default() };
    let mut fetcher = Fetcher::start(&place, colibri_session::Vault { bounds, ..place.vault(&vault) });
    assert!(fetcher.fetch(request(1, "jail-0001")).1.is_some());
    let serving = || place.processes().into_iter().find(|(_, command)| command.contains(" serve "));
    let first = serving().unwrap().0;
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while serving().is_none_or(|(pid, _)| pid == first) {
        assert!(std::time::Instant::now() < end, "{}", place.log());
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert_eq!(vault.logins(), 1);
    assert!(fetcher.close().success());
}

/// A vault with a collection that is over the bound, beside one that is not.
fn with_a_large_one() -> Fixture {
    let mut fixture = Fixture::fleet(1, 2);
    let large = fixture.add_collection("large");
    // Each byte is six where bw spells it out.
    for note in 0..6 {
        fixture.add(Item::note(&format!("note {note}"), &"\u{1}".repeat(512 * 1024)).within(&large));
    }
    fixture
}

fn serving(place: &Place) -> Option<u32> {
    place.processes().into_iter().find(|(_, command)| command.contains(" serve ")).map(|(pid, _)| pid)
}

fn steps(done: &Done) -> Vec<&str> {
    done.steps.iter().map(|(step, _)| step.as_str()).collect()
}

#[test]
fn a_collection_over_the_bound_is_its_tenants_trouble_alone() {
    let place = Place::new();
    let vault = Vault::start(with_a_large_one(), place.path()).unwrap();
    let mut fetcher = Fetcher::start(&place, place.vault(&vault));
    assert!(fetcher.fetch(request(1, "jail-0000")).1.is_some());
    let serve = serving(&place);
    for id in 1..3 {
        let (done, pairs) = fetcher.fetch(request(2 * id, "large"));
        assert_eq!((name(&done.outcome), pairs), (ErrorName::LimitExceeded, None), "{done:?}");
        // It costs the others a moment, so bw is not asked for anything by each request.
        let asked = if id == 1 { &["wait", "wake", "sync", "collections", "items"][..] } else { &["wait"] };
        assert_eq!(steps(&done), asked, "{done:?}");
        let (done, pairs) = fetcher.fetch(request(2 * id + 1, "jail-0000"));
        assert_eq!(pairs.unwrap().len(), 2, "{done:?}");
        let as_ever = ["wait", "wake", "sync", "collections", "items", "send"];
        assert_eq!(steps(&done), as_ever, "as at any other time");
    }
    assert_eq!((serving(&place), vault.logins()), (serve, 1));
    assert_eq!(place.log().matches("bw's answer is over").count(), 1, "{}", place.log());
    assert!(fetcher.close().success());
}

/// The control: who hangs up in the middle of that answer has a new `bw serve` for it,
/// and the others wait for that.
#[test]
fn whoever_hangs_up_in_a_collection_over_the_bound_takes_bw_from_all() {
    let place = Place::new();
    let vault = Vault::start(with_a_large_one(), place.path()).unwrap();
    let bounds = Bounds { skipped: 0, large_ms: 0, ..Bounds::default() };
    let mut fetcher = Fetcher::start(&place, colibri_session::Vault { bounds, ..place.vault(&vault) });
    assert!(fetcher.fetch(request(1, "jail-0000")).1.is_some());
    let serve = serving(&place);
    let (done, _) = fetcher.fetch(request(2, "large"));
    assert_eq!(name(&done.outcome), ErrorName::LimitExceeded, "{done:?}");
    let (done, pairs) = fetcher.fetch(request(3, "jail-0000"));
    assert!(pairs.is_some() && steps(&done).contains(&"serve"), "{done:?}");
    assert_ne!(serving(&place), serve);
    // And it is asked for again at once.
    let (done, _) = fetcher.fetch(request(4, "large"));
    assert!(steps(&done).contains(&"items"), "{done:?}");
    assert!(fetcher.close().success());
}

#[test]
fn a_change_in_the_vault_is_seen_and_a_shrunken_answer_is_not_believed_at_once() {
    let place = Place::new();
    let vault = fleet(&place);
    let mut fetcher = Fetcher::start(&place, place.vault(&vault));
    assert_eq!(fetcher.fetch(request(1, "jail-0000")).1.unwrap().len(), 2);
    vault.edit(|fixture| fixture.organizations[0].items.clear()).unwrap();
    let known = Fetch { known_keys: 2, ..request(2, "jail-0000") };
    let (done, pairs) = fetcher.fetch(known.clone());
    assert_eq!((name(&done.outcome), pairs), (ErrorName::AnswerShrunken, None));
    let (done, pairs) = fetcher.fetch(Fetch { id: 3, shrunken_to: Some(0), ..known });
    assert_eq!((pairs.unwrap().len(), done.warnings.len()), (0, 1), "{done:?}");
    assert!(fetcher.close().success());
}

#[test]
fn what_bw_still_lists_of_before_a_change_is_not_believed() {
    let place = Place::new();
    let vault = fleet(&place);
    let bw = late::bw();
    let settings = colibri_session::Vault { bw: bw.to_path_buf(), ..place.vault(&vault) };
    let mut fetcher = Fetcher::start(&place, settings);
    assert!(fetcher.fetch(request(1, "jail-0000")).1.is_some());
    vault.edit(|fixture| set_passwords(fixture, "new")).unwrap();
    let (done, pairs) = fetcher.fetch(request(2, "jail-0000"));
    let expected = ["KEY_0", "KEY_1"].map(|key| (key.to_owned(), "new".to_owned()));
    assert_eq!(pairs.as_deref(), Some(&expected[..]), "{done:?}");
    assert_eq!(vault.logins(), 2, "a change costs one, a new bw serve none");
    assert_eq!(fetcher.logins, 2, "and the daemon is told");
    assert!(fetcher.close().success());
}

#[test]
fn what_the_vault_says_of_its_last_change_is_not_believed_for_ever() {
    for (whole_ms, syncs) in [(u64::MAX, 1), (0, 2)] {
        let place = Place::new();
        let vault = fleet(&place);
        let bounds = Bounds { whole_ms, ..Bounds::default() };
        let settings = colibri_session::Vault { bounds, ..place.vault(&vault) };
        let mut fetcher = Fetcher::start(&place, settings);
        for id in [1, 2] {
            assert!(fetcher.fetch(request(id, "jail-0000")).1.is_some());
        }
        assert_eq!((vault.count(Route::Sync), vault.logins()), (syncs, syncs), "once in a minute at most");
        assert!(fetcher.close().success());
    }
}

fn set_passwords(fixture: &mut Fixture, value: &str) {
    for item in &mut fixture.organizations[0].items {
        if let Content::Login(login) = &mut item.content {
            login.password = Some(value.into());
        }
    }
}

#[test]
fn two_collections_of_one_name_are_refused_unless_one_is_pinned() {
    let place = Place::new();
    let mut fixture = Fixture::fleet(1, 1);
    let twin = fixture.organizations[0].collections[0].clone();
    let id = "11111111-1111-4111-8111-111111111111".to_owned();
    fixture.organizations[0]
        .collections
        .push(colibri_test_vault::Collection { id: id.clone(), ..twin.clone() });
    let vault = Vault::start(fixture, place.path()).unwrap();
    let mut fetcher = Fetcher::start(&place, place.vault(&vault));
    let failure = fetcher.fetch(request(1, "jail-0000")).0.outcome.unwrap_err();
    assert_eq!(failure.name, ErrorName::CollectionAmbiguous);
    assert!(failure.message.contains(&id));
    let (done, pairs) = fetcher.fetch(Fetch { pinned: Some(id.clone()), ..request(2, "jail-0000") });
    assert_eq!((done.outcome.unwrap().collection_id, pairs.unwrap().len()), (id.clone(), 0));
    // That it was not there once does not make the other one it.
    vault.edit(|fixture| fixture.add_collection("new")).unwrap();
    vault.fault(Route::Sync, Fault::KeepCollections(1), Times::Next(1));
    let (done, _) = fetcher.fetch(Fetch { pinned: Some(id.clone()), ..request(3, "jail-0000") });
    assert_eq!(done.outcome.unwrap().collection_id, id);
    vault.edit(|fixture| fixture.remove_collection(&id)).unwrap();
    let (done, _) = fetcher.fetch(Fetch { pinned: Some(id), ..request(4, "jail-0000") });
    assert_eq!(name(&done.outcome), CollectionReplaced, "within a minute it is not asked for again");
    assert!(fetcher.close().success());
}

#[test]
fn what_is_in_the_trash_or_archived_never_appears() {
    let place = Place::new();
    let mut fixture = Fixture::fleet(1, 3);
    fixture.item_named("KEY_0").unwrap().trashed = true;
    fixture.item_named("KEY_1").unwrap().archived = true;
    let vault = Vault::start(fixture, place.path()).unwrap();
    let mut fetcher = Fetcher::start(&place, place.vault(&vault));
    let (done, pairs) = fetcher.fetch(request(1, "jail-0000"));
    assert_eq!(pairs.unwrap(), [("KEY_2".into(), "value-0-2".into())], "{done:?}");
    assert_eq!(done.warnings, [""; 0]);
    assert!(fetcher.close().success());
}

#[test]
fn a_session_that_cannot_be_prepared_waits_for_nothing() {
    use colibri_tenant::ErrorName::{BwUnusable, TlsUntrusted};
    type Spoil = fn(&mut colibri_session::Vault);
    let spoils: [(Spoil, ErrorName); 2] = [
        (|vault| vault.bw = "/nonexistent/bw".into(), BwUnusable),
        (|vault| vault.ca_file = Some("/nonexistent/ca.pem".into()), TlsUntrusted),
    ];
    for (spoil, expected) in spoils {
        let place = Place::new();
        let mut settings = place.vault(&fleet(&place));
        spoil(&mut settings);
        let mut fetcher = Fetcher::start(&place, settings);
        assert_eq!(name(&fetcher.fetch(request(1, "jail-0000")).0.outcome), expected);
        assert!(fetcher.ended().success(), "by itself: the next one may find it mended");
    }
}

#[test]
fn hidden_passwords_are_not_taken_for_empty_ones() {
    for version in ["2026.8.0", "2026.9.0"] {
        let place = Place::new();
        let mut fixture = Fixture::fleet(1, 1);
        let account = fixture.accounts[0].email.clone();
        let hide = colibri_test_vault::Access::HidePasswords;
        fixture.organizations[0].collections[0].access.insert(account, hide);
        let vault = Vault::start(fixture, place.path()).unwrap();
        let settings = colibri_session::Vault { bw: driver::bw(version), ..place.vault(&vault) };
        let mut fetcher = Fetcher::start(&place, settings);
        let (done, pairs) = fetcher.fetch(request(1, "jail-0000"));
        assert_eq!((name(&done.outcome), pairs), (ErrorName::CollectionUnreadable, None), "{version}");
        assert!(fetcher.close().success());
    }
}

#[test]
fn every_odd_item_comes_as_it_is_with_each_version() {
    let seen = ["2026.8.0", "2026.9.0"].map(|version| {
        let place = Place::new();
        let vault = Vault::start(Fixture::edge().unwrap(), place.path()).unwrap();
        let settings = colibri_session::Vault { bw: driver::bw(version), ..place.vault(&vault) };
        let mut fetcher = Fetcher::start(&place, settings);
        let (done, pairs) = fetcher.fetch(request(1, "edge"));
        assert_eq!(done.outcome.unwrap().bw_version, version);
        assert_eq!(fetcher.fetch(request(2, "second")).1.unwrap(), [("IN_TWO".into(), "two".into())]);
        assert_eq!(vault.logins(), 1);
        assert!(fetcher.close().success());
        (pairs.unwrap(), done.warnings)
    });
    assert_eq!(seen[0], seen[1]);
    let value = |key: &str| seen[0].0.iter().find(|pair| pair.0 == key).map(|pair| pair.1.as_str());
    for (key, expected) in [
        ("API_KEY_v2", None),
        ("P_EMPTY", Some("")),
        ("P_DOLLAR", Some("$HOME ${X} $(id)")),
        ("P_CR", Some("a\r\nb")),
        ("P_LEAD", Some("  lead")),
        ("P_TRAIL", Some("trail  ")),
        ("P_UNI", Some("пароль-密碼-é")),
        ("X3", Some("spaced")),
        ("X5", Some("a=b")),
        ("X6", Some("a # b")),
        ("X7", Some("multiline")),
    ] {
        assert_eq!(value(key), expected, "{key}");
    }
    let warnings = seen[0].1.join("\n");
    for part in
        ["2FA_CODE", "API-KEY.v2", "BAD!KEY", "CARD", "db password", "DUP", "IDENT", "ÜMLAUT", "P_EMPTY"]
    {
        assert!(warnings.contains(part), "{part} in\n{warnings}");
    }
}
