//! All that a tenant or an observer can do to the others, at once: a root that does
//! not answer, a collection over the bound of an answer, an agent that is a fork
//! bomb, and 120 observers who ask without a pause; beside them 50 hooks of other
//! tenants, at once and one after another, each of which writes its tenant's file.
//! docs/proofs.md has the command of the whole measurement, and its figures. Without
//! COLIBRI_FULL=1 there is less of everything, and the bound is a wide one.
#![cfg(target_os = "linux")]

use anyhow::{Context, Result, bail, ensure};
use colibri_control::{Answer, HookResult, Request};
use colibri_e2e::host::{Account, Host};
use colibri_e2e::process;
use colibri_tenant::ErrorName;
use colibri_test_host::hung::Hung;
use colibri_test_host::skip;
use colibri_test_vault::{Fixture, Item, Vault};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// How much of everything there is.
#[derive(Clone, Copy)]
struct Size {
    hooks: usize,
    observers: usize,
    /// How many tenants an observer's answer lists.
    listed: usize,
    /// How many processes the fork bomb may have.
    processes: usize,
    /// What a hook may take longer than it takes alone.
    more: Duration,
}

const WHOLE: Size =
    Size { hooks: 50, observers: 120, listed: 3000, processes: 1024, more: Duration::from_secs(2) };
/// A machine that does other work, too, is to pass it; what waits for one of the
/// troubles does not.
const SHORT: Size =
    Size { hooks: 8, observers: 20, listed: 300, processes: 64, more: Duration::from_secs(20) };

/// Of bytes that bw spells out as six, these are over the 16 MiB of an answer.
const NOTES: usize = 6;
const NOTE: usize = 512 << 10;
/// Processes that each take all of a processor that they get, all but a few that it may
/// have, and two that fork without a pause. They begin together: one that did not wait
/// would be all alone with those before it. A session for each would be another matter
/// where the host has no control groups for processors, and `colibri status` says so there.
const BOMB: &str = "
    i=16
    while [ $i -lt $1 ]; do (read x </fifo; while :; do :; done) & i=$((i + 1)); done
    for i in 1 2; do (read x </fifo; while :; do (:) & (:) & wait; done) & done
    (while :; do echo go >/fifo; done) &
    while :; do :; done";

fn name(number: usize) -> String {
    format!("jail-{number:04}")
}

/// How long each hook took, the shortest first.
type Times = Vec<Duration>;

/// A host, its vault, and what the four kinds of trouble have done meanwhile.
struct Trial {
    size: Size,
    host: Host,
    vault: Vault,
    over: AtomicBool,
    refused: AtomicUsize,
    unresponsive: AtomicUsize,
    lists: AtomicUsize,
}

impl Trial {
    fn new(size: Size) -> Result<Self> {
        let mut fixture = Fixture::fleet(size.hooks, 2);
        for name in ["hung", "large"] {
            let id = fixture.add_collection(name);
            fixture.add(Item::login("KEY", "1").within(&id));
        }
        let (mut host, vault) = Host::with_vault(fixture)?;
        vault.limit_logins(None);
        host.set_account(&Account::of(&vault)?);
        host.set("COLIBRI_SESSION_IDLE", "30m");
        host.set("COLIBRI_DEADLINE", "2m");
        host.set("COLIBRI_OBSERVERS", "nogroup");
        host.set("COLIBRI_AGENT_PROCESSES", size.processes.to_string());
        host.set("COLIBRI_LOG", "info");
        host.start()?;
        let (over, refused) = (AtomicBool::new(false), AtomicUsize::new(0));
        let (unresponsive, lists) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let mut trial = Self { size, host, vault, over, refused, unresponsive, lists };
        for name in (0..size.hooks).map(name).chain(["hung".into(), "large".into()]) {
            let root = trial.host.jail(&name)?;
            let settings = Default::default();
            trial.host.ask(Request::RegisterTenant { tenant: name.try_into()?, root, settings })?;
        }
        trial.fill()?;
        trial.host.colibri_ok(&["provision", "hung"])?;
        trial.host.colibri_ok(&["provision", "large"])?;
        Ok(trial)
    }

