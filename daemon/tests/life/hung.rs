//! A file system that does not answer, as one tenant's root: nobody else may
//! notice, and the daemon least of all.

use crate::agents::{agent, jail};
use crate::host::{Host, SOON, processes, wait};
use crate::stand_in::Collection;
use colibri_control::{AgentState, HookResult, Outcome, Request};
use colibri_tenant::ErrorName;
use colibri_test_host::hung::Hung;
use colibri_test_host::namespace::may_mount;
use colibri_test_host::skip;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What others may take longer than they took before.
const USUAL: Duration = Duration::from_secs(2);
/// A look's own deadline, and what a loaded machine adds to it.
const LOOK: Duration = Duration::from_secs(20);

fn hung(on: &Path) -> Option<Hung> {
    Hung::new(on).inspect_err(|error| skip(format_args!("no FUSE: {error}"))).ok()
}

const OTHERS: [&str; 3] = ["a", "b", "c"];

fn vault(host: &Host, value: &str) {
    let one = || Collection::Secrets([("A".to_owned(), value.to_owned())].into());
    host.vault(OTHERS.iter().chain(&["web"]).map(|name| ((*name).to_owned(), one())).collect());
}

/// What others do, and how long the longest of it took.
fn others(host: &Host, value: &str) -> Duration {
    vault(host, value);
    let mut longest = Duration::ZERO;
    let mut timed = |act: &dyn Fn()| {
        let since = Instant::now();
        act();
        longest = longest.max(since.elapsed());
    };
    for name in OTHERS {
        timed(&|| drop(host.register(name)));
        timed(&|| assert_eq!(host.hook(name, &host.root(name)).result, HookResult::Provisioned));
        timed(&|| assert_eq!(host.provision(name).outcome, Outcome::Unchanged));
        timed(&|| drop(host.say(r#"{"verb":"status"}"#).unwrap()));
        timed(&|| drop(host.say(r#"{"verb":"list-tenants"}"#).unwrap()));
    }
    longest
}

/// All that can be asked for the tenant whose root hangs.
fn requests(host: &Host) -> Vec<String> {
    let root = host.path("jails/web/root");
    let (root, web) = (root.display(), r#""tenant":"web""#);
    vec![
        format!(r#"{{"verb":"hook","jail":"web","root":"{root}"}}"#),
        format!(r#"{{"verb":"provision",{web}}}"#),
        format!(r#"{{"verb":"diff",{web}}}"#),
        format!(r#"{{"verb":"check-root",{web}}}"#),
        format!(r#"{{"verb":"accept-root",{web}}}"#),
        format!(r#"{{"verb":"register-tenant",{web},"root":"{root}"}}"#),
        format!(r#"{{"verb":"update-tenant",{web},"changes":{{"file":"other"}}}}"#),
        format!(r#"{{"verb":"spawn-agent","jail":"web","root":"{root}","command":["/bin/sh"]}}"#),
        format!(r#"{{"verb":"destroy-tenant",{web}}}"#),
    ]
}

/// The daemon's own state, as ps(1) says it.
fn state(host: &Host) -> String {
    let stat = fs::read_to_string(format!("/proc/{}/stat", host.pid())).unwrap();
    stat.rsplit_once(") ").unwrap().1[..1].to_owned()
}

fn writers(host: &Host) -> usize {
    processes(host, "libexec/colibri-writer").len()
}

/// The control: who looks at the root by itself, as the daemon did, is held there, and
/// not even SIGKILL brings it back before the file system answers.
fn looks_itself(root: &Path, hung: &Hung) -> JoinHandle<()> {
    let asked = hung.asked();
    let mut looks =
        Command::new("stat").arg(root).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait(SOON, || hung.asked() > asked, String::new);
    looks.kill().unwrap();
    thread::sleep(Duration::from_secs(1));
    assert_eq!(looks.try_wait().unwrap(), None);
    thread::spawn(move || assert!(!looks.wait().unwrap().success()))
}

#[test]
fn a_root_that_does_not_answer_holds_up_its_own_tenant_only() {
    if !may_mount("hung::a_root_that_does_not_answer_holds_up_its_own_tenant_only") {
        return;
    }
    let mut host = Host::new();
    vault(&host, "0");
    jail(&host, "web");
    host.register("web");
    assert_eq!(host.provision("web").outcome, Outcome::Written);
    let before = others(&host, "1");
    let root = host.path("jails/web/root");
    let Some(hung) = hung(&root) else { return };
    // An agent that is being started makes the removal wait for another reason.
    let mut asked = requests(&host);
    asked.retain(|request| !request.contains("spawn-agent"));
    thread::scope(|scope| {
        let host = &host;
        let asking = asked.iter().map(|request| {
            scope.spawn(move || {
                let since = Instant::now();
                let said = format!("{:?}", host.say(request));
                assert!(said.contains("RootUnresponsive"), "{request}: {said}");
                assert!(since.elapsed() < LOOK, "{request}: {:?}", since.elapsed());
            })
        });
        let asking: Vec<_> = asking.collect();
        wait(SOON, || hung.asked() > 0, || host.log());
        let mut value = 2;
        while asking.iter().any(|thread| !thread.is_finished()) {
            let took = others(host, &value.to_string());
            assert!(took < before + USUAL, "{took:?}, and {before:?} before");
            assert_ne!(state(host), "D");
            value += 1;
        }
        asking.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(value > 3, "the others were not asked for while it hung");
    });
    // From now on the answer comes at once, and nobody else is sent there.
    assert_eq!(writers(&host), 1, "{:?}", processes(&host, "libexec/colibri-writer"));
    for request in requests(&host) {
        let since = Instant::now();
        let said = format!("{:?}", host.say(&request));
        assert!(said.contains("RootUnresponsive"), "{request}: {said}");
        assert!(since.elapsed() < USUAL, "{request}: {:?}", since.elapsed());
    }
    assert_eq!((writers(&host), hung.asked()), (1, 1), "one look, and no other");
    let lost = looks_itself(&root, &hung);
    let took = others(&host, "0");
    assert!(took < before + USUAL, "{took:?}, and {before:?} before");
    // It does not keep the daemon from ending either.
    let since = Instant::now();
    assert!(host.terminate());
    assert!(since.elapsed() < before + USUAL * 3, "{:?}", since.elapsed());
    host.start();
    drop(hung);
    lost.join().unwrap();
    wait(SOON, || writers(&host) == 0, || host.log());
    // The removal that could not be done is still to be done.
    assert!(host.show("web").removal_due);
    host.say(r#"{"verb":"destroy-tenant","tenant":"web"}"#).unwrap();
    assert!(!root.join("usr/local/etc/colibri/env").exists());
}

#[test]
fn a_target_that_does_not_answer_is_left_to_the_one_writer_that_hangs_there() {
    if !may_mount("hung::a_target_that_does_not_answer_is_left_to_the_one_writer_that_hangs_there") {
        return;
    }
    let host = Host::with(&[("COLIBRI_DEADLINE", "2s")]);
    vault(&host, "0");
    host.register("web");
    let before = others(&host, "1");
    let Some(hung) = hung(&host.path("jails/web/root/usr/local/etc/colibri")) else { return };
    assert_eq!(host.provision("web").error.unwrap().name, ErrorName::RootUnresponsive);
    let since = Instant::now();
    let hook = host.hook("web", &host.path("jails/web/root"));
    assert_eq!(hook.warning.unwrap().name, ErrorName::RootUnresponsive);
    assert!(since.elapsed() < USUAL, "{:?}", since.elapsed());
    assert_eq!((writers(&host), hung.asked()), (1, 1));
    let took = others(&host, "2");
    assert!(took < before + USUAL, "{took:?}, and {before:?} before");
    drop(hung);
    wait(SOON, || host.content("web").is_some(), || host.log());
}

/// Agents that ended there, and one that was lost while no daemon ran.
#[test]
fn roots_that_do_not_answer_hold_up_no_daemon_s_start() {
    if !may_mount("hung::roots_that_do_not_answer_hold_up_no_daemon_s_start") {
        return;
    }
    let mut host = Host::new();
    assert!(host.terminate());
    let jails = [("a", "exited"), ("b", "stopped"), ("c", "running")];
    let db = rusqlite::Connection::open(host.path("state/tenants.db")).unwrap();
    for (jail, state) in jails {
        let sql =
            "INSERT INTO agents (jail, root, command, state, pid, identity, jail_ours, started, log, mark)
            VALUES (?1, ?2, '[\"/bin/true\"]', ?3, 1, 'of before', 1, 0, '/log', '')";
        let root = host.root(jail).to_str().unwrap().to_owned();
        db.execute(sql, [jail, &root, state]).unwrap();
    }
    drop(db);
    let hung: Option<Vec<_>> = jails.iter().map(|(jail, _)| hung(&host.root(jail))).collect();
    let since = Instant::now();
    host.start();
    let took = since.elapsed();
    assert!(hung.is_none() || took < LOOK / 2, "{took:?}");
    wait(SOON, || agent(&host, "c").state == AgentState::Lost, || host.log());
    drop(hung);
}

/// Looks that can be killed, of many tenants.
const HANGING: u32 = 120;

#[test]
fn looks_that_do_not_end_are_bounded_and_keep_no_hook_waiting() {
    let host = Host::new();
    vault(&host, "0");
    host.register("web");
    let hook = || {
        let since = Instant::now();
        assert_eq!(host.hook("web", &host.root("web")).warning, None);
        since.elapsed()
    };
    hook();
    let before = hook();
    let db = rusqlite::Connection::open(host.path("state/tenants.db")).unwrap();
    let rows = "INSERT INTO tenants (name, root, settings, registered)
        WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < ?1)
        SELECT 'h' || x, ?2 || '/h' || x || '/root', settings, registered FROM n, tenants";
    let jails = host.path("jails");
    db.execute(rows, rusqlite::params![HANGING, jails.to_str().unwrap()]).unwrap();
    drop(db);
    // Instead of the writer, what hangs in such a tenant's root.
    let (writer, real, hang) =
        (host.path("libexec/colibri-writer"), host.path("libexec/real"), host.path("libexec/hang"));
    fs::copy("/bin/sleep", &hang).unwrap();
    fs::rename(&writer, &real).unwrap();
    let (real, hang) = (real.display(), hang.display());
    let script =
        format!("#!/bin/sh\ncase \" $*\" in *' h'[0-9]*) exec {hang} 1000; esac\nexec {real} \"$@\"\n");
    fs::write(&writer, script).unwrap();
    fs::set_permissions(&writer, fs::Permissions::from_mode(0o755)).unwrap();
    let hanging = || processes(&host, "libexec/hang").len();

    let mut client = host.client();
    let all = thread::spawn(move || drop(client.call(Request::Provision { tenant: None })));
    wait(SOON, || hanging() >= 30, || host.log());
    let (mut most, mut longest) = (0, Duration::ZERO);
    for _ in 0..10 {
        thread::sleep(Duration::from_millis(200));
        most = most.max(hanging());
        longest = longest.max(hook());
    }
    assert!(most <= 64, "{most} children");
    assert!(longest < before + USUAL, "{longest:?}, and {before:?} before");
    drop(host);
    all.join().unwrap();
}
