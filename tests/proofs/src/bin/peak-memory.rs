//! Prints the writer's peak resident memory in KiB, taken from /proc when its
//! file is in place and its report finds no room: for no pair, for 1 MiB of plain
//! values, and for 1 MiB of values that double when they are quoted.

use anyhow::{Context, Result};
use colibri_pair::{MAX_TOTAL, MAX_VALUE, Owner, Report, Verb};
use colibri_proofs::{Jail, frames, start_with, writer};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::{getegid, geteuid};
use std::io::{Read, Write};
use std::thread::sleep;
use std::time::{Duration, Instant};

fn main() -> Result<()> {
    let values = ["".to_owned(), "v".repeat(MAX_VALUE - 8), "'".to_owned() + &"$".repeat(MAX_VALUE - 9)];
    for (case, value) in ["idle", "plain", "quoted"].iter().zip(values) {
        println!("{case} {}", peak(&value)?);
    }
    Ok(())
}

fn peak(value: &str) -> Result<u64> {
    let jail = Jail::new("etc/colibri", Owner { uid: geteuid().as_raw(), gid: getegid().as_raw() })?;
    let (mut report, mut full) = std::io::pipe()?;
    let (mut child, mut socket) = start_with(writer(&jail.order(Verb::Put)?)?, full.try_clone()?.into())?;
    let ready = colibri_pair::recv(&mut report, colibri_pair::MAX_REPORT)?.context("the writer ended")?;
    let ready: Report = colibri_pair::decode(&ready)?;
    anyhow::ensure!(ready == Report::Ready, "the writer was not ready: {ready:?}");
    // The flag is the writer's too, which does not write yet.
    fcntl(&full, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    while full.write(&[0]).is_ok() {}
    fcntl(&full, FcntlArg::F_SETFL(OFlag::empty()))?;
    drop(full);
    let keys: Vec<String> =
        (0..if value.is_empty() { 0 } else { MAX_TOTAL / MAX_VALUE }).map(|n| format!("K{n:03}")).collect();
    let pairs: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), value)).collect();
    socket.write_all(&frames(&pairs)?)?;
    let end = Instant::now() + Duration::from_secs(60);
    while !jail.file().exists() {
        anyhow::ensure!(Instant::now() < end, "no file came");
        sleep(Duration::from_millis(1));
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()))?;
    report.read_to_end(&mut Vec::new())?;
    anyhow::ensure!(child.wait()?.success(), "the writer failed");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
