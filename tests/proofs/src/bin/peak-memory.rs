//! Prints the writer's peak resident memory in KiB, taken from /proc while it
//! still waits for the commit: after no pair, after 1 MiB of plain values, and
//! after 1 MiB of values that double when they are quoted.

use anyhow::{Context, Result};
use colibri_ipc::{MAX_TOTAL, MAX_VALUE, Report};
use colibri_order::{Owner, Verb};
use colibri_proofs::{Jail, frames, start, writer};
use nix::sys::socket::{setsockopt, sockopt::SndBuf};
use nix::unistd::{getegid, geteuid};
use std::io::Write;

fn main() -> Result<()> {
    let values = ["".to_owned(), "v".repeat(MAX_VALUE - 8), "'".to_owned() + &"$".repeat(MAX_VALUE - 9)];
    for (case, value) in ["idle", "plain", "quoted"].iter().zip(values) {
        println!("{case} {}", peak(&value)?);
    }
    Ok(())
}

fn peak(value: &str) -> Result<u64> {
    let jail = Jail::new("etc/colibri", Owner { uid: geteuid().as_raw(), gid: getegid().as_raw() })?;
    let (mut child, mut socket) = start(writer(&jail.order(Verb::Put)?)?)?;
    // With no room in the socket, what was sent was also read.
    setsockopt(&socket, SndBuf, &1)?;
    let mut report = child.stdout.take().context("no report")?;
    let ready = colibri_ipc::recv(&mut report, colibri_ipc::MAX_REPORT)?.context("the writer ended")?;
    let ready: Report = colibri_ipc::decode(&ready)?;
    anyhow::ensure!(ready == Report::Ready, "the writer was not ready: {ready:?}");
    let keys: Vec<String> =
        (0..if value.is_empty() { 0 } else { MAX_TOTAL / MAX_VALUE }).map(|n| format!("K{n:03}")).collect();
    let pairs: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), value)).collect();
    let wire = frames(&pairs)?;
    // All but the commit and a last byte before it.
    socket.write_all(&wire[..wire.len() - 12])?;
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()))?;
    socket.write_all(&wire[wire.len() - 12..])?;
    anyhow::ensure!(child.wait()?.success(), "the writer failed");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
