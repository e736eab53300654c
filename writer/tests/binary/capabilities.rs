//! Linux: the capabilities of a writer that waits for pairs.

use crate::confinement::Waiting;
use crate::jail::{Jail, root};
use crate::system::status;
use colibri_pair::Owner;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

const NONE: &str = "0000000000000000";
const DAC_OVERRIDE: &str = "0000000000000002";

#[test]
fn a_waiting_writer_has_none() {
    let writer = Waiting::new(&Jail::new());
    assert_eq!(status(writer.pid(), "CapEff"), NONE);
    assert_eq!(status(writer.pid(), "CapPrm"), NONE);
}

#[test]
fn all_are_given_up_where_the_directory_is_the_owners() {
    if !root("giving up root") {
        return;
    }
    let mut jail = Jail::new();
    jail.order.owner = Owner { uid: 1234, gid: 1235 };
    chown(jail.dir(), Some(1234), Some(1235)).unwrap();
    let writer = Waiting::new(&jail);
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(status(writer.pid(), set), NONE, "{set}");
    }
}

#[test]
fn only_the_power_to_write_in_another_users_directory_stays_where_it_is_needed() {
    if !root("a file of another user") {
        return;
    }
    let mut jail = Jail::new();
    jail.order.owner = Owner { uid: 1234, gid: 1235 };
    // Root's for others to enter: what is root's alone is given to the owner.
    fs::set_permissions(jail.dir(), fs::Permissions::from_mode(0o755)).unwrap();
    let writer = Waiting::new(&jail);
    assert_eq!(status(writer.pid(), "Uid"), "1234 1234 1234 1234");
    assert_eq!(status(writer.pid(), "CapEff"), DAC_OVERRIDE);
    assert_eq!(status(writer.pid(), "CapBnd"), NONE);
}
