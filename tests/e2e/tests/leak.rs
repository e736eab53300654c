//! Looks for the credentials and values, each like nothing else, wherever they
//! may not be: in the arguments and environments of all processes but `bw`, the
//! logs at their most verbose, the database, the control socket's traffic, what
//! the commands print, temporary files and core files; on the paths that
//! succeed and on those that fail. What is put there on purpose is found.
#![cfg(target_os = "linux")]

use anyhow::{Context, Result, ensure};
use colibri_control::{Call, Request};
use colibri_e2e::host::{Account, Host};
use colibri_e2e::process::{self, Process};
use colibri_test_vault::{Fault, Fixture, Item, Route, Times, Transport, Vault};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

/// A canary's name, and where it was seen.
type Seen = BTreeSet<(&'static str, &'static str)>;

/// Secrets that are like nothing else, by name; the last is no secret, and is
/// put everywhere to prove that it would be found.
struct Canaries(Vec<(&'static str, String)>);

const CONTROL: &str = "control";
const NAMES: [&str; 12] = [
    "client id",
    "client secret",
    "password",
    "wrong password",
    "value",
    "changed value",
    "note",
    "user name",
    "field",
    "value without a key",
    "value of a refused key",
    CONTROL,
];

impl Canaries {
    fn new() -> Self {
        let plain = || format!("canary{:032x}", rand::random::<u128>());
        let mut all: Vec<_> = NAMES.iter().map(|name| (*name, plain())).collect();
        // This one has to be a UUID.
        let [a, b, c, d, e] = [8, 3, 3, 3, 12].map(|digits| plain()[6..6 + digits].to_owned());
        all[0].1 = format!("{a}-{b}0-4{c}-8{d}-{e}");
        Self(all)
    }

    fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| *known == name).map_or("", |(_, canary)| canary)
    }

    /// Those that stand in `bytes`, as they are, in hexadecimal, or as Rust
    /// prints a list of bytes.
    fn within(&self, bytes: &[u8]) -> Seen {
        let (id, common) = (self.get("client id"), "canary");
        // Nearly nothing has any of them, and there is much to look at.
        let near = |text: &str| forms(text).iter().any(|form| holds(bytes, form));
        if !near(common) && !near(id) {
            return Seen::new();
        }
        let held = |(_, canary): &&(&'static str, String)| near(canary);
        self.0.iter().filter(held).map(|(name, _)| (*name, "")).collect()
    }

    fn see(&self, bytes: &[u8], place: &'static str, seen: &mut Seen) {
        seen.extend(self.within(bytes).into_iter().map(|(name, _)| (name, place)));
    }

    fn fixture(&self) -> Fixture {
        let mut fixture = Fixture::machine();
        let account = &mut fixture.accounts[0];
        account.id = self.get("client id").into();
        account.client_secret = self.get("client secret").into();
        account.password = self.get("password").into();
        let [good, conflict, reserved, unfit] =
            ["good", "conflict", "reserved", "unfit"].map(|name| fixture.add_collection(name));
        let mut login = Item::login("API_KEY", self.get("value")).within(&good);
        if let colibri_test_vault::Content::Login(login) = &mut login.content {
            login.username = Some(self.get("user name").into());
        }
        login.fields.push(colibri_test_vault::Field {
            name: "extra".into(),
            value: self.get("field").into(),
            kind: colibri_test_vault::FieldKind::Hidden,
        });
        fixture.add(login);
        fixture.add(Item::note("note", &format!("NOTE={0}\n\n{0}\n{0}!", self.get("note"))).within(&good));
        fixture.add(Item::login("no key!", self.get("value without a key")).within(&good));
        let refused = self.get("value of a refused key");
        fixture.add(Item::login("API-KEY", refused).within(&conflict));
        fixture.add(Item::login("API.KEY", refused).within(&conflict));
        fixture.add(Item::login("LD_PRELOAD", refused).within(&reserved));
        fixture.add(Item::login("TWO_LINES", &format!("{refused}\nsecond")).within(&unfit));
        fixture
    }
}

fn holds(bytes: &[u8], needle: &str) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle.as_bytes())
}

fn forms(text: &str) -> [String; 3] {
    let hex = text.bytes().map(|byte| format!("{byte:02x}")).collect();
    let list: Vec<_> = text.bytes().map(|byte| byte.to_string()).collect();
    [text.to_owned(), hex, list.join(", ")]
}

/// The host, and everything that went over its control socket or was printed.
struct Scene {
    host: Host,
    vault: Vault,
    canaries: Canaries,
    heard: Mutex<Vec<u8>>,
    begun: SystemTime,
}

