//! A tenant's further files: one value, another mode, a directory that others share.

use crate::jail::{Jail, Outcome, commit, me, one, pair, root, start};
use colibri_pair::{Failure, FileMode, FileName, Format, Owner, Report, Verb};
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::time::{Duration, Instant};

fn further(mut jail: Jail, id: u32, file: &str, mode: FileMode) -> Jail {
    jail.order.format = Format::Raw;
    jail.order.id = id;
    jail.order.file = FileName::try_from(OsStr::new(file)).unwrap();
    jail.order.mode = mode;
    jail.order.tenant = "web01".into();
    jail
}

fn written(outcome: &Outcome) {
    assert_eq!(*outcome.last(), Report::Written { keys: 1 }, "{}", outcome.log);
}

#[test]
fn a_raw_file_is_its_value_and_nothing_else_in_every_mode() {
    let key = "-----BEGIN PRIVATE KEY-----\nit's $(id) \"é\"\r\n\t-----END PRIVATE KEY-----";
    for &mode in FileMode::ALL {
        for value in [key, "", "\n", "no newline"] {
            let jail = further(Jail::new(), 3, "tls.key", mode);
            written(&jail.put(&[pair("VALUE", value), commit(1)].concat()));
            assert_eq!(fs::read_to_string(jail.file()).unwrap(), value);
            let state = fs::metadata(jail.file()).unwrap();
            assert_eq!(state.mode() & 0o7777, u32::from(mode.bits()));
            assert_eq!((state.uid(), state.gid()), (me().uid, me().gid));
            assert_eq!(jail.names(), ["tls.key"]);
            let again = jail.put(&[pair("VALUE", value), commit(1)].concat());
            assert_eq!(*again.last(), Report::Unchanged { keys: 1 });
        }
    }
}

#[test]
fn a_raw_file_takes_one_value() {
    let jail = further(Jail::new(), 3, "tls.key", FileMode::GroupRead);
    for wire in [commit(0), [pair("A", "1"), pair("B", "2"), commit(2)].concat()] {
        jail.put(&wire).failed(Failure::ProtocolViolation, "a raw file has one value");
    }
    assert!(jail.names().is_empty());
}

#[test]
fn a_mode_that_somebody_changed_is_put_right() {
    let jail = further(Jail::new(), 3, "tls.key", FileMode::Group);
    written(&jail.put(&one("v")));
    fs::set_permissions(jail.file(), Permissions::from_mode(0o644)).unwrap();
    written(&jail.put(&one("v")));
    assert_eq!(fs::metadata(jail.file()).unwrap().mode() & 0o7777, 0o640);
}

/// The mode is 0600 while the value comes, and until all of it is there.
#[test]
fn nobody_else_can_open_the_file_before_it_is_whole() {
    let jail = further(Jail::new(), 3, "tls.key", FileMode::GroupRead);
    let mut seen = Vec::new();
    let (child, mut socket) = start(jail.command());
    socket.write_all(&one(&"x".repeat(65_000))).unwrap();
    drop(socket);
    let end = Instant::now() + Duration::from_secs(10);
    while !jail.file().exists() && Instant::now() < end {
        for entry in fs::read_dir(jail.dir()).unwrap().flatten() {
            let state = fs::symlink_metadata(entry.path());
            seen.extend(state.map(|state| (state.len(), state.mode() & 0o7777)));
        }
    }
    written(&crate::jail::finish(child));
    let early: Vec<_> = seen.iter().filter(|(length, mode)| *length < 65_000 && *mode != 0o600).collect();
    assert!(early.is_empty(), "{early:?}");
}

#[test]
fn each_writer_removes_only_its_own_temporaries() {
    let left = [".colibri-1.tmp", ".colibri.3-file-1.tmp", ".colibri.33-file-1.tmp", ".colibri.4-file-1.tmp"];
    for (id, own) in [(0, 0), (3, 1), (33, 2), (4, 3)] {
        let jail = further(Jail::new(), id, "tls.key", FileMode::Owner);
        left.iter().for_each(|name| fs::write(jail.dir().join(name), "").unwrap());
        written(&jail.put(&one("v")));
        let mut names = jail.names();
        names.sort();
        let mut expected: Vec<_> = left.iter().filter(|name| **name != left[own]).copied().collect();
        expected.push("tls.key");
        assert_eq!(names, expected, "{id}");
    }
}

#[test]
fn a_directory_that_files_share_is_nobodys_own() {
    let jail = further(Jail::bare(), 3, "tls.key", FileMode::Owner);
    written(&jail.put(&one("v")));
    assert_eq!(fs::metadata(jail.dir()).unwrap().mode() & 0o7777, 0o755);
    if !root("two files of different users in a directory of root's") {
        return;
    }
    let group = Owner { uid: 0, gid: 80 };
    let mut jail = further(jail, 4, "dhparam", FileMode::GroupRead);
    jail.order.owner = group;
    written(&jail.put(&one("v")));
    jail.order.owner = Owner { uid: 1234, gid: 1235 };
    jail.order.file = FileName::try_from(OsStr::new("other")).unwrap();
    written(&jail.put(&one("v")));
    // A private one of root's stays root's, too.
    fs::set_permissions(jail.dir(), Permissions::from_mode(0o700)).unwrap();
    written(&jail.put(&one("w")));
    let owner = |name: &str| fs::metadata(jail.dir().join(name)).map(|it| (it.uid(), it.gid())).unwrap();
    assert_eq!((owner("."), owner("dhparam"), owner("other")), ((0, 0), (0, 80), (1234, 1235)));
    chown(jail.dir(), Some(4321), None).unwrap();
    jail.put(&one("x")).failed(Failure::WriteFailed, "neither root's nor the file's owner's");
}

#[test]
fn a_raw_file_is_compared_and_removed() {
    let mut jail = further(Jail::new(), 3, "tls.key", FileMode::GroupRead);
    let wire = |value: &str| [pair("VALUE", value), commit(1)].concat();
    written(&jail.put(&wire("a=b\nc=d\n")));
    jail.order.verb = Verb::Compare;
    let compared = |value: &str| match jail.put(&wire(value)).last() {
        Report::Compared { differences, same, intact } => (differences.len(), *same, *intact),
        other => panic!("{other:?}"),
    };
    assert_eq!((compared("a=b\nc=d\n"), compared("a=b\nc=e\n")), ((0, 1, true), (1, 0, false)));
    jail.order.verb = Verb::Remove;
    assert_eq!(jail.put(b"").reports, [Report::Removed]);
    assert!(jail.names().is_empty());
}
