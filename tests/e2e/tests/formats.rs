//! Formats other than the default, from the vault to the jail, with the real `bw`.
#![cfg(target_os = "linux")]

use anyhow::{Context, Result, ensure};
use colibri_e2e::host::{Account, Host};
use colibri_test_vault::{Fixture, Item, Vault};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const HARD: &str = "it's $(touch canary) #1 \"x\" `id` \\";

fn files(dir: &Path) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        ensure!(entry.metadata()?.permissions().mode() & 0o7777 == 0o600);
        let name = entry.file_name().into_string().ok().context("a name that is not UTF-8")?;
        found.insert(name, fs::read_to_string(entry.path())?);
    }
    Ok(found)
}

fn names(dir: &Path) -> Result<Vec<String>> {
    let names = fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    names.collect()
}

#[test]
fn a_directory_of_files_is_provisioned_compared_and_removed() -> Result<()> {
    let mut host = Host::new()?;
    let dir = host.path("vault");
    fs::create_dir(&dir)?;
    let mut fixture = Fixture::machine();
    let id = fixture.add_collection("web");
    fixture.add(Item::login("API_KEY", HARD).within(&id));
    fixture.add(Item::note("settings", "A=1\nB='two\nlines'\n").within(&id));
    let vault = Vault::start(fixture, &dir)?;
    let credentials = vault.credentials()?;
    host.set_account(&Account {
        server: vault.url(),
        ca_file: vault.ca_file().to_owned(),
        client_id: credentials.client_id,
        client_secret: credentials.client_secret,
        password: credentials.password,
    });
    let root = host.jail("web")?;
    host.start()?;
    let path = root.to_str().context("a path that is not UTF-8")?;
    host.colibri_ok(&["register-tenant", "web", path, "--format", "dir", "--file", "secrets"])?;
    host.colibri_ok(&["provision", "web"])?;
    let target = root.join("usr/local/etc/colibri");
    let pairs = [("A", "1"), ("API_KEY", HARD), ("B", "two\nlines")];
    let expected: BTreeMap<_, _> = pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    ensure!(files(&target.join("secrets"))? == expected);
    ensure!(host.colibri_ok(&["provision", "web"])?.contains("unchanged"));

    fs::write(target.join("secrets/A"), "edited")?;
    fs::remove_file(target.join("secrets/B"))?;
    let diff = host.colibri_ok(&["diff", "web", "--json"])?;
    ensure!(diff.contains("\"A\"") && diff.contains("\"B\"") && !diff.contains("\"API_KEY\""), "{diff}");
    ensure!(!diff.contains("edited") && !diff.contains("lines"), "{diff}");
    host.colibri_ok(&["provision", "web"])?;
    ensure!(files(&target.join("secrets"))? == expected);

    host.colibri_ok(&["update-tenant", "web", "--format", "json"])?;
    host.colibri_ok(&["provision", "web"])?;
    let json: BTreeMap<String, String> = serde_json::from_str(&fs::read_to_string(target.join("secrets"))?)?;
    ensure!(json == expected);
    ensure!(names(&target)? == ["secrets"], "{:?}", names(&target)?);

    host.colibri_ok(&["update-tenant", "web", "--format", "dir"])?;
    host.colibri_ok(&["provision", "web"])?;
    ensure!(files(&target.join("secrets"))? == expected);
    let elsewhere = host.jail("nowhere")?;
    let elsewhere = elsewhere.to_str().context("a path that is not UTF-8")?;
    host.colibri_ok(&["register-tenant", "nowhere", elsewhere])?;
    ensure!(!host.colibri(&["provision", "nowhere"])?.status.success());
    host.colibri_ok(&["destroy-tenant", "web"])?;
    ensure!(names(&target)?.is_empty(), "{:?}", names(&target)?);
    the_report_shows_what_the_database_holds(&host)?;
    host.stop()
}

/// A retry may come between two looks.
fn the_report_shows_what_the_database_holds(host: &Host) -> Result<()> {
    let file = host.path("report.html");
    let before = provisions(host)?;
    host.colibri_ok(&["report", "--html", file.to_str().context("a path that is not UTF-8")?])?;
    let after = provisions(host)?;
    let page = fs::read_to_string(file)?;
    for outcome in ["written", "unchanged", "removed", "failed"] {
        ensure!(before.iter().any(|(_, kept)| kept == outcome), "{before:?}");
    }
    let shown = |(number, outcome): &&(i64, String)| {
        page.contains(&format!("class=\"mark {outcome}\" data-number=\"{number}\""))
    };
    ensure!(before.iter().all(|row| shown(&row)), "{before:?}");
    ensure!(page.matches("data-number=").count() == after.iter().filter(shown).count(), "{after:?}");
    for name in ["web", "nowhere"] {
        ensure!(page.contains(&format!("data-tenant=\"{name}\"")), "the page lacks {name}");
    }
    Ok(())
}

fn provisions(host: &Host) -> Result<Vec<(i64, String)>> {
    let database = rusqlite::Connection::open(host.path("state/tenants.db"))?;
    let mut rows = database.prepare("SELECT number, outcome FROM provisions")?;
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
