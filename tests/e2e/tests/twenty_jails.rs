//! docs/twenty-jails.md, run: each command against the real `bw`, and what it prints
//! compared with what the page shows. With `COLIBRI_ACCEPT=1` the page is written anew,
//! and docs/report.png is the report that was made on the way, as Chromium shows it.
#![cfg(target_os = "linux")]

use anyhow::{Context, Result, ensure};
use colibri_e2e::host::{Account, Host, checkout};
use colibri_test_vault::{Fixture, Item};
use std::fs;
use std::process::Command;

/// Where the page has its jails.
const BASE: &str = "/srv/jails";
/// What this page asks for in its file, that is in one with another file.
const SECRETS: [(&str, &str, &str); 2] =
    [("web", "API_TOKEN", "canary-a1"), ("db", "PGPASSWORD", "canary-b2")];

/// A host with twenty jails. The collection of db02 has another name, and web07's
/// only item one that is no variable's.
fn host() -> Result<(Host, colibri_test_vault::Vault)> {
    let mut fixture = Fixture::machine();
    let mut jails = Vec::new();
    for (kind, key, value) in SECRETS {
        for number in 1..=if kind == "web" { 18 } else { 2 } {
            let jail = format!("{kind}{number:02}");
            let collection = fixture.add_collection(if jail == "db02" { "DB02" } else { &jail });
            let name = if jail == "web07" { "api token" } else { key };
            fixture.add(Item::login(name, value).within(&collection));
            jails.push(jail);
        }
    }
    let (mut host, vault) = Host::with_vault(fixture)?;
    vault.limit_logins(None);
    host.set_account(&Account::of(&vault)?);
    host.set("COLIBRI_SESSION_IDLE", "10m");
    // A loaded machine is slow, and its deadlines are not what is shown here.
    host.set("COLIBRI_DEADLINE", "5m");
    for jail in jails {
        host.jail(&jail)?;
    }
    host.start()?;
    Ok((host, vault))
}

/// Runs a command of the page as a shell does, and gives all that it printed.
fn run(host: &Host, command: &str) -> Result<String> {
    let base = host.base().display().to_string();
    let output = Command::new("sh")
        .args(["-c", &format!("({}) 2>&1", command.replace(BASE, &base))])
        .current_dir(host.path("vault"))
        .env("PATH", format!("{}:/usr/bin:/bin", host.path("product/bin").display()))
        .env("COLIBRI_SOCKET", host.socket())
        .env("LC_ALL", "C")
        .output()?;
    let text = String::from_utf8(output.stdout)?.replace(&base, BASE);
    Ok(text.lines().map(|line| format!("{}\n", plain(line))).collect())
}

/// A line without what is another each time: points in time, and ids.
fn plain(line: &str) -> String {
    let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
    for word in &mut words {
        let bare = word.trim_matches(['(', ')', ',', ':']);
        let (dashes, colons) = (bare.matches('-').count(), bare.matches(':').count());
        match (bare.len(), dashes, colons) {
            (10, 2, 0) if bare.starts_with("20") => *word = "2026-11-28".into(),
            (9, 0, 2) if bare.ends_with('Z') => *word = "09:00:00Z".into(),
            _ => {}
        }
    }
    words.join(" ").trim_end().to_owned()
}

/// The page, with each command's output as it is here.
fn played(host: &Host, page: &str) -> Result<String> {
    let mut seen = String::new();
    let mut block = None;
    let mut file = String::new();
    for line in page.lines() {
        match (block, line) {
            (None, "```console" | "```toml") => block = Some(line),
            (Some("```toml"), "```") => {
                let text = std::mem::take(&mut file).replace(BASE, &host.base().display().to_string());
                fs::write(host.path("vault/tenants.toml"), text)?;
                block = None;
            }
            (Some(_), "```") => block = None,
            (Some("```toml"), _) => file.extend([line, "\n"]),
            // What was printed is printed anew.
            (Some("```console"), _) if !line.starts_with("# ") => continue,
            _ => {}
        }
        seen.extend([line, "\n"]);
        if let (Some("```console"), Some(command)) = (block, line.strip_prefix("# ")) {
            seen.push_str(&run(host, command)?);
        }
    }
    Ok(seen)
}

/// The top of the report, as docs/report.png.
fn picture(host: &Host) -> Result<()> {
    let dir = host.path("vault");
    let page = fs::read_to_string(dir.join("report.html"))?;
    fs::write(dir.join("report.html"), page.replace(&host.base().display().to_string(), BASE))?;
    let made = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1000,900"])
        .arg(format!("--user-data-dir={}", dir.join("browser").display()))
        .arg(format!("--screenshot={}", checkout().join("docs/report.png").display()))
        .arg(format!("file://{}", dir.join("report.html").display()))
        .env("HOME", &dir)
        .output()?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Ok(())
}

/// The first screen of the README is a part of the page that was run.
#[test]
fn the_readme_shows_a_part_of_the_page() -> Result<()> {
    let readme = fs::read_to_string(checkout().join("README.md"))?;
    let page = fs::read_to_string(checkout().join("docs/twenty-jails.md"))?;
    let shown = readme.split("```console\n").nth(1).and_then(|rest| rest.split("```").next());
    let mut lines = page.lines();
    for line in shown.context("the README shows no session")?.lines() {
        ensure!(lines.any(|there| there == line), "not on the page, or not in this order: {line}");
    }
    Ok(())
}

#[test]
fn the_page_of_twenty_jails_is_what_an_operator_sees() -> Result<()> {
    let (host, _vault) = host()?;
    let path = checkout().join("docs/twenty-jails.md");
    let page = fs::read_to_string(&path)?;
    let seen = played(&host, &page).context("a command of the page")?;
    if std::env::var_os("COLIBRI_ACCEPT").is_some() {
        fs::write(&path, &seen)?;
        picture(&host)?;
    }
    let differs = seen.lines().zip(page.lines()).find(|(seen, page)| seen != page);
    ensure!(seen == page, "the page shows otherwise, first at {differs:?}:\n{seen}\n{}", host.log());
    for (_, _, value) in SECRETS {
        ensure!(!seen.contains(value), "a value is on the page");
    }
    Ok(())
}
