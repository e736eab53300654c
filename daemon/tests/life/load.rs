//! Many tenants, agents and clients at once.

use crate::agents::jail;
use crate::host::{Host, SOON, wait};
use crate::stand_in::Collection;
use crate::system;
use colibri_control::{Answer, Outcome, Request, StatusView};
use std::collections::BTreeMap;
use std::time::Instant;

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
    let host = Host::new();
    jail(&host, "a");
    let root = host.root("a");
    let name = |number: usize| format!("a{number}").parse().unwrap();
    let command = vec!["/bin/sleep".to_owned(), "1000".to_owned()];
    std::thread::scope(|scope| {
        for first in 0..10 {
            let (host, root, command) = (&host, root.clone(), command.clone());
            scope.spawn(move || {
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
