//! FreeBSD: what was mounted is the name: a dataset, a device, NullFS's lower
//! directory. The ids of many kinds of file systems are made anew at each mount.

use std::process::Command;

/// This boot: its random number. The time of a boot is no name: it moves with the
/// clock.
pub fn boot() -> Option<String> {
    let asked = Command::new("/sbin/sysctl").args(["-nx", "kern.boot_id"]).env_clear().output().ok()?;
    let told = String::from_utf8(asked.stdout).ok()?;
    // "Format: Length:16 Dump:0x...", or the number alone.
    let id = told.trim().rsplit(':').next()?;
    asked.status.success().then(|| id.to_owned()).filter(|id| !id.is_empty())
}

/// What was mounted there; nothing for what begins empty.
pub fn lasting(mounted: &str, _device: u64) -> Option<String> {
    (!["", "tmpfs"].contains(&mounted)).then(|| mounted.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// kern.boottime, which moves with the clock, is another.
    #[test]
    fn a_boot_is_known_by_its_random_number() {
        let id = boot().unwrap();
        let number = id.strip_prefix("0x").unwrap();
        assert!(number.len() == 32 && number.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        assert_eq!(boot(), Some(id));
    }
}
