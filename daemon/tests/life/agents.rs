//! Agents in their jails.

use crate::host::{Host, SOON, wait};
use crate::stand_in::Collection;
use crate::system;
use colibri_control::{AgentState, AgentView, Answer, HookResult, Outcome, SpawnView};
use colibri_tenant::{ErrorName, Status};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

/// A jail with a shell, `sleep`, and the libraries that they need.
pub fn jail(host: &Host, name: &str) {
    for program in ["/bin/sh", "/bin/sleep", "/bin/cat", "/bin/hostname"] {
        install(&host.root(name), program, &program[1..]);
    }
    // Where they are mounted, which the jail's user on Linux cannot make.
    for dir in ["dev", "proc"] {
        fs::create_dir_all(host.root(name).join(dir)).unwrap();
    }
}

/// Copies a program into a jail, with the libraries that it needs.
pub fn install(root: &Path, program: &str, to: &str) {
    for file in system::files(program) {
        let copy = root.join(if file == program { to } else { &file[1..] });
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        if !copy.exists() {
            fs::copy(file, copy).unwrap();
        }
    }
}

pub fn spawn(host: &Host, name: &str, script: &str) -> SpawnView {
    let request = serde_json::json!({
        "verb": "spawn-agent", "jail": name, "root": host.root(name), "command": ["/bin/sh", "-c", script],
    });
    match host.say(&request.to_string()).unwrap() {
        Answer::Spawned(spawned) => *spawned,
        other => panic!("{other:?}"),
    }
}

pub fn agent(host: &Host, name: &str) -> AgentView {
    match host.say(r#"{"verb":"list-agents"}"#).unwrap() {
        Answer::Agents(agents) => agents.into_iter().find(|agent| agent.jail.as_str() == name).unwrap(),
        other => panic!("{other:?}"),
    }
}

pub fn output(host: &Host, name: &str) -> String {
    fs::read_to_string(host.path("log").join(format!("{name}.log"))).unwrap_or_default()
}

pub fn prints(host: &Host, name: &str, text: &str) {
    wait(SOON, || output(host, name).contains(text), || format!("{}\n{}", output(host, name), host.log()));
}

#[test]
fn an_agent_finds_its_secrets_in_a_container_of_its_own() {
    if !system::may_make_jails() {
        return;
    }
    let host = Host::new();
    jail(&host, "web");
    host.secrets("web", &[("A", "it's $(id)")]);
    host.register("web");
    let script = r#"set -a; . "$COLIBRI_ENV_FILE"; echo "A=$A"; hostname; echo "pid $$"; export -p; exit 7"#;
    let spawned = spawn(&host, "web", script);
    assert_eq!(spawned.hook.result, HookResult::Provisioned);
    wait(SOON, || agent(&host, "web").state == AgentState::Exited, || host.log());
    assert_eq!(agent(&host, "web").exit_code, Some(7));
    let output = output(&host, "web");
    let pid = system::own_number(spawned.agent.pid);
    assert!(output.contains(&format!("A=it's $(id)\nweb\npid {pid}\n")), "{output}");
    assert!(output.contains("COLIBRI_ENV_FILE=") && !output.contains("canary"), "{output}");
    assert_eq!(fs::metadata(host.path("log/web.log")).unwrap().permissions().mode() & 0o7777, 0o600);
}

