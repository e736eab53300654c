//! A change in the vault reaches those whose it is, and nobody else is asked for: one
//! question of the host for all tenants.
#![cfg(target_os = "linux")]

use anyhow::{Context, Result, bail, ensure};
use colibri_control::{Answer, Outcome, Provision, Reason, Request};
use colibri_e2e::host::{Account, Host};
use colibri_test_vault::{Fixture, Vault};
use std::fs;

const ENV: &str = "usr/local/etc/colibri/env";

/// A host with three tenants that are kept up, each brought once.
fn kept_up() -> Result<(Host, Vault)> {
    let (mut host, vault) = Host::with_vault(Fixture::fleet(3, 2))?;
    host.set_account(&Account::of(&vault)?);
    host.set("COLIBRI_POLL", "2");
    host.set("COLIBRI_DEADLINE", "110");
    host.start()?;
    for name in ["jail-0000", "jail-0001", "jail-0002"] {
        let root = host.jail(name)?;
        let root = root.to_str().context("no UTF-8")?;
        // Each by itself would ask in an hour.
        host.colibri_ok(&["register-tenant", name, root, "--refresh", "1h"])?;
        host.colibri_ok(&["provision", name])?;
    }
    Ok((host, vault))
}

fn history(host: &Host, name: &str) -> Result<Vec<Provision>> {
    match host.ask(Request::History { tenant: Some(name.parse()?), limit: 100 })? {
        Answer::Provisions(history) => Ok(history),
        other => bail!("no history in {other:?}"),
    }
}

fn holds(host: &Host, name: &str, text: &str) -> bool {
    let file = host.base().join(name).join("root").join(ENV);
    fs::read_to_string(file).is_ok_and(|content| content.contains(text))
}

#[test]
fn only_those_whose_secrets_changed_are_provisioned() -> Result<()> {
    let (mut host, vault) = kept_up()?;
    let counts = |host: &Host| -> Result<Vec<usize>> {
        ["jail-0000", "jail-0001", "jail-0002"].iter().map(|name| Ok(history(host, name)?.len())).collect()
    };
    vault.edit(|fixture| fixture.item_named("KEY_0").map(|item| item.set_value("changed")))?;
    host.wait_for("the change", || holds(&host, "jail-0000", "changed").then_some(()))?;
    host.wait_for("its record", || (counts(&host).ok()?[0] == 2).then_some(()))?;
    let newest = history(&host, "jail-0000")?.remove(0);
    ensure!((newest.reason, newest.outcome) == (Reason::Refresh, Outcome::Written), "{newest:?}");
    ensure!(counts(&host)? == [2, 1, 1], "{:?}", counts(&host)?);
    // An item that moves is a change of both, and no vault rings for the one it leaves.
    let moved = vault.edit(|fixture| {
        let other = fixture.organizations[0].collections[2].id.clone();
        let item = fixture.item_named("KEY_0");
        item.map(|item| (item.name, item.collections) = ("MOVED".into(), vec![other]))
    })?;
    moved.context("no such item")?;
    host.wait_for("the move", || holds(&host, "jail-0002", "MOVED").then_some(()))?;
    host.wait_for("its other end", || (!holds(&host, "jail-0000", "changed")).then_some(()))?;
    host.wait_for("its records", || (counts(&host).ok()? == [3, 1, 2]).then_some(()))?;
    // One login for the session, and one for each change, all of them counted.
    ensure!(vault.logins() == 3, "{} logins\n{}", vault.logins(), host.log());
    let status = host.colibri_ok(&["status"])?;
    ensure!(status.contains("logins        3 today"), "{status}");
    // And after a restart.
    host.restart()?;
    let status = host.colibri_ok(&["status"])?;
    ensure!(status.contains("logins        3 today"), "{status}");
    ensure!(vault.devices().len() == 1, "{:?}", vault.devices());
    host.stop()
}