impl Scene {
    fn new() -> Result<Self> {
        // Files bear the time of the last tick, which may be before now.
        let begun = SystemTime::now() - Duration::from_secs(1);
        let canaries = Canaries::new();
        let (mut host, vault) = Host::with_vault(canaries.fixture())?;
        vault.limit_logins(None);
        host.set_account(&Account::of(&vault)?);
        host.set("COLIBRI_LOG", "trace");
        host.set("RUST_LOG", "trace");
        host.set("COLIBRI_SESSION_IDLE", "10m");
        host.set("COLIBRI_METRICS_FILE", host.path("metrics").display().to_string());
        for tenant in ["good", "conflict", "reserved", "unfit", "missing", canaries.get(CONTROL)] {
            host.jail(tenant)?;
        }
        host.start()?;
        Ok(Self { host, vault, canaries, heard: Mutex::default(), begun })
    }

    fn record(&self, bytes: &[u8]) {
        if let Ok(mut heard) = self.heard.lock() {
            heard.extend_from_slice(bytes);
        }
    }

    /// Asks, and keeps what was answered as it came.
    fn ask(&self, request: Request) -> Result<String> {
        let mut stream = BufReader::new(UnixStream::connect(self.host.socket())?);
        stream.get_mut().write_all(&Call { id: 1, request }.to_line()?)?;
        let mut line = Vec::new();
        stream.read_until(b'\n', &mut line)?;
        self.record(&line);
        Ok(String::from_utf8(line)?)
    }

    /// Runs a command, and keeps what it prints.
    fn print(&self, args: &[&str]) -> Result<()> {
        let output = self.host.colibri(args)?;
        self.record(&output.stdout);
        self.record(&output.stderr);
        Ok(())
    }

    fn register(&self, tenant: &str, more: &[&str]) -> Result<()> {
        let root = self.host.base().join(tenant).join("root");
        let root = root.to_str().context("no UTF-8")?;
        self.print(&[&["register-tenant", tenant, root], more].concat())
    }

    /// Provisions the tenant, which has to end so.
    fn provision(&self, tenant: &str, expected: &str) -> Result<()> {
        let answer = self.ask(Request::Provision { tenant: Some(tenant.to_owned().try_into()?) })?;
        ensure!(answer.contains(expected), "{tenant}: no {expected} in {answer}");
        Ok(())
    }

    /// Keeps all events until the daemon ends.
    fn listen(&self) -> Result<()> {
        let mut stream = UnixStream::connect(self.host.socket())?;
        stream.write_all(&Call { id: 1, request: Request::Watch {} }.to_line()?)?;
        let mut events = Vec::new();
        // A daemon that ends may reset the connection.
        let _ = stream.read_to_end(&mut events);
        self.record(&events);
        Ok(())
    }

    fn succeed(&self) -> Result<()> {
        self.register("good", &[])?;
        self.provision("good", "written")?;
        self.provision("good", "unchanged")?;
        let changed = self.canaries.get("changed value");
        self.vault
            .edit(|fixture| fixture.item_named("API_KEY").map(|item| item.set_value(changed)))?
            .context("no such item")?;
        self.print(&["diff", "good"])?;
        self.provision("good", "written")?;
        for args in [&["show-tenant", "good"][..], &["list-tenants"], &["history", "--json"], &["status"]] {
            self.print(args)?;
        }
        Ok(())
    }

    fn fail(&self) -> Result<()> {
        for (tenant, more, expected) in [
            ("conflict", &[][..], "KeyConflict"),
            ("reserved", &[], "LD_PRELOAD"),
            ("unfit", &["--format", "docker"], "ValueNotCarried"),
            ("missing", &[], "CollectionNotFound"),
        ] {
            self.register(tenant, more)?;
            self.provision(tenant, expected)?;
        }
        for (route, fault) in [(Route::RevisionDate, Fault::Garbled), (Route::Token, Fault::TruncatedJson)] {
            self.vault.fault(route, fault, Times::Always);
            self.vault.expire_tokens();
            self.provision("good", "\"error\":{")?;
            self.vault.heal_all();
        }
        self.vault.transport(Transport::Refuse);
        self.provision("good", "VaultUnreachable")?;
        self.vault.transport(Transport::Sound);
        self.provision("good", "unchanged")
    }

    fn find(&self, matches: impl Fn(&Process) -> bool) -> Result<Process> {
        self.host.wait_for("a process", || self.host.children().ok()?.into_iter().find(&matches))
    }

