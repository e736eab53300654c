//! Doctor against hosts that are broken in one way each: it names the mend. The
//! daemon and the programs are stand-ins that say what the test tells them; the
//! files, their modes and the fetcher's user are real, and in one test Node and
//! the vault.

#[cfg_attr(target_os = "linux", path = "doctor/bubblewrap.rs")]
#[cfg_attr(target_os = "freebsd", path = "doctor/bwjail.rs")]
mod cage;
#[path = "stand-ins/daemon.rs"]
mod daemon;

use colibri_control::{Answer, Content};
use colibri_tenant::{ErrorName, Fault};
use colibri_test_vault::{Fixture, Transport, Vault};
use nix::unistd::{User, geteuid};
use serde_json::{Value, json};
use std::error::Error;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const AT: u64 = 1_767_225_600_000;

/// A host that lacks nothing, until the test breaks it.
struct Host {
    dir: tempfile::TempDir,
    user: User,
    status: Value,
    tenant: Value,
    vault: Content,
    root: Content,
    runs: bool,
}

impl Host {
    fn new() -> Outcome<Self> {
        // The fetcher's user has to come in.
        let dir = tempfile::Builder::new().prefix("colibri-doctor.").tempdir_in("/tmp")?;
        mode(dir.path(), 0o755)?;
        let user = if geteuid().is_root() { User::from_name("nobody")? } else { User::from_uid(geteuid())? };
        let user = user.ok_or("no user to be the fetcher's")?;
        let (status, vault) = (Value::Null, Content::Error(Fault::new(ErrorName::Busy, "")));
        let root = Content::Ok(Answer::Done);
        let mut host = Self { dir, user, status, tenant: Value::Null, vault, root, runs: true };
        host.lay_out()?;
        host.status = host.told();
        host.vault = Content::Ok(serde_json::from_value::<Answer>(json!({ "status": host.status }))?);
        host.tenant = json!({
            "tenant": "web01", "root": host.path("jails/web01/root"), "status": "active",
            "settings": { "dir": "etc/colibri", "file": "env", "owner": "0:0" },
            "collection-id": null, "keys": ["A"], "registered": AT, "last-success": AT, "last-error": null,
            "next-try": null, "busy": false,
        });
        Ok(host)
    }

    fn lay_out(&self) -> Outcome {
        fs::create_dir_all(self.path("jails/web01/root"))?;
        mode(&self.path("jails"), 0o700)?;
        fs::create_dir(self.path("session"))?;
        mode(&self.path("session"), cage::SESSION)?;
        if geteuid().is_root() && cage::SESSION == 0o700 {
            chown(self.path("session"), Some(self.user.uid.as_raw()), None)?;
        }
        for (name, bits) in [("tenants.db", 0o600), ("provider.env", 0o600), ("ca.pem", 0o644), ("bw", 0o755)]
        {
            fs::write(self.path(name), "")?;
            mode(&self.path(name), bits)?;
        }
        fs::write(self.path("ca.pem"), "-----BEGIN CERTIFICATE-----\n")?;
        let now = 1_767_225_600_000_u64;
        self.stand_in("node", &json!({ "status": 200, "now": now, "date": now, "version": "1.35.0" }))?;
        self.stand_in("colibri-fetcher", &self.check("ok", "2026.8.0", ""))?;
        self.stand_in("bwrap", &json!({ "usage": "--bind-fd FD DEST" }))?;
        self.stand_in("colibri-sandbox-check", &json!({ "held": true }))
    }

    /// Copied by another process: a file that this one has written may still be
    /// open in a child that another thread has just forked.
    fn stand_in(&self, name: &str, says: &Value) -> Outcome {
        let tell = colibri_test_host::tree().join("cli/tests/stand-ins/tell");
        let copied =
            Command::new("install").args(["-m", "755"]).arg(tell).arg(self.path(name)).status()?.success();
        assert!(copied, "install cannot copy the stand-in {name}");
        self.say(name, says)?;
        self.end(name, 0)
    }

