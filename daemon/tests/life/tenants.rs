//! Tenants and their secrets.

use crate::host::{Host, SOON, tenant, wait};
use crate::stand_in::Collection;
use colibri_control::{HookResult, Outcome, Reason, Request, TenantView};
use colibri_tenant::{ErrorName, Fault, Status};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

#[test]
fn a_tenant_lives_from_register_to_unregister() {
    let host = Host::new();
    let web = host.register("web");
    assert_eq!(web.status, Status::Provisioned);
    assert_eq!(host.register("web"), web);
    assert_eq!(host.failure(r#"{"verb":"destroy-tenant","tenant":"web"}"#), ErrorName::WrongState);

    host.secrets("web", &[("A", "it's $(id)"), ("B", "2")]);
    let hook = host.hook("web", &host.root("web"));
    assert_eq!(hook.result, HookResult::Provisioned, "{hook:?}");
    let provision = hook.provision.unwrap();
    assert_eq!((provision.outcome, provision.keys), (Outcome::Written, 2));
    assert_eq!(provision.warnings, ["item \"a b\": \u{fffd}[31mno key"]);
    assert_eq!(
        provision.steps.iter().map(|step| step.name.as_str()).collect::<Vec<_>>(),
        ["contain", "queue", "items", "write"]
    );
    assert_eq!(fs::metadata(host.file("web")).unwrap().permissions().mode() & 0o7777, 0o600);

    let web = host.show("web");
    assert_eq!((web.status, web.keys), (Status::Active, vec!["A".to_owned(), "B".to_owned()]));
    assert_eq!(web.warnings, provision.warnings, "what the newest attempt skipped is with the tenant");
    assert_eq!(web.collection_id.as_deref(), Some("c-1"));
    assert_eq!(host.provision("web").outcome, Outcome::Unchanged);
    assert_eq!(host.failure(r#"{"verb":"unregister-tenant","tenant":"web"}"#), ErrorName::WrongState);

    host.say(r#"{"verb":"stop-agent","jail":"web"}"#).unwrap();
    assert_eq!(host.show("web").status, Status::Stopped);
    assert!(host.content("web").is_some());
    host.hook("web", &host.root("web"));
    assert_eq!(host.show("web").status, Status::Active);

    host.say(r#"{"verb":"destroy-tenant","tenant":"web"}"#).unwrap();
    assert_eq!(host.show("web").status, Status::Destroyed);
    assert_eq!(host.content("web"), None);
    assert_eq!(host.hook("web", &host.root("web")).result, HookResult::Destroyed);
    assert_eq!(
        host.failure(r#"{"verb":"update-tenant","tenant":"web","changes":{}}"#),
        ErrorName::WrongState
    );
    let again = host.register("web");
    assert_eq!((again.status, again.last_success), (Status::Provisioned, None));
    host.say(r#"{"verb":"unregister-tenant","tenant":"web"}"#).unwrap();
    assert_eq!(host.failure(r#"{"verb":"show-tenant","tenant":"web"}"#), ErrorName::TenantNotFound);
    assert_eq!(host.sessions(), 1);
}

fn remove(host: &Host, name: &str) {
    host.say(&format!(r#"{{"verb":"remove-tenant","tenant":"{name}"}}"#)).unwrap();
    assert_eq!(
        host.failure(&format!(r#"{{"verb":"show-tenant","tenant":"{name}"}}"#)),
        ErrorName::TenantNotFound
    );
}

#[test]
fn whatever_a_tenants_state_it_is_removed_with_its_file() {
    let host = Host::new();
    let known = ["active", "stopped", "destroyed"].map(|name| (name.to_owned(), secret("A", "1")));
    host.vault(known.into_iter().collect());
    for name in ["registered", "failed", "active", "stopped", "destroyed"] {
        host.register(name);
    }
    for name in ["failed", "active", "stopped", "destroyed"] {
        host.hook(name, &host.root(name));
    }
    host.say(r#"{"verb":"stop-agent","jail":"stopped"}"#).unwrap();
    host.say(r#"{"verb":"destroy-tenant","tenant":"destroyed"}"#).unwrap();
    for name in ["registered", "failed", "active", "stopped", "destroyed"] {
        remove(&host, name);
        assert_eq!(host.content(name), None, "{name}");
    }
}

/// What a provision under way writes is removed, too, and does not wake its tenant.
#[test]
fn a_tenant_is_removed_while_its_first_secrets_are_on_their_way() {
    let host = Host::new();
    for (number, verb) in (1..).zip(["remove-tenant", "unregister-tenant"]) {
        host.has("web", Collection::Slow([("A".to_owned(), "1".to_owned())].into()));
        host.register("web");
        std::thread::scope(|scope| {
            scope.spawn(|| host.ask(Request::Provision { tenant: Some("web".parse().unwrap()) }));
            wait(SOON, || host.requests() == number, || host.log());
            host.say(&format!(r#"{{"verb":"{verb}","tenant":"web"}}"#)).unwrap();
        });
        assert_eq!(host.failure(r#"{"verb":"show-tenant","tenant":"web"}"#), ErrorName::TenantNotFound);
        assert_eq!(host.content("web"), None, "{verb}");
    }
}

fn secret(key: &str, value: &str) -> Collection {
    Collection::Secrets([(key.to_owned(), value.to_owned())].into())
}

fn rename(host: &Host, name: &str, to: &str, root: Option<&Path>) -> Result<TenantView, Fault> {
    let mut request = serde_json::json!({ "verb": "rename-tenant", "tenant": name, "to": to });
    root.into_iter().for_each(|root| request["root"] = serde_json::json!(root));
    host.say(&request.to_string()).map(tenant)
}

#[test]
fn a_renamed_tenant_keeps_its_history_its_file_and_its_collection() {
    let host = Host::new();
    host.secrets("web", &[("A", "1")]);
    host.register("web");
    host.hook("web", &host.root("web"));
    let before = host.show("web");
    // As bastille(8) does it: the directory moves, and is the same one.
    let place = host.path("jails/www/root");
    fs::create_dir(host.path("jails/www")).unwrap();
    fs::rename(host.root("web"), &place).unwrap();
    let after = rename(&host, "web", "www", Some(&place)).unwrap();
    assert_eq!((after.tenant.as_str(), &after.root, after.status), ("www", &place, Status::Active));
    assert_eq!(after.collection_id, before.collection_id);
    assert_eq!(after.settings.collection.as_ref().map(|name| name.as_str()), Some("web"));
    assert_eq!((after.keys, after.registered), (before.keys, before.registered));
    assert_eq!(host.history("www").last().unwrap().reason, Reason::Hook);
    assert!(host.content("www").is_some());
    assert_eq!(host.failure(r#"{"verb":"show-tenant","tenant":"web"}"#), ErrorName::TenantNotFound);
    assert_eq!(host.provision("www").outcome, Outcome::Unchanged);
    // Back again, and its collection is the one that has its name.
    host.register("other");
    assert_eq!(rename(&host, "www", "other", None).unwrap_err().name, ErrorName::TenantConflict);
    let back = rename(&host, "www", "web", None).unwrap();
    assert_eq!(back.settings.collection.as_ref().map(|name| name.as_str()), Some("web"));
}

#[test]
fn a_tenant_that_is_renamed_to_another_directory_leaves_no_file_behind() {
    let host = Host::new();
    host.secrets("web", &[("A", "1")]);
    host.register("web");
    host.hook("web", &host.root("web"));
    rename(&host, "web", "new", Some(&host.root("new"))).unwrap();
    assert_eq!(host.content("web"), None);
    assert_eq!(host.provision("new").error, None);
    assert!(host.content("new").is_some());
    // A jail that is made under the old name has nothing of it.
    let again = host.register("web");
    assert_eq!((again.status, again.last_success), (Status::Provisioned, None));
}

/// Neither brings a provision that was under way the secrets afterwards.
#[test]
fn a_tenant_is_renamed_and_removed_while_its_first_secrets_are_on_their_way() {
    let host = Host::new();
    host.has("web", Collection::Slow([("A".to_owned(), "1".to_owned())].into()));
    host.register("web");
    std::thread::scope(|scope| {
        scope.spawn(|| host.ask(Request::Provision { tenant: Some("web".parse().unwrap()) }));
        wait(SOON, || host.requests() == 1, || host.log());
        rename(&host, "web", "www", None).unwrap();
        host.say(r#"{"verb":"remove-tenant","tenant":"www"}"#).unwrap();
    });
    assert_eq!(host.content("web"), None);
}

#[test]
fn a_removal_that_is_due_stays_due_under_another_name() {
    let host = Host::new();
    host.secrets("web", &[("A", "1")]);
    host.register("web");
    host.provision("web");
    let (root, away) = (host.root("web"), host.path("jails/web/away"));
    fs::rename(&root, &away).unwrap();
    let stop = r#"{"verb":"stop-agent","jail":"web","remove-secrets":true}"#;
    assert_eq!(host.failure(stop), ErrorName::RootNotMounted);
    assert!(rename(&host, "web", "www", None).unwrap().removal_due);
    fs::rename(&away, &root).unwrap();
    wait(SOON, || host.content("web").is_none(), || host.log());
    wait(SOON, || !host.show("www").removal_due, || host.log());
}

#[test]
fn after_a_clean_end_the_database_is_one_file() {
    let mut host = Host::new();
    host.register("web");
    assert!(host.terminate());
    let database = host.path("state/tenants.db");
    let copy = fs::read(&database).unwrap();
    assert_eq!(fs::metadata(host.path("state/tenants.db-wal")).map_or(0, |found| found.len()), 0);
    host.start();
    host.register("later");
    assert!(host.terminate());
    fs::write(&database, copy).unwrap();
    host.start();
    assert_eq!(host.show("web").status, Status::Provisioned);
    assert_eq!(host.failure(r#"{"verb":"show-tenant","tenant":"later"}"#), ErrorName::TenantNotFound);
}

#[test]
fn the_hook_is_silent_without_a_tenant_and_harmless_with_a_wrong_root() {
    let host = Host::new();
    host.secrets("web", &[("A", "1")]);
    let none = host.hook("web", &host.root("web"));
    assert_eq!((none.result, none.warning), (HookResult::NoTenant, None));

    host.register("web");
    symlink("/", host.path("jails/out")).unwrap();
    for (root, name) in [
        (host.root("other"), ErrorName::RootMismatch),
        (host.path("jails"), ErrorName::TargetEscapesRoot),
        (host.path("jails/web/../.."), ErrorName::TargetEscapesRoot),
        (host.path("jails/out"), ErrorName::RootMismatch),
        (host.path("jails/nowhere"), ErrorName::RootMismatch),
    ] {
        assert_eq!(host.hook("web", &root).warning.unwrap().name, name, "{}", root.display());
    }
    assert!(!host.root("web").join("usr").exists());
    assert_eq!(host.sessions(), 0);
}

#[test]
fn a_registered_root_that_became_a_link_is_an_escape_that_the_tenant_shows() {
    let host = Host::new();
    host.secrets("web", &[("A", "1")]);
    host.register("web");
    fs::remove_dir_all(host.root("web")).unwrap();
    symlink(host.root("other"), host.path("jails/web/root")).unwrap();
    let hook = host.hook("web", &host.path("jails/web/root"));
    assert_eq!(hook.warning.unwrap().name, ErrorName::TargetEscapesRoot);
    assert_eq!(host.show("web").last_error.unwrap().name, ErrorName::TargetEscapesRoot);
    assert!(!host.root("other").join("usr").exists());
}

#[test]
fn a_conflicting_registration_says_what_stands_there() {
    let host = Host::new();
    host.register("web");
    let root = host.root("web");
    let other = host.root("other");
    for (tenant, root, settings) in
        [("web", &root, r#"{"fields":true}"#), ("web", &other, "{}"), ("two", &root, "{}")]
    {
        let request = format!(
            r#"{{"verb":"register-tenant","tenant":"{tenant}","root":"{}","settings":{settings}}}"#,
            root.display()
        );
        assert_eq!(host.failure(&request), ErrorName::TenantConflict, "{request}");
    }
}

#[test]
fn each_failure_has_its_name_and_the_old_file_stays() {
    let host = Host::new();
    host.secrets("web", &[("A", "1")]);
    host.register("web");
    host.hook("web", &host.root("web"));
    let before = host.content("web");
    for (collection, name) in [
        (Collection::Fails(ErrorName::VaultUnreachable), ErrorName::VaultUnreachable),
        (Collection::Stops, ErrorName::VaultTimeout),
        (Collection::Crashes, ErrorName::FetcherFailed),
        (Collection::Fails(ErrorName::KeyConflict), ErrorName::KeyConflict),
        (Collection::Hangs, ErrorName::DeadlineExceeded),
    ] {
        host.has("web", collection);
        if name == ErrorName::DeadlineExceeded {
            host.update("web", r#"{"deadline":1}"#);
        }
        let provision = host.provision("web");
        assert_eq!((provision.outcome, provision.error.unwrap().name), (Outcome::Failed, name));
        assert_eq!(host.show("web").last_error.unwrap().name, name);
        assert_eq!(host.content("web"), before);
    }
}

#[test]
fn a_fetcher_that_hangs_is_replaced() {
    let host = Host::new();
    host.has("web", Collection::Hangs);
    host.register_with("web", r#"{"deadline":1}"#);
    host.hook("web", &host.root("web"));
    host.secrets("web", &[("A", "1")]);
    host.update("web", r#"{"deadline":null}"#);
    wait(SOON, || host.content("web").is_some(), || host.log());
    assert!(host.sessions() > 1);
}

#[test]
fn what_can_heal_is_tried_again_and_the_vault_s_return_serves_all() {
    let host = Host::new();
    host.has("web", Collection::Fails(ErrorName::VaultUnreachable));
    host.register("web");
    let hook = host.hook("web", &host.root("web"));
    assert_eq!(hook.warning.unwrap().name, ErrorName::VaultUnreachable);
    assert!(host.show("web").next_try.is_some());
    host.secrets("web", &[("A", "1")]);
    wait(SOON, || host.content("web").is_some(), || host.log());
    wait(SOON, || host.show("web").last_error.is_none(), || host.log());
}

#[test]
fn a_rate_limit_bars_further_logins_for_everybody_and_after_a_restart() {
    let mut host = Host::new();
    host.vault(["web", "db"].map(|it| (it.into(), Collection::Refuses(ErrorName::RateLimited))).into());
    host.register("web");
    host.register("db");
    host.hook("web", &host.root("web"));
    let wait = host.show("web").next_try.unwrap() - host.show("web").registered;
    assert!(wait >= 60_000, "{wait}");
    assert_eq!(host.requests(), 1);
    assert_eq!(host.provision("db").error.unwrap().name, ErrorName::RateLimited);
    assert!(host.terminate());
    host.start();
    for tenant in ["web", "db"] {
        assert_eq!(host.provision(tenant).error.unwrap().name, ErrorName::RateLimited);
    }
    assert_eq!((host.requests(), host.sessions()), (1, 1), "nobody asked the vault again");
}

#[test]
fn what_an_operator_mends_is_tried_again_with_the_next_start() {
    let mut host = Host::new();
    host.has("web", Collection::Fails(ErrorName::BadCredentials));
    host.register("web");
    assert_eq!(host.hook("web", &host.root("web")).warning.unwrap().name, ErrorName::BadCredentials);
    assert!(host.show("web").next_try.is_some());
    assert!(host.terminate());
    host.secrets("web", &[("A", "1")]);
    host.start();
    wait(SOON, || host.show("web").status == Status::Active, || host.log());
}

#[test]
fn who_cannot_be_helped_by_waiting_is_not_asked_again_until_the_session_works() {
    let host = Host::new();
    host.register_with("web", r#"{"refresh":1}"#);
    host.register("db");
    host.has("web", Collection::Fails(ErrorName::BwUnusable));
    host.hook("web", &host.root("web"));
    let waits = host.show("web").next_try.unwrap() - host.history("web")[0].at;
    assert!(waits > 60_000, "not even with the next refresh: {waits}");
    let secrets = || Collection::Secrets([("A".to_owned(), "1".to_owned())].into());
    host.vault(["web", "db"].map(|it| (it.into(), secrets())).into());
    assert_eq!(host.provision("db").outcome, Outcome::Written);
    wait(SOON, || host.show("web").status == Status::Active, || host.log());
}

#[test]
fn a_session_that_closes_under_a_request_is_asked_again() {
    let host = Host::new();
    host.has("web", Collection::Closes);
    host.register("web");
    assert_eq!(host.provision("web").outcome, Outcome::Written);
    assert_eq!(host.sessions(), 2);
}

#[test]
fn a_shrunken_answer_waits_for_the_operator() {
    let host = Host::new();
    host.secrets("web", &[("A", "1"), ("B", "2")]);
    host.register("web");
    host.hook("web", &host.root("web"));
    host.secrets("web", &[("A", "1")]);
    let fault = host.provision("web").error.unwrap();
    assert_eq!(fault.name, ErrorName::AnswerShrunken);
    // One that is smaller still confirms nothing.
    host.secrets("web", &[]);
    assert_eq!(host.provision("web").error.unwrap().name, ErrorName::AnswerShrunken);
    host.secrets("web", &[("A", "1")]);
    assert_eq!(host.provision("web").outcome, Outcome::Written);
    assert_eq!(host.show("web").keys, ["A"]);
}

#[test]
fn a_refresh_puts_back_what_was_altered_and_fetches_what_changed() {
    let host = Host::new();
    host.secrets("web", &[("A", "1")]);
    host.register_with("web", r#"{"refresh":1}"#);
    host.hook("web", &host.root("web"));
    fs::remove_file(host.file("web")).unwrap();
    wait(SOON, || host.content("web").is_some(), || host.log());
    host.secrets("web", &[("A", "2")]);
    wait(SOON, || host.content("web").is_some_and(|text| text.contains('2')), || host.log());
    let request = r#"{"verb":"history","tenant":"web","limit":1}"#;
    match host.say(request).unwrap() {
        colibri_control::Answer::Provisions(newest) => assert_eq!(newest[0].reason, Reason::Refresh),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_difference_is_told_by_keys_and_changes_nothing() {
    let host = Host::new();
    host.secrets("web", &[("A", "1"), ("B", "2"), ("C", "3")]);
    let before = host.register("web");
    let new = host.diff("web").unwrap();
    assert_eq!((new.added, new.same, new.intact), (keys(&["A", "B", "C"]), 0, false));
    assert!(!host.root("web").join("usr").exists());
    assert_eq!((host.show("web"), host.history("web")), (before, Vec::new()));

    host.hook("web", &host.root("web"));
    let (before, history, content) = (host.show("web"), host.history("web"), host.content("web"));
    let agreed = host.diff("web").unwrap();
    assert_eq!((agreed.same, agreed.intact), (3, true));
    host.secrets("web", &[("A", "1"), ("B", "canary"), ("D", "4")]);
    let diff = host.diff("web").unwrap();
    assert_eq!(diff.added, keys(&["D"]));
    assert_eq!(diff.removed, keys(&["C"]));
    assert_eq!(diff.changed, keys(&["B"]));
    assert_eq!((diff.same, diff.intact), (1, false));
    // All but one are gone: nothing that a provision would believe at once.
    host.secrets("web", &[("A", "1")]);
    assert_eq!(host.diff("web").unwrap().removed, keys(&["B", "C"]));
    assert_eq!((host.show("web"), host.history("web")), (before, history));
    assert_eq!(host.content("web"), content);

    host.has("web", Collection::Fails(ErrorName::VaultLocked));
    assert_eq!(host.diff("web").unwrap_err().name, ErrorName::VaultLocked);
    assert_eq!(host.show("web").last_error, None);
    host.say(r#"{"verb":"destroy-tenant","tenant":"web"}"#).unwrap();
    assert_eq!(host.diff("web").unwrap_err().name, ErrorName::WrongState);
    assert_eq!(host.diff("none").unwrap_err().name, ErrorName::TenantNotFound);
}

#[test]
fn drift_is_seen_before_it_is_put_back() {
    let host = Host::new();
    host.secrets("web", &[("A", "1"), ("B", "2")]);
    host.register("web");
    host.hook("web", &host.root("web"));
    let mend = |spoil: &dyn Fn()| {
        spoil();
        let diff = host.diff("web").unwrap();
        assert!(!diff.intact, "{diff:?}");
        assert_eq!(host.provision("web").outcome, Outcome::Written);
        assert!(host.diff("web").unwrap().intact);
        (diff.added, diff.removed, diff.changed)
    };
    let file = host.file("web");
    let none = keys(&[]);
    let opened = || fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(mend(&opened), (none.clone(), none.clone(), none.clone()));
    let altered = || fs::write(&file, "A=9\nX=1\n").unwrap();
    assert_eq!(mend(&altered), (keys(&["B"]), keys(&["X"]), keys(&["A"])));
    let gone = || fs::remove_file(&file).unwrap();
    assert_eq!(mend(&gone), (keys(&["A", "B"]), none.clone(), none.clone()));
}

fn keys(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_target_that_moves_leaves_no_file_behind() {
    let host = Host::new();
    host.secrets("web", &[("A", "1")]);
    host.register("web");
    host.hook("web", &host.root("web"));
    host.update("web", r#"{"file":"other"}"#);
    let moved = host.file("web").with_file_name("other");
    wait(SOON, || moved.exists(), || host.log());
    assert_eq!(host.content("web"), None);
    let bad = r#"{"verb":"update-tenant","tenant":"web","changes":{"file":"a/b"}}"#;
    assert_eq!(host.failure(bad), ErrorName::BadRequest);
}

#[test]
fn work_that_a_crash_cut_off_is_done_again() {
    let mut host = Host::new();
    host.has("web", Collection::Hangs);
    host.register("web");
    let line = format!(
        "{{\"v\":1,\"id\":1,\"verb\":\"hook\",\"jail\":\"web\",\"root\":\"{}\"}}\n",
        host.root("web").display()
    );
    let mut client = std::os::unix::net::UnixStream::connect(host.socket()).unwrap();
    std::io::Write::write_all(&mut client, line.as_bytes()).unwrap();
    wait(SOON, || host.sessions() == 1, || host.log());
    host.kill();
    host.secrets("web", &[("A", "1")]);
    host.start();
    wait(SOON, || host.show("web").status == Status::Active, || host.log());
}

#[test]
fn the_vault_is_asked_whether_it_takes_the_credentials() {
    const CHECK: &str = r#"{"verb":"check-vault"}"#;
    let host = Host::new();
    host.secrets("web", &[("A", "1")]);
    host.say(CHECK).unwrap();
    // Another session is opened instead of one that closes meanwhile.
    host.has("", Collection::Closes);
    host.say(CHECK).unwrap();
    assert_eq!(host.sessions(), 2);
    host.has("", Collection::Fails(ErrorName::BadCredentials));
    let fault = host.ask(Request::CheckVault {}).unwrap_err();
    assert_eq!(fault.name, ErrorName::BadCredentials);
    // The fetcher's words, which may be a hostile vault's.
    assert_eq!(fault.message, "the stand-in was told so \u{fffd}[31m\u{fffd}\u{fffd}");
}

#[test]
fn a_vault_that_answers_nobody_costs_a_jail_that_has_secrets_nothing() {
    let host = Host::with(&[("COLIBRI_DEADLINE", "10s")]);
    let all =
        |collection: Collection| host.vault(["web", "new"].map(|it| (it.into(), collection.clone())).into());
    host.secrets("web", &[("A", "1")]);
    host.register("web");
    host.register("new");
    host.hook("web", &host.root("web"));
    let before = host.content("web");
    all(Collection::Refuses(ErrorName::VaultTimeout));
    assert!(host.hook("web", &host.root("web")).provision.is_some(), "it was asked");
    all(Collection::Hangs);
    let times = ["web", "new", "new"].map(|name| {
        let begun = Instant::now();
        let hook = host.hook(name, &host.root(name));
        assert_eq!(hook.warning.unwrap().name, ErrorName::VaultTimeout, "{name}");
        begun.elapsed()
    });
    let deadline = Duration::from_secs(10);
    assert!(times[0] < deadline && times[2] < deadline, "{times:?}");
    assert_eq!(host.content("web"), before);
    // Behind the jails' start they are tried again.
    all(Collection::Secrets([("A".into(), "2".into())].into()));
    wait(SOON, || host.content("new").is_some() && host.content("web") != before, || host.log());
}

#[test]
fn a_tenant_that_is_kept_up_is_brought_without_a_first_provision() {
    let host = Host::new();
    host.secrets("web", &[("A", "1")]);
    host.register_with("web", r#"{"refresh":1}"#);
    wait(SOON, || host.content("web").is_some(), || host.log());
}

#[test]
fn who_chooses_fewer_keys_gets_fewer_and_none_is_still_doubted() {
    let host = Host::new();
    host.secrets("web", &[("A", "1"), ("B", "1"), ("C", "1"), ("D", "1")]);
    host.register("web");
    host.provision("web");
    // The control: as many keys are gone, and nobody chose that.
    host.secrets("web", &[("A", "1")]);
    assert_eq!(host.provision("web").error.unwrap().name, ErrorName::AnswerShrunken);
    host.secrets("web", &[("A", "1"), ("B", "1"), ("C", "1"), ("D", "1")]);
    assert!(host.provision("web").error.is_none());
    host.vault([("web".into(), Collection::Secrets([("A".into(), "1".into())].into()))].into());
    host.update("web", r#"{"only":["A"]}"#);
    wait(SOON, || host.show("web").keys == ["A"], || host.log());
    host.secrets("web", &[]);
    host.update("web", r#"{"only":["Z"]}"#);
    let doubted = || host.show("web").last_error.is_some_and(|it| it.name == ErrorName::AnswerShrunken);
    wait(SOON, doubted, || host.log());
}

/// It is not asked for again and again, and not forgotten.
#[test]
fn a_collection_that_is_missing_is_looked_for_when_the_vault_shows_others() {
    let host = Host::new();
    let secrets = |names: &[&str], value: &str| {
        let one = || Collection::Secrets([("A".to_owned(), value.to_owned())].into());
        host.vault(names.iter().map(|name| ((*name).to_owned(), one())).collect());
    };
    secrets(&["db"], "1");
    host.register("web");
    host.register("db");
    assert_eq!(host.provision("web").error.unwrap().name, ErrorName::CollectionNotFound);
    assert_eq!(host.provision("db").outcome, Outcome::Written);
    let tried = || host.history("web").len();
    wait(SOON, || tried() == 2, || host.log());
    wait(SOON, || host.show("web").next_try.is_some(), || host.log());
    let shown = host.show("web");
    let newest = &host.history("web")[0];
    assert!(shown.next_try.unwrap() > newest.at + 60_000, "an hour away, at most: {shown:?}");
    for value in ["2", "3", "4"] {
        secrets(&["db"], value);
        assert_eq!(host.provision("db").outcome, Outcome::Written);
    }
    assert_eq!(tried(), 2, "the vault shows what it showed before");
    secrets(&["db", "web"], "5");
    assert_eq!(host.provision("db").outcome, Outcome::Written);
    wait(SOON, || host.show("web").status == Status::Active, || host.log());
}
