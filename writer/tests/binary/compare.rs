//! The verb compare: it tells how the file differs, and changes nothing.

use crate::jail::{Jail, commit, one, pair, root};
use colibri_pair::{Change, EnvKey, Failure, Format, Report, Verb};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

fn compared(jail: &mut Jail, pairs: &[(&str, &str)]) -> Report {
    jail.order.verb = Verb::Compare;
    let before = jail.snapshot();
    let outcome = jail.put(&wire(pairs));
    assert_eq!(outcome.reports[0], Report::Ready, "{}", outcome.log);
    assert_eq!(jail.snapshot(), before, "a comparison changed something");
    outcome.last().clone()
}

fn wire(pairs: &[(&str, &str)]) -> Vec<u8> {
    let frames = pairs.iter().flat_map(|(key, value)| pair(key, value)).collect::<Vec<_>>();
    [frames, commit(pairs.len().try_into().unwrap())].concat()
}

fn report(differences: &[(Change, &str)], same: u32, intact: bool) -> Report {
    let key = |name: &str| EnvKey::try_from(name.to_owned()).unwrap();
    let differences = differences.iter().map(|(change, name)| (*change, key(name))).collect();
    Report::Compared { differences, same, intact }
}

#[test]
fn added_removed_and_changed_keys_are_named_in_every_format() {
    for &format in Format::ALL.iter().filter(|format| **format != Format::Raw) {
        let mut jail = Jail::new();
        jail.order.format = format;
        jail.put(&wire(&[("A", "it is"), ("B", "2"), ("C", "3")]));
        let same = [("A", "it is"), ("B", "2"), ("C", "3")];
        assert_eq!(compared(&mut jail, &same), report(&[], 3, true), "{format:?}");
        let other = [("A", "it is"), ("C", "33"), ("D", "4")];
        let expected = [(Change::Changed, "C"), (Change::Added, "D"), (Change::Removed, "B")];
        assert_eq!(compared(&mut jail, &other), report(&expected, 1, false), "{format:?}");
    }
}

#[test]
fn without_a_file_every_key_is_added() {
    let mut jail = Jail::new();
    assert_eq!(compared(&mut jail, &[("A", "1")]), report(&[(Change::Added, "A")], 0, false));
    fs::create_dir(jail.file()).unwrap();
    assert_eq!(compared(&mut jail, &[("A", "1")]), report(&[(Change::Added, "A")], 0, false));
}

#[test]
fn without_a_directory_there_is_nothing_to_compare_with() {
    let mut jail = Jail::bare();
    jail.order.verb = Verb::Compare;
    assert_eq!(jail.put(&one("v")).reports, [Report::Absent]);
    assert!(!jail.root().join("etc").exists());
}

#[test]
fn a_looser_mode_and_an_edit_are_no_intact_file() {
    let mut jail = Jail::new();
    jail.put(&one("v"));
    fs::set_permissions(jail.file(), fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(compared(&mut jail, &[("K", "v")]), report(&[], 1, false));
    fs::write(jail.file(), "K=v\nnonsense\n\u{1}\u{fffd}\n").unwrap();
    assert_eq!(compared(&mut jail, &[("K", "v")]), report(&[], 1, false));
}

#[test]
fn a_link_out_of_the_jail_is_not_read() {
    let mut jail = Jail::new();
    fs::write(jail.outside().join("env"), "OUTSIDE=1\n").unwrap();
    symlink(jail.outside().join("env"), jail.file()).unwrap();
    assert_eq!(compared(&mut jail, &[("A", "1")]), report(&[(Change::Added, "A")], 0, false));
}

#[test]
fn a_file_that_is_too_large_is_not_read_whole() {
    let mut jail = Jail::new();
    jail.order.verb = Verb::Compare;
    fs::File::create(jail.file()).unwrap().set_len(1 << 32).unwrap();
    let outcome = jail.put(&one("v"));
    outcome.failed(Failure::WriteFailed, "cannot read the file to compare with");
}

#[test]
fn a_file_of_more_keys_than_ours_is_an_error() {
    let mut jail = Jail::new();
    jail.order.verb = Verb::Compare;
    let lines: String = (0..2000).map(|number| format!("K{number}=\n")).collect();
    fs::write(jail.file(), lines).unwrap();
    jail.put(&one("v")).failed(Failure::LimitExceeded, "more than 1,024 keys");
}

#[test]
fn a_comparison_has_no_right_to_change_anything() {
    if !root("a file of another user's in a directory of root's") {
        return;
    }
    let mut jail = Jail::new();
    jail.put(&one("v"));
    jail.order.owner = colibri_pair::Owner { uid: 1234, gid: 1235 };
    assert_eq!(compared(&mut jail, &[("K", "v")]), report(&[], 1, false));
}
