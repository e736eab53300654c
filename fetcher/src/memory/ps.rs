//! FreeBSD: ps, which is set up for nothing else, in KiB by its manual.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::process::Stdio;
use tokio::process::Command;

/// Counts the process and all below it.
#[derive(Clone, Debug)]
pub struct Gauge(u32);

impl Gauge {
    /// Nothing is started before it is asked.
    ///
    /// # Errors
    /// None here.
    pub const fn start(top: u32) -> std::io::Result<Self> {
        Ok(Self(top))
    }

    /// Resident memory in KiB; `None` when the process has ended.
    pub async fn held(&self) -> Option<u64> {
        of(self.0).await
    }
}

/// No process of its own counts here.
pub const fn counted(_word: &OsStr) -> Option<anyhow::Result<()>> {
    None
}

pub async fn of(top: u32) -> Option<u64> {
    let mut ps = Command::new("/bin/ps");
    // Each with an option of its own: what follows a `=` is a heading.
    ps.args(["-ax", "-o", "pid=", "-o", "ppid=", "-o", "rss="])
        .env_clear()
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    let output = ps.kill_on_drop(true).output().await.ok()?;
    let table = String::from_utf8(output.stdout).ok()?;
    let mut resident = HashMap::new();
    let mut children = HashMap::<u32, Vec<u32>>::new();
    for line in table.lines() {
        let mut words = line.split_ascii_whitespace();
        let (pid, parent) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        resident.insert(pid, words.next()?.parse::<u64>().ok()?);
        children.entry(parent).or_default().push(pid);
    }
    resident.get(&top)?;
    let (mut sum, mut left) = (0, vec![top]);
    while let Some(pid) = left.pop() {
        sum += resident.get(&pid).copied().unwrap_or_default();
        left.extend(children.remove(&pid).unwrap_or_default());
    }
    Some(sum)
}

pub async fn of_jail(name: &str) -> Option<u64> {
    let mut ps = Command::new("/bin/ps");
    ps.args(["-J", name, "-o", "rss="]).env_clear().stdin(Stdio::null()).stderr(Stdio::null());
    let output = ps.kill_on_drop(true).output().await.ok()?;
    let table = String::from_utf8(output.stdout).ok()?;
    let resident: Vec<u64> = table.lines().filter_map(|line| line.trim().parse().ok()).collect();
    (!resident.is_empty()).then(|| resident.iter().sum())
}
