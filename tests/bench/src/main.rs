//! The writer from its start to a durable file and its report, against a minimal
//! program that opens, writes, syncs, renames and syncs with no split and no
//! sandbox. The two alternate in one run, so that the host's mood is the same.

use anyhow::{Result, ensure};
use colibri_pair::{Owner, Verb};
use colibri_proofs::{Jail, frames, program, run};
use nix::unistd::{getegid, geteuid};
use std::process::Command;
use std::time::{Duration, Instant};

const ROUNDS: usize = 201;

fn main() -> Result<()> {
    println!("payload          writer     minimal    ratio   (medians of {ROUNDS})");
    for (name, count, size) in [("20 pairs", 20, 40), ("1 MiB", 16, 64 * 1024 - 8)] {
        let (mut ours, mut minimal) = (Vec::new(), Vec::new());
        let jail = Jail::new("etc/colibri", Owner { uid: geteuid().as_raw(), gid: getegid().as_raw() })?;
        for round in 0..ROUNDS {
            ours.push(once("colibri-writer", &jail, &payload(round, count, size)?)?);
            minimal.push(once("minimal", &jail, &payload(round + ROUNDS, count, size)?)?);
        }
        let (ours, minimal) = (median(ours), median(minimal));
        let ratio = ours.as_secs_f64() / minimal.as_secs_f64();
        println!("{name:10} {:9.2} ms {:8.2} ms {ratio:7.2}", ms(ours), ms(minimal));
    }
    Ok(())
}

/// Frames whose values differ by round, so that each run writes.
fn payload(round: usize, count: usize, size: usize) -> Result<Vec<u8>> {
    let pairs: Vec<_> = (0..count).map(|n| (format!("KEY_{n:02}"), format!("{round:0size$}"))).collect();
    frames(&pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect::<Vec<_>>())
}

fn once(name: &str, jail: &Jail, frames: &[u8]) -> Result<Duration> {
    let mut command = Command::new(program(name)?);
    command.args(jail.order(Verb::Put)?);
    let begin = Instant::now();
    let outcome = run(command, frames)?;
    let took = begin.elapsed();
    ensure!(outcome.done(), "{name} failed: {outcome:?}");
    Ok(took)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
