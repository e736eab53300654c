//! Many tenants, agents and clients at once.

use crate::agents::jail;
use crate::host::{Host, SOON, wait};
use crate::stand_in::Collection;
use crate::system;
use colibri_control::{Answer, Outcome, Request, StatusView};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::{Duration, Instant};

const TENANTS: usize = 1000;
const AGENTS: usize = 200;

fn status(host: &Host) -> StatusView {
    match host.say(r#"{"verb":"status"}"#).unwrap() {
        Answer::Status(status) => *status,
        other => panic!("{other:?}"),
    }
}

/// The figures go to standard error for whoever wants them.
fn took<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let value = work();
    eprintln!("{what}: {:.1} ms", start.elapsed().as_secs_f64() * 1000.0);
    value
}

fn memory(host: &Host) -> String {
    format!("{} KiB", colibri_test_host::process::resident(host.pid()).unwrap())
}

#[test]
fn a_thousand_tenants_are_served_by_one_session() {
    let host = Host::with(&[("COLIBRI_DEADLINE", "10m")]);
    let names: Vec<String> = (0..TENANTS).map(|number| format!("t{number}")).collect();
    let one = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
    host.vault(names.iter().map(|name| (name.clone(), Collection::Secrets(one.clone()))).collect());
    took("1,000 registrations", || names.iter().for_each(|name| drop(host.register(name))));
    let all = || match host.ask(Request::Provision { tenant: None }).unwrap() {
        Answer::Provisions(provisions) => provisions,
        other => panic!("{other:?}"),
    };
    for outcome in [Outcome::Written, Outcome::Unchanged] {
        let provisions = took("1,000 provisions", all);
        assert_eq!(provisions.len(), TENANTS);
        assert!(provisions.iter().all(|provision| provision.outcome == outcome));
    }
    assert_eq!(host.sessions(), 1);
    let mut client = host.client();
    for _ in 0..3 {
        took("list-tenants", || client.call(Request::ListTenants {}).unwrap());
        took("show-tenant", || client.call(Request::ShowTenant { tenant: "t500".parse().unwrap() }).unwrap());
    }
    eprintln!("{}", memory(&host));
    assert_eq!((status(&host).active, status(&host).under_way), (1000, 0));
}

#[test]
fn two_hundred_agents_start_and_stop() {
    if !system::may_make_jails() {
        return;
    }
    let host = Host::new();
    let name = |number: usize| format!("a{number}").parse().unwrap();
    let command = vec!["/bin/sleep".to_owned(), "1000".to_owned()];
    std::thread::scope(|scope| {
        for first in 0..10 {
            // Those of one root come one after the other: on FreeBSD each mounts a devfs.
            let (host, command, place) = (&host, command.clone(), format!("root{first}"));
            scope.spawn(move || {
                jail(host, &place);
                let root = host.root(&place);
                let mut client = host.client();
                for number in (first..AGENTS).step_by(10) {
                    let (root, command) = (root.clone(), command.clone());
                    client.call(Request::SpawnAgent { jail: name(number), root, command }).unwrap();
                }
            });
        }
    });
    assert_eq!(status(&host).agents as usize, AGENTS);
    eprintln!("{}", memory(&host));
    let mut client = host.client();
    for number in 0..AGENTS {
        client.call(Request::StopAgent { jail: name(number), remove_secrets: false }).unwrap();
    }
    wait(SOON, || system::left(&host.path("jails")).is_empty(), || host.log());
    assert_eq!(status(&host).agents, 0);
}

/// How many tenants an observer's list has, and how many observers ask for it.
const LISTED: usize = 3000;
const OBSERVERS: usize = 120;
const HOOKS: usize = 15;

#[test]
fn hooks_keep_their_time_beside_observers() {
    if !nix::unistd::geteuid().is_root() {
        colibri_test_host::skip("only root can give a directory to a group");
        return;
    }
    let mut host = Host::with(&[("COLIBRI_OBSERVERS", "nogroup")]);
    host.secrets("t0", &[("A", "1")]);
    host.register("t0");
    assert!(host.terminate());
    fill(&host);
    host.start();
    let root = host.root("t0");
    host.hook("t0", &root);
    let alone = took("hooks alone", || hooks(&host));
    let beside = beside(&host, OBSERVERS, "run/observe/colibrid.sock", || hooks(&host));
    eprintln!("a hook alone {alone:?}, beside observers {beside:?}");
    assert!(beside < alone + Duration::from_secs(2), "{alone:?}, then {beside:?}");
    // The control: a tenth of them where they have no share of their own.
    let control = self::beside(&host, OBSERVERS / 10, "run/control/colibrid.sock", || {
        let start = Instant::now();
        host.hook("t0", &root);
        start.elapsed()
    });
    eprintln!("a hook beside a tenth as many at its own socket {control:?}");
    assert!(control > 10 * alone.max(beside), "{control:?}");
}

/// Works while observers ask at that socket.
fn beside<T>(host: &Host, observers: usize, socket: &str, work: impl FnOnce() -> T) -> T {
    let (end, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..observers {
            scope.spawn(|| observe(&host.path(socket), &end, &answers));
        }
        wait(SOON, || answers.load(Relaxed) > 0, || host.log());
        let done = work();
        end.store(true, Relaxed);
        done
    })
}

/// Tenants like t0, without the time that it takes to register them.
fn fill(host: &Host) {
    let database = rusqlite::Connection::open(host.path("state/tenants.db")).unwrap();
    let rows = "INSERT INTO tenants (name, root, settings, registered)
        WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < ?1 - 1)
        SELECT 't' || x, '/nowhere/' || x, settings, registered FROM n, tenants WHERE name = 't0'";
    assert_eq!(database.execute(rows, [LISTED]).unwrap(), LISTED - 1);
}

/// The median time of a hook that finds nothing new.
fn hooks(host: &Host) -> Duration {
    let root = host.root("t0");
    let mut times: Vec<_> = (0..HOOKS)
        .map(|_| {
            let start = Instant::now();
            host.hook("t0", &root);
            start.elapsed()
        })
        .collect();
    times.sort();
    times[HOOKS / 2]
}

/// Asks for the list over and over; an answer has more than its tenants' names.
fn observe(socket: &Path, end: &AtomicBool, answers: &AtomicUsize) {
    while !end.load(Relaxed) {
        if list(socket, end).is_ok_and(|answer| answer.len() > LISTED * 10) {
            answers.fetch_add(1, Relaxed);
        } else {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// One answer, however long it takes, unless that is the end.
fn list(socket: &Path, end: &AtomicBool) -> std::io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(Duration::from_millis(200)))?;
    stream.write_all(b"{\"v\":1,\"id\":1,\"verb\":\"list-tenants\"}\n")?;
    let (mut reader, mut answer) = (BufReader::new(stream), Vec::new());
    while !end.load(Relaxed) {
        match reader.read_until(b'\n', &mut answer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            done => return done.map(|_| answer),
        }
    }
    Ok(Vec::new())
}
