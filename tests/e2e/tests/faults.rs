//! Where the machine account's credentials may come from besides the
//! environment, with the real `bw`.
#![cfg(target_os = "linux")]

use anyhow::{Context, Result, ensure};
use colibri_e2e::host::{Account, Host};
use colibri_e2e::process::{Process, descendants};
use colibri_test_vault::{Fixture, Vault};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

const TENANT: &str = "jail-0000";

/// A host whose daemon has the vault's address, and no credentials yet.
fn host() -> Result<(Host, Vault, Account)> {
    let (mut host, vault) = Host::with_vault(Fixture::fleet(1, 2))?;
    let account = Account::of(&vault)?;
    host.set("BW_SERVER", &account.server);
    host.set("NODE_EXTRA_CA_CERTS", account.ca_file.display().to_string());
    Ok((host, vault, account))
}

/// A file that only its owner can read, as an editor writes it: with a newline
/// at its end.
fn private_file(host: &Host, name: &str, content: &str) -> Result<PathBuf> {
    fs::create_dir_all(host.path("credentials"))?;
    let file = host.path("credentials").join(name);
    fs::write(&file, format!("{content}\n"))?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
    Ok(file)
}

/// The tenant gets its file, by one login, and no process shows a credential.
fn provisions(mut host: Host, vault: &Vault, account: &Account) -> Result<()> {
    let root = host.jail(TENANT)?;
    host.start()?;
    host.colibri_ok(&["register-tenant", TENANT, root.to_str().context("no UTF-8")?])?;
    host.colibri_ok(&["provision", TENANT])?;
    let file = fs::read_to_string(root.join("usr/local/etc/colibri/env"))?;
    ensure!(file.contains("value-0-1"), "{file}");
    ensure!(vault.logins() == 1, "{} logins", vault.logins());
    let daemon = Process::find(host.pid()?).context("no daemon")?;
    for process in descendants(daemon.pid).into_iter().chain([daemon]) {
        let shown = process.environ().unwrap_or_default();
        for secret in [&account.client_secret, &account.password] {
            ensure!(!String::from_utf8_lossy(&shown).contains(secret.as_str()), "{process:?} shows it");
        }
    }
    host.stop()
}

#[test]
fn each_credential_may_come_from_a_file_of_its_own() -> Result<()> {
    let (mut host, vault, account) = host()?;
    for (name, content) in [
        ("BW_CLIENTID_FILE", &account.client_id),
        ("BW_CLIENTSECRET_FILE", &account.client_secret),
        ("BW_PASSWORD_FILE", &account.password),
    ] {
        let file = private_file(&host, name, content)?;
        host.set(name, file.display().to_string());
    }
    provisions(host, &vault, &account)
}

#[test]
fn they_may_come_from_the_credentials_directory_of_systemd() -> Result<()> {
    let (mut host, vault, account) = host()?;
    private_file(&host, "BW_CLIENTID", &account.client_id)?;
    private_file(&host, "BW_CLIENTSECRET", &account.client_secret)?;
    private_file(&host, "BW_PASSWORD", "not this one")?;
    let directory = host.path("credentials").display().to_string();
    host.set("CREDENTIALS_DIRECTORY", directory);
    // What is named goes before what is provided.
    let file = private_file(&host, "password", &account.password)?;
    host.set("BW_PASSWORD_FILE", file.display().to_string());
    provisions(host, &vault, &account)
}

#[test]
fn a_file_that_is_missing_stops_the_daemon_and_is_named() -> Result<()> {
    let (mut host, _vault, account) = host()?;
    host.set("BW_CLIENTID", &account.client_id);
    host.set("BW_CLIENTSECRET", &account.client_secret);
    let file = host.path("nowhere").display().to_string();
    host.set("BW_PASSWORD_FILE", &file);
    let error = host.start().err().context("it started")?.to_string();
    ensure!(error.contains("BW_PASSWORD") && error.contains(&file), "{error}");
    for secret in [&account.client_secret, &account.password] {
        ensure!(!error.contains(secret.as_str()), "the log has a credential");
    }
    Ok(())
}
