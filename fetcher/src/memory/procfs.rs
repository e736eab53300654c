//! Linux: /proc, which needs no right over the process.

use std::fs::{read_dir, read_to_string};

#[expect(clippy::unused_async, reason = "another system has to wait for a program")]
pub async fn of(top: u32) -> Option<u64> {
    let mut sum = resident(top)?;
    let mut left = children(top);
    while let Some(pid) = left.pop() {
        // What has ended since holds nothing.
        sum += resident(pid).unwrap_or_default();
        left.extend(children(pid));
    }
    Some(sum)
}

fn resident(pid: u32) -> Option<u64> {
    let status = read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// What any of its threads started.
fn children(pid: u32) -> Vec<u32> {
    let threads = read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lines = threads.map(|thread| read_to_string(thread.path().join("children")).unwrap_or_default());
    lines
        .flat_map(|line| line.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// There are no jails here.
pub async fn of_jail(_name: &str) -> Option<u64> {
    None
}
