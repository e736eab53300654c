//! What it takes to bring a vault's secrets into many jails: the real `bw`, the
//! built programs, and the test vault with Vaultwarden's limit on logins. Run
//! with `cold`, `curve`, `warm` or `lookups`, or with none for all of them.

mod curve;
mod fleet;
mod lookups;
mod plain;
mod script;
mod warm;

use anyhow::{Result, bail, ensure};
use fleet::Fleet;

/// Items of each collection.
const ITEMS: usize = 10;

fn main() -> Result<()> {
    ensure!(nix::unistd::geteuid().is_root(), "run as root: the fetcher is to have a user of its own");
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    for figure in &wanted {
        if !["cold", "curve", "warm", "lookups"].contains(&figure.as_str()) {
            bail!("there are cold, curve, warm and lookups, not {figure}");
        }
    }
    let wants = |figure: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == figure);
    if wants("cold") {
        cold()?;
    }
    if wants("curve") || wants("lookups") {
        curve::run(wants("curve"), wants("lookups"))?;
    }
    if wants("warm") {
        warm::run()?;
    }
    Ok(())
}

/// A hundred jails start at once on a host that has just booted.
fn cold() -> Result<()> {
    const JAILS: usize = 100;
    const SCRIPTED: usize = 3;
    println!("\ncold: {JAILS} jails of {ITEMS} items, load {}", fleet::load());
    let fleet = Fleet::new(JAILS, JAILS)?;
    let ours = fleet.storm(0..JAILS)?.as_secs_f64();
    let logins = fleet.vault.logins();
    println!("  colibri: {ours:.2} s from the first request to the last file, {logins} login");
    ensure!(logins == 1, "there were {logins} logins");
    let script = script::run(&fleet, SCRIPTED)?.as_secs_f64();
    let each = script / SCRIPTED as f64;
    let ratio = each * JAILS as f64 / ours;
    println!("  script:  {script:.2} s for {SCRIPTED} jails, {each:.2} s each, load {}", fleet::load());
    println!("  ratio for {JAILS}, extrapolated and without the login limit: {ratio:.0}");
    Ok(())
}
