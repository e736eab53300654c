//! A tenant's whole life with the real `bw`: from its registration through
//! changes, drift and a restart of the daemon to its end, and what the history
//! says of each step.
#![cfg(target_os = "linux")]

use anyhow::{Context, Result, bail, ensure};
use colibri_control::{Answer, Diff, Outcome, Provision, Reason, Request};
use colibri_e2e::host::{Account, Host};
use colibri_tenant::Status;
use colibri_test_vault::{Fixture, Item, Vault};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

const WEB: &str = "web01";
const DIR: &str = "usr/local/etc/colibri";
/// In every value, to be found wherever no value may be.
const CANARY: &str = "canary-51c3a9";
/// The trap is set before the agent says what it has seen.
const AGENT: &str = "trap 'echo told >> /told' USR1; set -a; . \"$COLIBRI_ENV_FILE\";
    echo \"$API_KEY\" > /seen.tmp; mv /seen.tmp /seen; while :; do sleep 1; done";

/// One tenant on one host.
struct Life {
    host: Host,
    vault: Vault,
    root: PathBuf,
    /// How each step of its life is written down, refreshes that found nothing
    /// to do left out.
    audit: Vec<(Reason, Outcome, u32)>,
}

impl Life {
    fn new() -> Result<Self> {
        let mut fixture = Fixture::machine();
        let web = fixture.add_collection(WEB);
        for (name, value) in [("API_KEY", "one"), ("DB_URL", "db"), ("OLD", "old")] {
            fixture.add(Item::login(name, &secret(value)).within(&web));
        }
        let mut host = Host::new()?;
        fs::create_dir(host.path("vault"))?;
        let vault = Vault::start(fixture, &host.path("vault"))?;
        // Each sync that brings something is a login too.
        vault.limit_logins(None);
        let credentials = vault.credentials()?;
        host.set_account(&Account {
            server: vault.url(),
            ca_file: vault.ca_file().to_owned(),
            client_id: credentials.client_id,
            client_secret: credentials.client_secret,
            password: credentials.password,
        });
        host.set("COLIBRI_SESSION_IDLE", "10m");
        host.set("COLIBRI_DEADLINE", "2m");
        let root = host.jail_with_shell(WEB)?;
        host.start()?;
        Ok(Self { host, vault, root, audit: Vec::new() })
    }

    fn colibri(&self, args: &[&str]) -> Result<String> {
        self.host.colibri_ok(args)
    }

    fn spawn(&self) -> Result<()> {
        let root = self.root.to_str().context("a path that is not UTF-8")?;
        let line = ["spawn-agent", "--jail-name", WEB, "--jail-root", root, "--", "/bin/sh", "-c", AGENT];
        self.colibri(&line).map(drop)
    }

    /// What the agent found in its environment since it was started.
    fn seen(&self) -> Result<String> {
        let seen = self.root.join("seen");
        let text = self.host.wait_for("the agent", || fs::read_to_string(&seen).ok())?;
        fs::remove_file(seen)?;
        Ok(text.trim_end().to_owned())
    }

    fn file(&self) -> PathBuf {
        self.root.join(DIR).join("env")
    }

    fn content(&self) -> String {
        fs::read_to_string(self.file()).unwrap_or_default()
    }

    fn status(&self) -> Result<Status> {
        Ok(self.host.tenant(WEB)?.status)
    }

    fn diff(&self) -> Result<Diff> {
        match self.host.ask(Request::Diff { tenant: WEB.parse()? })? {
            Answer::Diff(diff) => Ok(*diff),
            other => bail!("no difference in {other:?}"),
        }
    }

    /// Newest first.
    fn history(&self) -> Result<Vec<Provision>> {
        match self.host.ask(Request::History { tenant: Some(WEB.parse()?), limit: 0 })? {
            Answer::Provisions(history) => Ok(history),
            other => bail!("no history in {other:?}"),
        }
    }

    /// What was done since the last look is this, and is written down so.
    fn audited(&mut self, reason: Reason, outcome: Outcome, keys: u32) -> Result<()> {
        self.audit.push((reason, outcome, keys));
        let idle = |it: &&Provision| (it.reason, it.outcome) != (Reason::Refresh, Outcome::Unchanged);
        let found: Vec<_> = self.history()?.iter().rev().filter(idle).map(line).collect();
        ensure!(found == self.audit, "{found:?} instead of {:?}\n{}", self.audit, self.host.log());
        Ok(())
    }

    fn set(&self, name: &str, value: &str) -> Result<()> {
        let found =
            self.vault.edit(|fixture| fixture.item_named(name).map(|item| item.set_value(&secret(value))))?;
        found.context("no such item")
    }

    /// Without a refresh time, the last look that was planned is over.
    fn rests(&self) -> Result<()> {
        let planned = || self.host.tenant(WEB).ok().filter(|tenant| tenant.next_try.is_none());
        self.host.wait_for("a rest", planned).map(drop)
    }

