//! SIGKILL at random moments of everything that a daemon does, and what is there
//! when it starts again. The seed is fixed; `COLIBRI_TEST_KILLS` sets how often.

use crate::agents::jail;
use crate::host::{Host, SOON, processes, wait};
use crate::stand_in::Collection;
use crate::system;
use colibri_control::{AgentState, Answer, Client, Request, Secrets};
use colibri_tenant::Status;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

const KILLS: u32 = 300;
const TENANTS: [&str; 4] = ["t0", "t1", "t2", "t3"];
const KEYS: usize = 20;

#[test]
fn after_a_kill_at_any_moment_everything_is_whole() {
    let kills = std::env::var("COLIBRI_TEST_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let mut random = StdRng::seed_from_u64(20_261_123);
    let mut host = Host::new();
    TENANTS.iter().for_each(|name| jail(&host, name));
    for generation in 0..kills {
        secrets(&host, generation);
        let seed: u64 = random.random();
        let moment = Duration::from_micros(random.random_range(0..60_000));
        let (socket, dir) = (host.socket(), host.path("jails"));
        let clients: Vec<_> = (0..3_u64)
            .map(|number| {
                let (socket, dir) = (socket.clone(), dir.clone());
                std::thread::spawn(move || trouble(&socket, &dir, StdRng::seed_from_u64(seed ^ number)))
            })
            .collect();
        std::thread::sleep(moment);
        host.kill();
        clients.into_iter().for_each(|client| client.join().unwrap());
        // An agent outlives the daemon, and so does what keeps its log.
        let agents = |line: &str| line.contains("colibri-shim");
        let none = || processes(&host, "libexec").iter().all(|process| agents(&process.1));
        wait(SOON, none, || strays(&host, "libexec"));
        host.start();
        TENANTS.iter().for_each(|name| whole(&host, name));
        wait(SOON, || agents_are_known(&host), || strays(&host, "jails"));
        sessions_are_alive(&host);
    }
    settles(&host, kills);
    assert!(!host.log().contains("panicked"));
}

/// Each generation's file is told from every other by all of its values.
fn secrets(host: &Host, generation: u32) {
    let value = format!("{generation} {}", "x".repeat(200));
    let secrets: BTreeMap<_, _> = (0..KEYS).map(|key| (format!("K{key}"), value.clone())).collect();
    host.vault(TENANTS.map(|name| (name.to_owned(), Collection::Secrets(secrets.clone()))).into());
}

/// Asks for one thing after another until the daemon is gone.
fn trouble(socket: &Path, jails: &Path, mut random: StdRng) {
    let Ok(mut client) = Client::connect(socket) else { return };
    loop {
        let name = TENANTS[random.random_range(0..TENANTS.len())];
        let tenant = name.parse().unwrap();
        let (jail, root) = (name.parse().unwrap(), jails.join(name).join("root"));
        let request = match random.random_range(0..8) {
            0 => Request::Provision { tenant: Some(tenant) },
            1 => Request::Hook { jail, root },
            2 => Request::SpawnAgent { jail, root, command: vec!["/bin/sleep".into(), "1000".into()] },
            3 => Request::StopAgent { jail, remove_secrets: random.random() },
            4 => Request::DestroyTenant { secrets: Secrets::There, tenant },
            5 => Request::UnregisterTenant { secrets: Secrets::There, tenant },
            _ => Request::RegisterTenant { tenant, root, settings: Box::default() },
        };
        if matches!(client.call(request), Err(error) if !error.is_refusal()) {
            return;
        }
    }
}

/// The file is whole, and where there must be none there is none.
fn whole(host: &Host, name: &str) {
    let Some(content) = host.content(name) else { return };
    let values: Vec<&str> = content
        .lines()
        .filter_map(|line| line.strip_prefix('K')?.split_once('='))
        .map(|pair| pair.1)
        .collect();
    assert_eq!(values.len(), KEYS, "{content}");
    assert!(values.iter().all(|value| *value == values[0]), "{content}");
}

fn agents_are_known(host: &Host) -> bool {
    let Ok(Answer::Agents(agents)) = host.ask(Request::ListAgents {}) else { return false };
    let runs = |pid: u32| agents.iter().any(|agent| agent.pid == pid && agent.state == AgentState::Running);
    system::agents(&host.path("jails")).into_iter().all(runs)
}

fn sessions_are_alive(host: &Host) {
    for entry in fs::read_dir(host.path("run/session")).unwrap().filter_map(Result::ok) {
        let name = entry.file_name().into_string().unwrap();
        let pid = name.strip_prefix("run-").unwrap();
        assert!(colibri_test_host::process::exists(pid.parse().unwrap()), "{name} was left behind");
    }
}

/// What was under way is done in the end, and status and file agree.
fn settles(host: &Host, kills: u32) {
    secrets(host, kills);
    for name in TENANTS {
        let _no_agent = host.say(&format!(r#"{{"verb":"stop-agent","jail":"{name}"}}"#));
    }
    let Ok(Answer::Tenants(tenants)) = host.ask(Request::ListTenants {}) else { panic!() };
    for tenant in tenants {
        let name = tenant.tenant.as_str();
        wait(SOON, || !host.show(name).busy, || host.log());
        match host.show(name).status {
            Status::Destroyed => assert_eq!(host.content(name), None),
            Status::Provisioned | Status::Active | Status::Stopped => {
                host.provision(name);
                assert!(host.content(name).is_some_and(|text| text.contains(&format!("{kills} x"))));
            }
        }
    }
    wait(SOON, || system::left(&host.path("jails")).is_empty(), || strays(host, "jails"));
}

fn strays(host: &Host, within: &str) -> String {
    format!("{:?}\n{}", processes(host, within), host.log())
}
