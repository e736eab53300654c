//! Every fault as it looks on the wire, seen by a client that reads bytes.

#![cfg(test)]

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

use colibri_test_vault::{Fault, Fixture, LoginLimit, Route, Times, Transport, UserKeyId, Vault};
use serde_json::Value;
use tempfile::TempDir;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

const SYNC: &str = "GET /api/sync?excludeDomains=true";

struct Answer {
    status: u16,
    json: bool,
    /// As announced.
    length: Option<usize>,
    body: Vec<u8>,
}

impl Answer {
    fn value(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

fn start(fixture: Fixture) -> (Vault, TempDir) {
    let dir = TempDir::new().unwrap();
    (Vault::start(fixture, dir.path()).unwrap(), dir)
}

fn connect(vault: &Vault) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(vault.ca_file()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let tls = ClientConnection::new(Arc::new(config), name).unwrap();
    Ok(StreamOwned::new(tls, TcpStream::connect(("127.0.0.1", vault.port()))?))
}

/// Sends one request and reads until the server closes: `Ok(None)` when it
/// closes without a word.
fn request(vault: &Vault, line: &str, token: &str, body: &str) -> io::Result<Option<Answer>> {
    let mut stream = connect(vault)?;
    let head = format!(
        "{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        // A server that breaks off does not say goodbye.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
        Err(error) => return Err(error),
    }
    Ok(parse(&bytes))
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
    let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    Some(Answer {
        status: head.split(' ').nth(1)?.parse().unwrap(),
        json: header("content-type") == Some("application/json"),
        length: header("content-length").map(|length| length.parse().unwrap()),
        body: bytes[end + 4..].to_vec(),
    })
}

fn ask(vault: &Vault, line: &str, token: &str) -> Answer {
    request(vault, line, token, "").unwrap().expect("an answer")
}

fn log_in_with(vault: &Vault, id: &str, secret: &str) -> Answer {
    let form = format!(
        "grant_type=client_credentials&scope=api&client_id={id}&client_secret={secret}\
         &deviceIdentifier=d&deviceName=n&deviceType=25"
    );
    request(vault, "POST /identity/connect/token", "", &form).unwrap().expect("an answer")
}

fn log_in(vault: &Vault) -> Answer {
    let credentials = vault.credentials().unwrap();
    log_in_with(vault, &credentials.client_id, &credentials.client_secret)
}

fn token(vault: &Vault) -> String {
    log_in(vault).value()["access_token"].as_str().unwrap().to_owned()
}

#[test]
fn a_sound_vault_answers_every_route() {
    let (vault, _dir) = start(Fixture::fleet(2, 3));
    let token = token(&vault);
    let sync = ask(&vault, SYNC, &token).value();
    assert_eq!(sync["ciphers"].as_array().unwrap().len(), 6);
    let config = ask(&vault, "GET /api/config", "").value();
    assert_eq!(config["environment"]["api"], format!("{}/api", vault.url()));
    let date = ask(&vault, "GET /api/accounts/revision-date", &token).value();
    vault.edit(|fixture| fixture.add_collection("more")).unwrap();
    let later = ask(&vault, "GET /api/accounts/revision-date", &token).value();
    assert!(later.as_i64().unwrap() > date.as_i64().unwrap());
    assert_eq!(ask(&vault, "GET /api/nothing", &token).status, 404);
    assert_eq!((vault.count(Route::RevisionDate), vault.count(Route::Other)), (2, 1));
}

#[test]
fn the_request_of_newer_clients_is_unknown_until_it_is_accepted() {
    let (vault, _dir) = start(Fixture::machine());
    let (token, line) = (token(&vault), "POST /api/accounts/key-management/user-key-id");
    assert_eq!(ask(&vault, line, &token).status, 404);
    vault.user_key_id(UserKeyId::Accepted);
    assert_eq!(ask(&vault, line, &token).status, 200);
}

#[test]
fn an_unknown_or_expired_token_is_refused() {
    let (vault, _dir) = start(Fixture::machine());
    let token = token(&vault);
    assert_eq!(ask(&vault, SYNC, "made.up.token").status, 401);
    assert_eq!(ask(&vault, SYNC, &token).status, 200);
    vault.expire_tokens();
    assert_eq!(ask(&vault, SYNC, &token).status, 401);
}

#[test]
fn wrong_credentials_are_refused_as_vaultwarden_does() {
    let (vault, _dir) = start(Fixture::machine());
    let id = vault.credentials().unwrap().client_id;
    for (id, secret, said) in [
        (id.as_str(), "wrong", "Incorrect client_secret"),
        ("user.nobody", "x", "Invalid client_id"),
        ("nobody", "x", "Malformed client_id"),
        (&id, "", "client_secret cannot be blank"),
    ] {
        let answer = log_in_with(&vault, id, secret);
        assert_eq!((answer.status, &answer.value()["errorModel"]["message"]), (400, &said.into()));
    }
    assert_eq!(vault.logins(), 0);
}

#[test]
fn the_eleventh_login_is_one_too_many_until_the_limit_is_lifted() {
    let (vault, _dir) = start(Fixture::machine());
    let statuses: Vec<u16> = (0..11).map(|_| log_in(&vault).status).collect();
    assert_eq!((&statuses[..10], statuses[10]), (&[200; 10][..], 429));
    vault.limit_logins(None);
    assert_eq!(log_in(&vault).status, 200);
    vault.limit_logins(Some(LoginLimit { burst: 1, ..LoginLimit::default() }));
    assert_eq!((log_in(&vault).status, log_in(&vault).status), (200, 429));
}

#[test]
fn a_refusal_on_demand_is_no_login() {
    let (vault, _dir) = start(Fixture::machine());
    for (fault, status) in [
        (Fault::RateLimited, 429),
        (Fault::SlowDown, 429),
        (Fault::UpdateRequired, 400),
        (Fault::Unauthorized, 401),
        (Fault::Status(503), 503),
    ] {
        vault.fault(Route::Token, fault, Times::Always);
        assert_eq!(log_in(&vault).status, status);
    }
    assert_eq!((vault.logins(), vault.count(Route::Token)), (0, 5));
    vault.heal(Route::Token);
    assert_eq!(log_in(&vault).status, 200);
}

#[test]
fn a_body_is_cut_garbled_replaced_halved_or_huge() {
    let (vault, _dir) = start(Fixture::fleet(1, 5));
    let token = token(&vault);
    let spoilt = |fault| {
        vault.fault(Route::Sync, fault, Times::Next(1));
        ask(&vault, SYNC, &token)
    };
    let whole = ask(&vault, SYNC, &token);
    let cut = spoilt(Fault::CutBody);
    assert!(cut.length > Some(cut.body.len()) && whole.length == Some(whole.body.len()));
    let halved = spoilt(Fault::TruncatedJson);
    assert_eq!(halved.length, Some(halved.body.len()));
    assert!(halved.json && serde_json::from_slice::<Value>(&halved.body).is_err());
    let garbled = spoilt(Fault::Garbled);
    assert!(garbled.json && String::from_utf8(garbled.body).is_err());
    let page = spoilt(Fault::Html);
    assert!(!page.json && page.body.starts_with(b"<!DOCTYPE html>"));
    assert!(spoilt(Fault::HugeBody(1_000_000)).body.len() > 1_000_000);
    assert_eq!(spoilt(Fault::KeepCiphers(2)).value()["ciphers"].as_array().unwrap().len(), 2);
    assert!(spoilt(Fault::KeepCollections(0)).value()["collections"].as_array().unwrap().is_empty());
    assert_eq!(spoilt(Fault::Delay(1)).status, 200);
    assert_eq!(ask(&vault, SYNC, &token).status, 200);
}

#[test]
fn a_request_is_closed_upon() {
    let (vault, _dir) = start(Fixture::machine());
    vault.fault(Route::Config, Fault::Close, Times::Next(1));
    assert!(request(&vault, "GET /api/config", "", "").unwrap().is_none());
    assert_eq!(ask(&vault, "GET /api/config", "").status, 200);
}

#[test]
fn a_request_hangs_until_the_vault_is_healed() {
    let (vault, _dir) = start(Fixture::machine());
    vault.fault(Route::Config, Fault::Hang, Times::Always);
    std::thread::scope(|threads| {
        let waiting = threads.spawn(|| request(&vault, "GET /api/config", "", "").unwrap());
        while vault.count(Route::Config) == 0 {
            std::thread::yield_now();
        }
        vault.heal_all();
        assert!(waiting.join().unwrap().is_none());
    });
    assert_eq!(ask(&vault, "GET /api/config", "").status, 200);
}

#[test]
fn a_connection_is_refused_closed_or_not_to_be_trusted() {
    let (vault, _dir) = start(Fixture::machine());
    let config = || request(&vault, "GET /api/config", "", "");
    vault.transport(Transport::Untrusted);
    assert!(config().err().unwrap().to_string().contains("certificate"));
    vault.transport(Transport::Close);
    assert!(!matches!(config(), Ok(Some(_))));
    vault.transport(Transport::Refuse);
    assert!(!matches!(config(), Ok(Some(_))));
    vault.heal_all();
    assert_eq!(config().unwrap().unwrap().status, 200);
    assert_eq!(vault.count(Route::Config), 1);
}

#[test]
fn a_restart_in_the_same_directory_is_the_same_vault() {
    let dir = TempDir::new().unwrap();
    let vault = Vault::start(Fixture::fleet(1, 1), dir.path()).unwrap();
    let (token, authority) = (token(&vault), std::fs::read(vault.ca_file()).unwrap());
    drop(vault);
    let vault = Vault::start(Fixture::fleet(1, 1), dir.path()).unwrap();
    assert_eq!(std::fs::read(vault.ca_file()).unwrap(), authority);
    assert_eq!(ask(&vault, SYNC, &token).status, 200);
}

#[test]
fn a_change_that_contradicts_itself_changes_nothing() {
    let (vault, _dir) = start(Fixture::fleet(1, 1));
    let wrong =
        vault.edit(|fixture| fixture.item_named("KEY_0").unwrap().collections.push("none".to_owned()));
    assert!(wrong.is_err());
    let collections = vault.edit(|fixture| fixture.item_named("KEY_0").unwrap().collections.len()).unwrap();
    assert_eq!(collections, 1);
}

#[test]
fn a_thousand_collections_are_served() {
    let (vault, _dir) = start(Fixture::fleet(1_000, 10));
    let sync = ask(&vault, SYNC, &token(&vault)).value();
    assert_eq!(sync["collections"].as_array().unwrap().len(), 1_000);
    assert_eq!(sync["ciphers"].as_array().unwrap().len(), 10_000);
}
