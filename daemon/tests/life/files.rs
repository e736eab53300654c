//! A tenant with several files: each by its own settings, one question to the vault.

use crate::host::{Host, SOON, tenant, wait};
use crate::stand_in::Collection;
use colibri_control::{Answer, FileView, Outcome, Request};
use colibri_tenant::{ErrorName, Status};
use nix::unistd::geteuid;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const KEY: &str = "usr/local/etc/nginx/tls.key";
const APP: &str = "usr/local/etc/app.json";

fn secrets(all: &[(&str, &str)]) -> Collection {
    Collection::Secrets(all.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect())
}

fn vault(host: &Host, all: &[(&str, &str)]) {
    host.vault(BTreeMap::from([("web".to_owned(), secrets(all))]));
}

fn at(host: &Host, file: &str) -> PathBuf {
    host.path("jails").join("web/root").join(file)
}

fn text(host: &Host, file: &str) -> Option<String> {
    fs::read_to_string(at(host, file)).ok()
}

fn add(host: &Host, file: &str, settings: &str) -> Result<Vec<FileView>, ErrorName> {
    let line = format!(r#"{{"verb":"add-file","tenant":"web","file":"{file}","settings":{settings}}}"#);
    host.say(&line).map(|answer| tenant(answer).files).map_err(|fault| fault.name)
}

fn remove(host: &Host, file: &str) -> Result<Vec<FileView>, ErrorName> {
    let line = format!(r#"{{"verb":"remove-file","tenant":"web","file":"{file}"}}"#);
    host.say(&line).map(|answer| tenant(answer).files).map_err(|fault| fault.name)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

/// A tenant with three files.
fn three() -> Host {
    let host = Host::new();
    vault(&host, &[("A", "1"), ("APP_B", "2"), ("TLS", "-----BEGIN\nkey\n")]);
    host.register("web");
    let owner = if geteuid().is_root() { r#""0:80""# } else { "null" };
    add(&host, KEY, &format!(r#"{{"format":"raw","item":"TLS","mode":"0440","owner":{owner}}}"#)).unwrap();
    add(&host, APP, r#"{"format":"json","only":["APP_B"]}"#).unwrap();
    host
}

#[test]
fn each_file_gets_its_own_and_the_vault_is_asked_once() {
    let host = three();
    let before = host.requests();
    let provision = host.provision("web");
    assert_eq!(host.requests(), before + 1);
    assert_eq!((provision.outcome, provision.keys, provision.error), (Outcome::Written, 2, None));
    let ends: Vec<_> = provision.files.iter().map(|it| (it.file.as_str(), it.outcome, it.keys)).collect();
    assert_eq!(ends, [(APP, Outcome::Written, 1), (KEY, Outcome::Written, 1)]);
    assert!(provision.warnings.contains(&format!("{KEY}: further")), "{:?}", provision.warnings);
    assert_eq!(text(&host, KEY).unwrap(), "-----BEGIN\nkey\n");
    assert_eq!(text(&host, APP).unwrap(), "{\n  \"APP_B\": \"2\"\n}\n");
    assert!(host.content("web").unwrap().ends_with("A=1\nAPP_B=2\n"));
    assert_eq!((mode(&at(&host, KEY)), mode(&at(&host, APP))), (0o440, 0o600));
    if geteuid().is_root() {
        let state = fs::metadata(at(&host, KEY)).unwrap();
        assert_eq!((state.uid(), state.gid()), (0, 80));
    }
    let again = host.provision("web");
    assert!(again.files.iter().all(|file| file.outcome == Outcome::Unchanged), "{again:?}");
    let shown = host.show("web").files;
    assert_eq!(shown[1].keys, ["VALUE"]);
    assert!(shown[1].last_success.is_some());
    assert_eq!(host.history("web")[0].files.len(), 2);
}

#[test]
fn a_file_that_fails_keeps_no_other_from_its_own() {
    let host = three();
    vault(&host, &[("A", "1"), ("APP_B", "2")]);
    let provision = host.provision("web");
    let fault = provision.error.unwrap();
    assert_eq!((provision.outcome, fault.name), (Outcome::Written, ErrorName::KeyMissing));
    assert!(fault.message.starts_with(KEY), "{fault}");
    assert_eq!((text(&host, KEY), text(&host, APP).is_some()), (None, true));
    let shown = host.show("web");
    assert_eq!((shown.status, shown.last_error.unwrap().name), (Status::Active, ErrorName::KeyMissing));
    let errors: Vec<_> = shown.files.iter().map(|file| file.last_error.is_some()).collect();
    assert_eq!(errors, [false, true]);
    vault(&host, &[("A", "1"), ("APP_B", "2"), ("TLS", "key")]);
    assert_eq!(host.provision("web").error, None);
    assert_eq!(host.show("web").last_error, None);
    assert_eq!(text(&host, KEY).unwrap(), "key");
    // Gone from the vault, it stays in the jail.
    vault(&host, &[("A", "1"), ("APP_B", "2")]);
    assert_eq!(host.provision("web").error.unwrap().name, ErrorName::KeyMissing);
    assert_eq!(text(&host, KEY).unwrap(), "key");
}

#[test]
fn a_first_file_that_cannot_be_written_keeps_no_other_from_its_own() {
    let host = three();
    fs::create_dir_all(host.file("web")).unwrap();
    let provision = host.provision("web");
    assert_eq!((provision.outcome, provision.error.unwrap().name), (Outcome::Failed, ErrorName::WriteFailed));
    assert_eq!(text(&host, KEY).unwrap(), "-----BEGIN\nkey\n");
    assert_eq!(host.show("web").status, Status::Provisioned);
    assert_eq!(host.failure(r#"{"verb":"destroy-tenant","tenant":"web"}"#), ErrorName::WrongState);
    fs::remove_dir(host.file("web")).unwrap();
    host.say(r#"{"verb":"remove-tenant","tenant":"web"}"#).unwrap();
    assert_eq!((text(&host, KEY), text(&host, APP)), (None, None));
}

#[test]
fn a_file_is_compared_tried_changed_and_removed_by_its_name() {
    let host = three();
    host.provision("web");
    vault(&host, &[("A", "1"), ("APP_B", "3"), ("TLS", "-----BEGIN\nkey\n")]);
    let diff = host.diff("web").unwrap();
    let seen: Vec<_> = diff.files.iter().map(|it| (it.file.as_str(), it.changed.len(), it.intact)).collect();
    assert_eq!(seen, [(APP, 1, false), (KEY, 0, true)]);
    let tried = format!(
        r#"{{"verb":"update-file","tenant":"web","file":"{KEY}","changes":{{"mode":"0400"}},"dry-run":true}}"#
    );
    let Answer::Diff(diff) = host.say(&tried).unwrap() else { panic!() };
    assert_eq!(diff.files.iter().map(|it| it.intact).collect::<Vec<_>>(), [false, false]);
    assert_eq!(mode(&at(&host, KEY)), 0o440);
    let changed = tried.replace(r#","dry-run":true"#, "");
    tenant(host.say(&changed).unwrap());
    host.provision("web");
    assert_eq!(mode(&at(&host, KEY)), 0o400);
    let listed = host.say(r#"{"verb":"list-files","tenant":"web"}"#).unwrap();
    let Answer::Files(files) = listed else { panic!() };
    assert_eq!(files.iter().map(|it| it.file.as_str()).collect::<Vec<_>>(), [APP, KEY]);
    assert_eq!(remove(&host, KEY).unwrap().len(), 1);
    assert_eq!((text(&host, KEY), text(&host, APP).is_some()), (None, true));
    assert_eq!(remove(&host, KEY), Err(ErrorName::FileNotFound));
    assert!(host.history("web").iter().any(|it| it.files.iter().any(|it| it.outcome == Outcome::Removed)));
    // The item is a key of the first file again.
    host.provision("web");
    assert!(host.content("web").unwrap().contains("TLS="));
}

#[test]
fn settings_of_files_that_cannot_be_are_refused_by_name() {
    let host = three();
    for (file, settings) in [
        ("usr/local/etc/colibri/env", "{}"),
        ("usr/local/etc/colibri/env/x", "{}"),
        ("usr/local/etc/nginx/tls.key/x", "{}"),
        ("usr/local/etc/nginx", "{}"),
        ("etc/.colibri.7-x.tmp", "{}"),
        ("etc/x", r#"{"format":"raw"}"#),
        ("etc/x", r#"{"format":"raw","item":""}"#),
        ("etc/x", r#"{"format":"raw","item":"A","only":["B"]}"#),
        ("etc/x", r#"{"format":"dir"}"#),
        ("etc/x", r#"{"item":"A"}"#),
        ("etc/x", r#"{"owner":"root"}"#),
        ("etc/x", r#"{"expect":["a-b"]}"#),
        ("etc/x", r#"{"on-change":{"signal":"HOP"}}"#),
        ("etc/x", r#"{"on-change":{"action":"none-such"}}"#),
    ] {
        assert_eq!(add(&host, file, settings), Err(ErrorName::BadRequest), "{file} {settings}");
    }
    for line in [
        r#"{"verb":"add-file","tenant":"web","file":"../x"}"#,
        r#"{"verb":"add-file","tenant":"web","file":"/etc/x"}"#,
        r#"{"verb":"add-file","tenant":"web","file":"etc/x","settings":{"mode":"0644"}}"#,
        r#"{"verb":"add-file","tenant":"web","file":"etc/x","settings":{"mode":416}}"#,
        r#"{"verb":"add-file","tenant":"web","file":"etc/x","settings":{"dir":"etc"}}"#,
    ] {
        assert!(serde_json::from_str::<Request>(line).is_err(), "{line}");
    }
    for line in [
        r#"{"verb":"update-tenant","tenant":"web","changes":{"files":{"../x":{}}}}"#,
        r#"{"verb":"update-tenant","tenant":"web","changes":{"format":"raw"}}"#,
        r#"{"verb":"update-file","tenant":"web","file":"usr/local/etc/app.json","changes":{"mode":"0644"}}"#,
    ] {
        assert_eq!(host.failure(line), ErrorName::BadRequest, "{line}");
    }
    assert_eq!(add(&host, KEY, "{}"), Err(ErrorName::TenantConflict));
    assert_eq!(remove(&host, "etc/none"), Err(ErrorName::FileNotFound));
    assert_eq!(host.show("web").files.len(), 2);
}

#[test]
fn files_that_are_applied_away_are_unlinked_and_one_that_cannot_be_stays_to_be_removed() {
    let mut host = three();
    host.provision("web");
    // Nothing can be unlinked in what is no directory any more.
    let (dir, aside) = (at(&host, KEY).parent().unwrap().to_owned(), at(&host, "aside"));
    fs::rename(&dir, &aside).unwrap();
    fs::write(&dir, "").unwrap();
    let update = r#"{"verb":"update-tenant","tenant":"web","changes":{"files":null}}"#;
    assert_eq!(host.failure(update), ErrorName::WriteFailed);
    assert_eq!(text(&host, APP), None);
    let files = host.show("web").files;
    assert_eq!(files.iter().map(|it| (it.file.as_str(), it.removal_due)).collect::<Vec<_>>(), [(KEY, true)]);
    host.terminate();
    host.start();
    assert_eq!(host.provision("web").error.unwrap().name, ErrorName::WriteFailed);
    fs::remove_file(&dir).unwrap();
    fs::rename(&aside, &dir).unwrap();
    let provision = host.provision("web");
    assert_eq!(provision.error, None);
    assert_eq!((text(&host, KEY), host.show("web").files.len()), (None, 0));
}

#[test]
fn a_stopped_tenant_whose_secrets_are_removed_has_no_file_left() {
    let host = three();
    host.provision("web");
    host.say(r#"{"verb":"stop-agent","jail":"web","remove-secrets":true}"#).unwrap();
    assert_eq!((host.content("web"), text(&host, KEY), text(&host, APP)), (None, None, None));
    host.provision("web");
    assert!(text(&host, KEY).is_some());
    host.say(r#"{"verb":"destroy-tenant","tenant":"web"}"#).unwrap();
    assert_eq!((host.content("web"), text(&host, KEY), text(&host, APP)), (None, None, None));
}

#[test]
fn a_first_file_that_moves_leaves_the_others_where_they_are() {
    let host = three();
    host.provision("web");
    // Nothing can be put back.
    host.vault(BTreeMap::from([("web".to_owned(), Collection::Hangs)]));
    let shown = host.update("web", r#"{"file":"other"}"#);
    assert_eq!((host.content("web"), shown.keys.len()), (None, 0));
    assert_eq!((text(&host, KEY).is_some(), text(&host, APP).is_some()), (true, true));
    // A smaller answer is still doubted.
    assert!(shown.files.iter().all(|file| file.keys.len() == 1), "{:?}", shown.files);
}

#[test]
fn what_a_refused_move_unlinked_is_put_back() {
    let host = three();
    host.update("web", r#"{"refresh":0}"#);
    host.provision("web");
    let (dir, aside) = (at(&host, KEY).parent().unwrap().to_owned(), at(&host, "aside"));
    fs::rename(&dir, &aside).unwrap();
    fs::write(&dir, "").unwrap();
    let root = host.root("other");
    let line = format!(r#"{{"verb":"update-tenant","tenant":"web","root":"{}"}}"#, root.display());
    assert_eq!(host.failure(&line), ErrorName::WriteFailed);
    wait(SOON, || host.content("web").is_some() && text(&host, APP).is_some(), || host.log());
    assert_eq!(host.show("web").root, at(&host, ""));
}

#[test]
fn a_change_that_waits_takes_back_no_other() {
    let host = three();
    host.update("web", r#"{"deadline":4}"#);
    host.provision("web");
    host.vault(BTreeMap::from([("web".to_owned(), Collection::Hangs)]));
    let before = host.requests();
    std::thread::scope(|scope| {
        scope.spawn(|| host.ask(Request::Provision { tenant: Some("web".parse().unwrap()) }));
        wait(SOON, || host.requests() > before, || host.log());
        // It waits for the provision, since the first file moves.
        let moves =
            scope.spawn(|| host.say(r#"{"verb":"update-tenant","tenant":"web","changes":{"file":"other"}}"#));
        std::thread::sleep(std::time::Duration::from_secs(1));
        add(&host, "etc/x", "{}").unwrap();
        assert_eq!(moves.join().unwrap().unwrap_err().name, ErrorName::Busy);
    });
    let files = host.show("web").files;
    assert!(files.iter().any(|file| file.file.as_str() == "etc/x"), "{files:?}");
    vault(&host, &[("A", "1"), ("APP_B", "2"), ("TLS", "key")]);
    wait(SOON, || host.content("web").is_some(), || host.log());
}

#[test]
fn a_file_that_is_dropped_leaves_what_was_planned() {
    let host = three();
    host.provision("web");
    host.say(r#"{"verb":"stop-agent","jail":"web"}"#).unwrap();
    let (root, away) = (at(&host, ""), host.path("jails/web/away"));
    fs::rename(&root, &away).unwrap();
    let stop = r#"{"verb":"stop-agent","jail":"web","remove-secrets":true}"#;
    assert_eq!(host.failure(stop), ErrorName::RootNotMounted);
    assert!(host.show("web").removal_due);
    assert_eq!(remove(&host, APP), Err(ErrorName::RootNotMounted));
    fs::rename(&away, &root).unwrap();
    wait(SOON, || host.content("web").is_none() && text(&host, KEY).is_none(), || host.log());
}

#[test]
fn a_tenant_that_is_too_long_for_one_request_ends_nobodys_session() {
    let host = Host::new();
    vault(&host, &[("A", "1")]);
    host.register("web");
    host.provision("web");
    let fill = "X".repeat(60);
    let rename: Vec<_> = (0..100).map(|n| format!(r#"["A{n}{fill}","B{n}{fill}"]"#)).collect();
    let files: Vec<_> =
        (0..31).map(|n| format!(r#""etc/f{n:02}":{{"format":"raw","only":["A"]}}"#)).collect();
    let (rename, files) = (rename.join(","), files.join(","));
    host.register_with("big", &format!(r#"{{"rename":[{rename}],"files":{{{files}}}}}"#));
    let fault = host.provision("big").error.unwrap();
    assert_eq!(fault.name, ErrorName::LimitExceeded, "{fault}");
    assert_eq!((host.provision("web").error, host.sessions()), (None, 1));
}

#[test]
fn an_action_hangs_on_one_file_and_the_others_keep_the_tenants() {
    let host = Host::new();
    fs::create_dir(host.path("actions")).unwrap();
    for name in ["key", "rest"] {
        let script = format!("#!/bin/sh\necho {name} >>'{}'\n", host.path("acted").display());
        let action = host.path("actions").join(name);
        fs::write(&action, script).unwrap();
        fs::set_permissions(&action, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    vault(&host, &[("A", "1"), ("B", "1"), ("TLS", "1")]);
    host.register_with("web", r#"{"on-change":{"action":"rest"},"only":["A"]}"#);
    add(&host, KEY, r#"{"format":"raw","item":"TLS","on-change":{"action":"key"}}"#).unwrap();
    add(&host, APP, r#"{"format":"json","only":["B"]}"#).unwrap();
    let acted = || fs::read_to_string(host.path("acted")).unwrap_or_default();
    let expect = |lines: &str| wait(SOON, || acted() == lines, || format!("{}\n{}", acted(), host.log()));
    host.provision("web");
    expect("key\nrest\n");
    vault(&host, &[("A", "1"), ("B", "1"), ("TLS", "2")]);
    host.provision("web");
    expect("key\nrest\nkey\n");
    vault(&host, &[("A", "1"), ("B", "2"), ("TLS", "2")]);
    host.provision("web");
    expect("key\nrest\nkey\nrest\n");
    host.provision("web");
    assert_eq!(acted(), "key\nrest\nkey\nrest\n");
}

#[test]
fn twenty_files_are_one_question_and_twenty_writers() {
    let host = Host::new();
    vault(&host, &[("A", "1")]);
    host.register("web");
    let files: Vec<_> =
        (0..19).map(|n| format!(r#""etc/f{n:02}":{{"format":"raw","only":["A"]}}"#)).collect();
    host.update("web", &format!(r#"{{"files":{{{}}}}}"#, files.join(",")));
    let before = host.requests();
    let provision = host.provision("web");
    assert_eq!((provision.error.clone(), provision.files.len()), (None, 19));
    assert_eq!(host.requests(), before + 1);
    assert!((0..19).all(|n| text(&host, &format!("etc/f{n:02}")).as_deref() == Some("1")));
    let more: Vec<_> = (0..32).map(|n| format!(r#""etc/g{n:02}":{{"format":"raw","only":["A"]}}"#)).collect();
    let line =
        format!(r#"{{"verb":"update-tenant","tenant":"web","changes":{{"files":{{{}}}}}}}"#, more.join(","));
    assert_eq!(host.failure(&line), ErrorName::BadRequest);
}
