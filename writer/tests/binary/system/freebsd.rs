//! FreeBSD: procstat(1), mounts that everybody sees, and chflags(1).

use nix::sys::statfs::statfs;
use std::path::Path;
use std::process::Command;

/// The option of tmpfs that bounds how many files there may be.
pub const FILES: &str = "inodes";
/// Makes a mount on `$dir` read-only.
pub const READ_ONLY: &str = r#"mount -u -o ro "$dir""#;
/// Takes the mount away again.
pub const UNMOUNT: &str = r#"umount -f "$dir""#;

/// In capability mode.
pub fn confined(pid: u32) -> bool {
    colibri_test_host::process::confined(pid).unwrap()
}

/// The list of a process that has no other group: it begins with the effective.
pub fn no_other_group(gid: u32) -> Vec<u32> {
    vec![gid]
}

/// A shell that may mount.
pub fn mounting_shell() -> Command {
    Command::new("sh")
}

pub fn may_mount() -> bool {
    true
}

/// Makes the file immutable, or ends that.
pub fn set_immutable(file: &Path, on: bool) -> bool {
    let flag = if on { "schg" } else { "noschg" };
    Command::new("chflags").arg(flag).arg(file).output().is_ok_and(|output| output.status.success())
}

pub fn on_memory(path: &Path) -> bool {
    statfs(path).unwrap().filesystem_type_name() == "tmpfs"
}

/// Its own user's debugger may not attach.
pub fn assert_untraceable(pid: u32) {
    let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
    assert_eq!(nix::sys::ptrace::attach(pid), Err(nix::errno::Errno::EPERM));
}
