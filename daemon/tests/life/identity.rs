//! Another directory is never taken for a jail's root: a mount point without its
//! file system, a jail that was moved away, one that was made anew.

use crate::host::{Host, SOON, tenant, wait};
use colibri_control::{Answer, Outcome, Reason, StatusView};
use colibri_tenant::{ErrorName, Status};
use std::fs;
use std::path::{Path, PathBuf};

pub const ACCEPT: &str = r#"{"verb":"accept-root","tenant":"web"}"#;
const CHECK: &str = r#"{"verb":"check-root","tenant":"web"}"#;
const DESTROY: &str = r#"{"verb":"destroy-tenant","tenant":"web"}"#;

/// A host with a tenant whose secrets are in its jail, which also has a shell.
fn provisioned() -> Host {
    let host = Host::new();
    host.secrets("web", &[("A", "1")]);
    fs::write(host.root("web").join("sh"), "").unwrap();
    host.register("web");
    assert_eq!(host.provision("web").outcome, Outcome::Written);
    host
}

fn away(host: &Host) -> PathBuf {
    host.path("jails/web/away")
}

fn move_away(host: &Host) {
    fs::rename(host.path("jails/web/root"), away(host)).unwrap();
}

fn move_back(host: &Host) {
    let _empty = fs::remove_dir(host.path("jails/web/root"));
    fs::rename(away(host), host.path("jails/web/root")).unwrap();
}

fn status(host: &Host) -> StatusView {
    match host.say(r#"{"verb":"status"}"#).unwrap() {
        Answer::Status(status) => *status,
        other => panic!("{other:?}"),
    }
}

/// A provision fails for want of the root, and what is there now stays as it is.
pub fn refuses(host: &Host) {
    let before = names(&host.path("jails/web/root"));
    for error in [host.provision("web").error.unwrap().name, host.failure(CHECK)] {
        assert_eq!(error, ErrorName::RootNotMounted);
    }
    assert_eq!(
        host.hook("web", &host.path("jails/web/root")).warning.unwrap().name,
        ErrorName::RootNotMounted
    );
    assert_eq!(host.diff("web").unwrap_err().name, ErrorName::RootNotMounted);
    assert_eq!(names(&host.path("jails/web/root")), before);
    let spawn = serde_json::json!({
        "verb": "spawn-agent", "jail": "web", "root": host.path("jails/web/root"), "command": ["/bin/true"],
    });
    assert_eq!(host.failure(&spawn.to_string()), ErrorName::RootNotMounted);
    assert_eq!(status(host).not_mounted, 1);
}

pub fn names(dir: &Path) -> Vec<PathBuf> {
    let names = fs::read_dir(dir).into_iter().flatten();
    names.map(|entry| entry.unwrap().path()).collect()
}

fn edit(host: &mut Host, sql: &str) {
    assert!(host.terminate());
    let db = rusqlite::Connection::open(host.path("state/tenants.db")).unwrap();
    assert_eq!(db.execute(sql, []).unwrap(), 1);
    drop(db);
    host.start();
}

#[test]
fn a_root_that_was_renamed_away_is_not_written_into() {
    let host = provisioned();
    move_away(&host);
    refuses(&host);
    fs::create_dir(host.path("jails/web/root")).unwrap();
    refuses(&host);
    fs::write(host.path("jails/web/root/file"), "").unwrap();
    refuses(&host);
    fs::remove_file(host.path("jails/web/root/file")).unwrap();
    move_back(&host);
    host.say(CHECK).unwrap();
    assert_eq!(host.provision("web").outcome, Outcome::Unchanged);
    assert_eq!(status(&host).not_mounted, 0);
}

#[test]
fn a_root_that_comes_back_is_found_without_anybody_asking() {
    let host = provisioned();
    move_away(&host);
    assert_eq!(host.provision("web").error.unwrap().name, ErrorName::RootNotMounted);
    assert!(host.show("web").next_try.is_some());
    move_back(&host);
    wait(SOON, || host.show("web").last_error.is_none(), || host.log());
}

#[test]
fn a_jail_made_anew_is_taken_once_the_operator_says_so() {
    let host = provisioned();
    move_away(&host);
    fs::create_dir(host.path("jails/web/root")).unwrap();
    assert_eq!(host.failure(ACCEPT), ErrorName::RootNotMounted, "an empty directory is no jail");
    fs::write(host.path("jails/web/root/sh"), "").unwrap();
    refuses(&host);
    host.say(ACCEPT).unwrap();
    wait(SOON, || host.content("web").is_some(), || host.log());
    // And the one before is another now.
    fs::rename(host.path("jails/web/root"), host.path("jails/web/second")).unwrap();
    move_back(&host);
    refuses(&host);
}

