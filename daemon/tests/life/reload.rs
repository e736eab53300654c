//! Credentials and CA that are replaced while the daemon runs.

use crate::host::{Host, SOON, wait};
use crate::stand_in::Collection;
use colibri_control::{Answer, Outcome, Request};
use colibri_tenant::{ErrorName, Status};
use std::fs;

fn failing(name: ErrorName) -> Host {
    let mut host = Host::new();
    assert!(host.terminate());
    host.credentials_in_file("one");
    fs::write(host.path("ca.pem"), "old").unwrap();
    host.set("NODE_EXTRA_CA_CERTS", host.path("ca.pem").to_str().unwrap());
    host.start();
    host.has("web", Collection::Refuses(name));
    host.register("web");
    assert_eq!(host.provision("web").error.unwrap().name, name);
    host
}

fn comes(host: &Host) {
    wait(SOON, || host.show("web").status == Status::Active, || host.log());
}

/// It is told nothing: the file says it.
#[test]
fn other_credentials_in_the_provider_file_are_tried_at_once() {
    let host = failing(ErrorName::BadCredentials);
    let next = host.show("web").next_try.unwrap();
    assert!(next > host.history("web")[0].at + 60_000, "an hour away, at most: {next}");
    host.secrets("web", &[("A", "1")]);
    host.provider("two");
    comes(&host);
    assert_eq!(host.opened(), ["one", "two"]);
}

/// An open session is one with the credentials of before.
#[test]
fn other_credentials_end_the_session_that_has_the_old_ones() {
    let host = failing(ErrorName::KeyConflict);
    host.secrets("web", &[("A", "1")]);
    assert_eq!(host.provision("web").outcome, Outcome::Written);
    assert_eq!(host.opened(), ["one"]);
    host.provider("two");
    assert_eq!(host.provision("web").outcome, Outcome::Unchanged);
    assert_eq!(host.opened(), ["one", "two"]);
    // Nothing else makes a new session.
    assert_eq!(host.ask(Request::Reload {}), Ok(Answer::Done));
    assert_eq!(host.provision("web").outcome, Outcome::Unchanged);
    assert_eq!(host.sessions(), 2);
}

/// What was wrong was wrong in the vault.
#[test]
fn a_reload_tries_what_failed_by_the_same_credentials() {
    for tell in [Host::hang_up, |host: &Host| assert_eq!(host.ask(Request::Reload {}), Ok(Answer::Done))] {
        let host = failing(ErrorName::BadCredentials);
        host.secrets("web", &[("A", "1")]);
        assert_eq!(host.provision("web").error.unwrap().name, ErrorName::BadCredentials, "barred");
        tell(&host);
        comes(&host);
        assert_eq!(host.opened(), ["one", "one"]);
    }
}

#[test]
fn a_limit_on_logins_outlasts_a_reload() {
    let host = failing(ErrorName::RateLimited);
    host.secrets("web", &[("A", "1")]);
    host.provider("two");
    assert_eq!(host.ask(Request::Reload {}), Ok(Answer::Done));
    assert_eq!(host.provision("web").error.unwrap().name, ErrorName::RateLimited);
    assert_eq!(host.sessions(), 1);
}

#[test]
fn a_provider_file_that_is_malformed_is_told_once_and_changes_nothing() {
    let host = failing(ErrorName::KeyConflict);
    host.secrets("web", &[("A", "1")]);
    for text in ["BW_CLIENTSECRET=hunter2\n", "hunter2\n", ""] {
        fs::write(host.path("provider.env"), text).unwrap();
        let fault = host.ask(Request::Reload {}).unwrap_err();
        assert_eq!(fault.name, ErrorName::CredentialsUnreadable, "{text}: {fault}");
        let told = || host.log().matches("the credentials stay as they were").count();
        let before = told();
        assert!(host.provision("web").error.is_none());
        assert_eq!((told(), host.log().contains("hunter2")), (before, false));
    }
    fs::remove_file(host.path("provider.env")).unwrap();
    assert_eq!(host.ask(Request::Reload {}).unwrap_err().name, ErrorName::CredentialsUnreadable);
    assert_eq!(host.opened(), ["one"]);
    host.provider("two");
    assert_eq!(host.provision("web").outcome, Outcome::Unchanged);
    assert_eq!(host.opened(), ["one", "two"]);
}

/// Nobody can read the environment again.
#[test]
fn credentials_of_the_environment_stay() {
    let mut host = Host::new();
    assert!(host.terminate());
    host.set("COLIBRI_PROVIDER", host.path("provider.env").to_str().unwrap());
    host.provider("file");
    host.start();
    host.secrets("web", &[("A", "1")]);
    host.register("web");
    assert_eq!(host.provision("web").outcome, Outcome::Written);
    host.provider("other");
    assert_eq!(host.ask(Request::Reload {}), Ok(Answer::Done));
    assert_eq!(host.provision("web").outcome, Outcome::Unchanged);
    assert_eq!(host.opened(), ["canary-BW_CLIENTSECRET"]);
}

#[test]
fn a_ca_that_was_replaced_in_place_is_taken_up_at_once() {
    let host = failing(ErrorName::TlsUntrusted);
    host.secrets("web", &[("A", "1")]);
    fs::write(host.path("ca.pem"), "new one").unwrap();
    comes(&host);
    assert_eq!(host.sessions(), 2);
    // Also where nothing has failed yet.
    fs::write(host.path("ca.new"), "new two").unwrap();
    fs::rename(host.path("ca.new"), host.path("ca.pem")).unwrap();
    assert_eq!(host.provision("web").outcome, Outcome::Unchanged);
    assert_eq!(host.sessions(), 3);
}