    fn say(&self, name: &str, says: &Value) -> Outcome {
        let file = self.path(&format!("{name}.json"));
        fs::write(&file, format!("{says}\n"))?;
        mode(&file, 0o644)
    }

    fn end(&self, name: &str, status: u8) -> Outcome {
        let file = self.path(&format!("{name}.status"));
        fs::write(&file, status.to_string())?;
        mode(&file, 0o644)
    }

    fn check(&self, verdict: &str, version: &str, advice: &str) -> Value {
        json!({
            "bw": self.path("bw"), "version": version, "node": self.path("node"), "node_version": "22.1.0",
            "bundle": "match", "verdict": verdict, "advice": advice,
        })
    }

    fn told(&self) -> Value {
        let mut told = json!({
            "version": env!("CARGO_PKG_VERSION"), "pid": 4000, "started": AT, "base": self.path("jails"),
            "sandbox": true, "session": "none", "fetcher": null, "fetcher-user": self.user.name,
            "bw-version": null, "session-error": null, "provisioned": 0, "active": 1, "stopped": 0,
            "destroyed": 0, "failing": 0, "under-way": 0, "agents": 0,
            "setup": {
                "socket": self.path("s"), "database": self.path("tenants.db"),
                "session-dir": self.path("session"), "writer": self.path("colibri-writer"),
                "log-dir": self.path("jails"), "fetcher": self.path("colibri-fetcher"), "bw": self.path("bw"), "node": self.path("node"),
                "bwrap": self.path("bwrap"), "path": "/usr/bin:/bin", "server": "https://vault.test", "ca-file": self.path("ca.pem"),
                "credentials": true,
            },
        });
        cage::told(&mut told["setup"]);
        told
    }

    /// A directory below the tenant's root, as the writer would look at it.
    fn target(&self, name: &str) -> Outcome<PathBuf> {
        let dir = self.path("jails/web01/root").join(name);
        fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs doctor: its standard output and its exit status.
    fn doctor(&self, words: &[&str]) -> Outcome<(String, i32)> {
        if self.runs {
            self.daemon()?;
        }
        let run = Command::new(colibri_test_host::program("colibri")?)
            .args(["doctor", "--provider"])
            .arg(self.path("provider.env"))
            .args(words)
            .env_clear()
            .env("COLIBRI_SOCKET", self.path("s"))
            .env("COLIBRI_LIBEXEC", self.dir.path())
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::null())
            .output()?;
        Ok((String::from_utf8(run.stdout)?, run.status.code().ok_or("ended by a signal")?))
    }

    fn daemon(&self) -> Outcome {
        let tell = |answer: Value| serde_json::from_value::<Answer>(answer).map(Content::Ok);
        let answers = vec![
            ("status", tell(json!({ "status": self.status }))?),
            ("list-tenants", tell(json!({ "tenants": [self.tenant] }))?),
            ("check-vault", self.vault.clone()),
            ("check-root", self.root.clone()),
        ];
        daemon::serve(&self.path("s"), answers)?;
        let socket_mode = self.status["setup"]["socket-mode"].as_u64().unwrap_or(0o600);
        mode(&self.path("s"), u32::try_from(socket_mode)?)
    }
}

fn mode(path: &Path, bits: u32) -> Outcome {
    Ok(fs::set_permissions(path, Permissions::from_mode(bits))?)
}

fn refused(name: ErrorName) -> Content {
    Content::Error(Fault::new(name, "refused"))
}

fn set<T>(place: &mut T, value: T) -> Outcome {
    *place = value;
    Ok(())
}

type Break = fn(&mut Host) -> Outcome;

