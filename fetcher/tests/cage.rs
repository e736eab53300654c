//! A `bw` that is malware: what it tries from inside the cage, and where `bw`
//! runs when no cage is to be had.
#![cfg(target_os = "linux")]

#[cfg(test)]
#[path = "support/driver.rs"]
mod driver;

#[cfg(test)]
#[path = "support/bait.rs"]
mod bait;

use bait::{Bait, found};
use colibri_session::Vault;
use colibri_tenant::ErrorName::{BwCrashed, SandboxUnavailable};
use driver::{Fetcher, Place, fleet, name, request};
use serde_json::json;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::Command;

#[test]
fn a_hostile_bw_reaches_nothing() {
    let place = Place::new();
    let vault = fleet(&place);
    let mut bait = Bait::put(&place);
    let mut fetcher = Fetcher::start(&place, Vault { bw: bait.bw(), ..place.vault(&vault) });
    let pair = fetcher.ask(request(1, "jail-0000"));
    let found = found(&place);
    assert!(fetcher.done().outcome.is_err() && driver::pairs(pair).is_none());
    for (attempt, outcome) in found["attempts"].as_object().unwrap() {
        assert_ne!(outcome, "succeeded", "{attempt}");
    }
    let names = [
        "BITWARDENCLI_APPDATA_DIR",
        "BW_NOINTERACTION",
        "HOME",
        "NODE_EXTRA_CA_CERTS",
        "PATH",
        "https_proxy",
    ];
    assert_eq!(found["environment"], json!(names));
    bait.assert_untouched();
    let log = place.log();
    for tried in bait.attempts() {
        let recorded = |line: &&str| line.contains("refused") && line.ends_with(&format!(" tried={tried}"));
        assert!(log.lines().any(|line| recorded(&line)), "{tried}\n{log}");
    }
    for asked in ["CONNECT example.com:443".to_owned(), format!("CONNECT localhost:{}", bait.port())] {
        let refused = |line: &&str| line.contains(&asked) && line.contains("refused");
        assert!(log.lines().any(|line| refused(&line)), "{asked}\n{log}");
    }
    assert!(fetcher.close().success());

    let control = bait.control(&place);
    for attempt in [
        "tcp to the host",
        "udp",
        "unix socket by path",
        "unix socket without a path",
        "read /etc/passwd",
        "read another file",
        "list the host",
        "find a program",
        "run a program",
        "see processes",
        "kill",
        "write elsewhere",
        "change a date elsewhere",
        "listen elsewhere",
        "write to its program",
    ] {
        assert_eq!(control["attempts"][attempt], "succeeded", "{attempt}");
    }
}

#[test]
fn without_a_cage_nothing_is_done_unless_told_so() {
    let place = Place::new();
    let vault = fleet(&place);
    let without = || Vault { bwrap: Some("/nonexistent/bwrap".into()), ..place.vault(&vault) };
    let mut fetcher = Fetcher::start(&place, without());
    let (done, pairs) = fetcher.fetch(request(1, "jail-0000"));
    assert_eq!((name(&done.outcome), pairs), (SandboxUnavailable, None));
    assert!(fetcher.close().success());
    let mut fetcher = Fetcher::start(&place, Vault { insecure_no_sandbox: true, ..without() });
    let (done, pairs) = fetcher.fetch(request(2, "jail-0000"));
    assert!(pairs.is_some(), "{done:?}");
    assert!(fetcher.close().success());
}

