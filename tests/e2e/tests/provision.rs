//! From a collection in the vault to a file in a jail, with the real `bw`.
#![cfg(target_os = "linux")]

use anyhow::{Context, Result, ensure};
use colibri_e2e::host::{Account, Host};
use colibri_e2e::process::Process;
use colibri_e2e::tree::listing;
use colibri_tenant::{ErrorName, Status};
use colibri_test_vault::{Fault, Fixture, Item, Route, Times, Vault};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Command;

const ENV_FILE: &str = "usr/local/etc/colibri/env";
/// Long and like nothing else, to be found in memory or a log if it is there.
const CANARY: &str = "canary-7b1f0f4e9c5d4a31-value";

/// A host with a vault and its account.
fn host_with(fixture: Fixture) -> Result<(Host, Vault)> {
    let mut host = Host::new()?;
    let dir = host.path("vault");
    fs::create_dir(&dir)?;
    let vault = Vault::start(fixture, &dir)?;
    host.set_account(&account(&vault)?);
    Ok((host, vault))
}

fn account(vault: &Vault) -> Result<Account> {
    let credentials = vault.credentials()?;
    Ok(Account {
        server: vault.url(),
        ca_file: vault.ca_file().to_owned(),
        client_id: credentials.client_id,
        client_secret: credentials.client_secret,
        password: credentials.password,
    })
}

fn simple(collection: &str) -> Fixture {
    let mut fixture = Fixture::machine();
    let id = fixture.add_collection(collection);
    fixture.add(Item::login("API_KEY", CANARY).within(&id));
    fixture.add(Item::login("HOSTILE", "it's $(touch /tmp/colibri-canary) #1 \"x\" `id`").within(&id));
    fixture.add(Item::note("settings", "A=1\nB=two words\n# comment\nexport C='3'\n").within(&id));
    fixture
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is not UTF-8")
}

