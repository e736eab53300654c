//! What a vault that misbehaves is called, with the real `bw`: at the login,
//! and in a session that is open.

#[cfg(test)]
#[path = "support/driver.rs"]
mod driver;

use colibri_session::{Age, Fetch, Vault};
use colibri_tenant::ErrorName::{
    ClientTooOld, CollectionNotFound, RateLimited, VaultError, VaultLocked, VaultTimeout, VaultUnreachable,
};
use colibri_test_vault::{Fault, Fixture, Route, Times};
use driver::{Fetcher, Place, fleet, name, request};

#[test]
fn a_login_that_is_refused_has_a_name() {
    for (route, fault, expected) in [
        (Route::Token, Fault::RateLimited, RateLimited),
        (Route::Token, Fault::SlowDown, RateLimited),
        (Route::Token, Fault::UpdateRequired, ClientTooOld),
        (Route::Token, Fault::Status(500), VaultError),
        (Route::Token, Fault::Garbled, VaultError),
        (Route::Token, Fault::Html, VaultError),
        (Route::Token, Fault::TruncatedJson, VaultError),
        (Route::Token, Fault::CutBody, VaultError),
        (Route::Token, Fault::HugeBody(8 << 20), VaultError),
        (Route::Token, Fault::Close, VaultUnreachable),
        (Route::Token, Fault::Hang, VaultTimeout),
        (Route::Sync, Fault::Hang, VaultTimeout),
        (Route::Sync, Fault::RateLimited, RateLimited),
        (Route::Sync, Fault::Status(500), VaultError),
        (Route::Sync, Fault::Close, VaultUnreachable),
    ] {
        let place = Place::new();
        let vault = fleet(&place);
        vault.fault(route, fault, Times::Always);
        let mut fetcher = Fetcher::start(&place, place.vault(&vault));
        let deadline_ms = if expected == VaultTimeout { 5_000 } else { 60_000 };
        let (done, pairs) = fetcher.fetch(Fetch { deadline_ms, ..request(1, "jail-0000") });
        assert_eq!((name(&done.outcome), pairs), (expected, None), "{route:?} {fault:?}: {done:?}");
        if expected == RateLimited {
            // The next one is not let near the vault, though it has healed.
            vault.heal_all();
            let asked = vault.count(Route::Token);
            assert_eq!(name(&fetcher.fetch(request(2, "jail-0000")).0.outcome), RateLimited);
            assert_eq!(vault.count(Route::Token), asked);
        }
        assert!(fetcher.close().success());
    }
}

#[test]
fn what_goes_wrong_in_an_open_session_has_a_name_and_heals() {
    let place = Place::new();
    let vault = fleet(&place);
    vault.limit_logins(None);
    let mut fetcher = Fetcher::start(&place, place.vault(&vault));
    assert!(fetcher.fetch(request(1, "jail-0000")).1.is_some());
    for (at, (fault, expected)) in (1..).zip([
        (Fault::Status(500), VaultError),
        (Fault::Garbled, VaultError),
        (Fault::TruncatedJson, VaultError),
        (Fault::Close, VaultUnreachable),
        (Fault::Hang, VaultTimeout),
    ]) {
        // Unless something has changed, bw does not ask for it.
        vault.edit(|fixture| fixture.add_collection(&format!("new-{at}"))).unwrap();
        vault.fault(Route::Sync, fault, Times::Always);
        let deadline_ms = if expected == VaultTimeout { 5_000 } else { 60_000 };
        let (done, pairs) = fetcher.fetch(Fetch { deadline_ms, ..request(2 * at, "jail-0000") });
        let failed = done.outcome.as_ref().err().map(|failure| failure.name);
        assert_eq!((failed, pairs), (Some(expected), None), "{fault:?}: {done:?}");
        vault.heal_all();
        let (done, pairs) = fetcher.fetch(request(2 * at + 1, "jail-0000"));
        assert!(pairs.is_some(), "after {fault:?}: {done:?}");
    }
    assert!(fetcher.close().success());
}

#[test]
fn more_changes_than_the_vault_allows_logins_come_late_and_harm_nobody() {
    let place = Place::new();
    let vault = fleet(&place);
    let mut fetcher = Fetcher::start(&place, place.vault(&vault));
    assert!(fetcher.fetch(request(1, "jail-0000")).1.is_some());
    let mut ages = Vec::new();
    for change in 2..14 {
        let value = format!("value {change}");
        let edit = |fixture: &mut Fixture| fixture.item_named("KEY_0").unwrap().set_value(&value);
        vault.edit(edit).unwrap();
        let (done, pairs) = fetcher.fetch(request(change, "jail-0000"));
        let age = done.outcome.as_ref().unwrap_or_else(|_| panic!("{done:?}\n{}", place.log())).age;
        let said = done.warnings.iter().any(|line| line.contains("limits logins"));
        assert_eq!(
            (age == Age::Current, !said),
            (pairs.unwrap()[0].1 == value, age == Age::Current),
            "{done:?}"
        );
        ages.push(age);
    }
    assert!(ages[..8].iter().all(|age| *age == Age::Current) && ages.ends_with(&[Age::Stale; 2]), "{ages:?}");
    // One attempt was refused, and none was made after it.
    assert!(vault.count(Route::Token) <= vault.logins() + 1);
    // What is new to the session is known from its last sync, and nothing else.
    assert!(fetcher.fetch(request(20, "jail-0001")).1.is_some());
    assert_eq!(name(&fetcher.fetch(request(21, "jail-9999")).0.outcome), CollectionNotFound);
    assert!(fetcher.close().success());
}

#[test]
fn a_vault_that_accepts_no_session_is_not_asked_for_one_by_each_request() {
    let place = Place::new();
    let vault = fleet(&place);
    vault.fault(Route::RevisionDate, Fault::Unauthorized, Times::Always);
    let mut fetcher = Fetcher::start(&place, place.vault(&vault));
    let asked: Vec<_> = (1..6).map(|id| fetcher.ask(request(id, "jail-0000"))).collect();
    for pair in asked {
        assert_eq!(name(&fetcher.done().outcome), VaultLocked);
        assert_eq!(driver::pairs(pair), None);
    }
    assert!(vault.count(Route::Token) <= 3, "{}", vault.count(Route::Token));
    assert!(fetcher.close().success());
}

#[test]
fn a_name_that_nobody_knows_is_a_vault_that_cannot_be_reached() {
    let place = Place::new();
    let server = Some("https://vault.invalid".into());
    let mut fetcher = Fetcher::start(&place, Vault { server, ..place.vault(&fleet(&place)) });
    let (done, pairs) = fetcher.fetch(request(1, "jail-0000"));
    assert_eq!((name(&done.outcome), pairs), (VaultUnreachable, None), "{done:?}");
    assert!(fetcher.close().success());
}
