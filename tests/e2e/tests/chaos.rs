//! Provisions while the vault misbehaves at random: each ends in time and by
//! name, and once the vault is well again every tenant gets its file with no
//! operator. `make test` does 20; all 200, with the vault's limit on logins
//! among the faults, take a quarter of an hour:
//!
//! ```sh
//! COLIBRI_FULL=1 cargo test -p colibri-e2e --test chaos -- --nocapture
//! ```
//!
//! `COLIBRI_SEED` repeats a run. Not among the faults is what only an operator
//! can heal (refused credentials, a client that is too old), nor what nobody can
//! tell from a true answer (an empty collection).
#![cfg(target_os = "linux")]

use anyhow::{Context, Result, ensure};
use colibri_control::{Answer, Outcome, Provision, Request};
use colibri_e2e::host::{Account, Host, PATIENCE};
use colibri_test_vault::{Fault, Fixture, LoginLimit, Route, Times, Transport, Vault};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const DIR: &str = "usr/local/etc/colibri";
/// What a loaded machine may take longer.
const GRACE: Duration = Duration::from_secs(30);

/// How much of it is done.
struct Extent {
    provisions: usize,
    /// Asked for at the same time.
    at_once: usize,
    /// Each waits up to this long, in milliseconds, before it asks again.
    pause: u64,
    deadline: Duration,
    /// Until every tenant has its file; the daemon waits up to ten minutes
    /// between two attempts.
    healing: Duration,
    limits_logins: bool,
}

fn extent() -> Extent {
    if std::env::var_os("COLIBRI_FULL").is_some() {
        return Extent {
            provisions: 200,
            at_once: 8,
            pause: 1500,
            deadline: Duration::from_secs(30),
            healing: Duration::from_secs(1500),
            limits_logins: true,
        };
    }
    Extent {
        provisions: 20,
        at_once: 20,
        pause: 8000,
        deadline: Duration::from_secs(20),
        healing: PATIENCE * 2,
        limits_logins: false,
    }
}

/// The same in every short run, so that it fails or passes for everybody.
fn seed(extent: &Extent) -> Result<u64> {
    match std::env::var("COLIBRI_SEED") {
        Ok(text) => text.parse().context("COLIBRI_SEED is no number"),
        Err(_) if extent.limits_logins => Ok(rand::random()),
        Err(_) => Ok(4),
    }
}

/// Makes the vault misbehave in one way, in place of the way before.
fn misbehave(vault: &Vault, extent: &Extent, random: &mut StdRng) -> Result<String> {
    const ROUTES: [Route; 3] = [Route::Token, Route::Sync, Route::RevisionDate];
    const FAULTS: [Fault; 9] = [
        Fault::Delay(700),
        Fault::Hang,
        Fault::Close,
        Fault::CutBody,
        Fault::Garbled,
        Fault::Html,
        Fault::TruncatedJson,
        Fault::Status(500),
        Fault::HugeBody(4_000_000),
    ];
    // What a server says that is up, and not well.
    const ANSWERS: [(Route, Fault); 4] = [
        (Route::Sync, Fault::KeepCollections(0)),
        (Route::Sync, Fault::KeepCollections(5)),
        (Route::Sync, Fault::Unauthorized),
        (Route::RevisionDate, Fault::Unauthorized),
    ];
    const TRANSPORTS: [Transport; 4] =
        [Transport::Refuse, Transport::Hang, Transport::Close, Transport::Untrusted];
    vault.heal_all();
    vault.limit_logins(None);
    Ok(match random.random_range(0..12) {
        choice @ (0..5 | 10..) => {
            let (route, fault) = match choice {
                10.. => ANSWERS[random.random_range(0..ANSWERS.len())],
                _ => {
                    let fault = FAULTS[random.random_range(0..FAULTS.len())];
                    (ROUTES[random.random_range(0..ROUTES.len())], fault)
                }
            };
            let times = if random.random() { Times::Always } else { Times::Next(1) };
            vault.fault(route, fault, times);
            format!("{route:?} {fault:?} {times:?}")
        }
        5 | 6 => {
            let transport = TRANSPORTS[random.random_range(0..TRANSPORTS.len())];
            vault.transport(transport);
            format!("{transport:?}")
        }
        7 => {
            vault.expire_tokens();
            "expired tokens".into()
        }
        8 if extent.limits_logins => match random.random_range(0..3) {
            0 => {
                vault.limit_logins(Some(LoginLimit { burst: 0, period: Duration::from_secs(60) }));
                "limited logins".into()
            }
            1 => {
                vault.fault(Route::Token, Fault::SlowDown, Times::Next(1));
                "limited logins, as in the cloud".into()
            }
            _ => {
                vault.fault(Route::Sync, Fault::RateLimited, Times::Next(1));
                "limited syncs".into()
            }
        },
        _ => {
            let tenant = random.random_range(0..extent.provisions);
            vault.edit(|fixture| {
                fixture.add_collection(&format!("new-{}", random.random::<u64>()));
                if let Some(item) = fixture.organizations[0].items.get_mut(2 * tenant) {
                    item.set_value("changed");
                }
            })?;
            "changed items and collections".into()
        }
    })
}

fn name(number: usize) -> String {
    format!("jail-{number:04}")
}