    fn wait_for_content(&self, value: &str) -> Result<()> {
        self.host.wait_for(value, || self.content().contains(value).then_some(()))
    }

    /// The on-change action has run this often.
    fn told(&self, times: usize) -> Result<()> {
        let told = || fs::read_to_string(self.root.join("told")).unwrap_or_default().lines().count();
        self.host.wait_for("the action", || (told() >= times).then_some(()))?;
        ensure!(told() == times, "the action ran {} times instead of {times}", told());
        Ok(())
    }

    /// Waits until the file was looked after twice again.
    fn looked_after(&self) -> Result<()> {
        let seen = self.history()?.first().map_or(0, |newest| newest.number);
        let later = |history: &[Provision]| history.iter().filter(|it| it.number > seen).count() >= 2;
        self.host.wait_for("two more refreshes", || later(&self.history().ok()?).then_some(()))
    }
}

fn secret(value: &str) -> String {
    format!("{CANARY}-{value}")
}

fn line(provision: &Provision) -> (Reason, Outcome, u32) {
    (provision.reason, provision.outcome, provision.keys)
}

fn now() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis().try_into()?)
}

fn names(keys: &[&str]) -> Vec<String> {
    keys.iter().map(|key| (*key).to_owned()).collect()
}

#[test]
fn a_tenant_lives_from_register_to_destroy() -> Result<()> {
    let mut life = Life::new()?;
    begins(&mut life)?;
    changes_on_demand(&mut life)?;
    changes_within_the_refresh_time(&mut life)?;
    drifts_and_is_put_back(&mut life)?;
    survives_a_restart(&mut life)?;
    moves(&mut life)?;
    stops_and_starts_again(&mut life)?;
    ends(&mut life)?;
    nowhere_is_a_value(&life)?;
    is_one_device(&life)?;
    life.host.stop()
}

fn begins(life: &mut Life) -> Result<()> {
    let root = life.root.to_str().context("a path that is not UTF-8")?;
    life.colibri(&["register-tenant", WEB, root, "--on-change", "signal:USR1"])?;
    ensure!(life.status()? == Status::Provisioned && life.history()?.is_empty());
    let diff = life.diff()?;
    ensure!(diff.added == names(&["API_KEY", "DB_URL", "OLD"]) && !diff.intact, "{diff:?}");
    ensure!(!life.root.join("usr").exists(), "the comparison made a directory");
    life.spawn()?;
    ensure!(life.seen()? == secret("one"));
    ensure!(life.status()? == Status::Active);
    life.audited(Reason::Hook, Outcome::Written, 3)
}

fn changes_on_demand(life: &mut Life) -> Result<()> {
    life.set("API_KEY", "two")?;
    life.vault.edit(|fixture| {
        fixture.add(Item::login("NEW", &secret("new")).within(WEB));
        let old = fixture.item_named("OLD").map(|item| item.name = "OLDER".into());
        old.context("no such item")
    })??;
    let before = life.content();
    let diff = life.diff()?;
    ensure!(diff.added == names(&["NEW", "OLDER"]), "{diff:?}");
    ensure!((diff.removed, diff.changed) == (names(&["OLD"]), names(&["API_KEY"])));
    ensure!(life.colibri(&["diff", WEB])? == "+ NEW\n+ OLDER\n- OLD\n~ API_KEY\n1 the same\n");
    ensure!(life.content() == before && life.history()?.len() == 1);
    life.colibri(&["provision", WEB])?;
    ensure!(life.content().contains(&secret("two")) && life.diff()?.intact);
    life.audited(Reason::Operator, Outcome::Written, 4)?;
    life.told(1)
}

fn changes_within_the_refresh_time(life: &mut Life) -> Result<()> {
    life.colibri(&["update-tenant", WEB, "--refresh", "1s"])?;
    let refreshed = || life.history().ok()?.iter().find(|it| it.reason == Reason::Refresh).cloned();
    let first = life.host.wait_for("a refresh", refreshed)?;
    ensure!(first.outcome == Outcome::Unchanged, "{first:?}");
    life.set("API_KEY", "three")?;
    let changed = now()?;
    life.wait_for_content(&secret("three"))?;
    life.told(2)?;
    life.looked_after()?;
    life.told(2)?;
    life.audited(Reason::Refresh, Outcome::Written, 4)?;
    // Whichever refresh was the first to begin after the change brought it, and
    // none is further from the one before than the time that was set.
    let history = life.history()?;
    let brought = history.iter().rfind(|it| it.at > changed).context("no refresh since the change")?;
    let before = history.iter().find(|it| it.at <= changed).context("none before it")?;
    ensure!([brought.outcome, before.outcome].contains(&Outcome::Written), "{history:?}");
    let planned = life.host.tenant(WEB)?.next_try.context("no refresh is planned")?;
    let newest = history.first().context("no history")?;
    ensure!(planned <= now()? + 1100 && planned > newest.at, "{planned} after {newest:?}");
    Ok(())
}

