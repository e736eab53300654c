//! A hostile program in a real agent: all that it tries is refused, and each
//! try succeeds where the one defence against it is taken away.

use crate::agents::{agent, install, jail, output, spawn};
use crate::host::{Host, SOON, processes, wait};
use crate::hostile::{OWN, PLAN, Plan, THREADS, outcomes};
use colibri_control::{AgentState, Answer, Outcome, Request};
use colibri_test_host::skip;
use nix::libc;
use nix::sys::stat::Mode;
use nix::unistd::{Pid, getsid, mkfifo};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

const FEW: &str = "64";
/// Where the same program says what came of it, by no pipe, and what is there before.
const CONTROL_LOG: &str = "control.log";
const BEFORE: &str = "before\n";
/// What every agent is refused, whatever its network.
const REFUSED: [&str; 14] = [
    "have a directory of the host open",
    "see a process of the host",
    "signal a process of the host",
    "trace a process of the host",
    "read another's secret",
    "connect to a socket by its path",
    "make a device",
    "change the host's name",
    "uncover",
    "write core_pattern",
    "mount",
    "have a user namespace",
    "read the kernel's memory",
    "connect to the host's loopback",
];

/// The same where the daemon is root: an ordinary user's agent has that user's
/// limit, and the pipe to its log is that user's.
const REFUSED_OF_ROOT: [&str; 2] = ["raise its limit", "make its log setuid"];

/// A host with something to be had, and a jail with the hostile program.
struct Trial {
    host: Host,
    plan: Plan,
    victim: Child,
    _there: (TcpListener, UnixListener, UnixListener),
}

impl Drop for Trial {
    fn drop(&mut self) {
        let _ended = self.victim.kill();
        let _reaped = self.victim.wait();
    }
}

type Outcomes = BTreeMap<String, String>;

impl Trial {
    fn new() -> Self {
        let host = Host::with(&[("COLIBRI_AGENT_PROCESSES", FEW)]);
        for name in ["web", "other"] {
            jail(&host, name);
        }
        host.secrets("other", &[("A", "secret")]);
        host.register("other");
        spawn(&host, "other", "sleep 1000");
        host.secrets("web", &[("A", "1")]);
        host.register_with("web", r#"{"agent-network":"none"}"#);
        let program = std::env::current_exe().unwrap();
        install(&host.root("web"), program.to_str().unwrap(), "hostile");
        install(&host.root("web"), "/usr/bin/unshare", "unshare");
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = tcp.local_addr().unwrap().port();
        let socket = host.path("socket");
        let by_path = UnixListener::bind(&socket).unwrap();
        fs::set_permissions(&socket, Permissions::from_mode(0o777)).unwrap();
        let name = format!("colibri-hostile-{port}");
        let by_name = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        // Of the agent's own user: but for the containers it could be killed.
        let mut victim = Command::new("sleep");
        if nix::unistd::geteuid().is_root() {
            victim.uid(host.users + 1).gid(host.users + 1);
        }
        let victim = victim.arg("1000").stdin(Stdio::null()).spawn().unwrap();
        let plan = Plan {
            victim: victim.id().cast_signed(),
            file: host.file("other").to_str().unwrap().to_owned(),
            socket: socket.to_str().unwrap().to_owned(),
            name,
            port,
        };
        Self { host, plan, victim, _there: (tcp, by_path, by_name) }
    }

    /// What the agent of `web` says that came of its tries.
    fn run(&self) -> (Outcomes, usize) {
        let plan = serde_json::to_string(&self.plan).unwrap();
        let script = format!(
            "echo before; {PLAN}='{plan}' exec /hostile --ignored --exact hostile::program --nocapture --test-threads=1"
        );
        spawn(&self.host, "web", &script);
        let said = || outcomes(&output(&self.host, "web"));
        wait(SOON, || said().is_some(), || format!("{}\n{}", output(&self.host, "web"), self.host.log()));
        said().unwrap()
    }

    /// The same program as that user, by a line that lacks something.
    fn control(&self, user: u32, line: &[String]) -> (Outcomes, usize) {
        let log = self.host.path(CONTROL_LOG);
        fs::write(&log, BEFORE).unwrap();
        let output = OpenOptions::new().append(true).open(&log).unwrap();
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]).stdin(Stdio::null()).stdout(output).stderr(Stdio::null());
        if user != nix::unistd::geteuid().as_raw() {
            command.uid(user).gid(user);
        }
        let mut child = command.spawn().unwrap();
        let read = || String::from_utf8_lossy(&fs::read(&log).unwrap_or_default()).into_owned();
        wait(SOON, || outcomes(&read()).is_some(), read);
        child.kill().unwrap();
        child.wait().unwrap();
        outcomes(&read()).unwrap()
    }
}

