//! A host with a daemon, a vault, and a registered jail for each collection.

use crate::ITEMS;
use anyhow::{Context, Result, bail, ensure};
use colibri_control::{Answer, Client, HookResult, Outcome, Request};
use colibri_e2e::host::{Account, Host};
use colibri_e2e::process::Process;
use colibri_test_vault::{Fixture, Vault};
use std::fs;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Clients at once; each is a jail that waits for its secrets.
const CLIENTS: usize = 100;
/// The rounds of a real account.
const ROUNDS: u32 = 600_000;

/// The host is stopped before its vault.
pub struct Fleet {
    pub host: Host,
    pub vault: Vault,
}

/// Peak resident memory, in MiB.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    pub daemon: f64,
    pub fetcher: f64,
    pub bw: f64,
}

impl Fleet {
    /// `collections` in the vault, the first `jails` of them registered.
    pub fn new(collections: usize, jails: usize) -> Result<Self> {
        let mut fixture = Fixture::fleet(collections, ITEMS);
        for account in &mut fixture.accounts {
            account.kdf_iterations = ROUNDS;
        }
        let (mut host, vault) = Host::with_vault(fixture)?;
        host.set_account(&Account::of(&vault)?);
        host.set("COLIBRI_LOG", "info");
        host.set("COLIBRI_SESSION_IDLE", "10m");
        host.set("COLIBRI_DEADLINE", "2m");
        host.start()?;
        let fleet = Self { host, vault };
        fleet.register(0..jails)?;
        Ok(fleet)
    }

    pub fn register(&self, jails: Range<usize>) -> Result<()> {
        let mut client = self.client()?;
        for jail in jails {
            let root = self.host.jail(&name(jail))?;
            let settings = Box::default();
            client.call(Request::RegisterTenant { tenant: name(jail).try_into()?, root, settings })?;
        }
        Ok(())
    }

    pub fn client(&self) -> Result<Client> {
        Ok(Client::connect(&self.host.socket())?)
    }

    /// All these jails start, as many at once as there are clients. The time
    /// is from the first request to the last answer, which comes when the
    /// file is durable.
    pub fn storm(&self, jails: Range<usize>) -> Result<Duration> {
        let next = AtomicUsize::new(jails.start);
        let clients = jails.len().min(CLIENTS);
        let barrier = Barrier::new(clients + 1);
        let took = thread::scope(|scope| -> Result<Duration> {
            let threads: Vec<_> = (0..clients)
                .map(|_| {
                    scope.spawn(|| -> Result<()> {
                        let client = self.client();
                        barrier.wait();
                        let mut client = client?;
                        loop {
                            let jail = next.fetch_add(1, Ordering::Relaxed);
                            if jail >= jails.end {
                                return Ok(());
                            }
                            self.hook(&mut client, jail)?;
                        }
                    })
                })
                .collect();
            barrier.wait();
            let begin = Instant::now();
            for thread in threads {
                thread.join().map_err(|_| anyhow::anyhow!("a client broke off"))??;
            }
            Ok(begin.elapsed())
        })?;
        jails.into_iter().try_for_each(|jail| self.check(jail))?;
        Ok(took)
    }

    /// One jail starts.
    pub fn hook(&self, client: &mut Client, jail: usize) -> Result<()> {
        let root = self.root(jail);
        match client.call(Request::Hook { jail: name(jail).try_into()?, root })? {
            Answer::Hook(hook)
                if hook.result == HookResult::Provisioned
                    && hook.provision.as_ref().is_some_and(|it| it.outcome == Outcome::Written) =>
            {
                Ok(())
            }
            other => bail!("{}: {other:?}", name(jail)),
        }
    }

    fn root(&self, jail: usize) -> PathBuf {
        self.host.base().join(name(jail)).join("root")
    }

    /// Whether the jail has its own secrets, all of them.
    fn check(&self, jail: usize) -> Result<()> {
        let path = self.root(jail).join("usr/local/etc/colibri/env");
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        let expected: Vec<String> =
            (0..ITEMS).map(|item| format!("KEY_{item}=value-{jail}-{item}")).collect();
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        ensure!(lines == expected, "{}: other content than was expected", path.display());
        Ok(())
    }

    /// Each process's own peak, summed up where there are several.
    pub fn memory(&self) -> Result<Memory> {
        let peak = |process: &Process| -> f64 {
            let text = process.status("VmHWM").unwrap_or_default();
            text.trim_end_matches(" kB").parse::<f64>().unwrap_or_default() / 1024.0
        };
        let children = self.host.children()?;
        let sum = |wanted: fn(&Process) -> bool| children.iter().filter(|it| wanted(it)).map(peak).sum();
        let daemon = Process::find(self.host.pid()?).context("no daemon")?;
        Ok(Memory {
            daemon: peak(&daemon),
            fetcher: sum(|it| it.args.first().is_some_and(|arg| arg.ends_with("colibri-fetcher"))),
            bw: sum(serves),
        })
    }
}

/// Whether it is `bw serve` itself, not what confines it.
fn serves(process: &Process) -> bool {
    let program = |name: &str| process.args.first().is_some_and(|arg| arg.ends_with(name));
    !program("bwrap") && !program("colibri-fetcher") && process.args.iter().any(|arg| arg == "serve")
}

/// The name of a jail and of its collection.
pub fn name(jail: usize) -> String {
    format!("jail-{jail:04}")
}

/// What else the machine does: the load average of the last minute.
pub fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}
