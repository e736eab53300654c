//! What the daemon's control socket takes with many tenants, and what the
//! daemon takes when nobody asks it anything.

use crate::fleet::{self, Fleet, name};
use anyhow::{Context, Result, ensure};
use colibri_control::{Answer, Request};
use colibri_e2e::process::Process;
use std::fs;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

const ROUNDS: usize = 101;
const CLIENTS: usize = 50;
/// Of each client.
const REQUESTS: usize = 200;
const IDLE: Duration = Duration::from_secs(30);

pub fn run(fleet: &Fleet, jails: usize) -> Result<()> {
    println!("\nlookups: {jails} active tenants, medians of {ROUNDS}, load {}", fleet::load());
    let mut client = fleet.client()?;
    let list = time(|| match client.call(Request::ListTenants {})? {
        Answer::Tenants(all) if all.len() == jails => Ok(()),
        _ => anyhow::bail!("not all tenants"),
    })?;
    println!("  list-tenants: {list:.2} ms at the socket");
    let program = time(|| fleet.host.colibri_ok(&["list-tenants"]).map(drop))?;
    println!("  colibri list-tenants: {program:.2} ms, the program's start with it");
    let mut number = 0;
    let show = time(|| {
        number = (number + 7) % jails;
        client.call(Request::ShowTenant { tenant: name(number).try_into()? })?;
        Ok(())
    })?;
    println!("  show-tenant: {show:.3} ms at the socket");
    crowd(fleet, jails)?;
    idle(fleet)
}

/// Many clients at once, each with a connection of its own.
fn crowd(fleet: &Fleet, jails: usize) -> Result<()> {
    let barrier = Barrier::new(CLIENTS);
    let begin = Instant::now();
    let answered = thread::scope(|scope| -> Result<usize> {
        let threads: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let barrier = &barrier;
                scope.spawn(move || -> Result<usize> {
                    let client = fleet.client();
                    barrier.wait();
                    let mut client = client?;
                    for request in 0..REQUESTS {
                        let tenant = name((number * REQUESTS + request) % jails);
                        match client.call(Request::ShowTenant { tenant: tenant.clone().try_into()? })? {
                            Answer::Tenant(view) => ensure!(view.tenant.as_str() == tenant, "another tenant"),
                            other => anyhow::bail!("{other:?}"),
                        }
                    }
                    Ok(REQUESTS)
                })
            })
            .collect();
        let mut answered = 0;
        for thread in threads {
            answered += thread.join().map_err(|_| anyhow::anyhow!("a client broke off"))??;
        }
        Ok(answered)
    })?;
    let took = begin.elapsed().as_secs_f64();
    println!(
        "  {CLIENTS} clients at once: {answered} of {} requests answered in {took:.2} s",
        CLIENTS * REQUESTS
    );
    Ok(())
}

/// The session is open and idle, and so is the daemon.
fn idle(fleet: &Fleet) -> Result<()> {
    let pid = fleet.host.pid()?;
    let before = ticks(pid)?;
    thread::sleep(IDLE);
    let spent = ticks(pid)? - before;
    let daemon = Process::find(pid).context("no daemon")?;
    let memory = daemon.status("VmRSS").context("no memory")?;
    println!("  idle: {spent} clock ticks of 10 ms in {} s, {memory} resident", IDLE.as_secs());
    Ok(())
}

/// Processor time of the whole process, in clock ticks.
fn ticks(pid: u32) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, rest) = stat.rsplit_once(')').context("no stat")?;
    let fields = rest.split_ascii_whitespace().skip(11).take(2);
    fields.map(|field| Ok(field.parse::<u64>()?)).sum()
}

/// The median of the rounds, in milliseconds.
fn time(mut once: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        once()?;
        times.push(begin.elapsed());
    }
    Ok(median(times))
}

/// In milliseconds.
pub fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e3
}
