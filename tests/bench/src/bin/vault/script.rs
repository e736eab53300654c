//! The shell script that people use, against the same vault.

use crate::fleet::Fleet;
use anyhow::{Context, Result, ensure};
use colibri_e2e::host::{Account, checkout};
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

/// The script for the first `jails` jails.
pub fn run(fleet: &Fleet, jails: usize) -> Result<Duration> {
    let mut collections = fleet.vault.edit(|fixture| {
        let all = fixture.organizations.iter().flat_map(|it| it.collections.iter());
        all.map(|it| it.id.clone()).collect::<Vec<_>>()
    })?;
    collections.truncate(jails);
    let out = fleet.host.path("script");
    fs::create_dir_all(out.join("app-data"))?;
    let mut command = Command::new(checkout().join("tests/bench/script.sh"));
    command.arg(&out).args(&collections).env_clear();
    for (name, value) in environment(fleet, "script/app-data")? {
        command.env(name, value);
    }
    let begin = Instant::now();
    let status = command.status().context("cannot run tests/bench/script.sh")?;
    let took = begin.elapsed();
    ensure!(status.success(), "tests/bench/script.sh: {status}");
    for collection in &collections {
        let lines = fs::read_to_string(out.join(collection))?.lines().count();
        ensure!(lines == crate::ITEMS, "the script wrote {lines} lines");
    }
    Ok(took)
}

/// What `bw` needs when somebody else than the fetcher runs it.
pub fn environment(fleet: &Fleet, app_data: &str) -> Result<Vec<(&'static str, String)>> {
    let account = Account::of(&fleet.vault)?;
    let bin = fleet.host.path("product/lib/bw/node_modules/.bin");
    Ok(vec![
        ("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", bin.display())),
        ("BITWARDENCLI_APPDATA_DIR", fleet.host.path(app_data).display().to_string()),
        ("BW_NOINTERACTION", "true".into()),
        ("BW_SERVER", account.server),
        ("BW_CLIENTID", account.client_id),
        ("BW_CLIENTSECRET", account.client_secret),
        ("BW_PASSWORD", account.password),
        ("NODE_EXTRA_CA_CERTS", account.ca_file.display().to_string()),
    ])
}
