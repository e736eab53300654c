//! The real fetcher with a `bw` that needs no Node: what it is given arrives, and
//! what malware in its place reaches is what the system's cage leaves open.
#![cfg(test)]

#[path = "support/driver.rs"]
#[expect(dead_code, reason = "what is for the real bw")]
mod driver;

use driver::{Fetcher, Place, fleet, request};
use std::fs;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

/// Bubblewrap holds it on Linux. On FreeBSD only the daemon's jail does, and
/// there is none here: tests/freebsd/chain has it.
const HELD: bool = cfg!(target_os = "linux");

/// Installs the stand-in where a cage lets a package be read.
fn install(place: &Place) -> PathBuf {
    let package = place.path().canonicalize().unwrap().join("node_modules");
    fs::create_dir_all(package.join("bw.vault/web")).unwrap();
    fs::copy(colibri_test_host::program("colibri-test-bw").unwrap(), package.join("bw")).unwrap();
    fs::write(package.join("bw.vault/web/A"), "it's $(id)\n").unwrap();
    package.join("bw")
}

#[test]
fn what_its_files_hold_arrives_and_so_does_a_change() {
    let place = Place::new();
    let bw = install(&place);
    let mut fetcher = Fetcher::start(&place, place.vault_of(&fleet(&place), bw.clone()));
    let (done, pairs) = fetcher.fetch(request(1, "web"));
    assert_eq!(pairs.unwrap_or_default(), [("A".into(), "it's $(id)\n".into())], "{done:?}\n{}", place.log());
    fs::write(bw.with_extension("vault").join("web/B"), "2").unwrap();
    assert_eq!(fetcher.fetch(request(2, "web")).1.unwrap().len(), 2);
    assert!(fetcher.close().success());
}

#[test]
fn what_malware_reaches_is_what_the_cage_leaves_open() {
    let place = Place::new();
    let bw = install(&place);
    let here = place.path().canonicalize().unwrap();
    fs::write(here.join("secret"), "secret").unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let _unix = UnixListener::bind(here.join("socket")).unwrap();
    let (port, pid) = (tcp.local_addr().unwrap().port(), std::process::id());
    let here = here.display();
    let plan = [
        "PASSWD read /etc/passwd".to_owned(),
        format!("SECRET read {here}/secret"),
        format!("WRITE write {here}/secret"),
        format!("CREATE create {here}/new"),
        format!("UNIX unix {here}/socket"),
        format!("TCP tcp 127.0.0.1:{port}"),
        format!("PROCESS signal {pid}"),
        "RUN_SHELL run /bin/sh".to_owned(),
    ];
    fs::write(bw.with_extension("plan"), plan.join("\n")).unwrap();
    let mut fetcher = Fetcher::start(&place, place.vault_of(&fleet(&place), bw));
    let (done, pairs) = fetcher.fetch(request(1, "reach"));
    let pairs = pairs.unwrap_or_else(|| panic!("{done:?}\n{}", place.log()));
    assert_eq!(pairs.len(), plan.len());
    for (name, came) in &pairs {
        assert_eq!(came != "reached", HELD, "{name}: {came}");
    }
    assert!(fetcher.close().success());
}
