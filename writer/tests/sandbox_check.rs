//! Runs colibri-sandbox-check, which is its own table of expectations.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output};

fn check() -> std::io::Result<PathBuf> {
    colibri_test_host::program("colibri-sandbox-check")
}

fn table(output: &Output) -> String {
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{table}");
    table
}

fn all_held(output: &Output) {
    let table = table(output);
    assert!(output.status.success(), "{table}");
    assert!(table.lines().any(|line| line.ends_with("rows, all as expected")), "{table}");
    assert!(!table.contains("FAIL"), "{table}");
}

#[test]
fn the_sandbox_forbids_every_attempt_and_no_right_is_there_for_nothing() {
    all_held(&Command::new(check().unwrap()).output().unwrap());
}

#[test]
fn the_same_holds_for_an_ordinary_user() {
    if !nix::unistd::geteuid().is_root() {
        colibri_test_host::skip("the tests are run by an ordinary user already");
        return;
    }
    // Where that user can reach it, whatever the checkout's mode.
    let place = tempfile::tempdir().unwrap();
    let copy = place.path().join("check");
    fs::copy(check().unwrap(), &copy).unwrap();
    fs::set_permissions(&copy, Permissions::from_mode(0o755)).unwrap();
    chown(place.path(), Some(65534), Some(65534)).unwrap();
    let mut command = Command::new(&copy);
    all_held(&command.uid(65534).gid(65534).env("TMPDIR", place.path()).output().unwrap());
}

#[test]
fn without_the_sandbox_the_check_fails() {
    let output = Command::new(check().unwrap()).arg("--without-sandbox").output().unwrap();
    let table = table(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(table.lines().any(|line| line.starts_with("FAIL open /etc/passwd ")), "{table}");
}

#[test]
fn json_has_an_object_a_line() {
    let output = Command::new(check().unwrap()).args(["--json", "--without-sandbox"]).output().unwrap();
    let objects = table(&output);
    assert!(objects.starts_with("{\"case\":\""), "{objects}");
    let end = "\"got\":\"done\",\"without_sandbox\":\"done\",\"note\":null,\"held\":false}\n";
    assert!(objects.ends_with(end), "{objects}");
}

#[test]
fn what_a_shell_left_open_does_not_hinder_the_check() {
    let output =
        Command::new("sh").args(["-c", "exec \"$0\" 7</dev/null"]).arg(check().unwrap()).output().unwrap();
    all_held(&output);
}
