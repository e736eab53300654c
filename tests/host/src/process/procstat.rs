//! FreeBSD: ps(1) and procstat(1).

use super::Ids;
use std::collections::BTreeMap;
use std::process::{Command, Stdio};

fn lines(program: &str, args: &[&str]) -> Option<Vec<String>> {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then(|| text.lines().map(Into::into).collect())
}

/// The one line of procstat about it, without its number and its program.
fn procstat(what: &str, pid: u32) -> Option<String> {
    let line = lines("/usr/bin/procstat", &["-h", what, &pid.to_string()])?.into_iter().next()?;
    let (_, rest) = line.trim_start().split_once(' ')?;
    let (_, rest) = rest.trim_start().split_once(' ')?;
    let rest = rest.trim();
    // What there is none of, or what we may not see.
    (rest != "-").then(|| rest.to_owned())
}

/// All processes, each with its arguments.
pub fn all() -> Vec<(u32, String)> {
    let table = lines("/bin/ps", &["-axww", "-o", "pid=", "-o", "args="]).unwrap_or_default();
    let split = |line: &String| {
        let (pid, args) = line.trim().split_once(' ')?;
        Some((pid.parse().ok()?, args.trim().to_owned()))
    };
    table.iter().filter_map(split).collect()
}

/// Its arguments, with blanks between them.
pub fn arguments(pid: u32) -> Option<String> {
    procstat("-c", pid)
}

/// Its environment likewise, where we may see it.
pub fn environment(pid: u32) -> Option<String> {
    procstat("-e", pid)
}

/// Whom it acts as.
pub fn ids(pid: u32) -> Option<Ids> {
    let line = procstat("-s", pid)?;
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let three = |at: usize| {
        let numbers: Option<Vec<u32>> = words.get(at..at + 3)?.iter().map(|word| word.parse().ok()).collect();
        numbers?.try_into().ok()
    };
    let supplementary = words.last()?.split(',').map(|word| word.parse().ok()).collect::<Option<_>>()?;
    Some(Ids { users: three(0)?, groups: three(3)?, supplementary })
}

/// Whether it is in capability mode.
pub fn confined(pid: u32) -> Option<bool> {
    Some(procstat("-s", pid)?.split_ascii_whitespace().nth(7)? == "C")
}

/// Its memory, in KiB.
pub fn resident(pid: u32) -> Option<u64> {
    lines("/bin/ps", &["-o", "rss=", "-p", &pid.to_string()])?.first()?.trim().parse().ok()
}

/// Its descriptors and what each is, where we may see it.
pub fn descriptors(pid: u32) -> Option<BTreeMap<u32, String>> {
    let table = lines("/usr/bin/procstat", &["-h", "-f", &pid.to_string()])?;
    let open = |line: &String| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        // Its text, directories and terminal have words in the number's place.
        Some((words.get(2)?.parse().ok()?, (*words.last()?).to_owned()))
    };
    Some(table.iter().filter_map(open).collect())
}