#[test]
fn a_program_that_is_not_there_is_told() {
    if !system::may_make_jails() {
        return;
    }
    let host = Host::new();
    jail(&host, "web");
    let spawned = spawn(&host, "web", "exec sleep 600");
    assert_eq!((spawned.agent.state, spawned.last_words), (AgentState::Running, None));
    host.say(r#"{"verb":"stop-agent","jail":"web"}"#).unwrap();
    let request = serde_json::json!({
        "verb": "spawn-agent", "jail": "web", "root": host.root("web"), "command": ["/bin/nosuch"],
    });
    // On a busy machine it may live for longer than it is looked at.
    let ended = || match host.say(&request.to_string()) {
        Ok(Answer::Spawned(spawned)) => Some(spawned).filter(|it| it.agent.state == AgentState::Exited),
        _ => None,
    };
    let spawned = (0..50).find_map(|_| ended()).unwrap();
    assert_ne!(spawned.agent.exit_code, Some(0));
    assert!(spawned.last_words.unwrap().contains("/bin/nosuch"));
}

#[test]
fn the_agent_starts_without_its_secrets_too() {
    if !system::may_make_jails() {
        return;
    }
    let host = Host::with(&[("COLIBRI_DEADLINE", "1s")]);
    jail(&host, "web");
    host.has("web", Collection::Hangs);
    host.register("web");
    let spawned = spawn(&host, "web", "echo started; sleep 1000");
    assert_eq!(spawned.hook.warning.unwrap().name, ErrorName::DeadlineExceeded);
    prints(&host, "web", "started");
    let again = serde_json::json!({
        "verb": "spawn-agent", "jail": "web", "root": host.root("web"), "command": ["true"],
    });
    assert_eq!(host.failure(&again.to_string()), ErrorName::WrongState);
    host.say(r#"{"verb":"stop-agent","jail":"web"}"#).unwrap();
    wait(SOON, || !left_behind(&host), || host.log());
}

/// A process that dies more slowly than the jail is removed holds the jail's devices.
#[test]
fn what_an_agent_leaves_running_holds_nothing_of_its_jail() {
    if !system::may_make_jails() {
        return;
    }
    let host = Host::new();
    jail(&host, "web");
    for _ in 0..3 {
        spawn(&host, "web", "for n in 1 2 3 4 5 6 7 8; do sleep 1000 </dev/null & done; echo up");
        wait(SOON, || agent(&host, "web").state == AgentState::Exited, || host.log());
        wait(SOON, || !left_behind(&host), || format!("{:?}", system::left(&host.path("jails"))));
    }
}

fn left_behind(host: &Host) -> bool {
    !system::left(&host.path("jails")).is_empty()
}

#[test]
fn stopping_asks_first_and_removes_the_secrets_on_request() {
    if !system::may_make_jails() {
        return;
    }
    let host = Host::new();
    jail(&host, "web");
    host.secrets("web", &[("A", "1")]);
    host.register("web");
    spawn(&host, "web", "trap 'echo asked; exit 3' TERM; echo up; while :; do sleep 0.1; done");
    prints(&host, "web", "up");
    host.say(r#"{"verb":"stop-agent","jail":"web","remove-secrets":true}"#).unwrap();
    let stopped = agent(&host, "web");
    assert_eq!((stopped.state, stopped.exit_code), (AgentState::Stopped, Some(3)));
    assert!(output(&host, "web").contains("asked"));
    assert_eq!((host.content("web"), host.show("web").status), (None, Status::Stopped));
    let request = r#"{"verb":"stop-agent","jail":"none"}"#;
    assert_eq!(host.failure(request), ErrorName::AgentNotFound);
}

#[test]
fn an_agent_is_found_again_after_the_daemon_was_killed() {
    if !system::may_make_jails() {
        return;
    }
    let mut host = Host::new();
    jail(&host, "web");
    jail(&host, "gone");
    let web = spawn(&host, "web", "echo up; sleep 1000").agent;
    let gone = spawn(&host, "gone", "echo up; sleep 1000").agent;
    // A container that is still coming up would outlive its keeper.
    ["web", "gone"].iter().for_each(|name| prints(&host, name, "up"));
    host.kill();
    let pid = nix::unistd::Pid::from_raw(gone.pid.cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    host.start();
    assert_eq!(agent(&host, "web"), web);
    wait(SOON, || agent(&host, "gone").state == AgentState::Lost, || host.log());
    host.say(r#"{"verb":"stop-agent","jail":"web"}"#).unwrap();
    assert_eq!(agent(&host, "web").state, AgentState::Stopped);
    wait(SOON, || !left_behind(&host), || host.log());
}

#[test]
fn an_agent_that_cannot_be_started_is_an_error_by_name() {
    if !system::may_make_jails() {
        return;
    }
    let host = Host::new();
    let request = serde_json::json!({
        "verb": "spawn-agent", "jail": "web", "root": host.path("nowhere"), "command": ["true"],
    });
    assert_eq!(host.failure(&request.to_string()), ErrorName::TargetEscapesRoot);
    jail(&host, "web");
    assert_eq!(spawn(&host, "web", "exec /no/such/program").agent.jail.as_str(), "web");
    wait(SOON, || agent(&host, "web").exit_code == Some(127), || host.log());
}

#[test]
fn a_change_tells_the_agent_once_and_a_failure_of_that_is_recorded() {
    if !system::may_make_jails() {
        return;
    }
    let host = Host::new();
    for name in ["web", "cmd", "bad"] {
        jail(&host, name);
    }
    let secrets = |value: &str| {
        let one = || Collection::Secrets([("A".to_owned(), value.to_owned())].into());
        host.vault(["web", "cmd", "bad"].map(|name| (name.to_owned(), one())).into());
    };
    secrets("1");
    host.register_with("web", r#"{"on-change":{"signal":"USR1"}}"#);
    host.register_with("cmd", r#"{"on-change":{"command":["/bin/sh","-c","echo told"]}}"#);
    host.register_with("bad", r#"{"on-change":{"command":["/bin/sh","-c","exit 4"]}}"#);
    spawn(&host, "web", "trap 'echo hup' USR1; echo up; while :; do sleep 0.1; done");
    prints(&host, "web", "up");
    for name in ["cmd", "bad"] {
        system::start_jail(name, &host.root(name));
        host.hook(name, &host.root(name));
    }
    secrets("2");
    for name in ["web", "cmd", "bad", "web", "cmd"] {
        host.provision(name);
    }
    prints(&host, "web", "hup");
    prints(&host, "cmd", "told");
    let failed = || host.history("bad")[0].error.as_ref().map(|fault| fault.name);
    wait(SOON, || failed() == Some(ErrorName::ActionFailed), || host.log());
    let shown = host.show("bad").last_error.unwrap();
    assert!(shown.message.contains("exit status: 4") && shown.message.contains("bad.log"), "{shown}");
    // It goes with the settings that it was of.
    host.update("bad", r#"{"refresh":1}"#);
    let later = host.history("bad")[0].number;
    wait(SOON, || host.history("bad")[0].number > later + 1, || host.log());
    assert_eq!(host.show("bad").last_error, None);
    assert_eq!(output(&host, "web").matches("hup").count(), 1);
    assert_eq!(output(&host, "cmd").matches("told").count(), 1);
    host.say(r#"{"verb":"stop-agent","jail":"web"}"#).unwrap();
}

/// Makes a program that an operator has for after a change.
fn action(host: &Host, name: &str, script: &str) {
    let dir = host.path("actions");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("new"), format!("#!/bin/sh\n{script}\n")).unwrap();
    for path in [dir.clone(), dir.join("new")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::rename(dir.join("new"), dir.join(name)).unwrap();
}

fn changes(host: &Host, value: &str) -> Outcome {
    host.secrets("web", &[("A", value)]);
    host.provision("web").outcome
}

/// On the host, with the tenant's name and root and nothing else of anybody's.
#[test]
fn an_action_of_the_operators_runs_once_for_each_change() {
    let host = Host::new();
    let seen = || fs::read_to_string(host.path("seen")).unwrap_or_default();
    action(
        &host,
        "note",
        &format!("echo \"$# $1 $2\" >>{}; env | sort; echo done", host.path("seen").display()),
    );
    host.register_with("web", r#"{"on-change":{"action":"note"}}"#);
    for (value, times) in [("1", 1), ("1", 1), ("$(id); `id` '", 2)] {
        changes(&host, value);
        wait(SOON, || seen().lines().count() == times, || host.log());
    }
    let line = format!("2 web {}\n", host.root("web").display());
    wait(SOON, || host.log().matches("done").count() == 2, || host.log());
    assert_eq!(seen(), line.repeat(2));
    assert!(host.log().contains("COLIBRI_TENANT=web") && !host.log().contains("canary"), "{}", host.log());
    // The jail's start needs no action.
    host.secrets("web", &[("A", "3")]);
    host.hook("web", &host.root("web"));
    assert_eq!((host.history("web")[0].outcome, seen()), (Outcome::Written, line.repeat(2)));
}

/// Two at once would restart a service under each other, and one for each change would
/// go on long after the last.
#[test]
fn actions_of_a_tenant_never_overlap_and_the_last_change_is_acted_on() {
    let mut host = Host::new();
    let (file, go, busy) = (host.path("seen"), host.path("go"), host.path("busy"));
    let script = format!(
        "mkdir {busy} || echo overlap >>{seen}
         sed -n 's/^A=//p' \"$2/usr/local/etc/colibri/env\" >>{seen}
         until [ -e {go} ]; do sleep 0.05; done; rmdir {busy}; echo done >>{seen}",
        busy = busy.display(),
        seen = file.display(),
        go = go.display(),
    );
    action(&host, "restart", &script);
    host.register_with("web", r#"{"on-change":{"action":"restart"}}"#);
    let seen = || fs::read_to_string(&file).unwrap_or_default();
    changes(&host, "1");
    wait(SOON, || seen() == "1\n", || host.log());
    for value in ["2", "3", "4"] {
        changes(&host, value);
    }
    // Time for another to begin, if it could.
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(seen(), "1\n", "{}", host.log());
    fs::write(host.path("go"), "").unwrap();
    wait(SOON, || seen() == "1\ndone\n4\ndone\n", seen);
    // What a daemon that is killed meanwhile had not done, the next one does.
    fs::remove_file(host.path("go")).unwrap();
    changes(&host, "5");
    wait(SOON, || seen().ends_with("5\n"), seen);
    host.kill();
    fs::write(host.path("go"), "").unwrap();
    wait(SOON, || seen().ends_with("5\ndone\n"), || host.log());
    host.start();
    wait(SOON, || seen().ends_with("5\ndone\n5\ndone\n"), || host.log());
}

#[test]
fn a_failed_action_is_the_tenants_error_until_it_succeeds() {
    let host = Host::new();
    let fails = |status: u32| action(&host, "nginx", &format!("echo said-$1; exit {status}"));
    let error = || host.show("web").last_error.map(|fault| fault.name);
    fails(3);
    host.register_with("web", r#"{"on-change":{"action":"nginx"}}"#);
    assert_eq!(changes(&host, "1"), Outcome::Written);
    wait(SOON, || error() == Some(ErrorName::ActionFailed), || host.log());
    let shown = host.show("web");
    assert!(shown.last_error.unwrap().message.contains("action nginx: exit status: 3"));
    assert_eq!((shown.status, shown.keys), (Status::Active, vec!["A".to_owned()]));
    assert_eq!(host.history("web")[0].error.as_ref().unwrap().name, ErrorName::ActionFailed);
    wait(SOON, || host.log().contains("said-web"), || host.log());
    let metrics = || fs::read_to_string(host.path("colibri.prom")).unwrap_or_default();
    wait(SOON, || metrics().contains("colibri_tenants_failing 1"), metrics);
    // Whoever asks has it done again, though the file is right.
    assert_eq!(changes(&host, "1"), Outcome::Unchanged);
    wait(SOON, || host.log().matches("said-web").count() == 2, || host.log());
    assert_eq!(error(), Some(ErrorName::ActionFailed));
    fails(0);
    assert_eq!(changes(&host, "1"), Outcome::Unchanged);
    wait(SOON, || error().is_none(), || host.log());
}

/// Who may register tenants is not who says what runs as root.
#[test]
fn only_what_the_operators_directory_has_can_be_chosen() {
    let host = Host::new();
    action(&host, "nginx", "true");
    let root = host.root("web");
    let refused = |name: &str| {
        let on_change = serde_json::json!({ "action": name });
        let request = serde_json::json!({ "verb": "register-tenant", "tenant": "web", "root": root,
            "settings": { "on-change": on_change } });
        host.failure(&request.to_string())
    };
    for name in ["", "other", "../nginx", "../../bin/sh", "nginx ", "./nginx", "nginx\0", "-c"] {
        assert_eq!(refused(name), ErrorName::BadRequest, "{name:?}");
    }
    let mode =
        |mode| fs::set_permissions(host.path("actions/nginx"), fs::Permissions::from_mode(mode)).unwrap();
    mode(0o775);
    assert_eq!(refused("nginx"), ErrorName::BadRequest);
    mode(0o755);
    host.register_with("web", r#"{"on-change":{"action":"nginx"}}"#);
    // One that was taken away later is not run, and that is said.
    mode(0o644);
    changes(&host, "1");
    wait(SOON, || host.show("web").last_error.is_some(), || host.log());
    assert_eq!(host.show("web").last_error.unwrap().name, ErrorName::ActionFailed);
}
