//! Orders: what they do when all is well, and that a bad one does nothing.

use crate::jail::{Jail, commit, one, pair, run};
use colibri_pair::{Failure, Format, Report, Verb};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

#[test]
fn pairs_become_a_file_and_missing_directories_are_made() {
    let jail = Jail::bare();
    let outcome = jail.put(&[pair("A", "1"), pair("B", "two words"), commit(2)].concat());
    assert_eq!(outcome.reports, [Report::Ready, Report::Written { keys: 2 }]);
    assert!(outcome.status.success());
    jail.holds("A=1\nB='two words'\n");
    let mode = |path| fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!((mode(jail.dir()), mode(jail.root().join("etc"))), (0o700, 0o755));
}

#[test]
fn no_pairs_and_a_commit_are_an_empty_file() {
    let jail = Jail::new();
    assert_eq!(*jail.put(&commit(0)).last(), Report::Written { keys: 0 });
    jail.holds("");
}

#[test]
fn the_same_pairs_again_write_nothing() {
    let jail = Jail::new();
    jail.put(&one("v"));
    let before = fs::metadata(jail.file()).unwrap();
    assert_eq!(*jail.put(&one("v")).last(), Report::Unchanged { keys: 1 });
    let after = fs::metadata(jail.file()).unwrap();
    let state = |s: &fs::Metadata| (s.ino(), s.mtime(), s.mtime_nsec(), s.ctime(), s.ctime_nsec());
    assert_eq!(state(&after), state(&before));
    assert_eq!(*jail.put(&one("w")).last(), Report::Written { keys: 1 });
    jail.holds("K=w\n");
}

#[test]
fn the_largest_request_fits() {
    let jail = Jail::new();
    let value = "'$".repeat(32 * 1024 - 2);
    let wire: Vec<u8> = (0..16).flat_map(|n| pair(&format!("K{n:02}"), &value)).collect();
    assert_eq!(*jail.put(&[wire, commit(16)].concat()).last(), Report::Written { keys: 16 });
    assert_eq!(fs::metadata(jail.file()).unwrap().mode() & 0o7777, 0o600);
}

#[test]
fn json_is_written_as_json() {
    let mut jail = Jail::new();
    jail.order.format = Format::Json;
    jail.put(&one("\"v\""));
    assert_eq!(fs::read_to_string(jail.file()).unwrap(), "{\n  \"K\": \"\\\"v\\\"\"\n}\n");
}

#[test]
fn a_removal_unlinks_the_file_once() {
    let mut jail = Jail::new();
    jail.put(&one("v"));
    jail.order.verb = Verb::Remove;
    assert_eq!(jail.put(b"").reports, [Report::Removed]);
    assert!(!jail.file().exists());
    assert_eq!(jail.put(b"").reports, [Report::Absent]);
}

#[test]
fn a_removal_makes_no_directory() {
    let mut jail = Jail::bare();
    jail.order.verb = Verb::Remove;
    assert_eq!(jail.put(b"").reports, [Report::Absent]);
    assert!(!jail.root().join("etc").exists());
}

#[test]
fn an_order_that_lacks_or_garbles_an_argument_touches_nothing() {
    let jail = Jail::bare();
    let args = jail.order.to_args();
    for length in 0..args.len() {
        let mut command = Command::new(colibri_test_host::program("colibri-writer").unwrap());
        command.args(&args[..length]);
        run(command, &one("v")).failed(Failure::ProtocolViolation, "is missing or malformed");
    }
    for (place, bad, words) in [
        (1, "base", "argument base"),
        (2, "jail/../..", "argument root"),
        (4, "../outside", "argument dir"),
        (4, "/etc", "argument dir"),
        (5, "..", "argument file"),
        (5, "a/b", "argument file"),
        (5, ".colibri-1.tmp", "argument file"),
        (6, "root", "argument owner"),
        (10, "web\nPATH=/tmp", "argument tenant"),
        (11, "0644", "argument mode"),
        (11, "4600", "argument mode"),
        (12, "", "argument id"),
    ] {
        let mut args = args.clone();
        args[place] = bad.into();
        let mut command = Command::new(colibri_test_host::program("colibri-writer").unwrap());
        command.args(args);
        run(command, &one("v")).failed(Failure::ProtocolViolation, words);
    }
    assert_eq!(fs::read_dir(jail.root()).unwrap().count(), 0);
}