fn provision(host: &Host, number: usize) -> Result<Provision> {
    match host.ask(Request::Provision { tenant: Some(name(number).try_into()?) })? {
        Answer::Provisions(all) => all.into_iter().next().context("no provision"),
        other => anyhow::bail!("no provision in {other:?}"),
    }
}

/// All provisions, and how they ended.
fn provision_all(host: &Host, extent: &Extent, seed: u64) -> Result<BTreeMap<String, u32>> {
    let (next, ended) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    thread::scope(|scope| -> Result<()> {
        let work = |worker: u64| {
            let (next, ended) = (&next, &ended);
            move || -> Result<()> {
                let mut random = StdRng::seed_from_u64(seed.wrapping_add(worker));
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= extent.provisions {
                        return Ok(());
                    }
                    thread::sleep(Duration::from_millis(random.random_range(0..extent.pause)));
                    let over = provision(host, number)?;
                    let took = Duration::from_millis(over.ms);
                    ensure!(took < extent.deadline + GRACE, "{over:?}");
                    ensure!((over.outcome == Outcome::Failed) == over.error.is_some(), "{over:?}");
                    let name = over.error.map_or_else(|| "written".into(), |error| error.name.to_string());
                    let mut ended = ended.lock().map_err(|_| anyhow::anyhow!("another thread failed"))?;
                    *ended.entry(name).or_insert(0) += 1;
                }
            }
        };
        let workers: Vec<_> = (1..=extent.at_once as u64).map(|worker| scope.spawn(work(worker))).collect();
        for worker in workers {
            worker.join().map_err(|_| anyhow::anyhow!("a worker panicked"))??;
        }
        Ok(())
    })?;
    ended.into_inner().map_err(|_| anyhow::anyhow!("a thread failed"))
}

/// Switches the vault among its misbehaviours until told to stop.
fn switch(vault: &Vault, extent: &Extent, seed: u64, over: &AtomicBool) -> Result<BTreeMap<String, u32>> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut done = BTreeMap::new();
    while !over.load(Ordering::Relaxed) {
        *done.entry(misbehave(vault, extent, &mut random)?).or_insert(0) += 1;
        let until = Instant::now() + Duration::from_millis(random.random_range(300..3000));
        while Instant::now() < until && !over.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(done)
}

/// The numbers of those whose file is not there, or not whole.
fn missing(host: &Host, extent: &Extent) -> Vec<usize> {
    let whole = |number: &usize| {
        let file = host.base().join(name(*number)).join("root").join(DIR).join("env");
        fs::read_to_string(file).is_ok_and(|text| text.contains("KEY_0=") && text.contains("KEY_1="))
    };
    (0..extent.provisions).filter(|number| !whole(number)).collect()
}

fn nothing_is_left(host: &Host, extent: &Extent) -> Result<()> {
    host.wait_for("an end of all processes", || host.children().ok()?.is_empty().then_some(()))?;
    ensure!(fs::read_dir(host.path("run/session"))?.next().is_none(), "a session's directory is left");
    for number in 0..extent.provisions {
        let dir = host.base().join(name(number)).join("root").join(DIR);
        let files: Vec<_> = fs::read_dir(&dir)?.flatten().map(|entry| entry.file_name()).collect();
        ensure!(files == ["env"], "in {}: {files:?}", dir.display());
    }
    Ok(())
}

#[test]
fn every_provision_ends_by_name_and_every_tenant_gets_its_file() -> Result<()> {
    let extent = extent();
    let seed = seed(&extent)?;
    println!("COLIBRI_SEED={seed}");
    let (mut host, vault) = Host::with_vault(Fixture::fleet(extent.provisions, 2))?;
    vault.limit_logins(None);
    host.set_account(&Account::of(&vault)?);
    host.set("COLIBRI_SESSION_IDLE", "2s");
    host.set("COLIBRI_DEADLINE", format!("{}s", extent.deadline.as_secs()));
    for number in 0..extent.provisions {
        host.jail(&name(number))?;
    }
    host.start()?;
    for number in 0..extent.provisions {
        let root = host.base().join(name(number)).join("root");
        let settings = Default::default();
        host.ask(Request::RegisterTenant { tenant: name(number).try_into()?, root, settings })?;
    }

    let begun = Instant::now();
    let over = AtomicBool::new(false);
    let (ended, switched) = thread::scope(|scope| {
        let chaos = scope.spawn(|| switch(&vault, &extent, seed, &over));
        let ended = provision_all(&host, &extent, seed);
        over.store(true, Ordering::Relaxed);
        let switched = chaos.join().map_err(|_| anyhow::anyhow!("the chaos panicked"))?;
        anyhow::Ok((ended?, switched?))
    })?;
    let chaos = begun.elapsed();
    println!("{} misbehaviours: {switched:?}", switched.values().sum::<u32>());
    println!("{} provisions in {chaos:.1?}: {ended:?}", ended.values().sum::<u32>());

    vault.heal_all();
    vault.limit_logins(None);
    let healed = Instant::now();
    while !missing(&host, &extent).is_empty() {
        let left = missing(&host, &extent);
        ensure!(healed.elapsed() < extent.healing, "no file: {left:?}\n{}", host.log());
        thread::sleep(Duration::from_millis(50));
    }
    println!("every tenant has its file {:.1?} after the vault healed", healed.elapsed());
    nothing_is_left(&host, &extent)?;
    println!("nothing is left {:.1?} after that", healed.elapsed());
    host.stop()
}
