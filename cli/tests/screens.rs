//! What an operator sees, as transcripts in `screens/`: command, standard
//! output, standard error and exit status, against a daemon that speaks the
//! protocol and says what the test tells it. After a change that is meant, run
//! with `COLIBRI_ACCEPT=1` and read the difference.

#[path = "stand-ins/daemon.rs"]
mod daemon;

use colibri_control::{Answer, Content, Event, Reply, VERSION};
use colibri_tenant::{ErrorName, Fault};
use serde_json::{Value, json};
use std::error::Error;
use std::fs::{self, DirBuilder};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const ROOT: &str = "/usr/local/bastille/jails/web01/root";
const AT: u64 = 1_767_225_600_000;

/// A directory for the socket, not below the checkout: a socket's path has
/// about 100 bytes at most.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Outcome<Self> {
        let path = std::env::temp_dir().join(format!("colibri-{name}-{}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A daemon for one request; what it was asked comes out of the channel.
fn one_answer(socket: &Path, lines: Vec<Content>) -> Outcome<Receiver<Value>> {
    let listener = UnixListener::bind(socket)?;
    let (asked, questions) = channel();
    thread::spawn(move || {
        let talk = || -> Outcome {
            let (stream, _) = listener.accept()?;
            let say = |question: &Value, content: Content| -> Outcome {
                let id = question["id"].as_u64().ok_or("no id")?;
                let reply = serde_json::to_string(&Reply { v: VERSION, id, content })?;
                Ok(writeln!(&stream, "{reply}")?)
            };
            let mut question = one_line(&stream)?;
            let is_hook = matches!(lines.first(), Some(Content::Ok(Answer::Hook(_))));
            if is_hook && question["verb"] == "show-tenant" {
                // How long it has to wait: not long.
                refused(ErrorName::TenantNotFound, "").into_iter().try_for_each(|it| say(&question, it))?;
                question = one_line(&stream)?;
            }
            for content in lines {
                say(&question, content)?;
            }
            asked.send(question)?;
            Ok(())
        };
        // Whatever fails here shows on the client's screen.
        let _ = talk();
    });
    Ok(questions)
}

fn one_line(stream: &UnixStream) -> Outcome<Value> {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}

/// Runs colibri and gives its transcript.
fn transcript(socket: Option<&Path>, words: &[&str]) -> Outcome<String> {
    let run = Command::new(colibri_test_host::program("colibri")?)
        .args(words)
        .env_clear()
        .envs(socket.map(|socket| ("COLIBRI_SOCKET", socket)))
        .env("COLUMNS", "100")
        .stdin(Stdio::null())
        .output()?;
    let status = run.status.code().ok_or("ended by a signal")?;
    let (out, err) = (String::from_utf8(run.stdout)?, String::from_utf8(run.stderr)?);
    let text =
        format!("$ colibri {}\n{out}--- standard error\n{err}--- exit status {status}\n", words.join(" "));
    Ok(text)
}

/// Compares with the transcript of that name.
fn compare(name: &str, seen: &str) -> Outcome {
    let path = colibri_test_host::tree().join("cli/tests/screens").join(format!("{name}.txt"));
    if std::env::var_os("COLIBRI_ACCEPT").is_some() {
        return Ok(fs::write(path, seen)?);
    }
    let expected = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    assert_eq!(seen, expected, "the screen {name} is another");
    Ok(())
}

/// The screen of a verb that a daemon answers, and what the daemon was asked.
fn answered(name: &str, words: &[&str], lines: Vec<Content>) -> Outcome<Value> {
    let place = Place::new(name)?;
    let socket = place.0.join("s");
    let questions = one_answer(&socket, lines)?;
    compare(name, &transcript(Some(&socket), words)?)?;
    Ok(questions.recv_timeout(Duration::from_secs(60))?)
}

/// The screen of what needs no daemon.
fn unanswered(name: &str, words: &[&str]) -> Outcome {
    compare(name, &transcript(None, words)?)
}

/// Read as the protocol's own type, so that a test cannot invent an answer.
fn ok(answer: Value) -> Outcome<Vec<Content>> {
    Ok(vec![Content::Ok(serde_json::from_value::<Answer>(answer)?)])
}

fn refused(name: ErrorName, message: &str) -> Vec<Content> {
    vec![Content::Error(Fault::new(name, message))]
}

fn tenant(name: &str, error: Option<Fault>) -> Value {
    json!({
        "tenant": name, "root": ROOT.replace("web01", name), "status": "active", "settings": {},
        "collection-id": "c-1", "keys": ["API_TOKEN", "DATABASE_URL"], "registered": AT,
        "last-success": AT + 61_000, "last-error": error, "next-try": null, "busy": false,
    })
}

fn provision(error: Option<Fault>) -> Value {
    let (outcome, keys) = if error.is_some() { ("failed", 0) } else { ("written", 2) };
    json!({
        "number": 1, "tenant": "web01", "reason": "operator", "at": AT, "ms": 2345, "outcome": outcome,
        "error": error, "keys": keys, "steps": [{ "name": "unlock", "ms": 1200 }],
        "warnings": ["\"lower case\" skipped: no key"],
    })
}

/// Provisioned with nothing: every item was skipped.
fn nothing() -> Value {
    let mut nothing = provision(None);
    nothing["keys"] = json!(0);
    nothing["warnings"] =
        json!(["item \"Postgres password\": no name of a variable; rename it POSTGRES_PASSWORD"]);
    nothing
}

/// One of all is well, two failed alike, one otherwise, one got nothing.
fn several() -> Vec<Value> {
    let conflict = Fault::new(ErrorName::KeyConflict, "\"A-B\" and \"A.B\" both become A_B");
    let named = |name: &str, mut provision: Value| {
        provision["tenant"] = json!(name);
        provision
    };
    let mut last = nothing();
    last["tenant"] = json!("web04");
    vec![
        named("web00", provision(None)),
        named("web01", provision(Some(not_found()))),
        named("web02", provision(Some(conflict))),
        named("web03", provision(Some(not_found()))),
        last,
    ]
}

fn agent() -> Value {
    json!({
        "jail": "web01", "root": ROOT, "command": ["/bin/sh", "-c", "a\n\u{1b}[31mb"], "state": "running",
        "pid": 4711, "started": AT, "ended": null, "exit-code": null, "signal": null,
        "log": "/var/log/colibri/web01.log",
    })
}

fn not_found() -> Fault {
    Fault::new(ErrorName::CollectionNotFound, "no collection web01")
}

#[test]
fn help_names_every_verb_and_exit_status() -> Outcome {
    unanswered("help", &["--help"])?;
    for verb in colibri_cli::command().get_subcommands() {
        let verb = verb.get_name();
        unanswered(&format!("help-{verb}"), &[verb, "--help"])?;
    }
    Ok(())
}

#[test]
fn wrong_usage_is_told_before_the_daemon_is_asked() -> Outcome {
    unanswered("usage-provision", &["provision"])?;
    unanswered("usage-tenant", &["show-tenant", "a/b"])?;
    unanswered("usage-refresh", &["update-tenant", "web01", "--refresh", "soon"])
}

#[test]
fn a_daemon_that_is_not_there_is_exit_status_3() -> Outcome {
    unanswered("unreachable", &["--socket", "nowhere/s", "status"])?;
    unanswered("unreachable-json", &["--socket", "nowhere/s", "--json", "status"])
}

#[test]
fn an_error_has_its_advice_and_its_exit_status() -> Outcome {
    let fault = || refused(ErrorName::TenantNotFound, "no tenant web09");
    answered("not-found", &["show-tenant", "web09"], fault())?;
    answered("not-found-json", &["--json", "show-tenant", "web09"], fault())?;
    let conflict = refused(ErrorName::TenantConflict, "web01 has another root");
    answered("conflict", &["register-tenant", "web01", "/j/web01"], conflict)?;
    Ok(())
}

#[test]
fn tenants_are_an_aligned_table_or_json() -> Outcome {
    let tenants = || ok(json!({ "tenants": [tenant("web01", None), tenant("db", Some(not_found()))] }));
    let asked = answered("list-tenants", &["list-tenants"], tenants()?)?;
    assert_eq!(asked["verb"], "list-tenants");
    answered("list-tenants-json", &["list-tenants", "--json"], tenants()?)?;
    let mut empty = tenant("web02", None);
    empty["keys"] = json!([]);
    let with = ok(json!({ "tenants": [tenant("web01", None), empty.clone()] }))?;
    answered("list-tenants-empty", &["list-tenants"], with)?;
    empty["warnings"] = nothing()["warnings"].clone();
    answered("show-tenant-empty", &["show-tenant", "web02"], ok(json!({ "tenant": empty }))?)?;
    let mut all = tenant("web01", Some(not_found()));
    answered("show-tenant", &["show-tenant", "web01"], ok(json!({ "tenant": all }))?)?;
    all["settings"] = json!({
        "collection": "web", "dir": "run/x", "file": "f", "owner": "80:80", "format": "json",
        "key-case": "upper", "on-duplicate": "reject", "fields": true, "require-tmpfs": true, "refresh": 900,
        "deadline": 10, "on-change": { "signal": "HUP" }, "allow": ["PATH"], "expect": ["A", "B"],
        "prefix": "P_", "only": ["A*"], "rename": [["A", "B"]],
    });
    answered("show-tenant-all", &["show-tenant", "web01"], ok(json!({ "tenant": all }))?)?;
    Ok(())
}

#[test]
fn a_provision_that_failed_is_exit_status_5() -> Outcome {
    let words = ["provision", "web01"];
    let asked = answered("provision", &words, ok(json!({ "provisions": [provision(None)] }))?)?;
    assert_eq!(asked["tenant"], "web01");
    let failed = ok(json!({ "provisions": [provision(Some(not_found()))] }))?;
    answered("provision-failed", &words, failed)?;
    answered("provision-all", &["provision", "--all"], ok(json!({ "provisions": several() }))?)?;
    answered(
        "provision-all-json",
        &["provision", "--all", "--json"],
        ok(json!({ "provisions": several() }))?,
    )?;
    answered("provision-empty", &words, ok(json!({ "provisions": [nothing()] }))?)?;
    Ok(())
}

#[test]
fn an_agent_starts_though_its_secrets_failed() -> Outcome {
    let hook =
        json!({ "result": "failed", "warning": not_found(), "provision": provision(Some(not_found())) });
    let spawned = ok(json!({ "spawned": { "agent": agent(), "hook": hook } }))?;
    let words = ["spawn-agent", "--jail-name", "web01", "--jail-root", ROOT, "--", "/bin/sh", "--json"];
    let asked = answered("spawn-agent-failed-soft", &words, spawned)?;
    assert_eq!(asked["command"], json!(["/bin/sh", "--json"]), "what follows -- is the agent's");
    Ok(())
}

#[test]
fn each_other_verb_has_its_screen() -> Outcome {
    let one = || ok(json!({ "tenant": tenant("web01", None) }));
    answered("register-tenant", &["register-tenant", "web01", ROOT], one()?)?;
    let asked = answered("update-tenant", &["update-tenant", "web01", "--prefix", "P_"], one()?)?;
    assert_eq!(asked["changes"], json!({ "prefix": "P_" }));
    let mut failing = tenant("web01", Some(not_found()));
    failing["status"] = json!("provisioned");
    let words = ["update-tenant", "web01", "--collection", "WEB01"];
    answered("update-tenant-failing", &words, ok(json!({ "tenant": failing }))?)?;
    let asked = answered("destroy-tenant", &["destroy-tenant", "web01"], one()?)?;
    assert_eq!(asked["secrets"], Value::Null);
    for (screen, words) in [
        ("destroy-tenant-gone", ["destroy-tenant", "web01", "--secrets-are-gone"]),
        ("update-tenant-gone", ["update-tenant", "web01", "--secrets-are-gone"]),
    ] {
        assert_eq!(answered(screen, &words, one()?)?["secrets"], "gone");
    }
    answered("accept-root", &["accept-root", "web01"], one()?)?;
    answered("unregister-tenant", &["unregister-tenant", "web01"], vec![Content::Ok(Answer::Done)])?;
    answered("stop-agent", &["stop-agent", "web01"], ok(json!({ "agent": agent() }))?)?;
    let mut single = provision(None);
    single["keys"] = json!(1);
    let hook = json!({ "result": "provisioned", "warning": null, "provision": single });
    answered("hook", &["hook", "web01", ROOT], ok(json!({ "hook": hook }))?)?;
    let hook = json!({ "result": "no-tenant", "warning": null, "provision": null });
    answered("hook-no-tenant", &["hook", "web09", ROOT], ok(json!({ "hook": hook }))?)?;
    let words = ["spawn-agent", "--jail-name", "web09", "--jail-root", ROOT, "--", "/bin/nosuch"];
    let mut over = agent();
    (over["state"], over["exit-code"], over["jail"]) = (json!("exited"), json!(1), json!("web09"));
    let said = "bwrap: execvp /bin/nosuch: No such file or directory";
    let spawned = json!({ "spawned": { "agent": over, "hook": hook, "last-words": said } });
    answered("spawn-agent-nosuch", &words, ok(spawned)?)?;
    let words = ["rename-tenant", "web01", "web02", "--jail-root", "/j/web02", "--secrets-are-gone"];
    let asked = answered("rename-tenant", &words, one()?)?;
    assert_eq!(
        (&asked["to"], &asked["root"], &asked["secrets"]),
        (&json!("web02"), &json!("/j/web02"), &json!("gone"))
    );
    let asked = answered("remove", &["remove", "web01"], vec![Content::Ok(Answer::Done)])?;
    assert_eq!((&asked["verb"], &asked["tenant"]), (&json!("remove-tenant"), &json!("web01")));
    let both = ok(json!({ "tenants": [tenant("web01", None), tenant("web02", None)] }))?;
    assert_eq!(answered("remove-all", &["remove", "--all"], both)?["verb"], "list-tenants");
    unanswered("usage-remove", &["remove", "--yes"])?;
    let history = json!({ "provisions": [provision(Some(not_found())), provision(None)] });
    let asked = answered("history", &["history", "--limit", "2"], ok(history)?)?;
    answered("history-all", &["history"], ok(json!({ "provisions": several() }))?)?;
    assert_eq!(asked["limit"], 2);
    Ok(())
}

/// A jail that no tenant has the name of, and in whose root is the file of web01.
fn stray(screen: &str, own_root: &str, look: Content) -> Outcome {
    let place = Place::new(screen)?;
    let root = place.0.join("clone/root");
    let file = root.join("usr/local/etc/colibri/env");
    fs::create_dir_all(file.parent().ok_or("no directory")?)?;
    fs::write(file, "# Written by colibri from the vault. Edits are lost.\n# Tenant: web01\nA=1\n")?;
    let (socket, shown) = (place.0.join("s"), root.display().to_string());
    let mut web01 = tenant("web01", None);
    web01["root"] = json!(own_root.replace("CLONE", &shown));
    let one = |answer: Value| serde_json::from_value::<Answer>(answer).map(Content::Ok);
    let hook = json!({ "result": "no-tenant", "warning": null, "provision": null });
    let answers = vec![
        ("show-tenant", refused(ErrorName::TenantNotFound, "").remove(0)),
        ("hook", one(json!({ "hook": hook }))?),
        ("list-tenants", one(json!({ "tenants": [web01] }))?),
        ("check-root", look),
    ];
    daemon::serve(&socket, answers)?;
    compare(screen, &transcript(Some(&socket), &["hook", "clone", &shown])?.replace(&shown, "ROOT"))
}

#[test]
fn the_hook_tells_a_clone_from_a_jail_with_another_name() -> Outcome {
    let gone = || refused(ErrorName::RootNotMounted, "nothing there").remove(0);
    stray("hook-clone", "/jails/web01/root", Content::Ok(Answer::Done))?;
    stray("hook-renamed", "CLONE", Content::Ok(Answer::Done))?;
    stray("hook-either", "/jails/web01/root", gone())
}

/// A daemon that has web01, with another refresh, and old, which the file does not name.
fn applied(screen: &str, words: &[&str]) -> Outcome {
    let place = Place::new(screen)?;
    let file = place.0.join("tenants.toml");
    let root = place.0.join("jails/${name}/root");
    fs::create_dir_all(place.0.join("jails/web02/root"))?;
    // web03 is not there, web04 is nobody's, and the pattern has a slip of the hand,
    // which --prune refuses.
    let pattern = if words.contains(&"--prune") { "" } else { "[tenant.'wbe*']\n" };
    let text = format!(
        "[defaults]\nroot = '{}'\nrefresh = '15m'\n[tenant.web01]\n[tenant.web02]\n[tenant.web03]\n\
         [tenant.web04]\nroot = '/etc'\n{pattern}",
        root.display()
    );
    fs::write(&file, text)?;
    let at = place.0.display().to_string();
    let socket = place.0.join("s");
    let one = |answer: Value| serde_json::from_value::<Answer>(answer).map(Content::Ok);
    let registered = |name: &str| {
        let root = place.0.join("jails").join(name).join("root");
        json!({ "root": root, "settings": { "refresh": 60, "prefix": "P_", "collection": "other" } })
    };
    let all = json!({ "web01": registered("web01"), "old": registered("old") });
    let mut running = status();
    running["base"] = json!(place.0.join("jails"));
    let full = Content::Error(Fault::new(ErrorName::StoreFailed, "the disk is full"));
    let answers = vec![
        ("status", one(json!({ "status": running }))?),
        ("list-registrations", one(json!({ "registrations": all }))?),
        ("update-tenant", one(json!({ "tenant": tenant("web01", None) }))?),
        ("register-tenant", full),
        ("remove-tenant", Content::Ok(Answer::Done)),
    ];
    daemon::serve(&socket, answers)?;
    let path = file.display().to_string();
    let words: Vec<_> = words.iter().map(|word| if *word == "FILE" { path.as_str() } else { word }).collect();
    compare(screen, &transcript(Some(&socket), &words)?.replace(&path, "FILE").replace(&at, "/DIR"))
}

#[test]
fn a_plan_is_shown_and_carried_out_only_when_that_is_said() -> Outcome {
    applied("apply", &["apply", "FILE"])?;
    applied("apply-prune", &["apply", "FILE", "--prune"])?;
    applied("apply-yes", &["apply", "FILE", "--prune", "--yes"])?;
    applied("export", &["export"])
}

#[test]
fn a_command_cannot_write_to_the_operators_terminal() -> Outcome {
    answered("list-agents", &["list-agents"], ok(json!({ "agents": [agent()] }))?)?;
    Ok(())
}

#[test]
fn a_difference_names_keys() -> Outcome {
    let diff = json!({ "tenant": "web01", "added": ["A"], "removed": ["B"], "changed": ["C"], "same": 7 });
    answered("diff", &["diff", "web01"], ok(json!({ "diff": diff }))?)?;
    Ok(())
}

#[test]
fn collections_are_names_a_line_each() -> Outcome {
    let seen = |names: &[&str], more: u32| ok(json!({ "collections": { "names": names, "more": more } }));
    let asked = answered("collections", &["collections"], seen(&["db", "prod/web\n\u{1b}[2J"], 3)?)?;
    assert_eq!(asked["verb"], "collections");
    answered("collections-none", &["collections"], seen(&[], 0)?)?;
    // Shells complete with these: a name a line, and nothing else.
    let asked = answered("collections-known", &["collections", "--known"], seen(&["db", "prod web"], 3)?)?;
    assert_eq!(asked["verb"], "known-collections");
    let tenants = ok(json!({ "tenants": [tenant("web01", None), tenant("db", Some(not_found()))] }))?;
    answered("list-tenants-names", &["list-tenants", "--names"], tenants)?;
    answered("collections-json", &["collections", "--json"], seen(&["db"], 0)?)?;
    Ok(())
}

#[test]
fn status_says_loudly_that_there_is_no_sandbox() -> Outcome {
    let status = status();
    answered("status", &["status"], ok(json!({ "status": status }))?)?;
    Ok(())
}

fn status() -> Value {
    json!({
        "version": "0.1.0", "pid": 4000, "started": AT, "base": "/usr/local/bastille/jails",
        "sandbox": false, "session": "idle", "fetcher": 4001, "fetcher-user": "_colibri",
        "bw-version": "2026.8.0", "device": "f81d4fae-7dec-41d0-a765-00a0c91e6bf6", "session-error": null, "provisioned": 1, "active": 2, "stopped": 3,
        "destroyed": 4, "failing": 1, "under-way": 0, "agents": 2, "not-mounted": 1, "removals-due": 1,
        "confinement": [
            { "process": "writer", "holds": ["capability mode", "resource limits"], "lacks": [] },
            { "process": "bw", "holds": ["no new privileges"],
              "lacks": [{ "what": "a jail of its own: \u{1b}[2J", "advice": "make one" }] },
        ],
    })
}

#[test]
fn watching_ends_when_the_daemon_does() -> Outcome {
    let lines = || -> Outcome<Vec<Content>> {
        let started: Event =
            serde_json::from_value(json!({ "started": { "tenant": "web01", "reason": "hook" } }))?;
        let over: Event = serde_json::from_value(json!({ "provision": provision(None) }))?;
        Ok(vec![Content::Ok(Answer::Watching), Content::Event(started), Content::Event(over)])
    };
    // Each line with the time at which it was told.
    let place = Place::new("watch")?;
    let socket = place.0.join("s");
    one_answer(&socket, lines()?)?;
    let seen = transcript(Some(&socket), &["watch"])?;
    let timeless = seen.lines().map(|line| match line.split_once("Z  ") {
        Some((time, rest)) if time.len() == "2026-01-01 00:00:00".len() => format!("TIME  {rest}\n"),
        _ => format!("{line}\n"),
    });
    compare("watch", &timeless.collect::<String>())?;
    answered("watch-json", &["watch", "--json"], lines()?)?;
    Ok(())
}