    /// A `bw` and then a fetcher that crash in the middle of a session.
    fn crash(&self) -> Result<()> {
        let is_serve =
            |process: &Process| process.runs("bw.js") || process.args.iter().any(|arg| arg == "serve");
        let is_fetcher = |process: &Process| process.runs("colibri-fetcher");
        let daemon = Process::find(self.host.pid()?).context("gone")?;
        let session = self.host.children()?;
        for name in ["bwrap", "colibri-fetcher", "bw.js"] {
            ensure!(session.iter().any(|process| process.runs(name)), "no {name} in {session:?}");
        }
        ensure!(session.iter().any(|process| process.args.iter().any(|arg| arg == "warden")), "no warden");
        for process in session.iter().chain([&daemon]) {
            no_core(process)?;
        }
        let serve = self.find(is_serve)?;
        let kept = fs::read_to_string(format!("/proc/{}/coredump_filter", serve.pid))?;
        ensure!(u32::from_str_radix(kept.trim(), 16) == Ok(0), "memory is kept in core files: {kept}");
        // Rust's runtime takes a SIGSEGV that nothing caused for none.
        for (process, signal) in [(serve, Signal::SIGSEGV), (self.find(is_fetcher)?, Signal::SIGABRT)] {
            kill(Pid::from_raw(process.pid.try_into()?), signal)?;
            self.host.wait_for("its end", || (!process.lives()).then_some(()))?;
            self.provision("good", "unchanged")?;
        }
        // The kernel says of each end whether it left a core, to a pipe too. Who reaps bw
        // is another process, and so is who writes the log.
        let told = || self.host.log().contains("signal: 11 (SIGSEGV)").then_some(());
        self.host.wait_for("how bw ended", told)?;
        let log = self.host.log();
        ensure!(!log.contains("core dumped"), "a core was dumped");
        Ok(())
    }
}

/// Its core files are limited to one byte: a program that core_pattern pipes to
/// gets all of the memory at 0, and nothing at 1.
fn no_core(process: &Process) -> Result<()> {
    let limits = fs::read_to_string(format!("/proc/{}/limits", process.pid))?;
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).context("no limit")?;
    let ones = core.split_ascii_whitespace().filter(|word| *word == "1").count();
    ensure!(ones == 2, "{process:?}: {core}");
    Ok(())
}

/// Looks at every process of the host until told to stop.
fn watch_processes(canaries: &Canaries, over: &AtomicBool) -> Seen {
    let mut seen = Seen::new();
    while !over.load(Ordering::Relaxed) {
        for process in process::all() {
            // The environment first: a process that becomes bw in between is
            // bw when its arguments are read.
            let environment = process.environ().unwrap_or_default();
            let Some(now) = Process::find(process.pid) else { continue };
            canaries.see(now.args.join(" ").as_bytes(), "arguments", &mut seen);
            let bw = now.args.iter().take(2).any(|arg| arg.contains("@bitwarden/cli"));
            if !bw && !now.args.is_empty() {
                canaries.see(&environment, "environment", &mut seen);
            }
        }
        thread::sleep(Duration::from_millis(20));
    }
    seen
}

/// A depth that nothing reaches.
const ALL: usize = 1000;

/// Whether a core file may bear that name.
fn is_core(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.strip_prefix("core").is_some_and(|rest| {
        rest.is_empty() || rest.strip_prefix('.').is_some_and(|pid| pid.parse::<u32>().is_ok())
    })
}

/// Every file at most `depth` below `top`, with what is in it; directories in
/// `skip` left out, what is mounted there (a /proc of somebody else's blocks who
/// reads its kmsg), and files that are older than `since`.
fn files(top: &Path, skip: &[PathBuf], since: SystemTime, depth: usize) -> Vec<(PathBuf, Vec<u8>)> {
    const LARGEST: u64 = 8 << 20;
    let (mut found, mut left) = (Vec::new(), vec![top.to_owned()]);
    let device = fs::metadata(top).map(|meta| meta.dev()).unwrap_or_default();
    while let Some(dir) = left.pop() {
        if dir.components().count() > top.components().count() + depth {
            continue;
        }
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() && meta.dev() == device && !skip.contains(&path) {
                left.push(path);
            } else if meta.is_file() && meta.size() <= LARGEST && meta.modified().is_ok_and(|at| at >= since)
            {
                // What is gone already is no file any more.
                found.extend(fs::read(&path).ok().map(|content| (path, content)));
            }
        }
    }
    found
}

/// Two processes that show the control, one each way; dropped, they end.
struct Exhibits([Child; 2]);

