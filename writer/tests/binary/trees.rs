//! The format dir: a directory of files that is replaced as a whole.

use crate::jail::{Jail, commit, me, pair, root};
use colibri_pair::{Failure, Format, Owner, Report, Verb};
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

const KEYS: u32 = 12;

fn tree() -> Jail {
    let mut jail = Jail::new();
    jail.order.format = Format::Dir;
    jail
}

fn wire(pairs: &[(&str, &str)]) -> Vec<u8> {
    let frames = pairs.iter().flat_map(|(key, value)| pair(key, value)).collect::<Vec<_>>();
    [frames, commit(pairs.len().try_into().unwrap())].concat()
}

/// What the name leads to.
fn files(jail: &Jail) -> BTreeMap<String, String> {
    let entries = fs::read_dir(jail.file()).unwrap().map(|entry| entry.unwrap());
    let content = |path| fs::read_to_string(path).unwrap();
    entries.map(|entry| (entry.file_name().into_string().unwrap(), content(entry.path()))).collect()
}

fn owned(jail: &Jail, owner: Owner) {
    let tree = fs::metadata(jail.file()).unwrap();
    assert_eq!((tree.mode() & 0o7777, tree.uid(), tree.gid()), (0o700, owner.uid, owner.gid));
    for entry in fs::read_dir(jail.file()).unwrap() {
        let state = entry.unwrap().metadata().unwrap();
        assert!(state.is_file());
        assert_eq!((state.mode() & 0o7777, state.nlink()), (0o600, 1));
        assert_eq!((state.uid(), state.gid()), (owner.uid, owner.gid));
    }
}

fn contains(jail: &Jail, pairs: &[(&str, &str)]) {
    let expected = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    assert_eq!(files(jail), expected.collect());
}

#[test]
fn each_key_has_a_file_with_its_value_and_nothing_else() {
    let jail = tree();
    let pairs = [("A", "it's \"$(id)\"\n"), ("B", ""), ("C", " \u{ffff} ")];
    assert_eq!(*jail.put(&wire(&pairs)).last(), Report::Written { keys: 3 });
    contains(&jail, &pairs);
    owned(&jail, me());
    let link = fs::read_link(jail.file()).unwrap();
    assert_eq!(link.components().count(), 1, "the link leads nowhere else");
}

#[test]
fn the_same_pairs_again_write_nothing() {
    let jail = tree();
    jail.put(&wire(&[("A", "1"), ("B", "2")]));
    let before = jail.snapshot();
    assert_eq!(*jail.put(&wire(&[("A", "1"), ("B", "2")])).last(), Report::Unchanged { keys: 2 });
    assert_eq!(jail.snapshot(), before);
    for pairs in [&[("A", "1")][..], &[("A", "1"), ("B", "3")], &[("A", "1"), ("C", "2")]] {
        let keys = pairs.len().try_into().unwrap();
        assert_eq!(*jail.put(&wire(pairs)).last(), Report::Written { keys });
        contains(&jail, pairs);
    }
}

#[test]
fn what_somebody_altered_is_put_back() {
    let jail = tree();
    let pairs = [("A", "1"), ("B", "2")];
    let alter: [&dyn Fn(); 4] = [
        &|| fs::write(jail.file().join("A"), "3").unwrap(),
        &|| fs::set_permissions(jail.file().join("A"), fs::Permissions::from_mode(0o644)).unwrap(),
        &|| fs::remove_file(jail.file().join("B")).unwrap(),
        &|| fs::write(jail.file().join("X"), "").unwrap(),
    ];
    for alter in alter {
        jail.put(&wire(&pairs));
        alter();
        assert_eq!(*jail.put(&wire(&pairs)).last(), Report::Written { keys: 2 });
        contains(&jail, &pairs);
        owned(&jail, me());
    }
}

#[test]
fn a_directory_of_another_user_is_that_users_whole() {
    if !root("a file of another user") {
        return;
    }
    for below in [0, 1234] {
        let mut jail = tree();
        jail.order.owner = Owner { uid: 1234, gid: 1235 };
        std::os::unix::fs::chown(jail.dir(), Some(below), Some(below)).unwrap();
        assert_eq!(*jail.put(&wire(&[("A", "1")])).last(), Report::Written { keys: 1 });
        owned(&jail, jail.order.owner);
        contains(&jail, &[("A", "1")]);
    }
}

#[test]
fn a_removal_leaves_nothing() {
    let mut jail = tree();
    jail.put(&wire(&[("A", "1")]));
    jail.put(&wire(&[("A", "2")]));
    assert_eq!(jail.names().len(), 3);
    jail.order.verb = Verb::Remove;
    assert_eq!(jail.put(b"").reports, [Report::Removed]);
    assert_eq!(jail.names(), [""; 0]);
    assert_eq!(jail.put(b"").reports, [Report::Absent]);
}

#[test]
fn another_format_takes_the_place_of_the_directory_and_gives_it_back() {
    let mut jail = tree();
    jail.put(&wire(&[("A", "1")]));
    jail.order.format = Format::Env;
    assert_eq!(*jail.put(&wire(&[("A", "1")])).last(), Report::Written { keys: 1 });
    jail.holds("A=1\n");
    jail.order.format = Format::Dir;
    assert_eq!(*jail.put(&wire(&[("A", "1")])).last(), Report::Written { keys: 1 });
    contains(&jail, &[("A", "1")]);
}

