//! The writer as an ordinary user: started as one where the tests run as root.

use crate::jail::{Jail, Outcome, me, next, one, run, start};
use crate::system;
use colibri_pair::{Failure, Owner, Report};
use colibri_test_host::process::ids;
use nix::unistd::geteuid;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// nobody; `me` if the tests are not run by root.
fn somebody() -> Owner {
    if geteuid().is_root() { Owner { uid: 65534, gid: 65534 } } else { me() }
}

/// A jail that is all somebody's, with the writer in it where somebody finds it.
struct Theirs(Jail);

impl Theirs {
    fn new() -> Self {
        let mut jail = Jail::new();
        jail.order.owner = somebody();
        fs::copy(colibri_test_host::program("colibri-writer").unwrap(), jail.outside().join("writer"))
            .unwrap();
        let top = jail.order.base.parent().unwrap().to_owned();
        let mut todo = vec![top];
        while let Some(path) = todo.pop() {
            chown(&path, Some(somebody().uid), Some(somebody().gid)).unwrap();
            if path.is_dir() {
                todo.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            }
        }
        Self(jail)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.0.outside().join("writer"));
        command.args(self.0.order.to_args());
        if geteuid().is_root() {
            command.uid(somebody().uid).gid(somebody().gid);
        }
        command
    }

    fn put(&self, value: &str) -> Outcome {
        run(self.command(), &one(value))
    }
}

#[test]
fn an_ordinary_user_writes_its_own_file() {
    let theirs = Theirs::new();
    assert_eq!(theirs.put("v").reports, [Report::Ready, Report::Written { keys: 1 }]);
    assert_eq!(*theirs.put("v").last(), Report::Unchanged { keys: 1 });
    assert_eq!(*theirs.put("w").last(), Report::Written { keys: 1 });
    theirs.0.holds("K=w\n");
}

#[test]
fn an_ordinary_user_cannot_give_a_file_away() {
    let mut theirs = Theirs::new();
    assert_eq!(*theirs.put("v").last(), Report::Written { keys: 1 });
    theirs.0.order.owner.gid += 1;
    theirs.put("w").failed(Failure::WriteFailed, "cannot give the temporary file its owner");
    theirs.0.order.owner = somebody();
    theirs.0.holds("K=v\n");
}

#[test]
fn an_ordinary_user_cannot_write_where_it_has_no_permission() {
    let theirs = Theirs::new();
    fs::set_permissions(theirs.0.dir(), Permissions::from_mode(0o500)).unwrap();
    theirs.put("v").failed(Failure::WriteFailed, "cannot create the temporary file: Permission denied");
    assert!(theirs.0.names().is_empty());
}

#[test]
fn an_ordinary_users_writer_is_confined_all_the_same() {
    let theirs = Theirs::new();
    let (mut child, socket) = start(theirs.command());
    assert_eq!(next(child.stdout.as_mut().unwrap()), Some(Report::Ready));
    let (confined, seen) = (system::confined(child.id()), ids(child.id()));
    drop(socket);
    child.wait().unwrap();
    let Owner { uid, gid } = somebody();
    let seen = seen.unwrap();
    assert!(confined);
    assert_eq!((seen.users, seen.groups), ([uid; 3], [gid; 3]));
}