    /// Tenants like the first, without the time that it takes to register them.
    fn fill(&mut self) -> Result<()> {
        self.host.stop()?;
        let database = rusqlite::Connection::open(self.host.path("state/tenants.db"))?;
        let rows = "INSERT INTO tenants (name, root, settings, registered)
            WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < ?1)
            SELECT 't' || x, '/nowhere/' || x, settings, registered FROM n, tenants WHERE name = 'jail-0000'";
        let more = self.size.listed - self.size.hooks - 2;
        ensure!(database.execute(rows, [u32::try_from(more)?])? == more, "no rows");
        drop(database);
        self.host.start()
    }

    fn root(&self, number: usize) -> PathBuf {
        self.host.base().join(name(number)).join("root")
    }

    /// One hook, as a jail manager calls it; its tenant's file was gone, and is there
    /// again.
    fn hook(&self, number: usize) -> Result<Duration> {
        let file = self.root(number).join("usr/local/etc/colibri/env");
        // The first time there is none.
        let _gone = fs::remove_file(&file);
        let since = Instant::now();
        let jail = name(number).try_into()?;
        let answer = self.host.ask(Request::Hook { jail, root: self.root(number) })?;
        let took = since.elapsed();
        let Answer::Hook(hook) = answer else { bail!("{answer:?}") };
        ensure!(hook.result == HookResult::Provisioned, "{hook:?}\n{}", self.host.log());
        let value = format!("value-{number}-0");
        ensure!(fs::read_to_string(&file)?.contains(&value), "{value} is not there");
        Ok(took)
    }

    fn at_once(&self) -> Result<Times> {
        thread::scope(|scope| {
            let hooks: Vec<_> =
                (0..self.size.hooks).map(|number| scope.spawn(move || self.hook(number))).collect();
            let ended = hooks.into_iter().map(|hook| hook.join().map_err(|_| anyhow::anyhow!("a panic"))?);
            sorted(ended.collect())
        })
    }

    fn one_by_one(&self) -> Result<Times> {
        sorted((0..self.size.hooks).map(|number| self.hook(number)).collect())
    }

    /// All at once, and one by one, after a round that nobody counts: by then what the
    /// vault has new is there.
    fn measure(&self) -> Result<[Times; 2]> {
        self.at_once()?;
        Ok([self.at_once()?, self.one_by_one()?])
    }

    /// One collection over the bound, in the vault and asked for over and over.
    fn enlarge(&self) -> Result<()> {
        self.vault.edit(|fixture| {
            for number in 0..NOTES {
                let note = Item::note(&format!("note {number}"), &"\u{1}".repeat(NOTE));
                fixture.add(note.within("large"));
            }
        })
    }

    fn ask(&self, tenant: &str, expected: ErrorName, count: &AtomicUsize) -> Result<()> {
        while !self.over.load(Relaxed) {
            let answer = self.host.ask(Request::Provision { tenant: Some(tenant.parse()?) })?;
            let Answer::Provisions(provisions) = answer else { bail!("{answer:?}") };
            let error = provisions.first().and_then(|provision| provision.error.as_ref());
            let error = error.with_context(|| format!("{provisions:?}"))?;
            ensure!(error.name == expected, "{tenant}: {error:?}");
            count.fetch_add(1, Relaxed);
            thread::sleep(Duration::from_millis(300));
        }
        Ok(())
    }

    /// Asks for the list over and over; an answer has more than its tenants' names.
    fn observe(&self) {
        let socket = self.host.path("run/observe/colibrid.sock");
        while !self.over.load(Relaxed) {
            let mut answer = Vec::new();
            if let Ok(mut stream) = UnixStream::connect(&socket) {
                let asked = stream.write_all(b"{\"v\":1,\"id\":1,\"verb\":\"list-tenants\"}\n");
                let _slow = stream.set_read_timeout(Some(Duration::from_secs(60)));
                let _cut = asked.and_then(|()| BufReader::new(stream).read_until(b'\n', &mut answer));
            }
            match answer.len() > self.size.listed * 10 {
                true => drop(self.lists.fetch_add(1, Relaxed)),
                false => thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Starts the fork bomb, and waits until it is one.
    fn bomb(&self) -> Result<usize> {
        let root = self.host.jail_with_shell("bomb")?;
        let fifo = root.join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU)?;
        fs::set_permissions(&fifo, fs::Permissions::from_mode(0o666))?;
        let root = root.to_str().context("a path that is not UTF-8")?;
        let most = self.size.processes.to_string();
        let line = [
            "spawn-agent",
            "--jail-name",
            "bomb",
            "--jail-root",
            root,
            "--",
            "/bin/sh",
            "-c",
            BOMB,
            "bomb",
            &most,
        ];
        self.host.colibri_ok(&line)?;
        self.host.wait_for("a fork bomb", || Some(forked()).filter(|many| *many >= self.many()))
    }

    /// A fork bomb is one once it has this many processes: a group counts others, too.
    fn many(&self) -> usize {
        self.size.processes * 3 / 4
    }

    /// Until each of the troubles has begun.
    fn settled(&self) -> Result<()> {
        let begun = || [&self.refused, &self.unresponsive, &self.lists].iter().all(|it| it.load(Relaxed) > 0);
        self.host.wait_for("all of the troubles", || begun().then_some(()))
    }

    /// Everything else goes on until this is over.
    fn beside(&self) -> Result<[Times; 2]> {
        self.enlarge()?;
        let hung = Hung::new(&self.host.base().join("hung/root")).context("no FUSE here")?;
        let processes = self.bomb()?;
        let measured = thread::scope(|scope| {
            for _ in 0..self.size.observers {
                scope.spawn(|| self.observe());
            }
            let large = scope.spawn(|| self.ask("large", ErrorName::LimitExceeded, &self.refused));
            let asks = scope.spawn(|| self.ask("hung", ErrorName::RootUnresponsive, &self.unresponsive));
            let measured = self.settled().and_then(|()| self.measure());
            self.over.store(true, Relaxed);
            for asking in [large, asks] {
                asking.join().map_err(|_| anyhow::anyhow!("a panic"))??;
            }
            measured
        })?;
        let [refused, unresponsive, lists] =
            [&self.refused, &self.unresponsive, &self.lists].map(|count| count.load(Relaxed));
        println!("a fork bomb of {processes} processes, then {}; {lists} lists to observers", forked());
        println!("refused {refused} times for its size, {unresponsive} times for its root");
        ensure!(forked() >= self.many() && hung.asked() > 0, "one of them was over before");
        Ok(measured)
    }
}

impl Drop for Trial {
    /// An agent outlives its daemon, and this one nobody wants.
    fn drop(&mut self) {
        let _none = self.host.colibri(&["stop-agent", "bomb"]);
    }
}

/// How many processes users have that only agents are.
fn forked() -> usize {
    const USERS: std::ops::Range<u32> = 1_900_000_000..2_000_000_000;
    process::all().iter().filter(|it| it.uid().is_some_and(|uid| USERS.contains(&uid))).count()
}

fn sorted(times: Result<Times>) -> Result<Times> {
    let mut times = times?;
    times.sort();
    Ok(times)
}

#[test]
#[ignore = "a measurement of minutes with a fork bomb: docs/proofs.md has its command"]
fn nobody_stops_another_tenant_s_hooks() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        skip("only root has users for agents and a group for observers");
        return Ok(());
    }
    let size = if std::env::var_os("COLIBRI_FULL").is_some() { WHOLE } else { SHORT };
    let trial = Trial::new(size)?;
    let alone = trial.measure()?;
    let beside = trial.beside();
    if let Some(file) = std::env::var_os("COLIBRI_TEST_LOG") {
        fs::write(file, trial.host.log())?;
    }
    let beside = beside?;
    println!("{} hooks: median and longest alone, the same beside all of it; longest difference", size.hooks);
    for ((kind, alone), beside) in ["at once", "one by one"].iter().zip(&alone).zip(&beside) {
        // Both are sorted: who is served first is another matter each time.
        let more = alone.iter().zip(beside).map(|(alone, beside)| beside.saturating_sub(*alone)).max();
        let more = more.unwrap_or_default();
        let shown = [alone, beside].map(|times| (times[size.hooks / 2], times[size.hooks - 1]));
        println!("figures: {kind}: {shown:?}; {more:?}");
        ensure!(more < size.more, "{kind}: {more:?} more than alone\n{}", trial.host.log());
    }
    Ok(())
}
