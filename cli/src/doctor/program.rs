//! The programs, as the fetcher's user finds them: `bw`, Node, and the proof
//! that the writer's sandbox holds here.

use super::Finding;
use colibri_control::SetupView;
use nix::unistd::{User, geteuid};
use serde::Deserialize;
use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The user that the fetcher and `bw` run as.
pub struct FetcherUser {
    name: String,
    user: Option<User>,
}

impl FetcherUser {
    pub fn find(name: &str) -> Self {
        Self { name: name.into(), user: User::from_name(name).ok().flatten() }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn uid(&self) -> Option<u32> {
        self.user.as_ref().map(|user| user.uid.as_raw())
    }

    pub fn finding(&self) -> Finding {
        let check = "fetcher's user";
        match &self.user {
            None => Finding::failure(
                check,
                format!("there is no user {}", self.name),
                "run `colibri init` as root, or name another in COLIBRI_FETCHER_USER",
            ),
            Some(user) if user.uid.is_root() => Finding::failure(
                check,
                format!("{} is root", self.name),
                "name an unprivileged user in COLIBRI_FETCHER_USER",
            ),
            Some(user) => Finding::ok(check, format!("{}, user {}", self.name, user.uid)),
        }
    }

    /// Whether commands can be run as this user, or at least not as root.
    pub fn can_be_had(&self) -> bool {
        !geteuid().is_root() || self.user.as_ref().is_some_and(|user| !user.uid.is_root())
    }

    /// A command as this user, where we may become it; it inherits nothing.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().current_dir("/").stdin(Stdio::null());
        if let Some(user) = self.user.as_ref().filter(|user| geteuid().is_root() && !user.uid.is_root()) {
            // With another uid, std clears the supplementary groups too.
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command
    }

    /// What test(1) says of a file, with one of its operators.
    pub fn can(&self, operator: &str, file: &Path) -> bool {
        let status = self
            .command("/bin/sh")
            .args(["-c", "test -e \"$2\" && test \"$1\" \"$2\"", "sh", operator])
            .arg(file)
            .status();
        status.is_ok_and(|status| status.success())
    }
}

/// Without a version npm gives Node 20 one that is known to be bad: newer ones ask
/// for Node 22. The pinned one asks for it too, and runs on 20.
const INSTALL: &str = "npm install --global --ignore-scripts @bitwarden/cli@2026.8.0, which runs on Node 20 or \
    newer whatever npm warns of, or name a bw in COLIBRI_BW";

/// What `colibri-fetcher check` says.
#[derive(Debug, Deserialize)]
struct Check {
    version: Option<String>,
    node: Option<PathBuf>,
    node_version: Option<String>,
    bundle: String,
    verdict: String,
    advice: String,
}

/// Looks at `bw` and Node, and gives the version of `bw`.
pub fn bw(setup: &SetupView, user: &FetcherUser, findings: &mut Vec<Finding>) -> Option<String> {
    if !user.can_be_had() {
        let found = "not looked at: there is nobody but root to do it";
        findings.push(Finding::warning("bw", found, "mend the fetcher's user first"));
        return None;
    }
    let output = user
        .command(&setup.fetcher)
        .arg("check")
        .envs([("PATH", setup.path.as_ref()), ("COLIBRI_BW", setup.bw.as_os_str())])
        .output();
    let check = match output {
        Ok(output) => serde_json::from_slice::<Check>(&output.stdout)
            .map_err(|_| format!("{} gives no answer, {}", setup.fetcher.display(), output.status)),
        Err(error) => Err(format!("{}: {error}", setup.fetcher.display())),
    };
    match check {
        Ok(check) => {
            findings.push(judge_bw(setup, user, &check));
            findings.push(judge_node(setup, user, &check));
            check.version
        }
        Err(found) => {
            let mend = format!("install colibri-fetcher where {} can run it", user.name());
            findings.push(Finding::failure("fetcher", found, mend));
            None
        }
    }
}

fn judge_bw(setup: &SetupView, user: &FetcherUser, check: &Check) -> Finding {
    let shown = setup.bw.display();
    let version = check.version.as_deref().unwrap_or("of an unknown version");
    let found = format!(
        "{shown}, {version}, {} the published package",
        match check.bundle.as_str() {
            "match" => "is",
            "differs" => "is not",
            _ => "not compared with",
        }
    );
    let exists = setup.bw.try_exists().unwrap_or(true);
    if exists && !(user.can("-r", &setup.bw) && user.can("-x", &setup.bw)) {
        let mend = format!("let {} read and run {shown}, and enter the directories above it", user.name());
        return Finding::failure("bw", format!("{} cannot run {shown}", user.name()), mend);
    }
    match check.verdict.as_str() {
        "ok" if check.advice.is_empty() || check.node_version.is_some() => Finding::ok("bw", found),
        "ok" | "untested" => Finding::warning("bw", found, &check.advice),
        "missing" if exists && check.advice.to_lowercase().contains("node") => {
            let mend = "mend what is said of Node, and run doctor again";
            Finding::failure("bw", format!("{shown} was not asked: {}", check.advice), mend)
        }
        "missing" => Finding::failure("bw", format!("no bw at {shown}: {}", check.advice), INSTALL),
        _ => Finding::failure("bw", found, format!("{}; {INSTALL}", check.advice)),
    }
}

fn judge_node(setup: &SetupView, user: &FetcherUser, check: &Check) -> Finding {
    let Some(node) = check.node.as_ref().or(setup.node.as_ref()) else {
        // A native bw has Node within it.
        return match check.verdict.as_str() {
            "missing" => Finding::failure("Node", "not found", "install Node 20 or newer"),
            _ => Finding::ok("Node", "not needed by this bw"),
        };
    };
    let shown = node.display();
    let Some(version) = &check.node_version else {
        if check.verdict == "missing" && user.can("-x", node) {
            return Finding::ok("Node", format!("{shown}, not asked for its version without a bw"));
        }
        let found = format!("{} cannot run {shown}", user.name());
        let mend = format!("install Node 20 or newer where {} can run it", user.name());
        return Finding::failure("Node", found, mend);
    };
    let found = format!("{shown}, {version}");
    if check.verdict == "ok" && !check.advice.is_empty() {
        return Finding::failure("Node", found, &check.advice);
    }
    Finding::ok("Node", found)
}

/// Tries what the sandbox must forbid; it lies beside the writer.
pub fn sandbox(writer: &Path) -> Finding {
    let name = "sandbox proof";
    let program = writer.with_file_name("colibri-sandbox-check");
    let output = Command::new(&program).arg("--json").stdin(Stdio::null()).output();
    let mend = "run a kernel with Capsicum, or Landlock and seccomp; colibri-sandbox-check shows the row";
    match output {
        Ok(output) if output.status.success() => {
            let rows = output.stdout.iter().filter(|byte| **byte == b'\n').count();
            Finding::ok(name, format!("{rows} attempts, all as expected"))
        }
        Ok(output) => {
            Finding::failure(name, format!("{} failed, {}", program.display(), output.status), mend)
        }
        Err(error) => {
            let mend = "install colibri-sandbox-check beside colibri-writer";
            Finding::failure(name, format!("{}: {error}", program.display()), mend)
        }
    }
}

/// As colibrid finds it: COLIBRI_LIBEXEC, `../libexec/colibri` beside this
/// program's directory, or that directory.
pub fn libexec() -> PathBuf {
    if let Some(named) = std::env::var_os("COLIBRI_LIBEXEC") {
        return named.into();
    }
    let own = std::env::current_exe().ok().and_then(|program| Some(program.parent()?.to_owned()));
    let own = own.unwrap_or_else(|| PathBuf::from("/usr/local/bin"));
    let installed = own.join("../libexec/colibri");
    if installed.exists() { installed } else { own }
}
