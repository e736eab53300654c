//! FreeBSD: what was mounted is the name: a dataset, a device, NullFS's lower
//! directory. The ids of many kinds of file systems are made anew at each mount.

use std::process::Command;

/// This boot.
pub fn boot() -> Option<String> {
    let asked = Command::new("/sbin/sysctl").args(["-n", "kern.boottime"]).env_clear().output().ok()?;
    let told = String::from_utf8(asked.stdout).ok()?;
    asked.status.success().then(|| told.trim().to_owned()).filter(|boot| !boot.is_empty())
}

/// What was mounted there; nothing for what begins empty.
pub fn lasting(mounted: &str, _device: u64) -> Option<String> {
    (!["", "tmpfs"].contains(&mounted)).then(|| mounted.to_owned())
}
