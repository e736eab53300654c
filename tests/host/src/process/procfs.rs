//! Linux: /proc.

use super::Ids;
use std::collections::BTreeMap;
use std::fs;

/// All processes, each with its arguments.
pub fn all() -> Vec<(u32, String)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| Some((pid, arguments(pid)?))).collect()
}

/// Its arguments, with blanks between them.
pub fn arguments(pid: u32) -> Option<String> {
    words(pid, "cmdline")
}

/// Its environment likewise, where we may see it.
pub fn environment(pid: u32) -> Option<String> {
    words(pid, "environ")
}

fn words(pid: u32, file: &str) -> Option<String> {
    let bytes = fs::read(format!("/proc/{pid}/{file}")).ok()?;
    Some(String::from_utf8_lossy(&bytes).trim_end_matches('\0').replace('\0', " "))
}

fn status(pid: u32, field: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    Some(line.trim().to_owned())
}

fn numbers(pid: u32, field: &str) -> Option<Vec<u32>> {
    status(pid, field)?.split_ascii_whitespace().map(|word| word.parse().ok()).collect()
}

/// Whom it acts as.
pub fn ids(pid: u32) -> Option<Ids> {
    let three = |field: &str| {
        let [real, effective, saved, _] = numbers(pid, field)?.try_into().ok()?;
        Some([effective, real, saved])
    };
    Some(Ids { users: three("Uid")?, groups: three("Gid")?, supplementary: numbers(pid, "Groups")? })
}

/// Its memory, in KiB.
pub fn resident(pid: u32) -> Option<u64> {
    status(pid, "VmRSS")?.split_ascii_whitespace().next()?.parse().ok()
}

/// Its descriptors and what each is, where we may see it.
pub fn descriptors(pid: u32) -> Option<BTreeMap<u32, String>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten() {
        let number = entry.file_name().to_str()?.parse().ok()?;
        // Closed since the directory was read.
        let Ok(what) = fs::read_link(entry.path()) else { continue };
        found.insert(number, what.display().to_string());
    }
    Some(found)
}
