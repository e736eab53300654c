//! One host: a directory that other users may enter, a jail base in it, and a
//! daemon with the built programs and the real `bw`.

use crate::process::{self, Process};
use anyhow::{Context, Result, bail, ensure};
use colibri_control::{Answer, Client, Request, TenantView};
use colibri_test_vault::{Fixture, Vault};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{fs, thread};

/// The `bw` that the tests run, unless `COLIBRI_TEST_BW_VERSION` names another.
const BW_VERSION: &str = "2026.8.0";
/// No step of a test takes longer than this.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Users for the agents of one host.
const USERS: u32 = 1000;

/// The next users that no other host of the tests has, of this process or another.
fn users() -> u32 {
    static HOSTS: AtomicU32 = AtomicU32::new(0);
    let host = HOSTS.fetch_add(1, Ordering::Relaxed) % 50;
    2_000_000_000 + (std::process::id() % 2000) * 50 * USERS + host * USERS
}

/// The machine account that the daemon of a host is given.
#[derive(Clone, Debug)]
pub struct Account {
    /// `BW_SERVER`.
    pub server: String,
    /// `NODE_EXTRA_CA_CERTS`.
    pub ca_file: PathBuf,
    /// `BW_CLIENTID`.
    pub client_id: String,
    /// `BW_CLIENTSECRET`.
    pub client_secret: String,
    /// `BW_PASSWORD`.
    pub password: String,
}

impl Account {
    /// The machine account of a test vault.
    ///
    /// # Errors
    /// When the vault has none.
    pub fn of(vault: &Vault) -> Result<Self> {
        let credentials = vault.credentials()?;
        Ok(Self {
            server: vault.url(),
            ca_file: vault.ca_file().to_owned(),
            client_id: credentials.client_id,
            client_secret: credentials.client_secret,
            password: credentials.password,
        })
    }
}

/// A host. Dropped, it stops its daemon and removes its directory.
#[derive(Debug)]
pub struct Host {
    dir: tempfile::TempDir,
    daemon: Option<Child>,
    settings: Vec<(String, String)>,
    users: u32,
}