/// How it is broken; the line that says so, as failure or warning; the mend.
const BROKEN: &[(Break, &str, &str, &str)] = &[
    (|host| set(&mut host.runs, false), "daemon", "failure", "start colibrid"),
    (|host| set(&mut host.status["version"], json!("0.0.9")), "daemon", "warning", "restart colibrid"),
    (
        |host| set(&mut host.status["sandbox"], json!(false)),
        "sandbox",
        "failure",
        "without --insecure-no-sandbox",
    ),
    (
        |host| {
            host.status["setup"]["credentials"] = json!(false);
            Ok(fs::remove_file(host.path("provider.env"))?)
        },
        "provider file",
        "failure",
        "colibri init",
    ),
    (|host| mode(&host.path("provider.env"), 0o644), "provider file", "failure", "chmod 600"),
    (
        |host| set(&mut host.status["setup"]["credentials"], json!(false)),
        "credentials",
        "failure",
        "set BW_CLIENTID, BW_CLIENTSECRET and BW_PASSWORD",
    ),
    (
        |host| set(&mut host.status["fetcher-user"], json!("no-such-user")),
        "fetcher's user",
        "failure",
        "colibri init",
    ),
    (
        |host| {
            fs::remove_file(host.path("bw"))?;
            host.say("colibri-fetcher", &host.check("missing", "", "not there"))
        },
        "bw",
        "failure",
        "npm install --global --ignore-scripts @bitwarden/cli@2026.8.0",
    ),
    (
        |host| host.say("colibri-fetcher", &host.check("known-bad", "2026.4.0", "install 2026.8.0")),
        "bw",
        "failure",
        "install 2026.8.0",
    ),
    (
        |host| host.say("colibri-fetcher", &host.check("old", "2026.1.0", "update it")),
        "bw",
        "failure",
        "update it",
    ),
    (
        |host| host.say("colibri-fetcher", &host.check("untested", "2027.1.0", "was not tested")),
        "bw",
        "warning",
        "was not tested",
    ),
    (|host| mode(&host.path("bw"), 0o600), "bw", "failure", "read and run"),
    (
        |host| {
            host.status["setup"]["node"] = Value::Null;
            let mut check = host.check("missing", "", "install Node");
            check["node"] = Value::Null;
            host.say("colibri-fetcher", &check)
        },
        "Node",
        "failure",
        "install Node 20",
    ),
    (
        |host| host.say("colibri-fetcher", &host.check("ok", "2026.8.0", "install Node 20 or newer")),
        "Node",
        "failure",
        "install Node 20",
    ),
    (
        |host| Ok(fs::remove_file(host.path("colibri-fetcher"))?),
        "fetcher",
        "failure",
        "install colibri-fetcher",
    ),
    (|host| host.end("colibri-sandbox-check", 1), "sandbox proof", "failure", "Capsicum, or Landlock"),
    (
        |host| host.say("node", &json!({ "error": "ECONNREFUSED", "message": "refused" })),
        "vault",
        "failure",
        "check that the vault is up",
    ),
    (|host| host.say("node", &json!({ "status": 404, "now": 1 })), "vault", "failure", "correct BW_SERVER"),
    (
        |host| host.say("node", &json!({ "status": 200, "now": 1_000_000, "date": 400_000 })),
        "clock",
        "failure",
        "set the clock",
    ),
    (
        |host| {
            host.say("colibri-fetcher", &host.check("ok", "2025.12.0", ""))?;
            host.say("node", &json!({ "status": 200, "now": 1, "date": 1, "version": "1.35.2" }))
        },
        "versions",
        "failure",
        "install another bw",
    ),
    (
        |host| set(&mut host.vault, refused(ErrorName::BadCredentials)),
        "credentials",
        "failure",
        "correct BW_CLIENTID",
    ),
    (|host| set(&mut host.vault, refused(ErrorName::RateLimited)), "credentials", "failure", "wait"),
    (|host| mode(&host.path("jails"), 0o777), "base directory", "failure", "chmod go-w"),
    (|host| mode(&host.path("tenants.db"), 0o644), "database", "failure", "chmod 600"),
    (|host| Ok(fs::remove_file(host.path("tenants.db"))?), "database", "failure", "restart colibrid"),
    (
        |host| set(&mut host.status["setup"]["socket-mode"], json!(0o666)),
        "control socket",
        "failure",
        "chmod 600",
    ),
    (|host| mode(&host.path("session"), 0o755), "session directory", "failure", "restart colibrid"),
    (|host| mode(&host.path("ca.pem"), 0), "CA file", "failure", "readable for"),
    (|host| Ok(fs::write(host.path("ca.pem"), "DER")?), "CA file", "failure", "as PEM"),
    (
        |host| host.say("colibri-fetcher", &host.check("missing", "", "node is not in PATH")),
        "bw",
        "failure",
        "what is said of Node",
    ),
    (
        |host| set(&mut host.root, refused(ErrorName::RootNotMounted)),
        "tenant web01",
        "failure",
        "accept-root",
    ),
    (
        |host| set(&mut host.root, refused(ErrorName::RootUnresponsive)),
        "tenant web01",
        "failure",
        "see to the file system",
    ),
    (|host| set(&mut host.root, refused(ErrorName::TargetEscapesRoot)), "tenant web01", "failure", "links"),
    (|host| set(&mut host.root, refused(ErrorName::NotAllowed)), "tenant web01", "warning", "as root"),
    (
        |host| {
            let fault = Fault::new(ErrorName::CollectionNotFound, "none");
            set(&mut host.tenant["last-error"], json!(fault))
        },
        "tenant web01",
        "warning",
        "create the collection",
    ),
    (
        |host| {
            host.tenant["keys"] = json!([]);
            let fault = Fault::new(ErrorName::CollectionNotFound, "none");
            set(&mut host.tenant["last-error"], json!(fault))
        },
        "tenant web01",
        "failure",
        "create the collection",
    ),
    (
        |host| {
            let fault = Fault::new(ErrorName::AnswerShrunken, "1 where there were 3");
            set(&mut host.tenant["last-error"], json!(fault))
        },
        "tenant web01",
        "failure",
        "confirmation",
    ),
    (|host| set(&mut host.tenant["keys"], json!([])), "tenant web01", "failure", "colibri show-tenant web01"),
    (
        |host| {
            host.tenant["keys"] = json!([]);
            set(&mut host.tenant["status"], json!("provisioned"))
        },
        "tenant web01",
        "warning",
        "colibri provision web01",
    ),
    (
        |host| {
            fs::create_dir(host.path("etc"))?;
            fs::rename(host.path("provider.env"), host.path("etc/real"))?;
            std::os::unix::fs::symlink(host.path("etc/real"), host.path("provider.env"))?;
            mode(&host.path("etc"), 0o777)
        },
        "provider file",
        "failure",
        "chmod go-w",
    ),
    (|host| mode(&host.target("etc/colibri")?, 0o777), "file of web01", "failure", "chmod go-w"),
    (
        |host| {
            let target = host.target("etc")?;
            Ok(std::os::unix::fs::symlink("/tmp", target.join("colibri"))?)
        },
        "file of web01",
        "failure",
        "a directory is made in its place",
    ),
    (|host| host.target("etc/colibri/env").map(drop), "file of web01", "failure", "away"),
    (
        |host| {
            let file = json!(host.path("none/colibri.prom"));
            set(&mut host.status["setup"]["metrics-file"], file)
        },
        "metrics",
        "failure",
        "mkdir -p",
    ),
    (
        |host| {
            let file = host.path("jails/clone/root/usr/local/etc/colibri/env");
            fs::create_dir_all(file.parent().ok_or("no directory")?)?;
            Ok(fs::write(file, "# Written by colibri from the vault. Edits are lost.\nA=1\n")?)
        },
        "jail clone",
        "failure",
        "colibri rename-tenant",
    ),
    // The file says whose it is, and that jail is there.
    (
        |host| {
            let file = host.path("jails/clone/root/usr/local/etc/colibri/env");
            fs::create_dir_all(file.parent().ok_or("no directory")?)?;
            let text = "# Written by colibri from the vault. Edits are lost.\n# Tenant: web01\nA=1\n";
            Ok(fs::write(file, text)?)
        },
        "jail clone",
        "failure",
        "web01 has its own jail, so this is a clone",
    ),
];