#[test]
fn what_bw_is_leads_to_a_name() {
    use colibri_tenant::ErrorName::{BwUnusable, VaultTimeout};
    for (script, expected) in [
        ("", BwUnusable),
        ("#!/nonexistent/node\n", BwUnusable),
        ("#!/usr/bin/env node\nconsole.log('2026.7.0')", BwUnusable),
        ("#!/usr/bin/env node\nprocess.exit(3)", BwCrashed),
        ("#!/usr/bin/env node\nprocess.kill(process.pid, 'SIGKILL')", BwCrashed),
        ("#!/usr/bin/env node\nrequire('./missing')", BwUnusable),
        ("#!/usr/bin/env node\nsetInterval(() => {}, 1000)", VaultTimeout),
        ("#!/usr/bin/env node\nfor (;;) require('fs').writeSync(1, 'x'.repeat(65536))", BwCrashed),
    ] {
        let place = Place::new();
        let vault = fleet(&place);
        let bw = place.path().join("bw");
        if !script.is_empty() {
            fs::write(&bw, script).unwrap();
            fs::set_permissions(&bw, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let mut fetcher = Fetcher::start(&place, Vault { bw, ..place.vault(&vault) });
        let fetch = colibri_session::Fetch { deadline_ms: 4_000, ..request(1, "jail-0000") };
        let (done, pairs) = fetcher.fetch(fetch);
        assert_eq!((name(&done.outcome), pairs), (expected, None), "{script}: {done:?}");
        assert!(fetcher.close().success());
    }
}

#[test]
fn the_fetcher_and_bw_are_confined_while_a_session_is_open() {
    let place = Place::new();
    let vault = fleet(&place);
    let mut fetcher = Fetcher::start(&place, place.vault(&vault));
    assert!(fetcher.fetch(request(1, "jail-0000")).1.is_some());
    let status = |pid: u32, key: &str| {
        let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default().trim().to_owned()
    };
    let (bw, _) = place.processes().into_iter().find(|(_, command)| command.contains(" serve ")).unwrap();
    for pid in [fetcher.child.id(), bw] {
        assert_eq!(status(pid, "NoNewPrivs:"), "1");
    }
    assert_eq!(status(bw, "CapEff:"), "0000000000000000");
    let limits = fs::read_to_string(format!("/proc/{bw}/limits")).unwrap();
    let limit = |name: &str| {
        let line = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_ascii_whitespace().take(2).map(|word| word.parse().unwrap()).collect::<Vec<u64>>()
    };
    assert_eq!(limit("Max core file size"), [1, 1]);
    assert_eq!(limit("Max processes"), [64, 64]);
    assert_eq!(limit("Max data size"), [2 << 30, 2 << 30]);
    assert_eq!(limit("Max file size"), [256 << 20, 256 << 20]);
    for namespace in ["net", "mnt", "pid", "ipc", "uts", "user"] {
        let of = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/{namespace}")).unwrap();
        assert_ne!(of("self"), of(&bw.to_string()), "{namespace}");
    }
    let fds =
        fs::read_dir(format!("/proc/{bw}/fd")).unwrap().map(|fd| fs::read_link(fd.unwrap().path()).unwrap());
    let files: Vec<_> = fds.filter(|to| to.is_absolute() && !to.starts_with("/dev")).collect();
    assert!(files.is_empty(), "{files:?}");
    assert!(fetcher.close().success());
    // At the unlock, 2026.9.0 asks for the vault's name itself, past the proxy.
    let log = place.log();
    let tried: Vec<_> = log.lines().filter_map(|line| line.split_once(" tried=")).collect();
    let passing = |tried: &str| tried.starts_with("ask the name server") || tried.ends_with("/nscd/socket");
    assert!(tried.iter().all(|(_, tried)| driver::version() != "2026.8.0" && passing(tried)), "{log}");
}

#[test]
fn a_cage_that_was_made_already_is_used_and_ends_with_the_session() {
    let place = Place::new();
    let vault = fleet(&place);
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut warden = Command::new("bwrap")
        .args(["--unshare-all", "--die-with-parent", "--bind", "/", "/", "--dev", "/dev"])
        .arg(colibri_test_host::program("colibri-fetcher").unwrap())
        .arg("warden")
        .stdin(OwnedFd::from(theirs))
        .spawn()
        .unwrap();
    // Were it not used, there would be no cage at all.
    let known = Vault { bwrap: Some("/nonexistent/bwrap".into()), ..place.vault(&vault) };
    let mut fetcher = Fetcher::start_with(&place, known, Some(ours));
    let (done, pairs) = fetcher.fetch(request(1, "jail-0000"));
    assert!(pairs.is_some(), "{done:?}\n{}", place.log());
    assert!(fetcher.close().success());
    assert!(warden.wait().unwrap().success());
    place.assert_clean();
}

#[test]
fn a_cage_that_dies_ends_its_session_and_no_other() {
    let place = Place::new();
    let vault = fleet(&place);
    let mut fetcher = Fetcher::start(&place, place.vault(&vault));
    assert!(fetcher.fetch(request(1, "jail-0000")).1.is_some());
    let warden =
        place.processes().into_iter().find(|(_, command)| command.ends_with("colibri-fetcher warden"));
    let pid = rustix::process::Pid::from_raw(warden.unwrap().0.cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let (done, pairs) = fetcher.fetch(request(2, "jail-0000"));
    assert_eq!((name(&done.outcome), pairs), (BwCrashed, None), "{done:?}");
    assert!(fetcher.ended().success(), "by itself");
    let mut next = Fetcher::start(&place, place.vault(&vault));
    assert!(next.fetch(request(3, "jail-0000")).1.is_some());
    assert!(next.close().success());
}

#[test]
fn a_warden_that_is_gone_is_no_cage() {
    let place = Place::new();
    let vault = fleet(&place);
    let (ours, theirs) = UnixStream::pair().unwrap();
    drop(theirs);
    let mut fetcher = Fetcher::start_with(&place, place.vault(&vault), Some(ours));
    let (done, pairs) = fetcher.fetch(request(1, "jail-0000"));
    assert_eq!((name(&done.outcome), pairs), (SandboxUnavailable, None));
    assert!(fetcher.close().success());
    place.assert_clean();
}
