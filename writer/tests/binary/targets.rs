//! What may stand where the file or its directory should be: a correct file
//! comes of it, or a clear error and nothing changed.

use crate::jail::{Jail, Outcome, commit, one, pair, rel, root, run};
use crate::system;
use colibri_pair::{Failure, FileName, Format, Medium, Owner, Report, Verb};
use nix::sys::stat::{Mode, SFlag, mknod};
use nix::unistd::mkfifo;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// A put makes a correct file of whatever is there.
fn replaced(jail: &Jail) {
    assert_eq!(*jail.put(&one("v")).last(), Report::Written { keys: 1 });
    jail.holds("K=v\n");
}

fn old() -> Jail {
    let jail = Jail::new();
    replaced(&jail);
    jail
}

#[test]
fn the_file_says_whose_it_is_where_its_format_has_comments() {
    let named = |format| {
        let mut jail = Jail::new();
        (jail.order.tenant, jail.order.format) = ("web-01.a".into(), format);
        jail
    };
    for format in [Format::Env, Format::Dotenv, Format::Docker] {
        let mut jail = named(format);
        assert_eq!(*jail.put(&one("v")).last(), Report::Written { keys: 1 });
        jail.holds("# Tenant: web-01.a\nK=v\n");
        assert_eq!(*jail.put(&one("v")).last(), Report::Unchanged { keys: 1 });
        // The jail's new name is worth a new file.
        jail.order.tenant = "web02".into();
        assert_eq!(*jail.put(&one("v")).last(), Report::Written { keys: 1 });
        jail.holds("# Tenant: web02\nK=v\n");
    }
    for format in [Format::Json, Format::Dir] {
        let jail = named(format);
        assert_eq!(*jail.put(&one("v")).last(), Report::Written { keys: 1 });
        let found = fs::read_to_string(jail.file()).or_else(|_| fs::read_to_string(jail.file().join("K")));
        assert!(!found.unwrap().contains("web-01.a"), "{format:?}");
        assert_eq!(*jail.put(&one("v")).last(), Report::Unchanged { keys: 1 });
    }
}

#[test]
fn that_only_the_name_is_missing_is_no_change() {
    let mut jail = old();
    let before = jail.snapshot();
    jail.order.tenant = "web01".into();
    assert_eq!(*jail.put(&one("v")).last(), Report::Unchanged { keys: 1 });
    assert_eq!(jail.snapshot(), before);
    assert_eq!(*jail.put(&one("w")).last(), Report::Written { keys: 1 });
    jail.holds("# Tenant: web01\nK=w\n");
}

#[test]
fn a_fifo_is_replaced_and_not_waited_for() {
    let jail = Jail::new();
    mkfifo(&jail.file(), Mode::S_IRWXU).unwrap();
    replaced(&jail);
}

#[test]
fn a_device_is_replaced() {
    if !root("making a device") {
        return;
    }
    let jail = Jail::new();
    let null = fs::metadata("/dev/null").unwrap().rdev();
    // Where devices cannot be made there is nothing to test.
    if mknod(&jail.file(), SFlag::S_IFCHR, Mode::S_IRWXU, null).is_err() {
        colibri_test_host::skip("no devices can be made here");
        return;
    }
    replaced(&jail);
}

#[test]
fn a_symlink_is_replaced_and_not_followed() {
    let jail = Jail::new();
    let victim = jail.outside().join("victim");
    fs::write(&victim, "untouched").unwrap();
    symlink(&victim, jail.file()).unwrap();
    replaced(&jail);
    assert_eq!(fs::read_to_string(victim).unwrap(), "untouched");
}

#[test]
fn a_hard_link_is_replaced_even_if_it_is_equal() {
    let jail = old();
    let other = jail.outside().join("other");
    fs::hard_link(jail.file(), &other).unwrap();
    replaced(&jail);
    fs::remove_file(jail.file()).unwrap();
    fs::hard_link(&other, jail.file()).unwrap();
    assert_eq!(*jail.put(&one("new")).last(), Report::Written { keys: 1 });
    jail.holds("K=new\n");
    assert!(fs::read_to_string(other).unwrap().ends_with("\nK=v\n"));
}

#[test]
fn a_loose_mode_is_replaced_even_if_the_content_is_equal() {
    for loose in [0o644, 0o660, 0o400, 0o4600] {
        let jail = old();
        mode(&jail.file(), loose);
        replaced(&jail);
    }
}

#[test]
fn a_wrong_owner_is_replaced_even_if_the_content_is_equal() {
    if !root("changing an owner") {
        return;
    }
    let jail = old();
    chown(jail.file(), Some(4321), None).unwrap();
    replaced(&jail);
}