impl Host {
    /// A host whose daemon does not run yet.
    ///
    /// # Errors
    /// When the programs or `bw` were not built or installed.
    pub fn new() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("colibri-e2e.").tempdir_in(public_tmp()?)?;
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
        let host = Self { dir, daemon: None, settings: Vec::new(), users: users() };
        fs::create_dir(host.base())?;
        stage(&host.path("product"))?;
        Ok(host)
    }

    /// A host whose daemon does not run yet, and a vault on it.
    ///
    /// # Errors
    /// As [`Host::new`], or when the vault cannot be started.
    pub fn with_vault(fixture: Fixture) -> Result<(Self, Vault)> {
        let host = Self::new()?;
        fs::create_dir(host.path("vault"))?;
        let vault = Vault::start(fixture, &host.path("vault"))?;
        Ok((host, vault))
    }

    /// A path in the host's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The directory of all jail roots.
    pub fn base(&self) -> PathBuf {
        self.path("jails")
    }

    /// A new jail root `base/NAME/root` with next to nothing in it: an empty one is no jail.
    ///
    /// # Errors
    /// The system's.
    pub fn jail(&self, name: &str) -> Result<PathBuf> {
        let root = self.base().join(name).join("root");
        fs::DirBuilder::new().recursive(true).mode(0o755).create(root.join("dev"))?;
        Ok(root)
    }

    /// A jail root with a shell in it, so that an agent can run there.
    ///
    /// # Errors
    /// When the system has no busybox.
    pub fn jail_with_shell(&self, name: &str) -> Result<PathBuf> {
        let root = self.jail(name)?;
        // Agents leave files there, and are a user of their own.
        fs::set_permissions(&root, fs::Permissions::from_mode(0o777))?;
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].iter().find(|path| Path::new(path).exists());
        install(Path::new(busybox.context("no busybox here: run `make setup`")?), &root)?;
        // Where they are mounted, which the jail's user cannot make.
        for dir in ["dev", "proc"] {
            fs::DirBuilder::new().recursive(true).mode(0o755).create(root.join(dir))?;
        }
        for applet in ["sh", "cat", "env", "sleep", "id", "touch", "mv"] {
            let link = root.join("bin").join(applet);
            std::os::unix::fs::symlink("busybox", link)?;
        }
        Ok(root)
    }

    /// A setting for the daemon's environment, before it starts.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.settings.push((name.into(), value.into()));
    }

    /// Sets the machine account.
    pub fn set_account(&mut self, account: &Account) {
        self.set("BW_SERVER", &account.server);
        self.set("BW_CLIENTID", &account.client_id);
        self.set("BW_CLIENTSECRET", &account.client_secret);
        self.set("BW_PASSWORD", &account.password);
        self.set("NODE_EXTRA_CA_CERTS", account.ca_file.display().to_string());
    }

    /// Starts the daemon and waits until it answers.
    ///
    /// # Errors
    /// When it ends or does not answer; its log is in the message.
    pub fn start(&mut self) -> Result<()> {
        let log = fs::File::options().create(true).append(true).open(self.path("colibrid.log"))?;
        let mut command = Command::new(self.path("product/sbin/colibrid"));
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
        for (name, value) in self.defaults().into_iter().chain(self.settings.clone()) {
            command.env(name, value);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.daemon = Some(command.spawn().context("cannot start colibrid")?);
        let until = Instant::now() + PATIENCE;
        while !self.answers() {
            let ended = self.daemon.as_mut().context("no daemon")?.try_wait()?;
            if ended.is_some() || Instant::now() > until {
                bail!("colibrid does not answer ({ended:?}):\n{}", self.log());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Whether it is our daemon that answers: what one that was killed had just
    /// begun to start holds its socket for a moment longer.
    fn answers(&self) -> bool {
        let Ok(mut client) = Client::connect(&self.socket()) else { return false };
        let status = client.call(Request::Status {});
        matches!(status, Ok(Answer::Status(status)) if self.pid().is_ok_and(|pid| pid == status.pid))
    }

    fn defaults(&self) -> Vec<(String, String)> {
        let user = if nix::unistd::geteuid().is_root() { "nobody" } else { "" };
        let path = |name| self.path(name).display().to_string();
        let mut settings = vec![
            ("COLIBRI_JAIL_ROOT_BASE".into(), path("jails")),
            ("COLIBRI_STATE_DIR".into(), path("state")),
            ("COLIBRI_RUN_DIR".into(), path("run")),
            ("COLIBRI_LOG_DIR".into(), path("log")),
            ("COLIBRI_BW".into(), path("product/lib/bw/node_modules/.bin/bw")),
            ("COLIBRI_SESSION_IDLE".into(), "5".into()),
            ("COLIBRI_LOG".into(), "debug".into()),
            // The machine may have one of its own.
            ("COLIBRI_PROVIDER".into(), String::new()),
        ];
        if !user.is_empty() {
            settings.push(("COLIBRI_FETCHER_USER".into(), user.into()));
        }
        // One daemon at a time gives users of a range.
        let (first, last) = (self.users, self.users + USERS - 1);
        settings.push(("COLIBRI_AGENT_USERS".into(), format!("{first}-{last}")));
        settings
    }

    /// Ends the daemon as init would and starts it again; agents go on.
    ///
    /// # Errors
    /// When it does not end well, or does not answer again.
    pub fn restart(&mut self) -> Result<()> {
        let mut daemon = self.daemon.take().context("no daemon")?;
        let pid = nix::unistd::Pid::from_raw(daemon.id().try_into()?);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
        let ended = self.wait_for("an end", || daemon.try_wait().ok().flatten());
        if ended.is_err() {
            daemon.kill()?;
        }
        let status = ended?;
        ensure!(status.success(), "colibrid ended with {status}:\n{}", self.log());
        self.start()
    }

    /// The control socket.
    pub fn socket(&self) -> PathBuf {
        self.path("run/control/colibrid.sock")
    }

    /// What the daemon and its children wrote to their logs.
    pub fn log(&self) -> String {
        fs::read(self.path("colibrid.log"))
            .map(|log| String::from_utf8_lossy(&log).into_owned())
            .unwrap_or_default()
    }

    /// The daemon's process number.
    ///
    /// # Errors
    /// When it was not started.
    pub fn pid(&self) -> Result<u32> {
        Ok(self.daemon.as_ref().context("no daemon")?.id())
    }

    /// Asks the daemon.
    ///
    /// # Errors
    /// What the daemon refuses.
    pub fn ask(&self, request: Request) -> Result<Answer> {
        let mut client = Client::connect(&self.socket())?;
        client.set_timeout(Some(PATIENCE))?;
        Ok(client.call(request)?)
    }

    /// One tenant, as the daemon shows it.
    ///
    /// # Errors
    /// When there is none.
    pub fn tenant(&self, name: &str) -> Result<TenantView> {
        match self.ask(Request::ShowTenant { tenant: name.to_owned().try_into()? })? {
            Answer::Tenant(view) => Ok(*view),
            other => bail!("no tenant in {other:?}"),
        }
    }

    /// Runs the operator's program.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn colibri(&self, args: &[&str]) -> Result<Output> {
        let mut command = Command::new(self.path("product/bin/colibri"));
        command.args(args).env("COLIBRI_SOCKET", self.socket()).env("NO_COLOR", "1").stdin(Stdio::null());
        command.output().context("cannot run colibri")
    }

    /// Runs the operator's program, which has to succeed.
    ///
    /// # Errors
    /// With all that it printed, when it does not.
    pub fn colibri_ok(&self, args: &[&str]) -> Result<String> {
        let output = self.colibri(args)?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "colibri {args:?}: {}\n{errors}\n{}", output.status, self.log());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// All processes that the daemon started and that still run.
    ///
    /// # Errors
    /// When the daemon was not started.
    pub fn children(&self) -> Result<Vec<Process>> {
        Ok(process::descendants(self.pid()?))
    }

    /// Waits until `found` finds something.
    ///
    /// # Errors
    /// With the daemon's log, when it never does.
    pub fn wait_for<T>(&self, what: &str, mut found: impl FnMut() -> Option<T>) -> Result<T> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(it) = found() {
                return Ok(it);
            }
            ensure!(Instant::now() < until, "{what}: never\n{}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Stops the daemon as init would, and waits for all its children to end.
    ///
    /// # Errors
    /// When something still runs afterwards.
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut daemon) = self.daemon.take() else { return Ok(()) };
        let children = process::descendants(daemon.id());
        let pid = nix::unistd::Pid::from_raw(daemon.id().try_into()?);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
        let until = Instant::now() + PATIENCE;
        while daemon.try_wait()?.is_none() {
            if Instant::now() > until {
                daemon.kill()?;
                daemon.wait()?;
                bail!("colibrid did not stop:\n{}", self.log());
            }
            thread::sleep(Duration::from_millis(10));
        }
        while let Some(child) = children.iter().find(|child| child.lives()) {
            ensure!(Instant::now() < until, "still there: {child:?}\n{}", self.log());
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let children = self.children().unwrap_or_default();
        if let Err(error) = self.stop() {
            eprintln!("{error:#}");
        }
        for child in children.iter().filter(|child| child.lives()) {
            if let Ok(pid) = child.pid.try_into() {
                let _ = nix::sys::signal::kill(
                    nix::unistd::Pid::from_raw(pid),
                    nix::sys::signal::Signal::SIGKILL,
                );
            }
        }
    }
}

/// A directory for temporary files that every user may enter: the fetcher's
/// user has to reach the product.
fn public_tmp() -> Result<PathBuf> {
    let candidates = [std::env::temp_dir(), "/tmp".into(), "/var/tmp".into()];
    let open =
        |path: &&PathBuf| path.ancestors().all(|up| fs::metadata(up).is_ok_and(|meta| meta.mode() & 1 == 1));
    candidates.iter().find(open).cloned().context("no temporary directory that other users may enter")
}

/// Copies a program to `root`/bin, and its libraries to where it looks for them.
fn install(program: &Path, root: &Path) -> Result<()> {
    fs::create_dir_all(root.join("bin"))?;
    fs::copy(program, root.join("bin").join(program.file_name().context("no name")?))?;
    // A static program has no libraries, and ldd says so by failing.
    let needed = Command::new("ldd").arg(program).output().context("cannot run ldd")?;
    let needed = String::from_utf8(needed.stdout)?;
    for library in needed.split_ascii_whitespace().filter(|word| word.starts_with('/')) {
        let to = root.join(library.trim_start_matches('/'));
        fs::create_dir_all(to.parent().context("no directory")?)?;
        fs::copy(library, to)?;
    }
    Ok(())
}

/// The top of the checkout.
pub fn checkout() -> PathBuf {
    colibri_test_host::tree()
}

/// Lays out the product as it is installed, readable for every user.
fn stage(to: &Path) -> Result<()> {
    let version = std::env::var("COLIBRI_TEST_BW_VERSION").unwrap_or_else(|_| BW_VERSION.into());
    let built = std::env::current_exe()?;
    // A test lies in the profile's `deps`, a program in the profile's directory.
    let mut above = built.ancestors().skip(1);
    let profile = above.find(|dir| !dir.ends_with("deps")).context("no target directory")?;
    let name = profile.file_name().context("no profile")?;
    let target = profile.parent().context("no target directory")?;
    let bw = checkout().join("target/bw").join(&version);
    ensure!(bw.join("installed.json").exists(), "no bw {version} here: run `make bw`");
    ensure!(profile.join("colibrid").exists(), "no colibrid in {}: run `make test`", profile.display());
    let mut script = Command::new(checkout().join("scripts/stage"));
    script.arg(to).arg(name).arg(&version).env("CARGO_TARGET_DIR", target);
    let status = script.status().context("cannot run scripts/stage")?;
    ensure!(status.success(), "scripts/stage failed");
    Ok(())
}
