//! Linux: /proc, mount namespaces and chattr(1).

use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use std::path::Path;
use std::process::Command;

/// The option of tmpfs that bounds how many files there may be.
pub const FILES: &str = "nr_inodes";
/// Makes a mount on `$dir` read-only.
pub const READ_ONLY: &str = r#"mount -o remount,ro "$dir""#;
/// The mount is gone with its namespace.
pub const UNMOUNT: &str = ":";

pub fn status(pid: u32, field: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Under seccomp, gaining nothing, of one thread.
pub fn confined(pid: u32) -> bool {
    [("Seccomp", "2"), ("NoNewPrivs", "1"), ("Threads", "1")]
        .iter()
        .all(|(field, is)| status(pid, field) == *is)
}

/// The list of a process that has no other group.
pub fn no_other_group(_gid: u32) -> Vec<u32> {
    Vec::new()
}

/// A shell that may mount without anybody seeing it.
pub fn mounting_shell() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh"]);
    command
}

pub fn may_mount() -> bool {
    Command::new("unshare").args(["--mount", "true"]).status().is_ok_and(|status| status.success())
}

/// Makes the file immutable, or ends that.
pub fn set_immutable(file: &Path, on: bool) -> bool {
    let flag = if on { "+i" } else { "-i" };
    Command::new("chattr").arg(flag).arg(file).output().is_ok_and(|output| output.status.success())
}

pub fn on_memory(path: &Path) -> bool {
    statfs(path).unwrap().filesystem_type() == TMPFS_MAGIC
}

/// Its memory is closed to its own user.
pub fn assert_untraceable(pid: u32) {
    for name in ["mem", "maps"] {
        assert!(std::fs::read(format!("/proc/{pid}/{name}")).is_err(), "{name}");
    }
}