#[test]
fn the_file_belongs_to_the_owner_that_the_order_names() {
    if !root("giving a file away") {
        return;
    }
    for (dir, file) in [(0, 0), (0, 1234), (1234, 1234)] {
        let mut jail = Jail::new();
        chown(jail.dir(), Some(dir), Some(dir)).unwrap();
        jail.order.owner = Owner { uid: file, gid: 1235 };
        replaced(&jail);
        assert_eq!(*jail.put(&one("v")).last(), Report::Unchanged { keys: 1 });
        assert_eq!(*jail.put(&one("old")).last(), Report::Written { keys: 1 });
        replaced(&jail);
        jail.order.verb = Verb::Remove;
        assert_eq!(jail.put(b"").reports, [Report::Removed]);
    }
}

#[test]
fn a_directory_of_a_third_user_is_refused_with_advice() {
    if !root("changing an owner") {
        return;
    }
    for file in [0, 1234] {
        let mut jail = Jail::new();
        chown(jail.dir(), Some(77), Some(77)).unwrap();
        jail.order.owner = Owner { uid: file, gid: 1235 };
        jail.put(&one("v")).failed(Failure::WriteFailed, "chown it in the jail");
        assert!(jail.names().is_empty());
    }
}

#[test]
fn a_directory_that_is_made_is_the_owners_and_those_above_are_roots() {
    if !root("giving a directory away") {
        return;
    }
    let mut jail = Jail::bare();
    jail.order.owner = Owner { uid: 1234, gid: 1235 };
    replaced(&jail);
    let state = |path| fs::metadata(path).map(|s| (s.uid(), s.gid(), s.mode() & 0o7777)).unwrap();
    assert_eq!(state(jail.dir()), (1234, 1235, 0o700));
    assert_eq!(state(jail.root().join("etc")), (0, 0, 0o755));
}

#[test]
fn a_directory_in_the_files_place_is_an_error() {
    let jail = Jail::new();
    fs::create_dir(jail.file()).unwrap();
    jail.put(&one("v")).failed(Failure::WriteFailed, "cannot rename the temporary file over the file");
    assert_eq!(jail.names(), ["env"]);
}

#[test]
fn an_immutable_file_is_an_error() {
    if !root("an immutable file") {
        return;
    }
    let jail = old();
    if !system::set_immutable(&jail.file(), true) {
        colibri_test_host::skip("no immutable files here");
        return;
    }
    let outcome = jail.put(&one("w"));
    assert!(system::set_immutable(&jail.file(), false));
    outcome.failed(Failure::WriteFailed, "cannot rename the temporary file over the file");
    jail.holds("K=v\n");
}

/// Whoever set it: 65534 shall read and write all that is made in the directory.
#[cfg(target_os = "linux")]
#[test]
fn a_default_acl_for_somebody_gives_that_user_nothing() {
    use std::os::unix::process::CommandExt;
    if !root("a list of rights") {
        return;
    }
    const SOMEBODY: u32 = 65534;
    let can_read = |path: &Path| {
        let mut cat = std::process::Command::new("/bin/cat");
        cat.arg(path).uid(SOMEBODY).gid(SOMEBODY).output().unwrap().status.success()
    };
    // Owner, that user, group, mask, others.
    let entries =
        [(1_u16, 7_u16, u32::MAX), (2, 7, SOMEBODY), (4, 0, u32::MAX), (16, 7, u32::MAX), (32, 0, u32::MAX)];
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, rights, id) in entries {
        list.extend([&tag.to_le_bytes()[..], &rights.to_le_bytes(), &id.to_le_bytes()].concat());
    }
    for format in [Format::Env, Format::Dir] {
        let mut jail = Jail::new();
        jail.order.format = format;
        let name = "system.posix_acl_default";
        if rustix::fs::setxattr(jail.dir(), name, &list, rustix::fs::XattrFlags::empty()).is_err() {
            colibri_test_host::skip("this file system has no lists of rights");
            return;
        }
        assert_eq!(*jail.put(&one("v")).last(), Report::Written { keys: 1 });
        assert_eq!(*jail.put(&one("v")).last(), Report::Unchanged { keys: 1 });
        for dir in jail.dir().ancestors().take_while(|dir| dir.starts_with(&jail.order.base)) {
            mode(dir, 0o755);
        }
        mode(jail.order.base.parent().unwrap(), 0o755);
        let file = if format == Format::Dir { jail.file().join("K") } else { jail.file() };
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        assert!(!can_read(&file), "{format:?}");
        // The control: what is made with 0660 there is that user's, too.
        let other = jail.dir().join("other");
        fs::write(&other, "").unwrap();
        assert!(can_read(&other));
        // Rights on the file itself are seen as a group's in its mode.
        mode(&file, 0o640);
        assert_eq!(*jail.put(&one("v")).last(), Report::Written { keys: 1 });
    }
}