/// Nobody has been there yet by whom the jail could be known.
#[test]
fn a_root_that_is_empty_gets_no_first_provision() {
    let mut host = Host::new();
    host.secrets("web", &[("A", "1")]);
    let root = host.path("jails/web/root");
    fs::create_dir_all(&root).unwrap();
    let register = serde_json::json!({"verb": "register-tenant", "tenant": "web", "root": root, "settings": {"refresh": 60}});
    host.say(&register.to_string()).unwrap();
    // By itself, as the next daemon does with who was never brought.
    assert!(host.terminate());
    host.start();
    let tried = || host.history("web").iter().any(|it| it.reason == Reason::Refresh);
    wait(SOON, tried, || host.log());
    refuses(&host);
    let said = host.say(ACCEPT).unwrap_err();
    assert_eq!(said.name, ErrorName::RootNotMounted);
    assert!(said.message.contains("a new one needs a directory first, such as"), "{said}");
    // A first provision that was cut off.
    edit(&mut host, "UPDATE tenants SET unsure = 1");
    refuses(&host);
    assert_eq!(names(&root), Vec::<PathBuf>::new());
    // What the message says is enough.
    fs::create_dir(root.join("etc")).unwrap();
    assert_eq!(host.provision("web").outcome, Outcome::Written);
}

#[test]
fn a_row_without_an_identity_learns_it_and_takes_no_empty_directory() {
    let mut host = provisioned();
    edit(&mut host, "UPDATE tenants SET identity = NULL");
    move_away(&host);
    fs::create_dir(host.path("jails/web/root")).unwrap();
    refuses(&host);
    move_back(&host);
    assert_eq!(host.provision("web").error, None);
    move_away(&host);
    fs::create_dir(host.path("jails/web/root")).unwrap();
    fs::write(host.path("jails/web/root/file"), "").unwrap();
    refuses(&host);
}

#[test]
fn without_an_identity_another_directory_would_be_taken() {
    let mut host = provisioned();
    move_away(&host);
    fs::create_dir(host.path("jails/web/root")).unwrap();
    fs::write(host.path("jails/web/root/file"), "").unwrap();
    refuses(&host);
    edit(&mut host, "UPDATE tenants SET identity = NULL");
    assert_eq!(host.provision("web").outcome, Outcome::Written);
    assert!(host.content("web").is_some());
}

#[test]
fn after_a_boot_the_file_system_s_name_counts_and_not_its_number() {
    let mut host = provisioned();
    let boot = "identity = json_set(identity, '$.boot', 'before', '$.device', 1)";
    let named = |host: &Host| {
        let db = rusqlite::Connection::open(host.path("state/tenants.db")).unwrap();
        let sql = "SELECT identity ->> '$.lasting' IS NOT NULL FROM tenants";
        db.query_row(sql, [], |row| row.get::<_, bool>(0)).unwrap()
    };
    // Where the tests' directory is on a file system that begins empty, nothing lasts.
    let lasts = named(&host);
    edit(&mut host, &format!("UPDATE tenants SET {boot}"));
    assert_eq!(host.say(CHECK).is_ok(), lasts);
    assert_eq!(host.provision("web").error.is_none(), lasts);
    let other = "identity = json_set(identity, '$.boot', 'before', '$.lasting', 'id 1')";
    edit(&mut host, &format!("UPDATE tenants SET {other}"));
    refuses(&host);
}

#[test]
fn a_teardown_that_cannot_find_what_it_wrote_stays_to_be_done() {
    let host = provisioned();
    move_away(&host);
    let file = away(&host).join("usr/local/etc/colibri/env");
    assert_eq!(host.failure(DESTROY), ErrorName::RootNotMounted);
    let web = host.show("web");
    assert_eq!((web.status, web.removal_due), (Status::Stopped, true));
    assert_eq!(web.last_error.unwrap().name, ErrorName::RootNotMounted);
    assert_eq!((status(&host).removals_due, status(&host).not_mounted), (1, 1));
    assert!(file.exists());
    let unregister = r#"{"verb":"unregister-tenant","tenant":"web"}"#;
    assert_eq!(host.failure(unregister), ErrorName::WrongState);
    // A directory of that name is not the jail.
    fs::create_dir(host.path("jails/web/root")).unwrap();
    assert_eq!(host.failure(DESTROY), ErrorName::RootNotMounted);
    move_back(&host);
    wait(SOON, || host.content("web").is_none(), || host.log());
    wait(SOON, || !host.show("web").removal_due, || host.log());
    host.say(DESTROY).unwrap();
    assert_eq!((host.show("web").status, status(&host).removals_due), (Status::Destroyed, 0));
}