impl Drop for Exhibits {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn exhibit(control: &str) -> Result<Exhibits> {
    let mut with_environment = Command::new("sleep");
    with_environment.arg("600").env("SHOWN", control);
    let mut with_argument = Command::new("sh");
    with_argument.args(["-c", "read line", control]).stdin(Stdio::piped());
    Ok(Exhibits([with_environment.spawn()?, with_argument.spawn()?]))
}

fn look_at_files(scene: &Scene, seen: &mut Seen) -> Result<()> {
    let host = &scene.host;
    let top = host.path("");
    let (early, canaries) = (SystemTime::UNIX_EPOCH, &scene.canaries);
    for (place, dir) in [("database", "state"), ("agents' logs", "log"), ("jails", "jails")] {
        for (_, content) in files(&host.path(dir), &[], early, ALL) {
            canaries.see(&content, place, seen);
        }
    }
    canaries.see(host.log().as_bytes(), "log", seen);
    let skip = ["vault", "product", "state", "log", "jails"].map(|name| host.path(name));
    for (path, content) in files(&top, &skip, early, ALL) {
        if path != host.path("colibrid.log") {
            canaries.see(&content, "the host's other files", seen);
        }
    }
    let own = top.components().collect::<PathBuf>();
    for dir in [std::env::temp_dir(), "/tmp".into(), "/var/tmp".into(), "/dev/shm".into()] {
        for (path, content) in files(&dir, std::slice::from_ref(&own), scene.begun, 2) {
            canaries.see(&content, "temporary files", seen);
            ensure!(!path.file_name().is_some_and(is_core), "a core file: {}", path.display());
        }
    }
    for dir in [PathBuf::from("/"), std::env::current_dir()?, host.path("run")] {
        let core = fs::read_dir(&dir)?.flatten().find(|entry| {
            let new = entry.metadata().and_then(|meta| meta.modified()).is_ok_and(|at| at >= scene.begun);
            new && is_core(&entry.file_name())
        });
        ensure!(core.is_none(), "a core file: {core:?}");
    }
    Ok(())
}

fn act(scene: &Scene) -> Result<()> {
    let control = scene.canaries.get(CONTROL);
    scene.register(control, &[])?;
    scene.provision(control, "CollectionNotFound")?;
    scene.succeed()?;
    scene.fail()?;
    scene.crash()?;
    fs::write(scene.host.path("state/planted"), control)?;
    fs::write(scene.host.path("planted"), format!("{:?}", control.as_bytes()))?;
    scene.print(&["destroy-tenant", "good"])
}

#[test]
fn no_credential_and_no_value_is_anywhere_it_may_not_be() -> Result<()> {
    let mut scene = Scene::new()?;
    let planted = tempfile::NamedTempFile::new()?;
    let hex: String = scene.canaries.get(CONTROL).bytes().map(|byte| format!("{byte:02x}")).collect();
    fs::write(planted.path(), hex)?;
    let exhibits = exhibit(scene.canaries.get(CONTROL))?;
    let over = AtomicBool::new(false);
    let mut seen = thread::scope(|scope| -> Result<Seen> {
        let watched = scope.spawn(|| watch_processes(&scene.canaries, &over));
        let listening = scope.spawn(|| scene.listen());
        let acted = act(&scene);
        // While the database is open, its log beside it.
        let mut seen = Seen::new();
        let looked = look_at_files_of_the_database(&scene, &mut seen);
        kill(Pid::from_raw(scene.host.pid()?.try_into()?), Signal::SIGTERM)?;
        let listened = listening.join().map_err(|_| anyhow::anyhow!("the listener panicked"))?;
        over.store(true, Ordering::Relaxed);
        seen.extend(watched.join().map_err(|_| anyhow::anyhow!("the watcher panicked"))?);
        acted.and(looked).and(listened).map(|()| seen)
    })?;
    drop(exhibits);
    scene.host.stop()?;

    // What a wrong password does: another start, another credential.
    scene.host.set("BW_PASSWORD", scene.canaries.get("wrong password"));
    scene.host.start()?;
    scene.provision("conflict", "BadCredentials")?;
    scene.host.stop()?;

    look_at_files(&scene, &mut seen)?;
    scene.canaries.see(
        &scene.heard.lock().map_err(|_| anyhow::anyhow!("a thread failed"))?,
        "traffic",
        &mut seen,
    );
    let places = [
        "arguments",
        "database",
        "environment",
        "log",
        "temporary files",
        "the host's other files",
        "traffic",
    ];
    let control: Seen = places.iter().map(|place| (CONTROL, *place)).collect();
    let leaks: Vec<_> = seen.difference(&control).collect();
    ensure!(leaks.is_empty(), "{leaks:?}");
    let blind: Vec<_> = control.difference(&seen).collect();
    ensure!(blind.is_empty(), "not even the control was found: {blind:?}");
    Ok(())
}

fn look_at_files_of_the_database(scene: &Scene, seen: &mut Seen) -> Result<()> {
    let found = files(&scene.host.path("state"), &[], SystemTime::UNIX_EPOCH, ALL);
    ensure!(found.iter().any(|(path, _)| path.ends_with("tenants.db-wal")), "no log beside the database");
    found.iter().for_each(|(_, content)| scene.canaries.see(content, "database", seen));
    Ok(())
}
