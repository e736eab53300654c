//! A root whose file system is away, and what is there when it comes back.

use crate::host::Host;
use crate::identity::{ACCEPT, names, refuses};
use colibri_control::Outcome;
use colibri_test_host::namespace::may_mount;
use colibri_test_host::skip;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// A file system on the jail's root, until it is dropped.
struct Mount(PathBuf);

impl Mount {
    fn new(on: PathBuf, words: &[&str]) -> Result<Self, String> {
        fs::create_dir_all(&on).unwrap();
        let mounted = Command::new("mount").args(words).arg(&on).output().unwrap();
        let said = || String::from_utf8_lossy(&mounted.stderr).trim().to_owned();
        if mounted.status.success() { Ok(Self(on)) } else { Err(said()) }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        assert!(Command::new("umount").arg(&self.0).status().unwrap().success());
    }
}

/// Provisioned while it is mounted, refused while it is not, and afterwards as `again` says.
fn mounted(host: &Host, words: &[&str], again: bool) {
    let root = host.path("jails/web/root");
    let mount = match Mount::new(root.clone(), words) {
        Ok(mount) => mount,
        Err(said) => return skip(format_args!("mount {words:?}: {said}")),
    };
    fs::write(root.join("sh"), "").unwrap();
    host.secrets("web", &[("A", "1")]);
    host.register("web");
    assert_eq!(host.provision("web").outcome, Outcome::Written);
    drop(mount);
    assert_eq!(names(&root), [] as [PathBuf; 0]);
    refuses(host);
    let _mount = Mount::new(root.clone(), words).unwrap();
    if again {
        assert_eq!(host.provision("web").error, None);
        return;
    }
    fs::write(root.join("sh"), "").unwrap();
    refuses(host);
    host.say(ACCEPT).unwrap();
    assert_eq!(host.provision("web").error, None);
}

#[test]
fn a_bind_mount_that_is_away_is_not_the_directory_below_it() {
    if !may_mount("mounts::a_bind_mount_that_is_away_is_not_the_directory_below_it") {
        return;
    }
    let host = Host::new();
    let source = host.path("source");
    fs::create_dir(&source).unwrap();
    mounted(&host, &["--bind", source.to_str().unwrap()], true);
}

#[test]
fn a_memory_file_system_that_is_mounted_anew_is_another_jail() {
    if !may_mount("mounts::a_memory_file_system_that_is_mounted_anew_is_another_jail") {
        return;
    }
    mounted(&Host::new(), &["-t", "tmpfs", "tmpfs"], false);
}

#[test]
fn a_file_system_of_its_own_is_known_when_it_is_mounted_again() {
    if !nix::unistd::geteuid().is_root() {
        return skip("only root sets up a loop device");
    }
    let host = Host::new();
    let image = host.path("image");
    fs::File::create(&image).unwrap().set_len(8 << 20).unwrap();
    let made =
        Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image).env("PATH", "/usr/sbin:/sbin:/bin").status();
    assert!(made.is_ok_and(|made| made.success()), "mkfs.ext4 is in e2fsprogs");
    mounted(&host, &["-o", "loop", image.to_str().unwrap()], true);
}
