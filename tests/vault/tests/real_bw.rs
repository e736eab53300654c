//! The real `bw` against this vault: both ways of using it, in both versions.

#![cfg(test)]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use colibri_test_vault::{Fault, Fixture, Item, Route, Times, Transport, UserKeyId, Vault, bw};
use serde_json::{Value, json};
use tempfile::TempDir;

const OTHER_VERSION: &str = "2026.9.0";

/// A `bw` with a directory of its own, for one vault.
struct Bw {
    program: PathBuf,
    data: TempDir,
    env: Vec<(&'static str, String)>,
}

impl Bw {
    fn new(program: PathBuf, vault: &Vault) -> Self {
        let credentials = vault.credentials().unwrap();
        let env = vec![
            ("BW_CLIENTID", credentials.client_id),
            ("BW_CLIENTSECRET", credentials.client_secret),
            ("BW_PASSWORD", credentials.password),
            ("BW_NOINTERACTION", "true".to_owned()),
            ("NODE_EXTRA_CA_CERTS", vault.ca_file().display().to_string()),
        ];
        let bw = Self { program, data: TempDir::new().unwrap(), env };
        bw.must(&["config", "server", &vault.url()]);
        bw
    }

    fn command(&self, args: &[&str]) -> Command {
        // Nothing may hang for ever, whatever a fault does to it.
        let mut command = Command::new("timeout");
        command.args(["-k", "5", "120"]).arg(&self.program).args(args);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("BITWARDENCLI_APPDATA_DIR", self.data.path()).env("HOME", self.data.path());
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Its standard output when it succeeds, else its standard error.
    fn run(&self, args: &[&str]) -> Result<String, String> {
        let output = self.command(args).stdin(Stdio::null()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    fn must(&self, args: &[&str]) -> String {
        self.run(args).unwrap_or_else(|error| panic!("bw {args:?}: {error}"))
    }

    fn must_fail(&self, args: &[&str]) -> String {
        self.run(args).expect_err("bw should have failed")
    }

    fn list(&self, args: &[&str]) -> Vec<Value> {
        serde_json::from_str(&self.must(&[&["list"], args].concat())).unwrap()
    }

    fn unlock(&mut self) {
        let session = self.must(&["unlock", "--passwordenv", "BW_PASSWORD", "--raw"]);
        self.env.push(("BW_SESSION", session));
    }

    /// `bw serve` on one end of a socket pair, unlocked.
    fn serve(&self) -> Serve {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut command = self.command(&["serve", "--hostname", "fd+connected://0"]);
        command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        let mut serve = Serve { child, stream: BufReader::new(ours) };
        let password = self.env.iter().find(|(name, _)| *name == "BW_PASSWORD").unwrap().1.clone();
        // 2026.9.0 may call a success a failure: the lists show which it was.
        serve.ask("POST", "/unlock", &json!({ "password": password }).to_string());
        serve
    }
}

struct Serve {
    child: Child,
    stream: BufReader<UnixStream>,
}

impl Serve {
    fn ask(&mut self, method: &str, path: &str, body: &str) -> Value {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost:8087\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.get_mut().write_all(head.as_bytes()).unwrap();
        let mut length = 0;
        loop {
            let mut line = String::new();
            assert_ne!(self.stream.read_line(&mut line).unwrap(), 0, "bw serve has ended");
            match line.trim_end().to_lowercase().split_once(": ") {
                Some(("content-length", number)) => length = number.parse().unwrap(),
                Some(_) => {}
                None if line == "\r\n" => break,
                None => {}
            }
        }
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).unwrap();
        serde_json::from_slice(&bytes).unwrap_or(Value::Null)
    }

    fn list(&mut self, path: &str) -> Vec<Value> {
        let answer = self.ask("GET", &format!("/list/object/{path}"), "");
        assert_eq!(answer["success"], true, "{path}: {answer}");
        answer["data"]["data"].as_array().unwrap().clone()
    }

    /// A list that is known to have something in it: right after a sync that
    /// brought changes `bw` at times gives an empty one, once, as a success
    /// (bitwarden/clients 23283).
    fn list_filled(&mut self, path: &str) -> Vec<Value> {
        for _ in 0..50 {
            let items = self.list(path);
            if !items.is_empty() {
                return items;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("bw serve lists nothing at {path}");
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        // `timeout` passes a TERM on to bw, which ends at it.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

fn start(fixture: Fixture) -> (Vault, TempDir) {
    let dir = TempDir::new().unwrap();
    (Vault::start(fixture, dir.path()).unwrap(), dir)
}

/// Items by id, without what this server decides itself.
fn comparable(items: Vec<Value>) -> BTreeMap<String, Value> {
    let strip = |mut item: Value| {
        for own in ["creationDate", "revisionDate", "organizationId"] {
            item.as_object_mut().unwrap().remove(own);
        }
        (item["id"].as_str().unwrap().to_owned(), item)
    };
    items.into_iter().map(strip).collect()
}

fn edge_list() -> BTreeMap<String, Value> {
    comparable(serde_json::from_str(include_str!("../fixtures/edge.json")).unwrap())
}

fn password_of<'a>(items: &'a [Value], name: &str) -> &'a Value {
    &items.iter().find(|item| item["name"] == name).unwrap()["login"]["password"]
}

fn id_of(collections: &[Value], name: &str) -> String {
    let collection = collections.iter().find(|collection| collection["name"] == name).unwrap();
    collection["id"].as_str().unwrap().to_owned()
}

/// What a test changes in the vault while `bw` is logged in.
fn mutate(vault: &Vault) {
    let change = |fixture: &mut Fixture| {
        fixture.item_named("P_DOLLAR").unwrap().set_value("$(changed)");
        fixture.add(Item::note("ADDED", "X=1").within("edge"));
        let gone = fixture.item_named("CARD").unwrap().id.clone();
        fixture.remove_item(&gone);
        fixture.collection("second").unwrap().name = "renamed".to_owned();
    };
    vault.edit(change).unwrap();
}

/// Each sync that brings something costs a login of its own, except for the
/// first, which is part of the login.
fn one_shot(program: PathBuf, syncs: u64) {
    let (vault, _dir) = start(Fixture::edge().unwrap());
    vault.user_key_id(UserKeyId::Accepted);
    let mut bw = Bw::new(program, &vault);
    bw.must(&["login", "--apikey"]);
    bw.unlock();
    let edge = id_of(&bw.list(&["collections"]), "edge");
    assert_eq!(comparable(bw.list(&["items", "--collectionid", &edge])), edge_list());
    mutate(&vault);
    bw.must(&["sync"]);
    let items = bw.list(&["items", "--collectionid", &edge]);
    assert_eq!(password_of(&items, "P_DOLLAR"), "$(changed)");
    assert_eq!((vault.logins(), vault.count(Route::Sync)), (syncs, syncs));
}

fn served(program: PathBuf) {
    let (vault, _dir) = start(Fixture::edge().unwrap());
    let bw = Bw::new(program, &vault);
    bw.must(&["login", "--apikey"]);
    let mut serve = bw.serve();
    let edge = id_of(&serve.list("collections"), "edge");
    let path = format!("items?collectionid={edge}");
    assert_eq!(comparable(serve.list(&path)), edge_list());
    mutate(&vault);
    assert_eq!(serve.ask("POST", "/sync", "")["success"], true);
    let items = serve.list_filled(&path);
    assert_eq!(password_of(&items, "P_DOLLAR"), "$(changed)");
    assert!(items.iter().any(|item| item["name"] == "ADDED" && item["notes"] == "X=1"));
    assert!(!items.iter().any(|item| item["name"] == "CARD"));
    id_of(&serve.list("collections"), "renamed");
    let logins = vault.logins();
    assert_eq!(serve.ask("POST", "/sync", "")["success"], true);
    assert_eq!(vault.logins(), logins, "a sync that brings nothing costs no login");
}

#[test]
fn one_shot_commands_read_every_odd_value_and_see_changes() {
    one_shot(bw::find().unwrap(), 2);
}

#[test]
fn one_shot_commands_of_the_other_version_do_too() {
    // Its unlock syncs once more.
    one_shot(bw::installed(OTHER_VERSION).unwrap(), 3);
}

#[test]
fn serve_on_a_socket_pair_reads_every_odd_value_and_sees_changes() {
    served(bw::find().unwrap());
}

#[test]
fn serve_of_the_other_version_does_too() {
    served(bw::installed(OTHER_VERSION).unwrap());
}

#[test]
fn the_other_version_does_not_unlock_where_its_new_request_is_unknown() {
    let (vault, _dir) = start(Fixture::machine());
    let bw = Bw::new(bw::installed(OTHER_VERSION).unwrap(), &vault);
    bw.must(&["login", "--apikey"]);
    bw.must_fail(&["unlock", "--passwordenv", "BW_PASSWORD", "--raw"]);
    assert_eq!(vault.count(Route::UserKeyId), 1);
}

#[test]
fn what_a_member_may_not_see_is_hidden() {
    let path = colibri_test_host::tree().join("tests/vault/fixtures/example.toml");
    let (vault, _dir) = start(Fixture::load(&path).unwrap());
    let mut bw = Bw::new(bw::find().unwrap(), &vault);
    bw.must(&["login", "--apikey"]);
    bw.unlock();
    let items = bw.list(&["items"]);
    let mut names: Vec<&str> = items.iter().filter_map(|item| item["name"].as_str()).collect();
    names.sort_unstable();
    let shown = ["CARD", "DATABASE_URL", "IDENTITY", "SECRET", "SSH", "api token", "settings"];
    assert_eq!(names, shown);
    assert_eq!(password_of(&items, "SECRET"), &Value::Null);
    assert_eq!(password_of(&items, "DATABASE_URL"), "postgres://app:p$ss@db/app");
}

#[test]
fn refused_logins_are_told_apart_by_what_bw_says() {
    let (vault, _dir) = start(Fixture::machine());
    let mut bw = Bw::new(bw::find().unwrap(), &vault);
    let login = ["login", "--apikey"];
    for (fault, said) in [
        (Fault::RateLimited, "Rate limit exceeded. Try again later."),
        (Fault::UpdateRequired, "Please update your app to continue using Bitwarden"),
    ] {
        vault.fault(Route::Token, fault, Times::Next(1));
        assert!(bw.must_fail(&login).contains(said), "{fault:?}");
    }
    vault.transport(Transport::Untrusted);
    assert!(bw.must_fail(&login).contains("certificate"));
    vault.transport(Transport::Refuse);
    assert!(bw.must_fail(&login).contains("request to"));
    vault.transport(Transport::Sound);
    bw.env.push(("BW_CLIENTSECRET", "wrong".to_owned()));
    assert!(bw.must_fail(&login).contains("Incorrect client_secret"));
    bw.env.push(("BW_CLIENTID", "user.nobody".to_owned()));
    assert!(bw.must_fail(&login).contains("Invalid client_id"));
    assert_eq!(vault.logins(), 0);
}

#[test]
fn a_token_about_to_expire_costs_another_login() {
    let (vault, _dir) = start(Fixture::fleet(1, 1));
    vault.token_lifetime(Duration::from_secs(60));
    // On a slow machine bw may want another token in the middle of the login,
    // when it cannot have one yet, and fails.
    let fresh = |_| Bw::new(bw::find().unwrap(), &vault);
    let logged_in = |bw: &Bw| bw.run(&["login", "--apikey"]).is_ok();
    let bw = (0..5).map(fresh).find(logged_in).expect("no login of five succeeded");
    let before = vault.logins();
    bw.must(&["sync"]);
    assert_eq!(vault.logins(), before + 1);
}

#[test]
fn a_token_that_the_server_no_longer_knows_logs_bw_out() {
    let (vault, _dir) = start(Fixture::fleet(1, 1));
    let bw = Bw::new(bw::find().unwrap(), &vault);
    bw.must(&["login", "--apikey"]);
    vault.expire_tokens();
    bw.must_fail(&["sync"]);
    assert!(bw.must_fail(&["list", "items"]).contains("You are not logged in."));
    assert_eq!(vault.logins(), 1);
}

#[test]
fn one_sync_may_be_empty_and_the_next_whole() {
    let (vault, _dir) = start(Fixture::fleet(2, 2));
    vault.fault(Route::Sync, Fault::KeepCiphers(0), Times::Next(1));
    let bw = Bw::new(bw::find().unwrap(), &vault);
    bw.must(&["login", "--apikey"]);
    let mut serve = bw.serve();
    assert_eq!((serve.list("items").len(), serve.list("collections").len()), (0, 2));
    assert_eq!(serve.ask("POST", "/sync?force=true", "")["success"], true);
    assert_eq!(serve.list_filled("items").len(), 4);
}