#[test]
fn a_removal_that_could_not_be_done_is_done_by_the_next_daemon() {
    let mut host = provisioned();
    move_away(&host);
    let stop = r#"{"verb":"stop-agent","jail":"web","remove-secrets":true}"#;
    assert_eq!(host.failure(stop), ErrorName::RootNotMounted);
    host.kill();
    move_back(&host);
    host.start();
    wait(SOON, || !host.show("web").removal_due, || host.log());
    assert_eq!((host.content("web"), host.show("web").status), (None, Status::Stopped));
}

#[test]
fn the_operator_may_say_that_the_secrets_are_gone_with_the_jail() {
    let host = provisioned();
    fs::remove_dir_all(host.path("jails/web/root")).unwrap();
    assert_eq!(host.failure(DESTROY), ErrorName::RootNotMounted);
    let gone = r#"{"verb":"destroy-tenant","tenant":"web","secrets":"gone"}"#;
    let web = tenant(host.say(gone).unwrap());
    assert_eq!((web.status, web.removal_due, web.keys.len()), (Status::Destroyed, false, 0));
    assert_eq!(host.history("web").iter().filter(|it| it.outcome == Outcome::Failed).count(), 2);
    host.say(r#"{"verb":"unregister-tenant","tenant":"web"}"#).unwrap();
}

#[test]
fn what_a_provision_may_have_left_is_removed_before_its_tenant_is_forgotten() {
    let mut host = Host::new();
    host.secrets("web", &[("A", "1")]);
    host.register("web");
    host.provision("web");
    edit(&mut host, "UPDATE tenants SET keys = '[]', identity = NULL, unsure = 1");
    edit(&mut host, "UPDATE tenants SET status = 'stopped'");
    host.say(r#"{"verb":"unregister-tenant","tenant":"web"}"#).unwrap();
    assert_eq!(host.content("web"), None);
}

#[test]
fn a_jail_that_moved_is_known_at_its_new_path() {
    let host = provisioned();
    fs::rename(host.path("jails/web"), host.path("jails/www")).unwrap();
    let root = host.path("jails/www/root");
    let request = format!(
        r#"{{"verb":"update-tenant","tenant":"web","root":"{}","changes":{{"file":"other"}}}}"#,
        root.display()
    );
    host.say(&request).unwrap();
    wait(SOON, || root.join("usr/local/etc/colibri/other").exists(), || host.log());
    assert!(!root.join("usr/local/etc/colibri/env").exists());
}

#[test]
fn another_root_is_not_taken_while_the_secrets_are_in_one_that_is_not_found() {
    let host = provisioned();
    move_away(&host);
    let other = host.root("other");
    let say = |more: &str| {
        let root = other.display();
        let update =
            format!(r#"{{"verb":"update-tenant","tenant":"web","root":"{root}","changes":{{}}{more}}}"#);
        host.say(&update)
    };
    assert_eq!(say("").unwrap_err().name, ErrorName::RootNotMounted);
    say(r#","secrets":"gone""#).unwrap();
    wait(SOON, || host.content("other").is_some(), || host.log());
}

/// An agent's root can put a link in the place of a directory of the jail. Whether a
/// provision that was cut off has written there cannot be told then, and each thing
/// that an operator is told to do leads on.
#[test]
fn a_directory_that_became_a_link_after_a_crash_is_left_as_the_advice_says() {
    for unsure in [true, false] {
        let mut host = provisioned();
        if unsure {
            edit(&mut host, "UPDATE tenants SET keys = '[]', unsure = 1");
        }
        let root = host.path("jails/web/root");
        fs::rename(root.join("usr/local"), root.join("elsewhere")).unwrap();
        std::os::unix::fs::symlink("../elsewhere", root.join("usr/local")).unwrap();
        let failed = host.provision("web").error.unwrap();
        assert!(failed.advice.contains("update-tenant NAME --dir REL"), "{}", failed.advice);
        let say = |more: &str| {
            let request = r#"{"verb":"update-tenant","tenant":"web","changes":{"dir":"etc/colibri"}"#;
            host.say(&format!("{request}{more}}}"))
        };
        let refused = say("").unwrap_err();
        assert_eq!(refused.name, ErrorName::WriteFailed);
        assert!(refused.advice.contains("--secrets-are-gone"), "{}", refused.advice);
        assert!(!refused.advice.contains("--dir"), "{}", refused.advice);
        say(r#","secrets":"gone""#).unwrap();
        let moved = root.join("etc/colibri/env");
        wait(SOON, || moved.exists(), || host.log());
        assert!(root.join("elsewhere/etc/colibri/env").exists(), "a link was followed");
        host.say(DESTROY).unwrap();
        assert!(!moved.exists());
    }
}
