//! FreeBSD: tmpfs(5), mounted by root.

use colibri_pair::Owner;
use nix::mount::{MntFlags, Nmount};
use nix::sys::statfs::statfs;
use nix::unistd::geteuid;
use std::io::{Error, Result};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Ten times what `bw` keeps of a vault with 12,000 items.
const SIZE: &str = "128m";
/// `bw` makes three; a hostile one cannot make a tree that nobody removes.
const FILES: &str = "4096";

/// Mounts one of the owner's, 0700, over `dir`; without root there is none.
///
/// # Errors
/// What the kernel says.
pub fn mount(dir: &Path, owner: Owner) -> Result<()> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let (uid, gid) = (owner.uid.to_string(), owner.gid.to_string());
    Nmount::new()
        .str_opt_owned("fstype", "tmpfs")
        .str_opt_owned("fspath", dir)
        .str_opt_owned("from", "colibri")
        .str_opt_owned("size", SIZE)
        .str_opt_owned("inodes", FILES)
        .str_opt_owned("uid", uid.as_str())
        .str_opt_owned("gid", gid.as_str())
        .str_opt_owned("mode", "700")
        .nmount(MntFlags::MNT_NOSUID | MntFlags::MNT_NOEXEC)
        .map_err(|error| Error::other(error.to_string()))
}

/// Takes away all that is mounted there, with what is in it.
///
/// # Errors
/// What the kernel says.
pub fn unmount(dir: &Path) -> Result<()> {
    while geteuid().is_root() && is_mount(dir) {
        nix::mount::unmount(dir, MntFlags::MNT_FORCE)?;
    }
    Ok(())
}

/// Whether the directory, if it is there, lies on one.
pub fn holds(dir: &Path) -> Option<bool> {
    statfs(dir).ok().map(|found| found.filesystem_type_name() == "tmpfs")
}

/// Whether another file system begins there.
fn is_mount(dir: &Path) -> bool {
    let device = |path: &Path| path.symlink_metadata().ok().map(|found| found.dev());
    let above = dir.parent().and_then(device);
    device(dir).is_some_and(|own| Some(own) != above)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_is_in_it_is_gone_with_it_however_often_it_was_mounted() {
        let base = tempfile::tempdir().unwrap();
        let dir = base.path().join("session");
        fs::create_dir(&dir).unwrap();
        let owner = Owner { uid: 1234, gid: 1235 };
        for _ in 0..2 {
            mount(&dir, owner).unwrap();
            fs::write(dir.join("data.json"), "secret").unwrap();
        }
        let found = dir.metadata().unwrap();
        if geteuid().is_root() {
            assert_eq!(holds(&dir), Some(true));
            assert_eq!((found.uid(), found.gid(), found.mode() & 0o7777), (1234, 1235, 0o700));
            assert!((0..5000).any(|n| fs::create_dir(dir.join(n.to_string())).is_err()));
            unmount(&dir).unwrap();
            assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
        }
        unmount(&dir).unwrap();
    }
}
