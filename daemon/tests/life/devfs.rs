//! FreeBSD: the devfs of an agent's jail, which outlives the jail, and a jail whose root
//! was a link when jail(8) came there.

use crate::agents::{agent, jail, spawn};
use crate::host::{Host, SOON, wait};
use crate::system;
use colibri_control::AgentState;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

fn done(program: &str, words: &[&str]) {
    assert!(Command::new(program).args(words).status().unwrap().success(), "{program} {words:?}");
}

/// What is left below the jails' directory.
fn left(host: &Host) -> Vec<String> {
    system::left(&host.path("jails"))
}

fn gone(host: &Host) {
    wait(SOON, || left(host).is_empty(), || format!("{:?}\n{}", left(host), host.log()));
}

/// As a daemon leaves it that is killed between the two steps of removing a jail.
#[test]
fn the_devfs_of_a_jail_that_is_gone_is_unmounted_by_the_next_daemon() {
    if !system::may_make_jails() {
        return;
    }
    let mut host = Host::new();
    jail(&host, "web");
    spawn(&host, "web", "exec sleep 1000");
    host.kill();
    done("/usr/sbin/jail", &["-R", "web"]);
    let dev = host.root("web").join("dev").display().to_string();
    assert_eq!(left(&host), [dev.clone()]);
    host.start();
    gone(&host);
    assert_eq!(agent(&host, "web").state, AgentState::Lost);

    // Somebody else's at that place, in the same boot, is not.
    done("/sbin/mount", &["-t", "devfs", "devfs", &dev]);
    assert!(host.terminate());
    host.start();
    assert_eq!(left(&host), [dev.clone()]);
    done("/sbin/umount", &[&dev]);
}

/// A devfs that is held for long keeps the next agent from being started on top of it,
/// and is unmounted when it is free.
#[test]
fn no_devfs_is_stacked_on_one_that_is_held() {
    if !system::may_make_jails() {
        return;
    }
    let host = Host::new();
    jail(&host, "web");
    spawn(&host, "web", "exec sleep 1000");
    let held = fs::File::open(host.root("web").join("dev/null")).unwrap();
    host.say(r#"{"verb":"stop-agent","jail":"web"}"#).unwrap();
    assert_eq!(left(&host).len(), 1, "{:?}", left(&host));
    let request = serde_json::json!({
        "verb": "spawn-agent", "jail": "web", "root": host.root("web"), "command": ["/bin/sleep", "1000"],
    });
    host.failure(&request.to_string());
    assert_eq!(left(&host).len(), 1, "{:?}", left(&host));
    drop(held);
    host.say(&request.to_string()).unwrap();
    host.say(r#"{"verb":"stop-agent","jail":"web"}"#).unwrap();
    gone(&host);
}

/// The kernel has the path that a link led to. Its mark says whose the jail is.
#[test]
fn a_jail_that_was_started_through_a_link_is_removed_with_its_devfs() {
    if !system::may_make_jails() {
        return;
    }
    let mut host = Host::new();
    for name in ["outer/root/inner", "elsewhere"] {
        jail(&host, name);
    }
    let root = host.root("outer/root/inner");
    let request = serde_json::json!({
        "verb": "spawn-agent", "jail": "inner", "root": root, "command": ["/bin/sleep", "1000"],
    });
    host.say(&request.to_string()).unwrap();
    host.say(r#"{"verb":"stop-agent","jail":"inner"}"#).unwrap();
    gone(&host);
    assert!(host.terminate());

    let elsewhere = host.root("elsewhere");
    fs::rename(&root, root.with_file_name("before")).unwrap();
    symlink(&elsewhere, &root).unwrap();
    let uuid = "9f2c1b7a-5a0e-4b7d-8c11-6f1f4a0d2e55";
    let db = rusqlite::Connection::open(host.path("state/tenants.db")).unwrap();
    db.execute("UPDATE agents SET mark = ?1", [uuid]).unwrap();
    drop(db);
    // Beneath it is one of somebody else's, which stays.
    let dev = elsewhere.join("dev").display().to_string();
    done("/sbin/mount", &["-t", "devfs", "devfs", &dev]);
    made(&root, uuid);
    assert_eq!(left(&host).len(), 3, "{:?}", left(&host));
    host.start();
    wait(SOON, || left(&host).len() == 1, || format!("{:?}\n{}", left(&host), host.log()));
    assert_eq!(left(&host), [dev.clone()]);
    done("/sbin/umount", &[&dev]);
}

fn made(root: &Path, uuid: &str) {
    let (path, uuid) = (format!("path={}", root.display()), format!("host.hostuuid={uuid}"));
    done("/usr/sbin/jail", &["-c", "name=inner", &path, &uuid, "mount.devfs", "persist"]);
}
