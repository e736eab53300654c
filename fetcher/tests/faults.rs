//! The faults of `bw serve` that the real one cannot be made to have.
#![cfg(target_os = "linux")]

#[cfg(test)]
#[path = "support/driver.rs"]
mod driver;

use colibri_control::ErrorName::{
    BwCrashed, CollectionUnreadable, LimitExceeded, ServerMismatch, VaultError, VaultTimeout,
};
use colibri_fetcher::words::{Fetch, SessionState, Vault};
use driver::{Fetcher, Place, fleet, name, request};
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// A vault whose `bw` is the stand-in.
fn stand_in(place: &Place) -> Vault {
    let bw = place.path().join("bw");
    assert!(fs::write(&bw, include_str!("support/stand-in.js")).is_ok());
    assert!(fs::set_permissions(&bw, fs::Permissions::from_mode(0o755)).is_ok());
    Vault { bw, ..place.vault(&fleet(place)) }
}

#[test]
fn an_answer_counts_when_two_in_a_row_agree() {
    let place = Place::new();
    let mut fetcher = Fetcher::start(&place, stand_in(&place));
    let value = [("KEY".to_owned(), "value".to_owned())];
    let (done, pairs) = fetcher.fetch(request(1, "empty-first"));
    assert_eq!(pairs.as_deref(), Some(&value[..]), "{done:?}");
    assert_eq!(done.outcome.unwrap().bw_version, "0.0.1-stand-in");
    assert_eq!(name(&fetcher.fetch(request(2, "never-twice")).0.outcome), VaultError);
    assert_eq!(fetcher.fetch(request(3, "good")).1.as_deref(), Some(&value[..]));
    // An item that is not in the collection is not in the file, whatever bw says.
    assert_eq!(fetcher.fetch(request(4, "stray")).1.as_deref(), Some(&value[..]));
    assert!(fetcher.close().success());
}

#[test]
fn what_bw_never_lists_costs_one_new_serve_and_is_said() {
    let place = Place::new();
    let mut fetcher = Fetcher::start(&place, stand_in(&place));
    for id in 1..=3 {
        let (done, pairs) = fetcher.fetch(request(id, "lost"));
        assert_eq!((name(&done.outcome), pairs), (CollectionUnreadable, None), "{done:?}");
        assert!(done.outcome.unwrap_err().message.contains("LOST"));
    }
    let serving = fetcher.states.iter().filter(|state| **state == SessionState::Serving);
    assert_eq!(serving.count(), 2);
    assert!(fetcher.close().success());
}

#[test]
fn an_answer_that_is_none_has_a_name_and_the_next_request_is_answered() {
    for (collection, expected) in [
        ("garbage", VaultError),
        ("cut", VaultError),
        ("flood", LimitExceeded),
        ("hang", VaultTimeout),
        ("crash", BwCrashed),
    ] {
        let place = Place::new();
        let mut fetcher = Fetcher::start(&place, stand_in(&place));
        let deadline_ms = if collection == "hang" { 5_000 } else { 60_000 };
        let (done, pairs) = fetcher.fetch(Fetch { deadline_ms, ..request(1, collection) });
        assert_eq!((name(&done.outcome), pairs), (expected, None), "{collection}: {done:?}");
        assert!(fetcher.fetch(request(2, "good")).1.is_some(), "{collection}");
        assert!(fetcher.close().success());
    }
}

#[test]
fn a_vault_that_locks_while_it_serves_is_opened_again_without_a_login() {
    let place = Place::new();
    let mut fetcher = Fetcher::start(&place, stand_in(&place));
    let (done, pairs) = fetcher.fetch(request(1, "locked-once"));
    assert!(pairs.is_some(), "{done:?}");
    assert_eq!(done.steps.iter().filter(|(step, _)| step == "login").count(), 1, "{done:?}");
    assert_eq!(done.steps.iter().filter(|(step, _)| step == "unlock").count(), 2, "{done:?}");
    assert!(fetcher.close().success());
}

#[test]
fn another_server_than_the_configured_one_is_refused() {
    let place = Place::new();
    let server = Some("https://vault.example/other".into());
    let mut fetcher = Fetcher::start(&place, Vault { server, ..stand_in(&place) });
    let (done, pairs) = fetcher.fetch(request(1, "good"));
    assert_eq!((name(&done.outcome), pairs), (ServerMismatch, None));
    assert!(fetcher.close().success());
}