/// The line that runs a jail's agent, as it is in ps(1), with the root by its path:
/// the descriptor is bubblewrap's alone.
pub fn line(host: &Host, jail: &str) -> Vec<String> {
    let pid = agent(host, jail).pid;
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    let words = line.split(|byte| *byte == 0).map(|word| String::from_utf8(word.to_vec()).unwrap());
    let words: Vec<String> = words.collect();
    let words: Vec<String> = words.into_iter().skip(3).filter(|word| !word.is_empty()).collect();
    let at = words.iter().position(|word| word == "--bind-fd").unwrap();
    let root = host.root(jail).to_str().unwrap().to_owned();
    [&words[..at], &["--bind".into(), root], &words[at + 2..]].concat()
}

/// A line without these words.
fn without(line: &[String], words: &[&str]) -> Vec<String> {
    line.iter().filter(|word| !words.contains(&word.as_str())).cloned().collect()
}

/// A line without an option and its values.
fn less(line: &[String], option: &str, values: usize) -> Vec<String> {
    let at = line.iter().position(|word| word == option).unwrap();
    [&line[..at], &line[at + values + 1..]].concat()
}

fn succeeded(outcomes: &Outcomes, attempts: &[&str]) {
    for attempt in attempts {
        assert_eq!(outcomes[*attempt], "succeeded", "{attempt}\n{outcomes:?}");
    }
}

fn root() -> bool {
    nix::unistd::geteuid().is_root()
}

#[test]
fn a_hostile_agent_gets_nowhere() {
    let trial = Trial::new();
    let (outcomes, threads) = trial.run();
    let more = if root() { &REFUSED_OF_ROOT[..] } else { &[] };
    for attempt in REFUSED.iter().chain(more) {
        assert_ne!(outcomes[*attempt], "succeeded", "{attempt}\n{outcomes:?}");
    }
    assert_ne!(outcomes["connect to a socket by its name"], "succeeded", "{outcomes:?}");
    let log = trial.host.path("log/web.log");
    assert!(output(&trial.host, "web").starts_with(BEFORE), "its log is whole");
    let found = fs::metadata(&log).unwrap();
    assert_eq!((found.mode() & 0o7777, found.uid()), (0o600, nix::unistd::geteuid().as_raw()));
    // It has as many as it may, and nobody else has fewer for it.
    if root() {
        assert!(threads < FEW.parse().unwrap(), "{threads}");
        assert_eq!(trial.host.show("web").agent_uid, Some(trial.host.users + 1));
    }
    jail(&trial.host, "third");
    spawn(&trial.host, "third", "sleep 0.1 & wait; echo served");
    wait(SOON, || output(&trial.host, "third").contains("served"), || trial.host.log());

    let line = line(&trial.host, "web");
    let user = if root() { trial.host.users + 1 } else { nix::unistd::geteuid().as_raw() };
    let networked = less(&line, "--unshare-net", 0);
    let (outcomes, threads) = trial.control(user, &networked);
    succeeded(&outcomes, &["connect to the host's loopback", "connect to a socket by its name"]);
    assert_eq!(threads, THREADS, "without the limit");
    let (outcomes, _) = trial.control(user, &less(&line, "--disable-userns", 0));
    succeeded(&outcomes, &["have a user namespace"]);
    let powerful = less(&less(&line, "--disable-userns", 0), "--cap-drop", 1);
    let powerful = [&powerful[..1], &["--cap-add".into(), "ALL".into()], &powerful[1..]].concat();
    // Root inside, who keeps what it has over its program's start.
    let at = powerful.iter().position(|word| word == "--uid").unwrap();
    let powerful = [&powerful[..=at], &["0".into()], &powerful[at + 2..]].concat();
    if root() {
        let (outcomes, _) = trial.control(user, &powerful);
        succeeded(&outcomes, &["change the host's name", "mount", "uncover"]);
    }
    let at = line.iter().position(|word| word == "--bind").unwrap();
    let program = trial.host.root("web").join("hostile");
    let script = line.last().unwrap().replace("/hostile", program.to_str().unwrap());
    let host = [&line[..=at], &["/".into()], &line[at + 2..line.len() - 1], &[script]].concat();
    let host = without(&host, &["--unshare-pid"]);
    let (outcomes, _) = trial.control(user, &host);
    succeeded(&outcomes, &["see a process of the host", "signal a process of the host"]);
    succeeded(&outcomes, &["connect to a socket by its path"]);
    // Whose user another tenant's is, the host has nothing to refuse.
    assert_eq!(outcomes["read another's secret"] == "succeeded", !root());
    if root() {
        // As it was: root of the host, who can take off what is put over it.
        let (outcomes, _) = trial.control(0, &powerful);
        succeeded(&outcomes, &["uncover", "write core_pattern", "make its log setuid", "empty its log"]);
        let log = trial.host.path(CONTROL_LOG);
        assert!(!fs::read_to_string(&log).unwrap().starts_with(BEFORE), "a file can be emptied");
        let (outcomes, _) = trial.control(trial.host.users, &host);
        succeeded(&outcomes, &["read another's secret"]);
    }
}