fn drifts_and_is_put_back(life: &mut Life) -> Result<()> {
    life.colibri(&["update-tenant", WEB, "--refresh", "0"])?;
    life.rests()?;
    let whole = life.content();
    fs::write(life.file(), "API_KEY=mine\nDB_URL=mine\nBACKDOOR=1\n")?;
    let diff = life.diff()?;
    ensure!(diff.added == names(&["NEW", "OLDER"]), "{diff:?}");
    ensure!((diff.removed, diff.changed) == (names(&["BACKDOOR"]), names(&["API_KEY", "DB_URL"])));
    life.colibri(&["update-tenant", WEB, "--refresh", "1s"])?;
    life.host.wait_for("the right content", || (life.content() == whole).then_some(()))?;
    life.told(3)?;
    life.audited(Reason::Refresh, Outcome::Written, 4)?;
    fs::remove_file(life.file())?;
    life.host.wait_for("the file", || (life.content() == whole).then_some(()))?;
    life.told(4)?;
    life.audited(Reason::Refresh, Outcome::Written, 4)
}

fn survives_a_restart(life: &mut Life) -> Result<()> {
    let agents = life.colibri(&["list-agents", "--json"])?;
    life.host.restart()?;
    ensure!(life.colibri(&["list-agents", "--json"])? == agents, "another agent");
    life.set("API_KEY", "four")?;
    life.wait_for_content(&secret("four"))?;
    life.told(5)?;
    life.audited(Reason::Refresh, Outcome::Written, 4)
}

fn moves(life: &mut Life) -> Result<()> {
    life.colibri(&["update-tenant", WEB, "--refresh", "0", "--file", "moved"])?;
    let moved = life.root.join(DIR).join("moved");
    life.host.wait_for("the moved file", || moved.exists().then_some(()))?;
    life.rests()?;
    ensure!(life.content().is_empty(), "the old file is still there");
    life.audit.push((Reason::Operator, Outcome::Removed, 0));
    life.audited(Reason::Refresh, Outcome::Written, 4)?;
    life.told(6)
}

fn stops_and_starts_again(life: &mut Life) -> Result<()> {
    life.colibri(&["stop-agent", WEB, "--remove-secrets"])?;
    ensure!(left(&life.root)?.is_empty(), "{:?}", left(&life.root)?);
    let tenant = life.host.tenant(WEB)?;
    ensure!(tenant.status == Status::Stopped && tenant.next_try.is_none() && tenant.keys.is_empty());
    ensure!(life.colibri(&["list-agents"])?.contains("stopped"));
    life.audited(Reason::Operator, Outcome::Removed, 0)?;
    life.spawn()?;
    ensure!(life.seen()? == secret("four"));
    ensure!(life.status()? == Status::Active);
    life.audited(Reason::Hook, Outcome::Written, 4)
}

fn ends(life: &mut Life) -> Result<()> {
    life.colibri(&["destroy-tenant", WEB])?;
    ensure!(left(&life.root)?.is_empty(), "{:?}", left(&life.root)?);
    ensure!(life.status()? == Status::Destroyed);
    ensure!(life.colibri(&["list-agents"])?.contains("stopped"));
    let refused = life.host.colibri(&["provision", WEB])?;
    ensure!(String::from_utf8_lossy(&refused.stderr).contains("destroyed"), "{refused:?}");
    life.audited(Reason::Operator, Outcome::Removed, 0)
}

fn left(root: &Path) -> Result<Vec<PathBuf>> {
    fs::read_dir(root.join(DIR))?.map(|entry| Ok(entry?.path())).collect()
}

/// Each session begins with an empty directory, and is the same device all the same.
fn is_one_device(life: &Life) -> Result<()> {
    let shown = match life.host.ask(Request::Status {})? {
        Answer::Status(status) => status.device.context("no device")?,
        other => bail!("no status in {other:?}"),
    };
    ensure!(life.vault.logins() >= 2 && life.vault.devices() == [shown.clone()].into());
    ensure!(life.colibri(&["status"])?.contains(&format!("device        {shown} at the vault")));
    Ok(())
}

fn nowhere_is_a_value(life: &Life) -> Result<()> {
    let told = [
        life.colibri(&["history", "--json", "--limit", "0"])?,
        life.colibri(&["show-tenant", WEB, "--json"])?,
        String::from_utf8_lossy(&fs::read(life.host.path("state/tenants.db"))?).into_owned(),
        life.host.log(),
    ];
    ensure!(!told.iter().any(|text| text.contains(CANARY)), "a value was told");
    Ok(())
}