#[test]
fn each_broken_host_is_found_and_its_mend_named() -> Outcome {
    for (number, (break_it, check, verdict, mend)) in BROKEN.iter().chain(cage::BROKEN).enumerate() {
        let mut host = Host::new()?;
        break_it(&mut host)?;
        let (said, status) = host.doctor(&["--json"])?;
        let said: Value = serde_json::from_str(&said)?;
        let lines = said["checks"].as_array().ok_or("no checks")?;
        let is_it = |line: &&Value| {
            line["check"] == **check
                && line["verdict"] == **verdict
                && line["mend"].as_str().is_some_and(|said| said.contains(mend))
        };
        assert!(lines.iter().any(|line| is_it(&line)), "case {number}, {check}, {mend}: {said:#}");
        assert_eq!(status, i32::from(*verdict == "failure"), "case {number}: {said:#}");
    }
    Ok(())
}

#[test]
fn what_the_newest_attempt_skipped_is_told_of_its_tenant() -> Outcome {
    let mut host = Host::new()?;
    host.tenant["warnings"] = json!(["item \"a b\": skipped", "item \"c d\": skipped"]);
    let (said, status) = host.doctor(&[])?;
    let line = "active; item \"a b\": skipped; and 1 more";
    assert!(status == 0 && said.contains(line), "{said}");
    let mut host = Host::new()?;
    host.tenant["warnings"] = json!(["item \"a b\": skipped", "item \"c d\": skipped"]);
    host.tenant["keys"] = json!([]);
    let (said, status) = host.doctor(&[])?;
    let line = "has no keys; item \"a b\": skipped; and 1 more";
    assert!(status == 1 && said.contains(line), "{said}");
    Ok(())
}

