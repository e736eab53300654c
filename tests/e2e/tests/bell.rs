//! A change in the vault travels to the jail by itself, with the real `bw` and a real
//! WebSocket: to those whose secrets it is, and to nobody else.
#![cfg(target_os = "linux")]

use anyhow::{Context, Result, ensure};
use colibri_control::{Answer, BellState, Request, SessionView, StatusView};
use colibri_e2e::host::{Account, Host};
use colibri_test_vault::{Fixture, Route, Vault};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

fn status(host: &Host) -> Result<StatusView> {
    match host.ask(Request::Status {})? {
        Answer::Status(status) => Ok(*status),
        other => anyhow::bail!("no status in {other:?}"),
    }
}

/// Three tenants of a collection each that are kept up, provisioned, with the bell on.
fn listening() -> Result<(Host, Vault)> {
    let (mut host, vault) = Host::with_vault(Fixture::fleet(3, 2))?;
    host.set_account(&Account::of(&vault)?);
    host.set("COLIBRI_SESSION_IDLE", "120");
    host.set("COLIBRI_DEADLINE", "110");
    // Nothing but the bell tells in time.
    host.set("COLIBRI_POLL", "1h");
    host.start()?;
    for number in 0..3 {
        let name = format!("jail-{number:04}");
        let root = host.jail(&name)?;
        let root = root.to_str().context("no UTF-8")?;
        host.colibri_ok(&["register-tenant", &name, root, "--refresh", "6h"])?;
    }
    host.colibri_ok(&["provision", "--all"])?;
    listens(&host)?;
    settled(&host, &vault)?;
    Ok((host, vault))
}

/// When a bell begins to listen the vault is asked once. What is edited in the middle of
/// that `bw` fetches twice.
fn settled(host: &Host, vault: &Vault) -> Result<()> {
    let (mut asked, mut since) = (0, Instant::now());
    host.wait_for("two seconds of rest", || {
        let now = vault.count(Route::RevisionDate);
        let idle = status(host).ok()?.session == SessionView::Idle;
        if now != asked || !idle {
            (asked, since) = (now, Instant::now());
        }
        std::thread::sleep(Duration::from_millis(50));
        (since.elapsed() > Duration::from_secs(2)).then_some(())
    })
}

fn listens(host: &Host) -> Result<()> {
    host.wait_for("a bell that listens", || {
        status(host).ok().filter(|status| status.bell.state == BellState::Listening)
    })
    .map(drop)
}

fn file(host: &Host, name: &str) -> String {
    let path = host.base().join(name).join("root/usr/local/etc/colibri/env");
    fs::read_to_string(path).unwrap_or_default()
}

fn provisions(host: &Host, name: &str) -> Result<usize> {
    let history = host.ask(Request::History { tenant: Some(name.parse()?), limit: 100 })?;
    match history {
        Answer::Provisions(history) => Ok(history.len()),
        other => anyhow::bail!("no history in {other:?}"),
    }
}

#[test]
fn a_change_arrives_by_itself_and_only_where_it_belongs() -> Result<()> {
    let (mut host, vault) = listening()?;
    let logins = vault.logins();
    let others = [provisions(&host, "jail-0000")?, provisions(&host, "jail-0002")?];
    let begun = Instant::now();
    vault.edit(|content| {
        let id = content.collection("jail-0001").map(|found| found.id.clone()).unwrap_or_default();
        content.add(colibri_test_vault::Item::login("NEW_KEY", "brought by the bell").within(&id));
    })?;
    host.wait_for("the new value", || {
        file(&host, "jail-0001").contains("brought by the bell").then_some(())
    })?;
    let took = begun.elapsed();
    ensure!(took < Duration::from_secs(60), "it took {took:?}");
    ensure!([provisions(&host, "jail-0000")?, provisions(&host, "jail-0002")?] == others, "{}", host.log());
    let cost = vault.logins() - logins;
    ensure!(cost <= 1, "a sync that brings something is one login, not {cost}:\n{}", host.log());
    let shown = host.colibri_ok(&["status"])?;
    ensure!(shown.contains("bell          listening, rang last at"), "{shown}");
    // How each token begins that the vault makes.
    ensure!(!host.log().contains("eyJ0eXAiOiJKV1Qi"), "the log has the token");
    host.stop()
}

#[test]
fn what_changed_while_the_bell_was_cut_is_found_when_it_listens_again() -> Result<()> {
    let (mut host, vault) = listening()?;
    vault.cut_listeners();
    vault.edit(|content| {
        if let Some(item) = content.item_named("KEY_1") {
            item.set_value("changed while nobody listened");
        }
    })?;
    host.wait_for("the new value", || {
        file(&host, "jail-0000").contains("changed while nobody listened").then_some(())
    })?;
    // A hub that is full of noise costs a sync now and then, and no more.
    listens(&host)?;
    let before = vault.count(Route::RevisionDate) + vault.count(Route::Sync);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        vault.tell_listeners(&[2, 0x91, 1]);
        std::thread::sleep(Duration::from_millis(5));
    }
    let asked = vault.count(Route::RevisionDate) + vault.count(Route::Sync) - before;
    ensure!(asked <= 8, "{asked} questions to the vault in three seconds");
    ensure!(Path::new(&host.socket()).exists() && status(&host)?.failing == 0);
    host.stop()
}
