//! A tenant's further files from the vault to their readers, with the real `bw`: each
//! judged by the program that it is for.
#![cfg(target_os = "linux")]

use anyhow::{Context, Result, ensure};
use colibri_e2e::host::{Account, Host};
use colibri_test_vault::{Content, Fixture, Item, SshKey};
use nix::unistd::geteuid;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const KEY: &str = "usr/local/etc/nginx/tls.key";
const CERTIFICATE: &str = "usr/local/etc/nginx/tls.crt";
const MSMTP: &str = "usr/local/etc/msmtprc";
const SSH: &str = "usr/local/etc/ssh/id_deploy";
const APP: &str = "usr/local/etc/app.json";

/// What a shell, an ini file and a C program each trip on.
const HARD: &str = "it's $(touch canary) #1 \"x\" `id` \\ é\u{1f600}";

/// Runs a judge; `None` where this host has it not.
fn judge(program: &str, args: &[&str]) -> Result<Option<Output>> {
    match Command::new(program).args(args).output() {
        Ok(output) => Ok(Some(output)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            colibri_test_host::skip(format_args!("no {program} here"));
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A key and its certificate, made by openssl.
fn pair(dir: &Path, name: &str) -> Result<(String, String)> {
    let (key, certificate) = (dir.join("made.key"), dir.join("made.crt"));
    let subject = format!("/CN={name}");
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", &subject, "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()?;
    ensure!(made.status.success(), "{}", said(&made));
    Ok((fs::read_to_string(key)?, fs::read_to_string(certificate)?))
}

fn state(path: &Path) -> Result<(u32, u32, u32)> {
    let state = fs::symlink_metadata(path)?;
    ensure!(state.is_file() && state.nlink() == 1);
    Ok((state.mode() & 0o7777, state.uid(), state.gid()))
}

/// A tenant `web` whose collection has what each file wants.
fn fixture(host: &Path) -> Result<(Fixture, String)> {
    let (key, certificate) = pair(host, "one.example")?;
    let mut fixture = Fixture::machine();
    let id = fixture.add_collection("web");
    let ssh = SshKey {
        private: "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n".into(),
        public: "ssh-ed25519 AAAA".into(),
        fingerprint: "SHA256:x".into(),
    };
    let msmtp = format!(
        "defaults\nauth on\ntls on\naccount default\nhost smtp.example\nuser colibri\npassword \"{}\"\n",
        "p # w"
    );
    for item in [
        Item::note("TLS key", &key),
        Item::note("TLS certificate", &certificate),
        Item::note("msmtp", &msmtp),
        Item::new("deploy", Content::SshKey(ssh)),
        Item::login("API_KEY", HARD),
        Item::login("DB_PASSWORD", "two\nlines"),
    ] {
        fixture.add(item.within(&id));
    }
    Ok((fixture, key))
}

fn add(host: &Host, file: &str, options: &[&str]) -> Result<String> {
    host.colibri_ok(&[&["add-file", "web", file], options].concat())
}

fn nginx(host: &Host, root: &Path) -> Result<Option<String>> {
    let conf = host.path("nginx.conf");
    let path = |file: &str| root.join(file).display().to_string();
    let dir = host.path("nginx");
    fs::create_dir_all(&dir)?;
    let text = format!(
        "pid {dir}/pid; error_log stderr; events {{}}\nhttp {{ access_log off; {temps}\nserver {{ \
         listen 127.0.0.1:1 ssl; ssl_certificate {}; ssl_certificate_key {}; }} }}\n",
        path(CERTIFICATE),
        path(KEY),
        dir = dir.display(),
        temps = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {}/{kind};", dir.display()))
            .join(" "),
    );
    fs::write(&conf, text)?;
    let conf = conf.to_str().context("a path that is not UTF-8")?;
    let judged = judge("nginx", &["-t", "-c", conf])?;
    Ok(judged.map(|output| format!("{}: {}", output.status.success(), said(&output))))
}

#[test]
fn each_file_is_what_its_own_program_wants_and_follows_the_vault() -> Result<()> {
    let made = tempfile::tempdir()?;
    let (fixture, key) = fixture(made.path())?;
    let (mut host, vault) = Host::with_vault(fixture)?;
    host.set_account(&Account::of(&vault)?);
    let root = host.jail("web")?;
    host.start()?;
    let path = root.to_str().context("a path that is not UTF-8")?;
    host.colibri_ok(&["register-tenant", "web", path, "--only", "API_KEY"])?;
    let owner = if geteuid().is_root() { vec!["--owner", "0:80"] } else { Vec::new() };
    let raw = |item: &'static str| vec!["--format", "raw", "--item", item];
    add(&host, KEY, &[raw("TLS key"), owner.clone(), vec!["--mode", "0440"]].concat())?;
    add(&host, CERTIFICATE, &[raw("TLS certificate"), vec!["--mode", "0640"]].concat())?;
    add(&host, MSMTP, &raw("msmtp"))?;
    add(&host, SSH, &[raw("deploy"), vec!["--mode", "0400"]].concat())?;
    let tried = add(&host, APP, &["--format", "json", "--only", "API_*,DB_*", "--dry-run"])?;
    ensure!(tried.contains("+ API_KEY") && tried.contains("+ DB_PASSWORD"), "{tried}");
    add(&host, APP, &["--format", "json", "--only", "API_*,DB_*"])?;
    let provisioned = host.colibri_ok(&["provision", "web"])?;
    ensure!(provisioned.contains("written"), "{provisioned}");

    ensure!(fs::read_to_string(root.join(KEY))? == key);
    let me = (geteuid().as_raw(), nix::unistd::getegid().as_raw());
    let group = if geteuid().is_root() { (0, 80) } else { me };
    ensure!(state(&root.join(KEY))? == (0o440, group.0, group.1), "{:?}", state(&root.join(KEY))?);
    ensure!(state(&root.join(CERTIFICATE))? == (0o640, me.0, me.1));
    ensure!(state(&root.join(SSH))? == (0o400, me.0, me.1));
    let env = fs::read_to_string(root.join("usr/local/etc/colibri/env"))?;
    ensure!(env.contains("API_KEY=") && !env.contains("DB_") && !env.contains("PRIVATE"), "{env}");
    let app: serde_json::Value = serde_json::from_str(&fs::read_to_string(root.join(APP))?)?;
    ensure!(app == serde_json::json!({ "API_KEY": HARD, "DB_PASSWORD": "two\nlines" }), "{app}");
    if let Some(judged) = nginx(&host, &root)? {
        ensure!(judged.starts_with("true") && judged.contains("test is successful"), "{judged}");
    }
    let conf = root.join(MSMTP);
    let conf = conf.to_str().context("a path that is not UTF-8")?;
    if let Some(output) = judge("msmtp", &["--pretend", "-C", conf, "x@example.org"])? {
        let said = said(&output);
        ensure!(said.contains("smtp.example") && said.contains("user = colibri"), "{said}");
    }

    // Another key alone does not match the certificate: nginx says so.
    let (new_key, new_certificate) = pair(made.path(), "two.example")?;
    let value = |name: &str, text: &str| {
        vault.edit(|fixture| fixture.item_named(name).into_iter().for_each(|item| item.set_value(text)))
    };
    value("TLS key", &new_key)?;
    host.colibri_ok(&["provision", "web"])?;
    if let Some(judged) = nginx(&host, &root)? {
        ensure!(judged.starts_with("false") && judged.contains("key values mismatch"), "{judged}");
    }
    value("TLS certificate", &new_certificate)?;
    host.colibri_ok(&["provision", "web"])?;
    if let Some(judged) = nginx(&host, &root)? {
        ensure!(judged.starts_with("true"), "{judged}");
    }

    // An emptied item is no key: the old one stays, and the others are kept up.
    value("TLS key", "")?;
    let failed = host.colibri(&["provision", "web"])?;
    ensure!(failed.status.code() == Some(5), "{}", said(&failed));
    ensure!(said(&failed).contains("KeyMissing") && said(&failed).contains(KEY), "{}", said(&failed));
    ensure!(fs::read_to_string(root.join(KEY))? == new_key);
    let listed = host.colibri_ok(&["list-files", "web"])?;
    ensure!(listed.contains("KeyMissing") && listed.lines().count() == 6, "{listed}");

    let exported = host.colibri_ok(&["export"])?;
    let file = host.path("tenants.toml");
    fs::write(&file, &exported)?;
    let again = host.colibri_ok(&["apply", file.to_str().context("a path that is not UTF-8")?])?;
    ensure!(again.contains("nothing") || again.contains("0 "), "{exported}\n{again}");
    host.colibri_ok(&["remove-file", "web", KEY])?;
    ensure!(!root.join(KEY).exists());
    host.colibri_ok(&["remove", "web"])?;
    for file in [CERTIFICATE, MSMTP, SSH, APP] {
        ensure!(!root.join(file).exists(), "{file} is left");
    }
    let left: Vec<PathBuf> = fs::read_dir(root.join("usr/local/etc/nginx"))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    ensure!(left.is_empty(), "{left:?}");
    let log = host.log();
    ensure!(!log.contains("PRIVATE KEY") && !log.contains("p # w"), "a value is in the log");
    host.stop()
}
