//! A host in a directory: daemon, programs, jails, and a vault in a file.

use crate::stand_in::{Collection, DIR, Vault};
use crate::system;
use colibri_control::{Answer, Client, ClientError, Diff, HookView, Provision, Request, TenantView};
use colibri_tenant::{ErrorName, Fault};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub struct Host {
    dir: tempfile::TempDir,
    daemon: Option<Child>,
    settings: Vec<(&'static str, String)>,
    unset: Vec<&'static str>,
    /// The first of the users that its agents are.
    pub users: u32,
}

/// Users for the agents of one host, so that a hostile one takes no processes from
/// those of another test.
const USERS: u32 = 400;

/// The next users that no other test has, of this process or another.
fn users() -> u32 {
    static HOSTS: AtomicU32 = AtomicU32::new(0);
    let host = HOSTS.fetch_add(1, Ordering::Relaxed) % 125;
    1_900_000_000 + (std::process::id() % 2000) * 125 * USERS + host * USERS
}

/// What a loaded machine may take for anything that is waited for.
pub const SOON: Duration = Duration::from_secs(120);
/// The same for a request's answer.
const PATIENCE: Duration = Duration::from_secs(600);

impl Host {
    /// A host whose daemon runs.
    pub fn new() -> Self {
        Self::with(&[])
    }

    /// The same with settings of the daemon's environment.
    pub fn with(settings: &[(&'static str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // The fetcher's user must come through.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let settings = settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let mut host = Self { dir, daemon: None, settings, unset: Vec::new(), users: users() };
        for name in ["jails", "libexec", "vault"] {
            fs::create_dir(host.path(name)).unwrap();
        }
        fs::set_permissions(host.path("vault"), fs::Permissions::from_mode(0o777)).unwrap();
        host.install();
        host.vault(Vault::new());
        host.start();
        host
    }

    fn install(&self) {
        let me = std::env::current_exe().unwrap();
        let libexec = self.path("libexec");
        for name in ["colibri-writer", "colibri-bell", "colibri-shim"] {
            fs::copy(colibri_test_host::program(name).unwrap(), libexec.join(name)).unwrap();
        }
        fs::copy(me, libexec.join("stand-in")).unwrap();
        let script = format!(
            "#!/bin/sh\n{DIR}='{}' exec '{}' --ignored --exact stand_in::fetcher >/dev/null\n",
            self.path("vault").display(),
            libexec.join("stand-in").display(),
        );
        fs::write(libexec.join("colibri-fetcher"), script).unwrap();
        for name in ["stand-in", "colibri-fetcher", "colibri-writer"] {
            fs::set_permissions(libexec.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(colibri_test_host::program("colibrid").unwrap());
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        for (name, dir) in [
            ("COLIBRI_JAIL_ROOT_BASE", "jails"),
            ("COLIBRI_STATE_DIR", "state"),
            ("COLIBRI_RUN_DIR", "run"),
            ("COLIBRI_LOG_DIR", "log"),
            ("COLIBRI_LIBEXEC", "libexec"),
            ("COLIBRI_METRICS_FILE", "colibri.prom"),
            ("COLIBRI_ACTIONS", "actions"),
        ] {
            command.env(name, self.path(dir));
        }
        command.env("COLIBRI_STAGGER", "0").env("COLIBRI_NO_BELL", "true");
        command.env("COLIBRI_FETCHER_USER", "nobody").env("COLIBRI_BW", "/bin/echo");
        for name in ["BW_CLIENTID", "BW_CLIENTSECRET", "BW_PASSWORD"] {
            command.env(name, format!("canary-{name}"));
        }
        self.unset.iter().for_each(|name| {
            command.env_remove(name);
        });
        command.env("COLIBRI_AGENT_USERS", format!("{}-{}", self.users, self.users + USERS - 1));
        // The machine may have one of its own.
        command.env("COLIBRI_PROVIDER", "");
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null());
        command
    }

    /// A setting for the next start.
    pub fn set(&mut self, name: &'static str, value: &str) {
        self.settings.push((name, value.to_owned()));
    }

    /// What the next start has no more.
    pub fn unset(&mut self, names: &[&'static str]) {
        self.unset.extend(names);
    }

    /// Starts the daemon and waits until it answers.
    pub fn start(&mut self) {
        let log = fs::OpenOptions::new().append(true).create(true).open(self.path("daemon.log")).unwrap();
        self.daemon = Some(self.command().stderr(log).spawn().unwrap());
        wait(SOON, || self.answers(), || self.log());
    }

    /// Whether it is our daemon that answers: what one that was killed had just
    /// begun to start holds its socket for a moment longer.
    pub fn answers(&self) -> bool {
        let Ok(mut client) = Client::connect(&self.socket()) else { return false };
        let status = client.call(Request::Status {});
        matches!(status, Ok(Answer::Status(status)) if status.pid == self.pid())
    }

    pub fn socket(&self) -> PathBuf {
        self.path("run/control/colibrid.sock")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("daemon.log")).unwrap_or_default()
    }

    pub fn pid(&self) -> u32 {
        self.daemon.as_ref().unwrap().id()
    }

    /// Takes that daemon for ours; gives the one before, if it was not ended.
    pub fn instead(&mut self, daemon: Child) -> Option<Child> {
        self.daemon.replace(daemon)
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let mut daemon = self.daemon.take().unwrap();
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }

    /// SIGTERM; gives whether the daemon ended well.
    pub fn terminate(&mut self) -> bool {
        let mut daemon = self.daemon.take().unwrap();
        let pid = nix::unistd::Pid::from_raw(daemon.id().cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        daemon.wait().unwrap().success()
    }

    pub fn client(&self) -> Client {
        let client = Client::connect(&self.socket()).unwrap();
        client.set_timeout(Some(PATIENCE)).unwrap();
        client
    }

    pub fn ask(&self, request: Request) -> Result<Answer, Fault> {
        self.client().call(request).map_err(|error| match error {
            ClientError::Refused(fault) => fault,
            other => panic!("{other:?}\n{}", self.log()),
        })
    }

    /// A request as its JSON, without version and id.
    pub fn say(&self, json: &str) -> Result<Answer, Fault> {
        self.ask(serde_json::from_str(json).unwrap())
    }

    pub fn vault(&self, vault: Vault) {
        // The stand-in may read at any moment.
        let new = self.path("vault/new.json");
        fs::write(&new, serde_json::to_vec(&vault).unwrap()).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o666)).unwrap();
        fs::rename(new, self.path("vault/vault.json")).unwrap();
    }

    /// The vault has just this collection.
    pub fn secrets(&self, name: &str, secrets: &[(&str, &str)]) {
        let secrets = secrets.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        self.has(name, Collection::Secrets(secrets));
    }

    pub fn has(&self, name: &str, collection: Collection) {
        self.vault(BTreeMap::from([(name.to_owned(), collection)]));
    }

    /// How often a session was started.
    pub fn sessions(&self) -> usize {
        self.count("sessions")
    }

    /// How often a session was asked for a collection.
    pub fn requests(&self) -> usize {
        self.count("requests")
    }

    /// The client secret that each session was started with.
    pub fn opened(&self) -> Vec<String> {
        let opened = fs::read_to_string(self.path("vault/opened")).unwrap_or_default();
        opened.lines().map(str::to_owned).collect()
    }

    /// The next start has its credentials from the provider file.
    pub fn credentials_in_file(&mut self, secret: &str) {
        self.unset(&["BW_CLIENTID", "BW_CLIENTSECRET", "BW_PASSWORD"]);
        let file = self.path("provider.env");
        self.set("COLIBRI_PROVIDER", file.to_str().unwrap());
        self.provider(secret);
    }

    /// Puts another provider file in place, at once.
    pub fn provider(&self, secret: &str) {
        let new = self.path("provider.new");
        fs::write(&new, format!("BW_CLIENTID=i\nBW_CLIENTSECRET={secret}\nBW_PASSWORD=p\n")).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(new, self.path("provider.env")).unwrap();
    }

    /// Tells the daemon to read its files anew.
    pub fn hang_up(&self) {
        let pid = nix::unistd::Pid::from_raw(self.pid().cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGHUP).unwrap();
    }

    fn count(&self, of: &str) -> usize {
        fs::read_to_string(self.path("vault").join(of)).unwrap_or_default().lines().count()
    }

    /// A jail's root, which is not empty.
    pub fn root(&self, name: &str) -> PathBuf {
        let root = self.path("jails").join(name).join("root");
        fs::create_dir_all(root.join("dev")).unwrap();
        root
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path("jails").join(name).join("root/usr/local/etc/colibri/env")
    }

    pub fn content(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.file(name)).ok()
    }

    pub fn register(&self, name: &str) -> TenantView {
        self.register_with(name, "{}")
    }

    pub fn register_with(&self, name: &str, settings: &str) -> TenantView {
        let root = self.root(name);
        let request = format!(
            r#"{{"verb":"register-tenant","tenant":"{name}","root":"{}","settings":{settings}}}"#,
            root.display()
        );
        tenant(self.say(&request).unwrap())
    }

    pub fn update(&self, name: &str, changes: &str) -> TenantView {
        let request = format!(r#"{{"verb":"update-tenant","tenant":"{name}","changes":{changes}}}"#);
        tenant(self.say(&request).unwrap())
    }

    pub fn show(&self, name: &str) -> TenantView {
        tenant(self.say(&format!(r#"{{"verb":"show-tenant","tenant":"{name}"}}"#)).unwrap())
    }

    pub fn hook(&self, name: &str, root: &Path) -> HookView {
        let request = Request::Hook { jail: name.parse().unwrap(), root: root.into() };
        match self.ask(request).unwrap() {
            Answer::Hook(hook) => *hook,
            other => panic!("{other:?}"),
        }
    }

    pub fn provision(&self, name: &str) -> Provision {
        match self.say(&format!(r#"{{"verb":"provision","tenant":"{name}"}}"#)).unwrap() {
            Answer::Provisions(mut provisions) => provisions.remove(0),
            other => panic!("{other:?}"),
        }
    }

    pub fn diff(&self, name: &str) -> Result<Diff, Fault> {
        match self.say(&format!(r#"{{"verb":"diff","tenant":"{name}"}}"#))? {
            Answer::Diff(diff) => Ok(*diff),
            other => panic!("{other:?}"),
        }
    }

    pub fn history(&self, name: &str) -> Vec<Provision> {
        match self.say(&format!(r#"{{"verb":"history","tenant":"{name}"}}"#)).unwrap() {
            Answer::Provisions(provisions) => provisions,
            other => panic!("{other:?}"),
        }
    }

    pub fn failure(&self, json: &str) -> ErrorName {
        self.say(json).unwrap_err().name
    }
}

impl Host {
    /// Whether there was anything left.
    fn kill_all(&self) -> bool {
        let programs = processes(self, "libexec");
        for (pid, _) in &programs {
            let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
            let _gone = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
        let jails = self.path("jails");
        let agents = system::left(&jails);
        system::end(&jails);
        !programs.is_empty() || !agents.is_empty()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if self.daemon.is_some() {
            self.terminate();
        }
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
        // What is only just starting may come up after the first look.
        let end = Instant::now() + SOON;
        while self.kill_all() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

pub fn tenant(answer: Answer) -> TenantView {
    match answer {
        Answer::Tenant(tenant) => *tenant,
        other => panic!("{other:?}"),
    }
}

/// Processes whose command line names something in the host's directory.
pub fn processes(host: &Host, within: &str) -> Vec<(u32, String)> {
    colibri_test_host::process::naming(&host.path(within).display().to_string())
}

/// Waits until something is so.
pub fn wait(limit: Duration, mut so: impl FnMut() -> bool, log: impl Fn() -> String) {
    let end = Instant::now() + limit;
    while !so() {
        assert!(Instant::now() < end, "it did not come in time\n{}", log());
        std::thread::sleep(Duration::from_millis(20));
    }
}