/// What a POSIX shell reads from the file, as `rc.subr` would.
fn sourced(file: &Path) -> Result<BTreeMap<String, String>> {
    let script = "set -a; . \"$1\"; env -0";
    let output = Command::new("sh").env_clear().args(["-c", script, "sh", text(file)?]).output()?;
    ensure!(output.status.success(), "sh: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let pairs = text.split('\0').filter_map(|pair| pair.split_once('='));
    Ok(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
}

#[test]
fn the_file_holds_what_the_collection_holds() -> Result<()> {
    let (mut host, _vault) = host_with(Fixture::edge()?)?;
    let root = host.jail_with_shell("edge")?;
    host.start()?;
    host.colibri_ok(&["register-tenant", "edge", text(&root)?])?;
    host.colibri_ok(&["provision", "edge"])?;

    let file = root.join(ENV_FILE);
    let meta = fs::symlink_metadata(&file)?;
    ensure!(meta.mode() == 0o100_600, "mode {:o}", meta.mode());
    ensure!(meta.nlink() == 1 && meta.uid() == nix::unistd::geteuid().as_raw());
    ensure!(fs::metadata(root.join("usr/local/etc/colibri"))?.mode() == 0o40_700);

    let found = sourced(&file)?;
    let list: serde_json::Value = serde_json::from_str(include_str!("../../vault/fixtures/edge.json"))?;
    let items = list.as_array().or(list["data"].as_array()).context("no list")?;
    let mut compared = 0;
    for item in items {
        let (Some(name), Some(1)) = (item["name"].as_str(), item["type"].as_u64()) else { continue };
        if name.starts_with("P_") {
            let password = item["login"]["password"].as_str().unwrap_or_default();
            ensure!(found.get(name).map(String::as_str) == Some(password), "{name}: {:?}", found.get(name));
            compared += 1;
        }
    }
    ensure!(compared >= 20, "only {compared} values compared");
    // Of two items of one name the one with the later id wins.
    ensure!(found.get("DUP").map(String::as_str) == Some("first"));
    for (key, value) in [("X1", "1"), ("X3", "spaced"), ("X4", "sq"), ("X5", "a=b"), ("X6", "a # b")] {
        ensure!(found.get(key).map(String::as_str) == Some(value), "{key}: {:?}", found.get(key));
    }

    let tenant = host.tenant("edge")?;
    ensure!(tenant.status == Status::Active);
    let history = host.colibri_ok(&["history", "edge", "--json"])?;
    for (name, value) in
        [("2FA_CODE", "digit"), ("BAD!KEY", "bad"), ("db password", "lower-name"), ("CARD", "4111")]
    {
        ensure!(history.contains(name), "no warning names {name}: {history}");
        ensure!(!found.values().any(|found| found == value), "{name} was written");
        ensure!(!history.contains(&format!("{value}\"")), "a warning holds the value of {name}");
    }
    host.stop()
}

#[test]
fn an_agent_finds_its_secrets_where_its_environment_says() -> Result<()> {
    let (mut host, vault) = host_with(simple("web01"))?;
    let root = host.jail_with_shell("web01")?;
    host.start()?;
    host.colibri_ok(&["register-tenant", "web01", text(&root)?])?;
    let script = "set -a; . \"$COLIBRI_ENV_FILE\"; env > /seen.tmp; mv /seen.tmp /seen; exec sleep 600";
    host.colibri_ok(&[
        "spawn-agent",
        "--jail-name",
        "web01",
        "--jail-root",
        text(&root)?,
        "--",
        "/bin/sh",
        "-c",
        script,
    ])?;
    let seen = host.wait_for("the agent's environment", || fs::read_to_string(root.join("seen")).ok())?;
    ensure!(seen.contains(&format!("API_KEY={CANARY}\n")), "{seen}");
    ensure!(seen.contains("HOSTILE=it's $(touch /tmp/colibri-canary) #1 \"x\" `id`\n"), "{seen}");
    ensure!(seen.contains("\nB=two words\n") && seen.contains("\nC=3\n"), "{seen}");
    ensure!(!Path::new("/tmp/colibri-canary").exists(), "a value was run");
    ensure!(vault.logins() == 1);
    let agents = host.colibri_ok(&["list-agents"])?;
    ensure!(agents.contains("web01") && agents.contains("running"), "{agents}");
    host.colibri_ok(&["stop-agent", "web01"])?;
    ensure!(host.tenant("web01")?.status == Status::Stopped);
    host.stop()
}

#[test]
fn each_process_holds_only_what_it_may() -> Result<()> {
    let (mut host, vault) = host_with(simple("web01"))?;
    let root = host.jail("web01")?;
    host.start()?;
    host.colibri_ok(&["register-tenant", "web01", text(&root)?])?;
    // The sync is slow, so that there is time to look at the session.
    vault.fault(Route::RevisionDate, Fault::Delay(1500), Times::Always);
    let daemon = Process::find(host.pid()?).context("no daemon")?;
    std::thread::scope(|scope| -> Result<()> {
        let provision = scope.spawn(|| host.colibri_ok(&["provision", "web01"]));
        let serve = host.wait_for("bw serve", || {
            host.children().ok()?.into_iter().find(|process| process.args.iter().any(|arg| arg == "serve"))
        })?;
        let fetcher = host.wait_for("the fetcher", || {
            host.children().ok()?.into_iter().find(|process| process.runs("colibri-fetcher"))
        })?;
        if nix::unistd::geteuid().is_root() {
            ensure!(daemon.uid() == Some(0));
            ensure!(fetcher.uid().is_some_and(|uid| uid != 0), "the fetcher is root");
            ensure!(serve.uid().is_some_and(|uid| uid != 0), "bw is root");
        }
        let account = account(&vault)?;
        for secret in [&account.client_secret, &account.password] {
            for process in host.children()?.iter().chain([&daemon]) {
                let shown = process.environ().unwrap_or_default();
                ensure!(!holds(&shown, secret.as_bytes()), "{process:?} has a credential in its environment");
                ensure!(
                    !process.args.iter().any(|arg| arg.contains(secret)),
                    "{process:?} has one in its arguments"
                );
            }
        }
        provision.join().map_err(|_| anyhow::anyhow!("the provision panicked"))??;
        Ok(())
    })?;
    let file = fs::read_to_string(root.join(ENV_FILE))?;
    ensure!(file.contains(CANARY));
    if nix::unistd::geteuid().is_root() {
        ensure!(daemon.memory_holds(CANARY.as_bytes())? == 0, "the daemon's memory holds a value");
        // The same look finds what is there: the tenant's name.
        ensure!(daemon.memory_holds(b"web01")? > 0, "the scan finds nothing at all");
    } else {
        colibri_test_host::skip("only root can look at the daemon's memory");
    }
    ensure!(!host.log().contains(CANARY), "the log holds a value");
    host.stop()
}

fn holds(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

#[test]
fn a_root_that_leads_out_of_the_base_changes_nothing() -> Result<()> {
    let (mut host, vault) = host_with(simple("web01"))?;
    let root = host.jail("web01")?;
    let outside = host.path("outside");
    fs::create_dir(&outside)?;
    symlink(&outside, host.base().join("link"))?;
    fs::create_dir(host.base().join("other"))?;
    host.start()?;
    host.colibri_ok(&["register-tenant", "web01", text(&root)?])?;
    let before = listing(&host.base())?;
    let outside_before = listing(&outside)?;
    let base = host.base();
    let climbing = base.join("web01/../../outside");
    for bad in [base.clone(), climbing, base.join("link"), outside.clone()] {
        let name = "elsewhere";
        let output = host.colibri(&["register-tenant", name, text(&bad)?, "web01"])?;
        let mut said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() {
            let output = host.colibri(&["provision", name])?;
            ensure!(!output.status.success(), "{} was provisioned", bad.display());
            said = String::from_utf8_lossy(&output.stderr).into_owned();
            host.colibri_ok(&["unregister-tenant", name])?;
        }
        ensure!(said.contains("TargetEscapesRoot"), "{}: {said}", bad.display());
    }
    let output = host.colibri(&["hook", "web01", text(&base.join("other"))?])?;
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success() && said.contains("RootMismatch"), "{said}");
    let output = host.colibri(&["hook", "nobody-knows", text(&root)?])?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    ensure!(said.starts_with("warning: no tenant has the name of the jail nobody-knows"), "{said}");
    ensure!(listing(&base)? == before && listing(&outside)? == outside_before, "something was changed");
    ensure!(vault.logins() == 0, "the vault was asked");
    host.stop()
}

/// Breaks one thing, spawns an agent, and sees it run without secrets.
fn fails_soft(name: ErrorName, fixture: Fixture, spoil: impl FnOnce(&mut Account, &Vault)) -> Result<()> {
    let (mut host, vault) = host_with(fixture)?;
    let mut account = account(&vault)?;
    spoil(&mut account, &vault);
    host.set_account(&account);
    host.set("COLIBRI_SESSION_IDLE", "0");
    host.set("COLIBRI_DEADLINE", "60");
    let root = host.jail_with_shell("web01")?;
    host.start()?;
    host.colibri_ok(&["register-tenant", "web01", text(&root)?])?;
    let script = "touch /started; exec sleep 600";
    host.colibri_ok(&[
        "spawn-agent",
        "--jail-name",
        "web01",
        "--jail-root",
        text(&root)?,
        "--",
        "/bin/sh",
        "-c",
        script,
    ])?;
    host.wait_for("the agent", || root.join("started").exists().then_some(()))?;
    let error = host.wait_for("the error", || host.tenant("web01").ok()?.last_error)?;
    ensure!(error.name == name, "{} instead of {name}: {}\n{}", error.name, error.message, host.log());
    ensure!(host.tenant("web01")?.status == Status::Provisioned);
    ensure!(!root.join("usr").exists(), "something was made in the jail");
    let shown = host.colibri_ok(&["list-tenants"])?;
    ensure!(shown.contains(name.as_str()), "{shown}");
    let log = host.log();
    for secret in [&account.client_secret, &account.password, &CANARY.to_owned()] {
        ensure!(!log.contains(secret.as_str()), "the log holds a secret");
    }
    host.colibri_ok(&["stop-agent", "web01"])?;
    host.wait_for("an end of all processes", || host.children().ok()?.is_empty().then_some(()))?;
    let left: BTreeSet<_> =
        fs::read_dir(host.path("run/session"))?.flatten().map(|e| e.file_name()).collect();
    ensure!(left.is_empty(), "left behind: {left:?}");
    host.stop()
}

#[test]
fn a_vault_that_is_down_fails_soft() -> Result<()> {
    fails_soft(ErrorName::VaultUnreachable, simple("web01"), |account, _| {
        account.server = "https://localhost:1".into();
    })
}

#[test]
fn a_wrong_client_secret_fails_soft() -> Result<()> {
    fails_soft(ErrorName::BadCredentials, simple("web01"), |account, _| {
        account.client_secret = "wrong-client-secret-0123456789".into();
    })
}

#[test]
fn a_wrong_password_fails_soft() -> Result<()> {
    fails_soft(ErrorName::BadCredentials, simple("web01"), |account, _| {
        account.password = "wrong-master-password-0123456789".into();
    })
}

#[test]
fn an_unknown_collection_fails_soft() -> Result<()> {
    fails_soft(ErrorName::CollectionNotFound, simple("another"), |_, _| {})
}
