//! Processes as the system shows them, read from /proc.

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

/// One process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// When it started, in clock ticks since boot: with the number, its identity.
    pub started: u64,
    /// Its arguments.
    pub args: Vec<String>,
}

impl Process {
    /// The process of that number, if there is one.
    pub fn find(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let rest = &stat[stat.rfind(')')? + 1..];
        let mut fields = rest.split_ascii_whitespace();
        if matches!(fields.next()?, "Z" | "X") {
            return None;
        }
        let started = fields.nth(18)?.parse().ok()?;
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let args = line.split(|&byte| byte == 0).filter(|arg| !arg.is_empty());
        let args = args.map(|arg| String::from_utf8_lossy(arg).into_owned()).collect();
        Some(Self { pid, started, args })
    }

    /// Whether it still runs.
    pub fn lives(&self) -> bool {
        Self::find(self.pid).is_some_and(|now| now.started == self.started)
    }

    /// Whether one of its first two arguments ends so: a program, or the
    /// script that an interpreter runs.
    pub fn runs(&self, name: &str) -> bool {
        self.args.iter().take(2).any(|arg| arg.ends_with(name))
    }

    /// A field of /proc/PID/status.
    pub fn status(&self, field: &str) -> Option<String> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
        Some(line.trim().to_owned())
    }

    /// Its effective user.
    pub fn uid(&self) -> Option<u32> {
        self.status("Uid")?.split_ascii_whitespace().nth(1)?.parse().ok()
    }

    /// Its environment, as it was given.
    pub fn environ(&self) -> std::io::Result<Vec<u8>> {
        fs::read(format!("/proc/{}/environ", self.pid))
    }

    /// Its descriptors and what they point to.
    pub fn descriptors(&self) -> std::io::Result<HashMap<u32, PathBuf>> {
        let mut found = HashMap::new();
        for entry in fs::read_dir(format!("/proc/{}/fd", self.pid))? {
            let entry = entry?;
            if let Some(number) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
                found.insert(number, fs::read_link(entry.path())?);
            }
        }
        Ok(found)
    }

    /// How often `needle` stands in its writable memory.
    ///
    /// # Errors
    /// When the system does not let us look.
    pub fn memory_holds(&self, needle: &[u8]) -> std::io::Result<usize> {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.pid))?;
        let mut memory = fs::File::open(format!("/proc/{}/mem", self.pid))?;
        let mut found = 0;
        for line in maps.lines() {
            let mut fields = line.split_ascii_whitespace();
            let (Some(range), Some(mode)) = (fields.next(), fields.next()) else { continue };
            if !mode.starts_with("rw") {
                continue;
            }
            let Some((from, to)) = range.split_once('-') else { continue };
            let (Ok(from), Ok(to)) = (u64::from_str_radix(from, 16), u64::from_str_radix(to, 16)) else {
                continue;
            };
            found += scan(&mut memory, from, to, needle);
        }
        Ok(found)
    }
}

fn scan(memory: &mut fs::File, from: u64, to: u64, needle: &[u8]) -> usize {
    const STEP: u64 = 1 << 20;
    let mut found = 0;
    let mut at = from;
    while at < to {
        let wanted = (to - at).min(STEP + needle.len() as u64);
        let mut buffer = Vec::new();
        if memory.seek(SeekFrom::Start(at)).is_ok() {
            // A page that is not there ends the read; the next step goes on.
            let _ = memory.by_ref().take(wanted).read_to_end(&mut buffer);
            found += buffer.windows(needle.len()).filter(|window| *window == needle).count();
        }
        at += STEP;
    }
    found
}

/// All processes.
pub fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| Process::find(entry.file_name().to_str()?.parse().ok()?)).collect()
}

/// The children of `pid`, their children, and so on.
pub fn descendants(pid: u32) -> Vec<Process> {
    let everybody = all();
    let parent = |process: &Process| process.status("PPid").and_then(|pid| pid.parse::<u32>().ok());
    let parents: HashMap<u32, Option<u32>> = everybody.iter().map(|p| (p.pid, parent(p))).collect();
    let below = |process: &Process| {
        let mut at = process.pid;
        while let Some(Some(up)) = parents.get(&at) {
            if *up == pid {
                return true;
            }
            at = *up;
        }
        false
    };
    everybody.into_iter().filter(below).collect()
}