#[test]
fn a_link_to_a_provider_file_that_is_nobody_elses_is_as_good_as_it() -> Outcome {
    let host = Host::new()?;
    fs::create_dir(host.path("etc"))?;
    fs::rename(host.path("provider.env"), host.path("etc/real"))?;
    std::os::unix::fs::symlink(host.path("etc/real"), host.path("provider.env"))?;
    assert_eq!(host.doctor(&[])?.1, 0);
    Ok(())
}

/// colibrid makes another in it for each session, and the fetcher passes.
#[test]
fn with_a_jail_for_bw_the_session_directory_is_the_daemons() -> Outcome {
    let mut host = Host::new()?;
    host.status["setup"]["bw-jail"] = json!("/etc/services");
    let (session, bw) = (host.path("session"), host.path("session/bw"));
    chown(&session, Some(geteuid().as_raw()), None)?;
    fs::create_dir(&bw)?;
    let fetcher = geteuid().is_root().then(|| host.user.uid.as_raw());
    chown(&bw, fetcher, None)?;
    for (own, inner, wrong) in [
        (0o711, 0o700, None),
        (0o700, 0o700, Some("session directory")),
        (0o711, 0o755, Some("session of bw")),
    ] {
        mode(&session, own)?;
        mode(&bw, inner)?;
        let _gone = fs::remove_file(host.path("s"));
        let said: Value = serde_json::from_str(&host.doctor(&["--json"])?.0)?;
        let lines = said["checks"].as_array().ok_or("no checks")?;
        let failed = lines.iter().filter(|line| {
            line["verdict"] == "failure" && line["check"].as_str().is_some_and(|it| it.starts_with("session"))
        });
        let failed: Vec<_> = failed.filter_map(|line| line["check"].as_str()).collect();
        assert_eq!(failed, Vec::from_iter(wrong), "{own:o} {inner:o}: {said}");
    }
    Ok(())
}

/// A file system of one's own, for what only root can make.
#[test]
fn a_file_system_that_is_full_or_read_only_is_found() -> Outcome {
    if !geteuid().is_root() {
        colibri_test_host::skip("only root can mount");
        return Ok(());
    }
    for (options, said) in [("size=64k", "is full"), ("ro", "is read-only")] {
        let host = Host::new()?;
        let target = host.target("etc/colibri")?;
        host.daemon()?;
        let script = r#"dir=$2; mount -t tmpfs -o "$1,mode=755" none "$dir" || exit 99
            trap 'umount "$dir"' EXIT
            dd if=/dev/zero of="$dir/fill" bs=4k count=32 2>/dev/null
            shift 2; "$@""#;
        let run = Command::new(cage::MOUNTING[0])
            .args(&cage::MOUNTING[1..])
            .args(["-c", script, "sh", options])
            .arg(&target)
            .arg(colibri_test_host::program("colibri")?)
            .args(["doctor", "--provider"])
            .arg(host.path("provider.env"))
            .env("COLIBRI_SOCKET", host.path("s"))
            .env("COLIBRI_LIBEXEC", host.dir.path())
            .stdin(Stdio::null())
            .output()?;
        let seen = String::from_utf8(run.stdout)?;
        assert!(seen.contains(said), "{options}: {seen}{}", String::from_utf8_lossy(&run.stderr));
        assert_eq!(run.status.code(), Some(1), "{seen}");
    }
    Ok(())
}