#[test]
fn a_name_of_255_bytes_is_a_name() {
    let mut jail = Jail::new();
    jail.order.file = FileName::try_from(OsStr::new(&"n".repeat(255))).unwrap();
    replaced(&jail);
}

#[test]
fn a_path_deeper_than_path_max_is_walked() {
    let mut jail = Jail::bare();
    jail.order.dir = rel(&vec!["d".repeat(200); 30].join("/"));
    assert_eq!(*jail.put(&one("v")).last(), Report::Written { keys: 1 });
    assert_eq!(*jail.put(&one("v")).last(), Report::Unchanged { keys: 1 });
}

#[test]
fn a_symlink_on_the_way_is_never_followed() {
    for (place, kind, words) in [
        ("jail", Failure::TargetEscapesRoot, "cannot open the jail root without following a link"),
        ("jail/root", Failure::TargetEscapesRoot, "cannot open the jail root without following a link"),
        ("jail/root/etc", Failure::WriteFailed, "cannot open the target directory without following a link"),
        ("jail/root/etc/colibri", Failure::WriteFailed, "cannot open the target directory without following"),
    ] {
        let jail = Jail::bare();
        let link = jail.order.base.join(place);
        fs::create_dir_all(jail.outside().join("root/etc/colibri")).unwrap();
        fs::create_dir_all(jail.dir()).unwrap();
        fs::remove_dir_all(&link).unwrap();
        symlink(jail.outside(), &link).unwrap();
        jail.put(&one("v")).failed(kind, words);
        assert_eq!(fs::read_dir(jail.outside().join("root/etc/colibri")).unwrap().count(), 0, "{place}");
    }
}

#[test]
fn a_missing_jail_root_is_not_made() {
    let mut jail = Jail::bare();
    jail.order.root = rel("jail/other");
    jail.put(&one("v")).failed(Failure::RootNotMounted, "cannot open the jail root");
    assert!(!jail.root().exists());
}

#[test]
fn a_directory_that_others_may_write_is_refused_with_advice() {
    for loose in [0o770, 0o702, 0o1777] {
        let jail = Jail::new();
        mode(&jail.dir(), loose);
        jail.put(&one("v")).failed(Failure::WriteFailed, "chmod go-w");
        assert!(jail.names().is_empty());
    }
}

#[test]
fn temporaries_that_a_killed_writer_left_are_removed_and_nothing_else() {
    let jail = Jail::new();
    for name in [".colibri-0123.tmp", ".colibri-.tmp", "mine", ".colibri-x"] {
        fs::write(jail.dir().join(name), "").unwrap();
    }
    assert_eq!(*jail.put(&one("v")).last(), Report::Written { keys: 1 });
    let mut names = jail.names();
    names.sort();
    assert_eq!(names, [".colibri-x", "env", "mine"]);
}

/// Runs a put with what `mount` makes of the target directory, and says what lay
/// there after it, but for what only fills it.
fn mounted(jail: &Jail, mount: &str, wire: &[u8]) -> (Outcome, String) {
    mounted_at(jail, &jail.dir(), mount, wire)
}

/// The same with another directory as `$dir`.
fn mounted_at(jail: &Jail, dir: &Path, mount: &str, wire: &[u8]) -> (Outcome, String) {
    let seen = jail.outside().join("seen");
    let script = format!(
        "dir=$1 seen=$2; shift 2; {{ {mount}; }} || exit 99; \"$@\"; status=$?; \
         (cd \"$dir\" && ls -A | grep -v '^fill' && cat env) >\"$seen\"; {}; exit $status",
        system::UNMOUNT,
    );
    let writer = jail.command();
    let mut command = system::mounting_shell();
    command.args(["-c", &script, "sh"]).arg(dir).arg(&seen);
    command.arg(writer.get_program()).args(writer.get_args());
    let outcome = run(command, wire);
    assert_ne!(outcome.status.code(), Some(99), "{}", outcome.log);
    (outcome, fs::read_to_string(seen).unwrap())
}

/// Mounts a memory file system on `$dir`.
fn tmpfs(options: &str) -> String {
    format!("mount -t tmpfs {options} tmpfs \"$dir\" && chmod 700 \"$dir\"")
}

fn may_mount() -> bool {
    root("a mount") && system::may_mount()
}

