//! The program: what it writes, what it can be told, when it ends.

#![cfg(test)]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

const FIXTURE: &str = "[[accounts]]\nemail = 'a@example.com'\npassword = 'p w'\nclient_secret = 's'\n\
                       kdf_iterations = 5000\n";

fn program(dir: &Path) -> Command {
    let mut command = Command::new(colibri_test_host::program("colibri-test-vault").unwrap());
    command.arg("--dir").arg(dir);
    command
}

fn tell(dir: &Path, word: &str) -> Output {
    program(dir).args(["--tell", word]).output().unwrap()
}

fn start(dir: &Path) -> (Child, String) {
    fs::write(dir.join("fixture.toml"), FIXTURE).unwrap();
    let mut command = program(dir);
    command.arg("--fixture").arg(dir.join("fixture.toml"));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (child, line)
}

#[test]
fn it_says_where_it_is_obeys_and_ends_with_its_standard_input() {
    let dir = TempDir::new().unwrap();
    let (mut child, line) = start(dir.path());
    let url = line.trim_end().strip_prefix("ready ").unwrap();
    let credentials = dir.path().join("provider.env");
    assert_eq!(fs::metadata(&credentials).unwrap().permissions().mode() & 0o777, 0o600);
    let credentials = fs::read_to_string(credentials).unwrap();
    assert!(credentials.contains(&format!("BW_SERVER={url}\n")));
    assert!(credentials.contains("BW_PASSWORD='p w'\n"));
    for word in [
        r#"{"fault": {"route": "sync", "fault": {"status": 503}, "times": {"next": 1}}}"#,
        r#"{"transport": "untrusted"}"#,
        r#"{"limit-logins": {"burst": 2, "seconds": 1}}"#,
        r#"{"limit-logins": null}"#,
        r#"{"token-lifetime": 60}"#,
        r#"{"user-key-id": "accepted"}"#,
        r#""expire-tokens""#,
        r#""heal""#,
        r#""reload""#,
    ] {
        assert!(tell(dir.path(), word).status.success(), "{word}");
    }
    let counts = String::from_utf8(tell(dir.path(), "\"counts\"").stdout).unwrap();
    assert!(counts.contains("logins 0\n"));
    assert!(!tell(dir.path(), "\"nonsense\"").status.success());
    fs::write(dir.path().join("fixture.toml"), "accounts = 1").unwrap();
    let refused = String::from_utf8(tell(dir.path(), "\"reload\"").stderr).unwrap();
    assert!(refused.contains("fixture.toml"));
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    assert!(!dir.path().join("admin.sock").exists());
}