#[test]
fn a_program_that_an_agent_makes_setuid_is_nobodys_on_the_host() {
    let trial = Trial::new();
    let (outcomes, _) = trial.run();
    succeeded(&outcomes, &["make a setuid program"]);
    let program = trial.host.root("web").join(&OWN[1..]).join("cat");
    let found = fs::metadata(&program).unwrap();
    assert_eq!(found.mode() & 0o7777, 0o4755);
    let owner = if root() { trial.host.users + 1 } else { nix::unistd::geteuid().as_raw() };
    assert_eq!(found.uid(), owner);
    if !root() {
        return skip("whom the program serves: only root can be somebody else");
    }
    let secret = trial.host.path("roots");
    fs::write(&secret, "root's").unwrap();
    fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
    let read = || {
        let output = Command::new(&program).arg(&secret).uid(65534).gid(65534).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(read(), "");
    // As it would have been.
    chown(&program, Some(0), Some(0)).unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o4755)).unwrap();
    assert_eq!(read(), "root's");
}

/// So many processes, each of which forks twice into a session of its own and outlives
/// who made it.
const BOMB: &str =
    "/bin/sh -c 'i=0; while [ $i -lt 100 ]; do (/setsid /bin/sleep 7654321 &); i=$((i + 1)); done'";

/// The sessions of those processes, one for each.
fn bombs() -> Vec<i32> {
    let all = colibri_test_host::process::naming("/bin/sleep 7654321").into_iter();
    let all = all.filter(|(_, line)| line.starts_with("/bin/sleep"));
    all.filter_map(|(pid, _)| Some(getsid(Some(Pid::from_raw(pid.cast_signed()))).ok()?.as_raw())).collect()
}

