//! Where an ordinary user may mount (Linux): a user namespace, in which a test runs
//! itself once more.

use nix::unistd::geteuid;
use std::process::{Command, Stdio};

/// Says that we are in it.
const WITHIN: &str = "COLIBRI_TEST_WITHIN";

/// Whether this process may mount. If not, `test` is run in a namespace where it may,
/// which has to pass; there it goes on in here, and the caller has nothing to do.
/// Where nobody may have such a namespace the test is skipped.
///
/// # Panics
/// When the test fails there.
pub fn may_mount(test: &str) -> bool {
    if geteuid().is_root() || std::env::var_os(WITHIN).is_some() {
        return true;
    }
    if !enter().arg("true").output().is_ok_and(|made| made.status.success()) {
        crate::skip("this user may mount nothing, and have no user namespace");
        return false;
    }
    let me = std::env::current_exe().unwrap_or_default();
    let mut command = enter();
    let command = command.args([me.as_os_str(), "--exact".as_ref(), test.as_ref()]).arg("--show-output");
    // What it says of itself is not ours to say again; what it skips, it says there.
    let run = command.env(WITHIN, "1").stderr(Stdio::inherit()).output();
    let said = run.map(|run| String::from_utf8_lossy(&run.stdout).into_owned());
    let passed = said.as_ref().is_ok_and(|said| said.contains("test result: ok. 1 passed;"));
    assert!(passed, "{test} within a namespace: {said:?}");
    false
}

/// The same user inside, with all that it takes to mount.
fn enter() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-current-user", "--keep-caps", "--mount", "--"]);
    command
}