#[test]
fn the_screen_of_a_sound_host_and_of_a_broken_one() -> Outcome {
    let mut host = Host::new()?;
    compare("doctor", &host, 0)?;
    fs::remove_file(host.path("s"))?;
    mode(&host.path("jails"), 0o777)?;
    host.vault = refused(ErrorName::BadCredentials);
    compare("doctor-broken", &host, 1)
}

fn compare(name: &str, host: &Host, expected_status: i32) -> Outcome {
    let (said, status) = host.doctor(&[])?;
    let user = format!("{}, user {}", host.user.name, host.user.uid);
    let said =
        said.replace(&host.dir.path().display().to_string(), "/DIR").replace(&user, "_colibri, user 999");
    let said = said.replace(cage::FOUND, "/DIR/bwrap makes it");
    let said = said.replace(&format!("session, {:04o}", cage::SESSION), "session, 0700");
    let path = colibri_test_host::tree().join("cli/tests/screens").join(format!("{name}.txt"));
    let seen = format!("$ colibri doctor\n{said}--- exit status {status}\n");
    if std::env::var_os("COLIBRI_ACCEPT").is_some() {
        fs::write(&path, &seen)?;
    }
    let screen = fs::read_to_string(&path)?;
    let here = |line: &&str| !cage::ABSENT.iter().any(|check| line.contains(check));
    let expected: String = screen.split_inclusive('\n').filter(here).collect();
    assert_eq!(seen, expected, "the screen {name} is another");
    assert_eq!(status, expected_status);
    Ok(())
}

#[test]
fn a_real_vault_is_reached_and_a_false_one_is_not_trusted() -> Outcome {
    let path = std::env::var("PATH")?;
    let Some(node) = std::env::split_paths(&path).map(|dir| dir.join("node")).find(|node| node.is_file())
    else {
        colibri_test_host::skip("no Node here");
        return Ok(());
    };
    let mut host = Host::new()?;
    fs::create_dir(host.path("authority"))?;
    let vault = Vault::start(Fixture::default(), &host.path("authority"))?;
    fs::copy(vault.ca_file(), host.path("ca.pem"))?;
    host.status["setup"]["node"] = json!(node);
    host.status["setup"]["server"] = json!(vault.url());
    let line = |host: &Host, check: &str| -> Outcome<Value> {
        let _gone = fs::remove_file(host.path("s"));
        let said: Value = serde_json::from_str(&host.doctor(&["--json"])?.0)?;
        let lines = said["checks"].as_array().ok_or("no checks")?;
        Ok(lines.iter().find(|line| line["check"] == check).cloned().unwrap_or(said.clone()))
    };
    assert_eq!(line(&host, "clock")?["verdict"], "ok", "{}", line(&host, "vault")?);
    for (transport, name, mend) in [
        (Transport::Untrusted, "TlsUntrusted", "CA certificate"),
        (Transport::Expired, "TlsOutOfDate", "clock"),
        (Transport::Early, "TlsOutOfDate", "clock"),
        (Transport::Refuse, "VaultUnreachable", "the vault is up"),
    ] {
        vault.transport(transport);
        let said = line(&host, "vault")?;
        assert!(said["found"].as_str().is_some_and(|it| it.starts_with(name)), "{transport:?}: {said}");
        assert!(said["mend"].as_str().is_some_and(|it| it.contains(mend)), "{transport:?}: {said}");
    }
    Ok(())
}
