//! FreeBSD's rc.subr sources the file among names of its own that it evaluates
//! afterwards, as root. Here its lines run under dash, in front of stand-ins for
//! the system's commands, and only the rule about reserved names keeps a vault
//! item from running a command.
#![cfg(test)]

use colibri_pair::{EnvKey, Format};
use colibri_readers::render;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

/// rc(8)'s own shell, or Debian's of the same descent.
const SHELL: &str = if cfg!(target_os = "freebsd") { "/bin/sh" } else { "dash" };

/// Names that rc.subr sets before it reads the file, and PATH.
const HOSTILE: &[&str] = &[
    "IDCMD", "PS", "ID", "SERVICE", "JID", "JAIL_CMD", "CPUSET", "SYSCTL", "SYSCTL_N", "SYSCTL_W", "PROTECT",
    "VERIEXEC", "RC_PID", "PATH", "IFS", "ENV", "BASH_ENV", "PS4",
];
/// Those of them that this much of rc.subr makes a command of.
const RUN: &[&str] = &[
    "IDCMD", "PS", "ID", "SERVICE", "JAIL_CMD", "CPUSET", "SYSCTL", "SYSCTL_N", "SYSCTL_W", "PROTECT",
    "VERIEXEC", "PATH",
];

/// A place with stand-ins for the system's commands and one for an attacker's,
/// named like them, that makes a canary.
struct Jail {
    dir: TempDir,
}

impl Jail {
    fn new() -> Self {
        let jail = Self { dir: tempfile::tempdir().unwrap() };
        let names = ["id", "ps", "service", "jls", "cpuset", "sysctl", "protect", "veriexec"];
        for (place, does) in [("bin", ":"), ("evil", ": >\"${0%/*}/../canary\"")] {
            std::fs::create_dir(jail.path().join(place)).unwrap();
            for name in names {
                let file = jail.path().join(place).join(name);
                std::fs::write(&file, format!("#!/bin/sh\n{does}\n")).unwrap();
                std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
            }
        }
        jail
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A value for the name that would make the canary if it became a command.
    fn bait(&self, name: &str) -> String {
        let evil = self.path().join("evil");
        match name {
            "PATH" => evil.display().to_string(),
            _ => evil.join("id").display().to_string(),
        }
    }

    /// Runs rc.subr's lines with a file of these pairs.
    fn start(&self, pairs: &[(EnvKey, &str)]) -> Output {
        std::fs::write(self.path().join("env"), render(Format::Env, pairs).unwrap()).unwrap();
        self.run()
    }

    fn run(&self) -> Output {
        let mut dash = Command::new(SHELL);
        let lines = colibri_test_host::tree().join("tests/readers/fixtures/rc_subr.sh");
        dash.arg(lines).arg(self.path().join("env")).arg(self.path().join("bin"));
        let system = std::env::var("PATH").unwrap();
        dash.env_clear().env("PATH", format!("{}/bin:{system}", self.path().display())).stdin(Stdio::null());
        dash.current_dir(self.path())
            .output()
            .unwrap_or_else(|_| panic!("{SHELL} is not there: run `make readers`"))
    }

    fn canary(&self) -> bool {
        self.path().join("canary").exists()
    }
}

fn key(name: &str) -> EnvKey {
    EnvKey::try_from(name.to_owned()).unwrap()
}

#[test]
fn every_name_that_rc_subr_makes_a_command_of_is_reserved() {
    for name in HOSTILE {
        assert!(colibri_envfile::is_reserved(&key(name)), "{name}");
    }
}

/// The control: where the rule is passed by, each of them runs the attacker's
/// command although its value is quoted.
#[test]
fn each_of_those_names_would_run_a_command_though_its_value_is_quoted() {
    for name in RUN {
        let jail = Jail::new();
        assert!(!jail.canary());
        let bait = jail.bait(name);
        let output = jail.start(&[(key(name), &bait)]);
        assert!(jail.canary(), "{name}: {output:?}");
    }
}

#[test]
fn other_names_run_nothing_whatever_their_values() {
    let jail = Jail::new();
    let evil = jail.path().join("evil/id").display().to_string();
    let code = [
        "EVIL",
        "$(EVIL)",
        "`EVIL`",
        "x; EVIL",
        "x\nEVIL",
        "'; EVIL; '",
        "'$(EVIL)",
        "x\nPS=EVIL\nIDCMD=EVIL",
    ];
    let code: Vec<String> = code.iter().map(|code| code.replace("EVIL", &evil)).collect();
    let names = [
        "API_KEY",
        "ID_TOKEN",
        "PS_TOKEN",
        "IDCMDS",
        "PATHS",
        "A",
        "_",
        "X1",
        "BIN",
        "USER",
        "AGENT_FLAGS",
        "DB_HOST",
        "DB_PASSWORD",
        "TOKEN_2",
    ];
    let names: Vec<EnvKey> = names.into_iter().chain(HOSTILE.iter().copied()).map(key).collect();
    for code in &code {
        let admitted = names.iter().filter(|name| !colibri_envfile::is_reserved(name));
        let pairs: Vec<(EnvKey, &str)> = admitted.map(|name| (name.clone(), &**code)).collect();
        assert!(pairs.len() >= 10);
        let output = jail.start(&pairs);
        assert!(output.status.success(), "{code}: {output:?}");
        assert!(!jail.canary(), "{code}");
    }
}

#[test]
fn a_file_that_is_missing_is_passed_over() {
    let jail = Jail::new();
    let output = jail.run();
    assert!(output.status.success(), "{output:?}");
    assert!(!jail.canary());
}
