//! Control groups (Linux): one for each agent, beside the daemon's own, with
//! bounds on memory and processes, and a way to kill all that is in it at once.
//! The daemon takes only what it was given: a group of systemd's delegation, or
//! the one it is told. Where there is none, it says what is not bounded.

use crate::jail::{Host, Jails};
use crate::settings::Settings;
use colibri_tenant::JailName;
use nix::unistd::geteuid;
use std::fs::{self, read_to_string};
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// The daemon's own group, and what the unit calls it in `DelegateSubgroup=`.
const OWN: &str = "colibrid";
/// What the daemon gets of a full processor, to an agent's 100.
const WEIGHT: &str = "1000";
/// The group of all who keep agents' logs, and what it gets: agents that print without
/// end make them as busy as they like.
const KEEPERS: &str = "logs";
const KEEPERS_WEIGHT: &str = "20";
/// How long what was killed may take to go.
const GOING: Duration = Duration::from_millis(20);
const TRIES: u32 = 50;

/// An amount of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// In bytes.
    Bytes(u64),
    /// Of all that the host has, in percent.
    Percent(u64),
}

impl FromStr for Memory {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (number, unit) = text.split_at(text.len() - text.chars().next_back().map_or(0, char::len_utf8));
        let number = number.parse::<u64>().ok().filter(|number| *number > 0);
        match (number, unit) {
            (Some(percent), "%") if percent <= 100 => Some(Self::Percent(percent)),
            (Some(number), "K") => number.checked_mul(1 << 10).map(Self::Bytes),
            (Some(number), "M") => number.checked_mul(1 << 20).map(Self::Bytes),
            (Some(number), "G") => number.checked_mul(1 << 30).map(Self::Bytes),
            _ => None,
        }
        .ok_or_else(|| "not an amount of memory such as 512M, 2G or 25%".into())
    }
}

impl Memory {
    /// Nothing where the host does not say what it has.
    fn bytes(self) -> Option<u64> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Percent(percent) => {
                let known = read_to_string("/proc/meminfo").ok()?;
                let total = known.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
                let total = total.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?;
                total.checked_mul(1024)?.checked_div(100)?.checked_mul(percent)
            }
        }
    }
}

/// The groups of all agents.
#[derive(Debug)]
pub struct Cgroups {
    base: Option<PathBuf>,
    controllers: String,
    memory: Option<u64>,
    processes: u32,
    why: String,
}

impl Cgroups {
    /// Takes what there is, and moves this process out of the way: a group with
    /// processes of its own cannot bound the groups in it.
    pub fn find(settings: &Settings) -> Self {
        let none = |why: String| Self {
            base: None,
            controllers: String::new(),
            memory: settings.agent_memory.bytes(),
            processes: settings.agent_processes,
            why,
        };
        if !Host::OWN_USERS {
            return none("bound each jail with rctl(8)".into());
        }
        let base = match &settings.cgroup {
            Some(base) => {
                let told = |why: &String| tracing::warn!("COLIBRI_CGROUP is not taken: {why}");
                let settled = settle(base).map_err(|error| format!("{}: {error}", base.display()));
                settled.map(|()| base.clone()).inspect_err(told)
            }
            None => delegated().ok_or_else(|| "colibrid has no control group of its own to divide".into()),
        };
        match base {
            Ok(base) => {
                let controllers = enable(&base);
                let why = format!("{} has no such controller", base.display());
                Self { base: Some(base), controllers, ..none(why) }
            }
            Err(why) => none(why),
        }
    }

    /// What of an agent has no bound here, a line each.
    pub fn unbounded(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.has("memory") || self.memory.is_none() {
            lines.push(format!("memory not bounded: {}", self.why));
        }
        // Root's daemon bounds them for the jail's user, too.
        let by_user = Host::OWN_USERS && geteuid().is_root();
        if !self.has("pids") && !by_user {
            lines.push(format!("processes not bounded: {}", self.why));
        }
        // By user or session there is no share that an agent cannot multiply.
        if !self.has("cpu") {
            lines.push(format!("processor time not bounded: {}", self.why));
        }
        lines
    }

    fn has(&self, controller: &str) -> bool {
        self.controllers.split_ascii_whitespace().any(|word| word == controller)
    }

    fn group(&self, jail: &JailName) -> Option<PathBuf> {
        Some(self.base.as_ref()?.join(format!("agent-{jail}")))
    }