#[test]
fn what_a_killed_writer_left_is_removed() {
    let jail = tree();
    jail.put(&wire(&[("A", "1")]));
    // Newer by the file system's clock, which goes in steps of some milliseconds.
    std::thread::sleep(std::time::Duration::from_millis(50));
    let left = jail.dir().join(".colibri-left.tmp");
    fs::create_dir(&left).unwrap();
    fs::write(left.join("A"), "half").unwrap();
    symlink("nowhere", jail.dir().join(".colibri-link.tmp")).unwrap();
    jail.put(&wire(&[("A", "1")]));
    assert_eq!(jail.names().len(), 2);
    contains(&jail, &[("A", "1")]);
}

#[test]
fn a_jail_full_of_leftovers_costs_some_runs_and_no_more() {
    let jail = tree();
    for number in 0..600 {
        let left = jail.dir().join(format!(".colibri-{number}.tmp"));
        fs::create_dir(&left).unwrap();
        fs::write(left.join("A"), "").unwrap();
    }
    for _ in 0..4 {
        jail.put(&wire(&[("A", "1")]));
        contains(&jail, &[("A", "1")]);
    }
    assert!(jail.names().len() <= 2 + 64, "{} entries", jail.names().len());
}

#[test]
fn what_a_link_in_the_jail_leads_to_is_not_touched() {
    let jail = tree();
    let outside = jail.outside();
    fs::write(outside.join("A"), "outside").unwrap();
    for name in ["env", ".colibri-evil.tmp"] {
        symlink(&outside, jail.dir().join(name)).unwrap();
    }
    let nested = jail.dir().join(".colibri-nested.tmp");
    fs::create_dir(&nested).unwrap();
    symlink(&outside, nested.join("A")).unwrap();
    fs::create_dir(nested.join("deep")).unwrap();
    assert_eq!(*jail.put(&wire(&[("A", "1")])).last(), Report::Written { keys: 1 });
    contains(&jail, &[("A", "1")]);
    assert_eq!(fs::read_to_string(outside.join("A")).unwrap(), "outside");
}

#[test]
fn a_real_directory_of_that_name_is_an_error_and_stays() {
    let jail = tree();
    fs::create_dir(jail.file()).unwrap();
    fs::write(jail.file().join("theirs"), "").unwrap();
    jail.put(&wire(&[("A", "1")])).failed(Failure::WriteFailed, "cannot rename the temporary");
    assert_eq!(jail.names(), ["env"]);
    assert!(jail.file().join("theirs").exists());
}

#[test]
fn without_a_commit_nothing_is_made() {
    let jail = tree();
    jail.put(&pair("A", "1")).failed(Failure::ProtocolViolation, "without a commit");
    assert_eq!(jail.names(), [""; 0]);
}

/// What one look at the directory found.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    Whole(u32),
    Torn(BTreeSet<Option<u32>>),
}

fn look(dir: &Path) -> Look {
    let dir = open(dir, OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).unwrap();
    let found: BTreeSet<Option<u32>> = (0..KEYS).map(|number| value(&dir, number)).collect();
    match found.iter().next() {
        Some(Some(generation)) if found.len() == 1 => Look::Whole(*generation),
        _ => Look::Torn(found),
    }
}

fn value(dir: impl AsFd, number: u32) -> Option<u32> {
    let name = format!("KEY{number:02}");
    let file: OwnedFd =
        openat(dir, name.as_str(), OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty()).ok()?;
    let mut text = String::new();
    File::from(file).read_to_string(&mut text).unwrap();
    text.parse().ok()
}

fn put(jail: &Jail, generation: u32) {
    let pairs = (0..KEYS).flat_map(|number| pair(&format!("KEY{number:02}"), &generation.to_string()));
    let wire = [pairs.collect::<Vec<_>>(), commit(KEYS)].concat();
    assert_eq!(*jail.put(&wire).last(), Report::Written { keys: KEYS });
}

/// A thousand swaps with COLIBRI_FULL, a hundred without.
#[test]
fn a_reader_that_holds_the_directory_sees_one_generation_only() {
    let swaps = if std::env::var_os("COLIBRI_FULL").is_some() { 1000 } else { 100 };
    let (jail, done) = (tree(), AtomicBool::new(false));
    put(&jail, 0);
    /// Ends the reader, also when a put fails.
    struct Done<'a>(&'a AtomicBool);
    impl Drop for Done<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let (looks, seen) = thread::scope(|scope| {
        let ending = Done(&done);
        let reader = scope.spawn(|| {
            let (mut looks, mut seen) = (0, BTreeSet::new());
            while !done.load(Ordering::Relaxed) {
                match look(&jail.file()) {
                    Look::Whole(generation) => drop(seen.insert(generation)),
                    torn @ Look::Torn(_) => panic!("after {looks} looks: {torn:?}"),
                }
                looks += 1;
            }
            (looks, seen.len())
        });
        for generation in 1..=swaps {
            if reader.is_finished() {
                break;
            }
            put(&jail, generation);
        }
        drop(ending);
        reader.join().unwrap()
    });
    println!("{swaps} swaps, {looks} looks, {seen} generations seen, 0 torn");
    assert!(seen > 1, "the reader saw one generation only");
    assert_eq!(look(&jail.file()), Look::Whole(swaps));
    // The link, the generation, and those that a reader may still be in.
    assert!(jail.names().len() <= 2 + 64, "{} entries", jail.names().len());
}
