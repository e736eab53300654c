//! Linux: most file systems have an id of their own. Where they have none, or make
//! it of the device's number as XFS does, what was mounted stands in for it.

use std::fs::read_to_string;

/// Begin empty whenever they are mounted, whatever they are called.
const FLEETING: [&str; 3] = ["tmpfs", "ramfs", "overlay"];

/// This boot.
pub fn boot() -> Option<String> {
    let boot = read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(boot.trim().to_owned())
}

/// What a file system with that id is called, on that device.
pub fn lasting(id: &str, device: u64) -> Option<String> {
    if id != "0" && id != device.to_string() {
        return Some(format!("id {id}"));
    }
    source(&read_to_string("/proc/self/mountinfo").ok()?, device)
}

fn source(mounts: &str, device: u64) -> Option<String> {
    let number = format!("{}:{}", nix::sys::stat::major(device), nix::sys::stat::minor(device));
    let mount = mounts.lines().find(|line| line.split(' ').nth(2) == Some(&number))?;
    let mut after = mount.split_once(" - ")?.1.split(' ');
    let (kind, source) = (after.next()?, after.next()?);
    let named = !FLEETING.contains(&kind) && source != kind && source != "none";
    named.then(|| format!("{kind} {source}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
25 1 253:3 / / rw,relatime shared:1 - xfs /dev/mapper/rl-root rw,attr2
40 25 0:41 / /j/a rw shared:2 master:3 - tmpfs named rw
41 25 0:42 /web /j/b rw - nfs4 store:/jails rw
42 25 0:43 / /j/c rw - 9p 9p rw
43 25 0:44 / /j/d rw - fuse.x none rw
";

    #[test]
    fn what_was_mounted_is_a_name_where_it_says_something() {
        let at = |major, minor| source(MOUNTS, nix::sys::stat::makedev(major, minor));
        assert_eq!(at(253, 3).unwrap(), "xfs /dev/mapper/rl-root");
        assert_eq!(at(0, 42).unwrap(), "nfs4 store:/jails");
        for minor in [41, 43, 44, 45] {
            assert_eq!(at(0, minor), None, "{minor}");
        }
    }

    #[test]
    fn an_id_that_is_the_device_s_number_is_none() {
        assert_eq!(lasting("77", 3).unwrap(), "id 77");
        assert_eq!(lasting("0", u64::MAX), None);
        assert_eq!(lasting(&u64::MAX.to_string(), u64::MAX), None);
    }
}