#[test]
fn a_bomb_of_many_sessions_is_bounded_and_ends_with_its_agent() {
    let host = Host::with(&[("COLIBRI_AGENT_PROCESSES", FEW)]);
    for name in ["web", "other"] {
        jail(&host, name);
    }
    install(&host.root("web"), "/usr/bin/setsid", "setsid");
    let fifo = host.root("web").join("fifo");
    mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    fs::set_permissions(&fifo, Permissions::from_mode(0o666)).unwrap();
    for round in 1..=2 {
        spawn(&host, "web", &format!("{BOMB} 2>/dev/null; echo bombed; exec cat <fifo"));
        wait(SOON, || output(&host, "web").matches("bombed").count() == round, || host.log());
        wait(SOON, || bombs().len() > 40, || format!("{:?}", bombs()));
        let sessions = bombs();
        assert_eq!(BTreeSet::from_iter(&sessions).len(), sessions.len(), "each has its own");
        assert!(!root() || sessions.len() < FEW.parse().unwrap(), "{}", sessions.len());
        spawn(&host, "other", "echo served");
        wait(SOON, || output(&host, "other").matches("served").count() == round, || host.log());
        if round == 1 {
            // It ends by itself, and they with it.
            drop(File::options().write(true).open(&fifo).unwrap());
            wait(SOON, || agent(&host, "web").state == AgentState::Exited, || host.log());
        } else {
            host.say(r#"{"verb":"stop-agent","jail":"web"}"#).unwrap();
        }
        wait(SOON, || bombs().is_empty(), || format!("{:?}", bombs()));
    }
    // The control: the same without its limit.
    spawn(&host, "web", "exec cat <fifo");
    let line = line(&host, "web");
    let mut command = Command::new(&line[0]);
    command.args(&line[1..line.len() - 1]).arg(format!("{BOMB}; exec sleep 1000"));
    if root() {
        command.uid(host.users).gid(host.users);
    }
    let mut child = command.stdin(Stdio::null()).spawn().unwrap();
    wait(SOON, || bombs().len() == 100, || format!("{:?}", bombs()));
    child.kill().unwrap();
    child.wait().unwrap();
    wait(SOON, || bombs().is_empty(), || format!("{:?}", bombs()));
}

/// Keys of the kernel have no namespace: who starts a program hands on its own.
#[test]
fn an_agent_has_no_key_of_the_daemons() {
    let calls = [libc::SYS_add_key, libc::SYS_request_key, libc::SYS_keyctl];
    let [add, request, keyctl] = calls.map(|number| number.to_string());
    // A keyring of its own, with a key in it, for what it becomes.
    let give = format!(
        "syscall({keyctl}, 1, 0) > 0 or die $!; $t = 'user'; $n = 'canary'; $v = 'secret';
         syscall({add}, $t, $n, $v, 6, -3) > 0 or die $!; exec @ARGV or die $!"
    );
    let given = |words: &[&OsStr]| {
        let mut command = Command::new("/usr/bin/perl");
        command.args(["-e", &give]).args(words).stdin(Stdio::null()).stderr(Stdio::null());
        command
    };
    if !given(&["true".as_ref()]).status().unwrap().success() {
        return skip("the kernel has no keys here");
    }
    let mut host = Host::new();
    jail(&host, "web");
    install(&host.root("web"), "/usr/bin/perl", "perl");
    assert!(host.terminate());
    let daemon = host.command();
    let mut command = given(&[daemon.get_program()]);
    command.env_clear();
    command.envs(daemon.get_envs().filter_map(|(name, value)| Some((name, value?))));
    host.instead(command.spawn().unwrap());
    wait(SOON, || host.answers(), || host.log());

    let script = format!(
        "/perl -e '$t = \"user\"; $n = \"canary\"; $b = \"none: \";
         $k = syscall({request}, $t, $n, 0, 0); syscall({keyctl}, 11, $k, $b, 6); print \"key $b $!\n\"'"
    );
    spawn(&host, "web", &format!("{script}; sleep 1000"));
    wait(SOON, || output(&host, "web").contains("key"), || host.log());
    assert!(output(&host, "web").contains("key none:  Operation not permitted"), "{}", output(&host, "web"));
    // The control: the same line without the shim.
    let line = line(&host, "web");
    let words: Vec<&OsStr> = line[..line.len() - 1].iter().map(OsStr::new).collect();
    let mut command = given(&[&words[..], &[script.as_ref()]].concat());
    if root() {
        command.uid(host.users).gid(host.users);
    }
    let said = String::from_utf8(command.output().unwrap().stdout).unwrap();
    assert!(said.contains("key secret"), "{said}");
}

#[test]
fn an_agent_that_says_too_much_does_not_fill_the_disk() {
    let host = Host::new();
    jail(&host, "web");
    let script = "i=0; while [ $i -lt 300 ]; do cat /chunk; i=$((i + 1)); done; echo all; sleep 1000";
    fs::write(host.root("web").join("chunk"), "0123456789abcdef".repeat(1 << 16)).unwrap();
    spawn(&host, "web", script);
    wait(SOON, || output(&host, "web").ends_with("all\n"), || host.log());
    let size = |name: &str| fs::metadata(host.path("log").join(name)).unwrap().len();
    let bound = 5 << 20;
    assert!(size("web.log") <= bound && size("web.log.old") <= bound, "{}", size("web.log"));
    assert_eq!(fs::read_dir(host.path("log")).unwrap().count(), 2);

    // The control: the same agent with the log itself, and not a pipe to what bounds it.
    let line = line(&host, "web");
    let log = host.path(CONTROL_LOG);
    let file = OpenOptions::new().append(true).create(true).open(&log).unwrap();
    let script = script.replace("300", "12").replace("sleep 1000", "exit");
    let mut command = Command::new(&line[0]);
    command.args(&line[1..line.len() - 1]).arg(script).stdin(Stdio::null()).stdout(file);
    if root() {
        command.uid(host.users).gid(host.users);
    }
    assert!(command.status().unwrap().success());
    assert!(fs::metadata(&log).unwrap().len() > 2 * bound);
}

#[test]
fn output_goes_on_to_its_log_while_there_is_no_daemon() {
    let mut host = Host::new();
    jail(&host, "web");
    let fifo = host.root("web").join("fifo");
    mkfifo(&fifo, Mode::from_bits_truncate(0o666)).unwrap();
    fs::set_permissions(&fifo, Permissions::from_mode(0o666)).unwrap();
    // The pipe is there first: an agent that finds none never comes to it.
    spawn(&host, "web", "echo up; cat >/dev/null </fifo; echo still; sleep 1000");
    wait(SOON, || output(&host, "web").contains("up"), || host.log());
    host.kill();
    drop(File::options().write(true).open(&fifo).unwrap());
    wait(SOON, || output(&host, "web").contains("still"), || host.log());
    host.start();
    assert_eq!(agent(&host, "web").state, AgentState::Running);
    host.say(r#"{"verb":"stop-agent","jail":"web"}"#).unwrap();
}

#[test]
fn a_jails_user_is_its_own_for_ever() {
    if !root() {
        let host = Host::new();
        jail(&host, "web");
        spawn(&host, "web", "true");
        assert_eq!(host.register("web").agent_uid, None);
        return;
    }
    let (first, second) = (1_899_999_998, 1_899_999_999);
    let mut host = Host::with(&[("COLIBRI_AGENT_USERS", &format!("{first}-{second}"))]);
    for name in ["web", "db", "full"] {
        jail(&host, name);
    }
    let one = || crate::stand_in::Collection::Secrets([("A".into(), "1".into())].into());
    host.vault(["web", "db"].map(|name| (name.to_owned(), one())).into());
    host.register("web");
    host.provision("web");
    assert_eq!(fs::metadata(host.file("web")).unwrap().uid(), 0, "there was no agent yet");
    host.register_with("db", r#"{"owner":"33:44"}"#);
    for (name, inside) in [("web", "Uid:\t0\t0\t0\t0\nGid:\t0\t"), ("db", "Uid:\t33\t33\t33\t33\nGid:\t44\t")]
    {
        spawn(&host, name, r#"cat "$COLIBRI_ENV_FILE"; cat /proc/self/status; echo end"#);
        wait(SOON, || output(&host, name).contains("end"), || host.log());
        let output = output(&host, name);
        assert!(output.contains("A=1\n") && output.contains(inside), "{output}");
    }
    let owner = |name: &str| fs::metadata(host.file(name)).map(|found| (found.uid(), found.gid())).unwrap();
    assert_eq!((owner("web"), owner("db")), ((first, first), (second, second)));
    let dir = host.file("web").parent().unwrap().metadata().unwrap();
    assert_eq!((dir.uid(), dir.mode() & 0o777), (first, 0o700));
    let spawn = serde_json::json!({
        "verb": "spawn-agent", "jail": "full", "root": host.root("full"), "command": ["/bin/sh"],
    });
    let fault = host.say(&spawn.to_string()).unwrap_err();
    assert!(fault.message.contains("COLIBRI_AGENT_USERS"), "{fault:?}");

    host.say(r#"{"verb":"destroy-tenant","tenant":"web"}"#).unwrap();
    host.say(r#"{"verb":"unregister-tenant","tenant":"web"}"#).unwrap();
    host.terminate();
    host.start();
    assert!(host.say(&spawn.to_string()).is_err(), "what was web's is nobody else's");
    assert_eq!(host.register("web").agent_uid, Some(first));
}

/// The state directory's file, where the database knows less than it did.
#[test]
fn a_user_that_was_given_is_nobody_else_s_after_a_restore() {
    if !root() {
        return skip("an ordinary user's daemon gives nobody another user");
    }
    let mut host = Host::new();
    let first = host.users;
    let gives = |host: &Host, name: &str| {
        jail(host, name);
        spawn(host, name, "true");
        host.register(name).agent_uid.unwrap()
    };
    assert!(host.terminate());
    let (database, backup) = (host.path("state/tenants.db"), host.path("backup"));
    fs::copy(&database, &backup).unwrap();
    host.start();
    assert_eq!(gives(&host, "web"), first);
    assert!(host.terminate());
    fs::copy(&backup, &database).unwrap();
    host.start();
    assert_eq!(gives(&host, "db"), first + 1);
    assert!(host.terminate());
    fs::remove_file(&database).unwrap();
    host.start();
    assert_eq!(gives(&host, "full"), first + 2);
    // The control: without the file, too, nobody knows.
    assert!(host.terminate());
    for name in ["tenants.db", "agent-users"] {
        fs::remove_file(host.path("state").join(name)).unwrap();
    }
    host.start();
    assert_eq!(gives(&host, "web"), first);
}

/// Each with a database of its own: the same user would be both jails'.
#[test]
fn two_daemons_of_one_host_give_no_user_to_two_jails() {
    if !root() {
        return skip("an ordinary user's daemon gives nobody another user");
    }
    let first = Host::new();
    jail(&first, "web");
    spawn(&first, "web", "exec sleep 1000");
    let uid = || first.register("web").agent_uid;
    assert_eq!(uid(), Some(first.users));
    // Not the same range, but one that meets it.
    let range = format!("{}-{}", first.users + 1, first.users + 9);
    let mut second = Host::with(&[("COLIBRI_AGENT_USERS", &range)]);
    jail(&second, "db");
    let request = serde_json::json!({
        "verb": "spawn-agent", "jail": "db", "root": second.root("db"), "command": ["/bin/sh", "-c", "true"],
    });
    let fault = second.say(&request.to_string()).unwrap_err();
    assert!(fault.message.contains("another colibrid on this host"), "{fault:?}");
    assert!(fault.advice.contains("COLIBRI_AGENT_USERS"), "{fault:?}");
    // Nothing else of it is refused, and who comes after a daemon that was killed is not.
    second.secrets("db", &[("A", "1")]);
    second.register("db");
    assert_eq!(second.provision("db").outcome, Outcome::Written);
    let mut first = first;
    first.kill();
    second.say(&request.to_string()).unwrap();
    second.set("COLIBRI_AGENT_USERS", &format!("{}-{}", second.users, second.users));
    assert!(second.terminate());
    first.start();
    second.start();
    spawn(&second, "db", "true");
    first.say(r#"{"verb":"stop-agent","jail":"web"}"#).unwrap();
    spawn(&first, "web", "true");
}

/// What the operator gives colibrid before others when memory or processors are short.
#[test]
fn an_agent_is_spared_nothing_that_colibrid_is() {
    if !root() {
        return skip("only root can be spared");
    }
    let mut host = Host::new();
    jail(&host, "web");
    host.secrets("web", &[("A", "1")]);
    host.register_with(
        "web",
        r#"{"on-change":{"command":["/bin/sh","-c","cat /proc/self/oom_score_adj; echo told"]}}"#,
    );
    assert!(host.terminate());
    let daemon = host.command();
    let mut spared = Command::new("/bin/sh");
    spared
        .args(["-c", "echo -500 >/proc/self/oom_score_adj; exec nice -n -5 \"$0\""])
        .arg(daemon.get_program());
    spared.env_clear().envs(daemon.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let log = OpenOptions::new().append(true).open(host.path("daemon.log")).unwrap();
    host.instead(spared.stdin(Stdio::null()).stderr(log).spawn().unwrap());
    wait(SOON, || host.answers(), || host.log());
    let own = |file: &str| fs::read_to_string(format!("/proc/{}/{file}", host.pid())).unwrap();
    let nice = |stat: &str| stat.rsplit_once(") ").unwrap().1.split(' ').nth(16).unwrap().to_owned();
    // The control: these are what is handed on.
    let given = (own("oom_score_adj") == "-500\n", nice(&own("stat")) == "-5");
    if given == (false, false) {
        return skip("nobody can be spared here");
    }
    spawn(&host, "web", "cat /proc/self/oom_score_adj; cat /proc/self/stat; echo end; exec sleep 1000");
    wait(SOON, || output(&host, "web").contains("end"), || host.log());
    let said = output(&host, "web");
    assert!(said.starts_with("0\n"), "{said}");
    assert_eq!(nice(said.lines().nth(1).unwrap()), "0", "{said}");
    host.secrets("web", &[("A", "2")]);
    host.provision("web");
    wait(SOON, || output(&host, "web").contains("told"), || host.log());
    assert!(output(&host, "web").contains("0\ntold\n"), "{}", output(&host, "web"));
}

#[test]
fn a_range_with_somebody_in_it_stops_the_daemon_by_name() {
    if !root() {
        return skip("an ordinary user's daemon gives nobody another user");
    }
    let host = Host::new();
    let mut command = host.command();
    let state = host.path("elsewhere");
    command.env("COLIBRI_STATE_DIR", &state).env("COLIBRI_RUN_DIR", host.path("run2"));
    let output = command.env("COLIBRI_AGENT_USERS", "65000-66000").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("name a range that nobody has"), "{said}");
}

/// Where control groups are, if this user may make one there.
fn cgroups() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let place = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let (_, place, kind) = (fields.next()?, fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(place))
    })?;
    let own = place.join(format!("colibri-test-{}", std::process::id()));
    fs::create_dir(&own).is_ok().then_some(own)
}

#[test]
fn an_agent_has_a_control_group_or_it_is_said_what_is_not_bounded() {
    let own = cgroups();
    let setting = own.as_ref().map_or("/nonexistent", |own| own.to_str().unwrap());
    let host = Host::with(&[("COLIBRI_CGROUP", setting), ("COLIBRI_AGENT_MEMORY", "64M")]);
    jail(&host, "web");
    spawn(&host, "web", "echo up; sleep 1000");
    wait(SOON, || output(&host, "web").contains("up"), || host.log());
    let Answer::Status(status) = host.ask(Request::Status {}).unwrap() else { panic!() };
    let Some(own) = own else {
        assert!(status.unbounded[0].starts_with("memory not bounded: /nonexistent"), "{status:?}");
        assert!(status.unbounded.iter().any(|line| line.starts_with("processor time not")), "{status:?}");
        return skip("an agent's control group: this user may make none here");
    };
    let group = own.join("agent-web");
    let read = |file: &str| fs::read_to_string(group.join(file)).unwrap();
    let pid = agent(&host, "web").pid.to_string();
    assert!(read("cgroup.procs").lines().any(|line| line == pid), "{}", read("cgroup.procs"));
    let daemon = fs::read_to_string(own.join("colibrid/cgroup.procs")).unwrap();
    assert!(daemon.lines().any(|line| line == host.pid().to_string()), "{daemon}");
    // Who keeps its log is as busy as an agent likes: neither in the daemon's share, nor
    // killed with the agent.
    let keeper =
        processes(&host, "libexec/colibri-shim").into_iter().find(|it| it.1.contains("colibri-shim log"));
    let keeper = keeper.unwrap().0.to_string();
    let keepers = own.join("logs");
    assert_eq!(fs::read_to_string(keepers.join("cgroup.procs")).unwrap().trim(), keeper, "{daemon}");
    assert!(daemon.lines().all(|line| line != keeper), "{daemon}");
    let controllers = fs::read_to_string(own.join("cgroup.subtree_control")).unwrap();
    for (controller, what) in [("memory", "memory"), ("cpu", "processor time")] {
        let told = status.unbounded.iter().any(|line| line.starts_with(&format!("{what} not bounded: ")));
        assert_eq!(told, !controllers.contains(controller), "{controllers}: {status:?}");
    }
    if controllers.contains("cpu") {
        assert_eq!(fs::read_to_string(keepers.join("cpu.weight")).unwrap(), "20\n");
    }
    if controllers.contains("memory") {
        assert_eq!((read("memory.max"), read("pids.max")), ("67108864\n".into(), "1024\n".into()));
    } else {
        skip("its bound on memory: there is no such controller here, as in scripts/vm-check");
    }
    host.say(r#"{"verb":"stop-agent","jail":"web"}"#).unwrap();
    assert!(!group.exists());
    drop(host);
    for group in [own.join("colibrid"), keepers, own] {
        wait(SOON, || fs::remove_dir(&group).is_ok(), String::new);
    }
}