#[test]
fn a_full_disk_is_an_answer_and_the_old_file_stays() {
    if !may_mount() {
        return;
    }
    let jail = Jail::new();
    let full = tmpfs("-o size=64k") + " && echo old >\"$dir/env\"";
    let (outcome, seen) = mounted(&jail, &full, &large());
    outcome.failed(Failure::WriteFailed, "cannot write the temporary file: No space left on device");
    assert_eq!(seen, "env\nold\n");
}

#[test]
fn no_inode_left_is_an_answer() {
    if !may_mount() {
        return;
    }
    let jail = Jail::new();
    let full = tmpfs(&format!("-o {}=5", system::FILES))
        + " && echo old >\"$dir/env\"; n=0; while (: >\"$dir/fill$n\") 2>/dev/null; do n=$((n + 1)); done";
    let (outcome, seen) = mounted(&jail, &full, &one("v"));
    outcome.failed(Failure::WriteFailed, "cannot create the temporary file: No space left on device");
    assert_eq!(seen, "env\nold\n");
}

#[cfg(target_os = "linux")]
#[test]
fn a_quota_is_an_answer_and_the_old_file_stays() {
    if !may_mount() {
        return;
    }
    let jail = Jail::new();
    let image = jail.outside().join("image");
    // btrfs is the one file system that brings its own quotas to every kernel.
    let quota = format!(
        "image='{}' && truncate -s 128M $image && mkfs.btrfs -qf $image && mount -o loop $image \"$dir\" && \
         chmod 700 \"$dir\" && echo old >\"$dir/env\" && sync && btrfs quota enable \"$dir\" && \
         btrfs qgroup limit 128K \"$dir\"",
        image.display()
    );
    let mut trial = std::process::Command::new("unshare");
    trial.args(["--mount", "sh", "-c", &format!("dir=$1; {quota}"), "sh"]).arg(jail.dir());
    if !trial.output().is_ok_and(|output| output.status.success()) {
        colibri_test_host::skip("no btrfs with quotas to be had here");
        return;
    }
    let (outcome, seen) = mounted(&jail, &format!("{{ {quota}; }} >/dev/null 2>&1"), &large());
    outcome.failed(Failure::WriteFailed, "cannot write the temporary file: Quota exceeded");
    assert_eq!(seen, "env\nold\n");
}

/// Five values of 60 KiB.
fn large() -> Vec<u8> {
    let value = "v".repeat(60 * 1024);
    let pairs = ["A", "B", "C", "D", "E"].map(|key| pair(key, &value));
    [pairs.concat(), commit(5)].concat()
}

#[test]
fn a_read_only_mount_is_an_answer() {
    if !may_mount() {
        return;
    }
    let jail = Jail::new();
    let read_only = tmpfs("") + " && echo old >\"$dir/env\" && " + system::READ_ONLY;
    let (outcome, seen) = mounted(&jail, &read_only, &one("v"));
    outcome.failed(Failure::WriteFailed, "cannot create the temporary file: Read-only file system");
    assert_eq!(seen, "env\nold\n");
    // Without the directory, what cannot be made is told, and not that it is missing.
    let mut jail = Jail::new();
    let dir = jail.dir();
    jail.order.dir = rel(&format!("{}/new", jail.order.dir.as_path().display()));
    let bare = tmpfs("") + " && touch \"$dir/env\" && " + system::READ_ONLY;
    let (outcome, _seen) = mounted_at(&jail, &dir, &bare, &one("v"));
    outcome.failed(Failure::WriteFailed, "cannot make the target directory: Read-only file system");
}

#[test]
fn a_jail_on_another_file_system_is_written() {
    if !may_mount() {
        return;
    }
    let mut jail = Jail::new();
    jail.order.medium = Medium::Memory;
    let (outcome, seen) = mounted(&jail, &tmpfs(""), &one("v"));
    assert_eq!(*outcome.last(), Report::Written { keys: 1 }, "{}", outcome.log);
    assert_eq!(seen, format!("env\n{}K=v\n", colibri_envfile::HEADER));
}

#[test]
fn a_disk_where_memory_is_required_is_refused_before_anything_is_made() {
    let Ok(top) = colibri_test_host::scratch().and_then(tempfile::tempdir_in) else {
        colibri_test_host::skip("the build directory is another user's");
        return;
    };
    let mut jail = Jail::below(top);
    if system::on_memory(&jail.root()) {
        colibri_test_host::skip("the build directory is in memory");
        return;
    }
    jail.order.medium = Medium::Memory;
    jail.put(&one("v")).failed(Failure::NotTmpfs, "not on tmpfs");
    assert!(!jail.root().join("etc").exists());
}
