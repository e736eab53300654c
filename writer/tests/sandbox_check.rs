//! Runs colibri-sandbox-check, which is its own table of expectations.

use std::process::Command;

#[test]
fn the_sandbox_forbids_every_attempt_and_no_right_is_there_for_nothing() {
    // The writer refuses to start with what a test runner left open.
    close_fds::set_fds_cloexec(3, &[]);
    let output = Command::new(env!("CARGO_BIN_EXE_colibri-sandbox-check")).output().unwrap();
    let table = String::from_utf8_lossy(&output.stdout);
    println!("{table}");
    assert!(output.status.success(), "{table}");
    assert!(table.lines().any(|line| line.ends_with("rows, all as expected")), "{table}");
}
