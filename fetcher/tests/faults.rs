//! The faults of `bw serve` that the real one cannot be made to have.
#![cfg(target_os = "linux")]

#[cfg(test)]
#[path = "support/driver.rs"]
mod driver;

use colibri_session::{Bounds, Fetch, SessionState, Vault};
use colibri_tenant::ErrorName::{
    BwCrashed, CollectionUnreadable, LimitExceeded, ServerMismatch, VaultError, VaultTimeout,
};
use driver::{Fetcher, Place, fleet, name, request};
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// A vault whose `bw` is the stand-in.
fn stand_in(place: &Place) -> Vault {
    slow(place, "command: 0, late: 0")
}

/// The same, which takes so long.
fn slow(place: &Place, takes: &str) -> Vault {
    let bw = place.path().join("bw");
    let script = include_str!("support/stand-in.js").replace("command: 0, late: 0", takes);
    assert!(fs::write(&bw, script).is_ok());
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
        let deadline_ms = if collection == "hang" { 5_000 } else { 60_000 };
        let bounds = Bounds { answer_ms: deadline_ms, ..Bounds::default() };
        let mut fetcher = Fetcher::start(&place, Vault { bounds, ..stand_in(&place) });
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

fn count(fetcher: &Fetcher, state: SessionState) -> usize {
    fetcher.states.iter().filter(|it| **it == state).count()
}

/// A start is one piece of work, that no request's deadline cuts short.
#[test]
fn a_start_that_takes_longer_than_any_deadline_serves_everybody_with_one_login() {
    let place = Place::new();
    let mut fetcher = Fetcher::start(&place, slow(&place, "command: 1000, late: 0"));
    let (mut waiting, mut late) = ((1..=20).collect::<Vec<u64>>(), 0);
    while !waiting.is_empty() && late < 200 {
        // Some have less time than the others.
        let ask = |id: &u64| Fetch { deadline_ms: 1000 + id % 4 * 200, ..request(*id, "good") };
        let pairs: Vec<_> = waiting.iter().map(|id| fetcher.ask(ask(id))).collect();
        let done: Vec<_> = waiting.iter().map(|_| fetcher.done()).collect();
        drop(pairs);
        for done in done {
            match done.outcome {
                Ok(_) => waiting.retain(|id| *id != done.id),
                Err(failure) => {
                    assert_eq!(failure.name, VaultTimeout, "{failure}");
                    late += 1;
                }
            }
        }
    }
    assert!(waiting.is_empty(), "never served: {waiting:?}");
    assert!(late >= 20, "the start took less than the deadlines");
    assert_eq!(count(&fetcher, SessionState::LoggedIn), 1);
    assert!(fetcher.close().success());
}

#[test]
fn a_request_that_runs_out_of_time_costs_the_others_nothing() {
    let place = Place::new();
    let mut fetcher = Fetcher::start(&place, slow(&place, "command: 0, late: 1500"));
    assert!(fetcher.fetch(request(1, "good")).1.is_some());
    for id in 2..=4 {
        let (done, pairs) = fetcher.fetch(Fetch { deadline_ms: 700, ..request(id, "late") });
        assert_eq!((name(&done.outcome), pairs), (VaultTimeout, None));
        // The next waits for what this one began.
        let message = done.outcome.unwrap_err().message;
        let waits = id > 2 && message == "other requests took all the time";
        assert!(waits || message.starts_with("`items` did not end in time"), "{id}: {message}");
    }
    assert!(fetcher.fetch(request(5, "good")).1.is_some());
    assert!(fetcher.fetch(request(6, "late")).1.is_some());
    assert_eq!(count(&fetcher, SessionState::Serving), 1, "bw serve was replaced");
    assert!(fetcher.close().success());
}