    /// Moves a process that is to become an agent into its jail's group.
    ///
    /// # Errors
    /// The step that the system refused: it is not bounded then.
    pub fn admit(&self, jail: &JailName, pid: u32) -> Result<()> {
        let Some(group) = self.group(jail) else { return Ok(()) };
        make(&group)?;
        if self.has("pids") {
            fs::write(group.join("pids.max"), self.processes.to_string())?;
        }
        if let Some(memory) = self.memory.filter(|_| self.has("memory")) {
            fs::write(group.join("memory.max"), memory.to_string())?;
            // Not everywhere: without swap, and in older kernels.
            for (file, value) in [("memory.swap.max", "0"), ("memory.oom.group", "1")] {
                let _older = fs::write(group.join(file), value);
            }
        }
        fs::write(group.join("cgroup.procs"), pid.to_string())
    }

    /// Moves a process that keeps an agent's log out of the daemon's own group. It is
    /// in no agent's, whose end it outlives.
    ///
    /// # Errors
    /// The step that the system refused.
    pub fn admit_keeper(&self, pid: u32) -> Result<()> {
        let Some(base) = &self.base else { return Ok(()) };
        let group = base.join(KEEPERS);
        make(&group)?;
        if self.has("cpu") {
            fs::write(group.join("cpu.weight"), KEEPERS_WEIGHT)?;
        }
        fs::write(group.join("cgroup.procs"), pid.to_string())
    }

    /// Kills all that is in the jail's group.
    pub fn kill(&self, jail: &JailName) {
        if let Some(group) = self.group(jail) {
            let _none = fs::write(group.join("cgroup.kill"), "1");
        }
    }

    /// The same, and the group goes.
    pub async fn clear(&self, jail: &JailName) {
        let Some(group) = self.group(jail) else { return };
        for _ in 0..TRIES {
            self.kill(jail);
            match fs::remove_dir(&group) {
                Err(error) if error.kind() == ErrorKind::ResourceBusy => tokio::time::sleep(GOING).await,
                _ => return,
            }
        }
        tracing::warn!(%jail, "there are processes left in {}", group.display());
    }
}

/// The group above this process's own, if that is the one the unit asked for.
fn delegated() -> Option<PathBuf> {
    let own = read_to_string("/proc/self/cgroup").ok()?;
    let own = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let own = Path::new(own);
    let base = mounted(&read_to_string("/proc/self/mountinfo").ok()?)?.join(own.parent()?);
    (own.file_name()? == OWN && base.join(OWN).is_dir()).then_some(base)
}

/// Where the groups of version 2 are; spaces of the path are not awaited.
fn mounted(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut fields = before.split(' ').skip(3);
        let (root, place) = (fields.next()?, fields.next()?);
        (after.starts_with("cgroup2 ") && root == "/").then(|| place.into())
    })
}

fn settle(base: &Path) -> Result<()> {
    // Elsewhere directories and files of these names would be made, and bound nobody.
    let above = if base.exists() { Some(base) } else { base.parent() };
    if !above.is_some_and(|group| group.join("cgroup.procs").is_file()) {
        return Err(Error::other("it is no control group, and not in one"));
    }
    for group in [base, &base.join(OWN)] {
        make(group)?;
    }
    fs::write(base.join(OWN).join("cgroup.procs"), std::process::id().to_string())
}

fn make(group: &Path) -> Result<()> {
    match fs::create_dir(group) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Has the groups below bound what they can; gives what is in force.
fn enable(base: &Path) -> String {
    for controller in ["+memory", "+pids", "+cpu"] {
        let _lacking = fs::write(base.join("cgroup.subtree_control"), controller);
    }
    let _lacking = fs::write(base.join(OWN).join("cpu.weight"), WEIGHT);
    read_to_string(base.join("cgroup.subtree_control")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_a_directory_that_is_no_control_group_nothing_is_made() {
        let dir = tempfile::tempdir().unwrap();
        for base in [dir.path(), &dir.path().join("group")] {
            assert!(settle(base).unwrap_err().to_string().contains("no control group"));
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn memory_is_read_with_its_unit() {
        for (text, memory) in [
            ("512M", Memory::Bytes(512 << 20)),
            ("2G", Memory::Bytes(2 << 30)),
            ("64K", Memory::Bytes(64 << 10)),
            ("25%", Memory::Percent(25)),
        ] {
            assert_eq!(text.parse(), Ok(memory), "{text}");
        }
        for text in
            ["", "M", "0M", "12", "-1M", "1.5G", "101%", "99999999999999999999G", "9999999999999G", "1é"]
        {
            assert!(text.parse::<Memory>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_groups_are_found_where_version_2_is_mounted() {
        let mounts = "24 1 0:21 / /sys rw,nosuid - sysfs sysfs rw\n\
            25 24 0:22 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
            26 24 0:23 /inner /elsewhere rw shared:3 - cgroup2 cgroup2 rw\n\
            27 24 0:23 / /sys/fs/cgroup/unified rw,nosuid shared:4 - cgroup2 cgroup2 rw\n";
        assert_eq!(mounted(mounts), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(mounted(""), None);
    }
}
