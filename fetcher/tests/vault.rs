//! What a vault that misbehaves is called, with the real `bw`: at the login,
//! and in a session that is open.

#[cfg(test)]
#[path = "support/driver.rs"]
mod driver;

use colibri_control::ErrorName::{ClientTooOld, RateLimited, VaultError, VaultTimeout, VaultUnreachable};
use colibri_fetcher::words::{Fetch, Vault};
use colibri_test_vault::{Fault, Route, Times};
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
        (Fault::RateLimited, RateLimited),
    ]) {
        // Unless something has changed, bw does not ask for it.
        vault.edit(|fixture| fixture.add_collection(&format!("new-{at}"))).unwrap();
        vault.fault(Route::Sync, fault, Times::Always);
        let deadline_ms = if expected == VaultTimeout { 5_000 } else { 60_000 };
        let (done, pairs) = fetcher.fetch(Fetch { deadline_ms, ..request(2 * at, "jail-0000") });
        let failed = done.outcome.as_ref().err().map(|failure| failure.name);
        assert_eq!((failed, pairs), (Some(expected), None), "{fault:?}: {done:?}");
        vault.heal_all();
        if expected == RateLimited {
            // For a minute now the vault is left alone.
            break;
        }
        let (done, pairs) = fetcher.fetch(request(2 * at + 1, "jail-0000"));
        assert!(pairs.is_some(), "after {fault:?}: {done:?}");
    }
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
