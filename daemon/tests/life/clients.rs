//! The control socket and the daemon's own start and end.

use crate::host::{Host, SOON, wait};
use crate::stand_in::Collection;
use crate::system;
use colibri_control::{Answer, Client, CollectionsView, Event, Request, Secrets, SessionView};
use colibri_tenant::ErrorName;
use colibri_test_host::process;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Group, User};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
#[cfg(target_os = "linux")]
use std::time::{Duration, Instant};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn nobody_else_can_come_to_the_socket_or_the_database() {
    let host = Host::new();
    assert_eq!(mode(&host.path("run/control")), 0o700);
    assert_eq!(mode(&host.socket()), 0o600);
    assert_eq!(mode(&host.path("run/session")), 0o700);
    assert_eq!(mode(&host.path("state")), 0o700);
    assert_eq!(mode(&host.path("state/tenants.db")), 0o600);
    assert_eq!(mode(&host.path("log")), 0o700);
}

#[test]
fn the_credentials_are_in_no_environment() {
    if !nix::unistd::geteuid().is_root() {
        colibri_test_host::skip("only root may read the environment of a process that nobody may trace");
        return;
    }
    let host = Host::new();
    host.register("web");
    host.secrets("web", &[("A", "1")]);
    host.hook("web", &host.root("web"));
    let fetcher = match host.say(r#"{"verb":"status"}"#).unwrap() {
        Answer::Status(status) => status.fetcher.unwrap(),
        other => panic!("{other:?}"),
    };
    for pid in [host.pid(), fetcher] {
        for seen in [process::environment(pid).unwrap(), process::arguments(pid).unwrap()] {
            assert!(!seen.is_empty());
            assert!(!seen.contains("canary"), "{pid} {seen}");
        }
    }
    assert!(!host.log().contains("canary"));
    let ids = process::ids(fetcher).unwrap();
    assert!(!ids.users.contains(&0), "{ids:?}");
    assert_eq!(ids.supplementary, system::no_other_group(ids.groups[0]));
}

#[test]
fn status_tells_where_everything_is_and_no_credential() {
    let host = Host::with(&[("BW_SERVER", "https://vault.example"), ("COLIBRI_DEADLINE", "45s")]);
    host.has("web", Collection::Fails(ErrorName::VaultUnreachable));
    host.register("web");
    host.hook("web", &host.root("web"));
    let answer = host.say(r#"{"verb":"status"}"#).unwrap();
    assert!(!serde_json::to_string(&answer).unwrap().contains("canary"));
    let Answer::Status(status) = answer else { panic!() };
    assert_eq!((status.failing, status.retrying), (1, 1));
    let setup = status.setup;
    assert_eq!((setup.socket, setup.observe_socket), (host.socket(), None));
    assert_eq!(setup.database, host.path("state/tenants.db"));
    assert_eq!(setup.session_dir, host.path("run/session"));
    for program in [&setup.writer, &setup.fetcher, &setup.bw] {
        assert!(program.is_file(), "{}", program.display());
    }
    assert_eq!(setup.server.as_deref(), Some("https://vault.example"));
    assert!(setup.credentials);
    assert_eq!((setup.deadline, setup.session_idle), (45_000, 60_000));
}

#[test]
fn the_vault_is_checked_without_a_tenant() {
    let host = Host::with(&[("COLIBRI_DEADLINE", "1s")]);
    let check = || host.say(r#"{"verb":"check-vault"}"#);
    let warned = || host.log().lines().filter(|line| line.contains(" WARN ")).count();
    let before = warned();
    assert!(matches!(check().unwrap(), Answer::Status(status) if status.session == SessionView::Unlocked));
    assert_eq!(warned(), before, "that there is no such collection is no news: {}", host.log());
    // The name of the collection that is asked for.
    for (answer, name) in [
        (Collection::Fails(ErrorName::VaultLocked), Some(ErrorName::VaultLocked)),
        (Collection::Fails(ErrorName::KeyConflict), None),
        (Collection::Hangs, Some(ErrorName::VaultTimeout)),
    ] {
        host.has("", answer);
        assert_eq!(check().err().map(|fault| fault.name), name);
    }
    // The fetcher that hangs is replaced.
    host.secrets("web", &[("A", "1")]);
    host.register_with("web", r#"{"deadline":600}"#);
    host.hook("web", &host.root("web"));
    wait(SOON, || host.content("web").is_some(), || host.log());
}

#[test]
fn collections_are_named_and_remembered() {
    let host = Host::new();
    let known = || host.say(r#"{"verb":"known-collections"}"#).unwrap();
    let none = CollectionsView::default();
    assert_eq!(known(), Answer::Collections(none));
    let named = |name: &str| (name.to_owned(), Collection::Crashes);
    host.vault(BTreeMap::from(["web\u{1b}[2J\u{202e}", "db"].map(named)));
    let names = vec!["db".into(), "web\u{fffd}[2J\u{fffd}".into()];
    let seen = Answer::Collections(CollectionsView { names, more: 7 });
    assert_eq!(host.say(r#"{"verb":"collections"}"#).unwrap(), seen);
    assert_eq!(known(), seen);
    // A failure that is no tenant's is told, and what was known stays.
    host.has("", Collection::Fails(ErrorName::VaultUnreachable));
    let fault = host.say(r#"{"verb":"collections"}"#).unwrap_err();
    assert_eq!((fault.name, known()), (ErrorName::VaultUnreachable, seen));
    // A tenant's own is known without the vault.
    host.register("db");
    host.register_with("web", r#"{"collection":"prod web"}"#);
    let Answer::Collections(known) = known() else { panic!() };
    assert_eq!(known.names, ["db", "prod web", "web\u{fffd}[2J\u{fffd}"]);
}

#[test]
fn a_second_daemon_on_the_same_state_refuses() {
    let host = Host::new();
    let second = host.command().output().unwrap();
    assert!(!second.status.success());
    let errors = String::from_utf8_lossy(&second.stderr);
    assert!(errors.contains("another colibrid runs with"), "{errors}");
    assert!(host.say(r#"{"verb":"status"}"#).is_ok());
}

/// The directory may have been others' to write before it was the daemon's.
#[test]
fn a_link_in_the_lock_s_place_is_not_followed() {
    let mut host = Host::new();
    assert!(host.terminate());
    let (lock, other) = (host.path("run/lock"), host.path("other"));
    fs::write(&other, "mine").unwrap();
    fs::remove_file(&lock).unwrap();
    std::os::unix::fs::symlink(&other, &lock).unwrap();
    let refused = host.command().output().unwrap();
    assert!(!refused.status.success());
    assert_eq!(fs::read_to_string(&other).unwrap(), "mine");
    fs::remove_file(&lock).unwrap();
    host.start();
}

/// By hand beside the unit, with a state directory of its own.
#[test]
fn a_second_daemon_in_the_same_run_directory_touches_nothing() {
    let mut host = Host::new();
    let session = host.path("run/session/of-the-first");
    fs::write(&session, "").unwrap();
    let inode = |path: &Path| fs::symlink_metadata(path).unwrap().ino();
    let socket = inode(&host.socket());
    let second = host.command().env("COLIBRI_STATE_DIR", host.path("other")).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&second.stderr);
    assert!(errors.contains(&format!("process {}", host.pid())), "{errors}");
    assert!(!errors.contains("ready"), "{errors}");
    assert!(!host.path("other").exists());
    assert!(session.exists());
    assert_eq!(inode(&host.socket()), socket);
    assert!(host.say(r#"{"verb":"status"}"#).is_ok());
    assert!(host.terminate());
    assert!(!host.socket().exists());
}

/// The control: where the first one's lock is gone, the second takes its socket, and
/// takes it away when it ends.
#[test]
fn without_the_lock_a_second_daemon_takes_the_socket() {
    let mut host = Host::new();
    let socket = fs::metadata(host.socket()).unwrap().ino();
    fs::remove_file(host.path("run/lock")).unwrap();
    let mut second = host.command();
    let second = second.env("COLIBRI_STATE_DIR", host.path("other")).stderr(Stdio::null());
    let second = second.spawn().unwrap();
    let first = host.instead(second).unwrap();
    wait(SOON, || fs::metadata(host.socket()).is_ok_and(|found| found.ino() != socket), || host.log());
    wait(SOON, || host.answers(), || host.log());
    assert!(host.terminate());
    assert!(Client::connect(&host.socket()).is_err(), "the first one's tenants have no socket");
    host.instead(first);
}

/// systemd removes the unit's run directory when the unit could not start, also from
/// under a daemon that was started by hand. On FreeBSD nobody does, and what is mounted
/// in it keeps it.
#[cfg(target_os = "linux")]
#[test]
fn a_daemon_whose_run_directory_was_made_anew_leaves_it_to_its_successor() {
    let mut host = Host::new();
    fs::remove_dir_all(host.path("run")).unwrap();
    let mut second = host.command();
    let second = second.env("COLIBRI_STATE_DIR", host.path("other")).stderr(Stdio::null());
    let second = second.spawn().unwrap();
    let mut first = host.instead(second).unwrap();
    wait(SOON, || host.answers(), || host.log());
    let session = host.path("run/session/of-the-second");
    fs::write(&session, "").unwrap();
    let pid = nix::unistd::Pid::from_raw(first.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(first.wait().unwrap().success());
    assert!(session.exists() && host.answers(), "{}", host.log());
    // The control: its own.
    assert!(host.terminate());
    assert!(!session.exists());
}

#[test]
fn a_socket_that_somebody_else_bound_meanwhile_stays_at_the_end() {
    let mut host = Host::new();
    fs::remove_file(host.socket()).unwrap();
    let _other = std::os::unix::net::UnixListener::bind(host.socket()).unwrap();
    assert!(host.terminate());
    assert!(host.socket().exists());
}

/// The provider file, with what only the daemon may have of it.
#[test]
fn the_provider_file_reaches_the_daemon_and_nobody_else() {
    let provider = |host: &Host, text: &str| {
        fs::write(host.path("provider.env"), text).unwrap();
        fs::set_permissions(host.path("provider.env"), fs::Permissions::from_mode(0o600)).unwrap();
    };
    let mut host = Host::new();
    assert!(host.terminate());
    let text = "# mine\nBW_CLIENTID=id\nBW_CLIENTSECRET='canary $(id)'\nBW_PASSWORD='canary it'\\''s'\n\
                BW_SERVER=https://vault.example.org\nCOLIBRI_DEADLINE=77s\nCOLIBRI_GROUP=\n";
    provider(&host, text);
    host.unset(&["BW_CLIENTID", "BW_CLIENTSECRET", "BW_PASSWORD"]);
    host.set("COLIBRI_PROVIDER", host.path("provider.env").to_str().unwrap());
    host.start();
    let Ok(Answer::Status(status)) = host.ask(Request::Status {}) else { panic!("{}", host.log()) };
    assert_eq!(status.setup.server.as_deref(), Some("https://vault.example.org"));
    assert_eq!((status.setup.deadline, status.setup.credentials), (77_000, true));
    let known = || -> Vec<u32> {
        let all = process::all().into_iter().map(|(pid, _)| pid);
        all.filter(|pid| process::environment(*pid).is_some_and(|it| it.contains("canary it"))).collect()
    };
    assert!(known().is_empty());
    // The control: a process of the unit that has what EnvironmentFile= gave it.
    let mut given = Command::new("sleep");
    let mut given = given.arg("1000").env("BW_PASSWORD", "canary it's").spawn().unwrap();
    wait(SOON, || known() == [given.id()], || format!("{:?}", known()));
    given.kill().unwrap();
    given.wait().unwrap();
    assert!(host.terminate());
    // The environment of its own goes before.
    host.set("COLIBRI_DEADLINE", "55s");
    host.start();
    let Ok(Answer::Status(status)) = host.ask(Request::Status {}) else { panic!("{}", host.log()) };
    assert_eq!(status.setup.deadline, 55_000);
    assert!(!host.log().contains("canary"), "{}", host.log());
}

/// Ends at once, with a status that says that starting again does not help.
#[test]
fn what_only_an_operator_can_mend_is_told_at_once() {
    let mut host = Host::new();
    assert!(host.terminate());
    host.unset(&["BW_CLIENTID", "BW_CLIENTSECRET", "BW_PASSWORD"]);
    let good = "BW_CLIENTID=i\nBW_CLIENTSECRET=s\nBW_PASSWORD=hunter2\n";
    for (text, why) in [
        (format!("{good}BW_SERVER=http://vault.example.org"), "BW_SERVER is refused"),
        (format!("{good}BW_SERVER=vault.example.org"), "BW_SERVER is refused"),
        ("BW_CLIENTID=i\nBW_CLIENTSECRET=s\n".into(), "BW_PASSWORD must be set too"),
        ("BW_CLIENTID=i\nBW_CLIENTSECRET=s\nBW_PASSWORD=''\n".into(), "BW_PASSWORD must be set too"),
        (format!("{good}BW_PASWORD=hunter2"), "line 4: colibrid has no setting of this name"),
        (format!("{good}hunter2"), "line 4: it is not NAME=value"),
        ("BW_PASSWORD_FILE=/root/no/such/password\n".into(), "ProtectHome="),
        (format!("{good}COLIBRI_SESSION_IDLE=soon"), "COLIBRI_SESSION_IDLE is refused: not a time such as"),
        (format!("{good}COLIBRI_AGENT_PROCESSES=1"), "COLIBRI_AGENT_PROCESSES is refused: 1 is not in 8.."),
        (format!("{good}COLIBRI_LOG_FORMAT=hunter2"), "COLIBRI_LOG_FORMAT is refused: not one of text, json"),
        (format!("{good}COLIBRI_DEADLINE=hunter2"), "COLIBRI_DEADLINE is refused"),
        (format!("{good}COLIBRI_AGENT_MEMORY=hunter2"), "COLIBRI_AGENT_MEMORY is refused"),
        (
            "BW_PASSWORD_FILE='correct horse hunter2'
"
            .into(),
            "BW_PASSWORD_FILE has to name a file",
        ),
        (format!("{good}BW_SERVER=https://admin:hunter2@vault.example.org"), "BW_SERVER is refused"),
    ] {
        let file = host.path("provider.env");
        fs::write(&file, &text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        for extra in [None, Some("--check")] {
            let ended = host.command().args(extra).env("COLIBRI_PROVIDER", &file).output().unwrap();
            let errors = String::from_utf8_lossy(&ended.stderr);
            assert_eq!(ended.status.code(), Some(78), "{text}: {errors}");
            let last = errors.lines().last().unwrap_or_default();
            assert!(last.starts_with("colibrid: ") && last.contains(why), "{text}: {errors}");
            assert!(!errors.contains("hunter2"), "{errors}");
        }
    }
    fs::write(host.path("provider.env"), good).unwrap();
    let fine =
        host.command().arg("--check").env("COLIBRI_PROVIDER", host.path("provider.env")).output().unwrap();
    assert!(fine.status.success(), "{fine:?}");
    assert!(!host.socket().exists());
}

/// The same of settings that do not fit the host.
#[test]
fn a_setting_that_does_not_fit_the_host_is_told_at_once() {
    let mut host = Host::new();
    assert!(host.terminate());
    let file = host.path("file");
    fs::write(&file, "").unwrap();
    let (file, long) = (file.to_str().unwrap(), format!("/tmp/{}", "x".repeat(120)));
    for (name, value, why) in [
        ("COLIBRI_JAIL_ROOT_BASE", "jails", "name it from / on"),
        ("COLIBRI_JAIL_ROOT_BASE", file, "not a directory"),
        ("COLIBRI_JAIL_ROOT_BASE", "/", "holds jails and nothing else"),
        ("COLIBRI_JAIL_ROOT_BASE", "/../", "holds jails and nothing else"),
        ("COLIBRI_DEADLINE", "0", "COLIBRI_DEADLINE is refused: nothing is done"),
        ("COLIBRI_RUN_DIR", &long, "shorten COLIBRI_RUN_DIR"),
        ("COLIBRI_GROUP", "no-such-group", "name another in COLIBRI_GROUP"),
        ("COLIBRI_OBSERVERS", "no-such-group", "name another in COLIBRI_OBSERVERS"),
        ("COLIBRI_LIBEXEC", "/nonexistent", "COLIBRI_LIBEXEC"),
    ] {
        let ended = host.command().env(name, value).output().unwrap();
        let errors = String::from_utf8_lossy(&ended.stderr);
        let last = errors.lines().last().unwrap_or_default();
        assert!(last.starts_with("colibrid: ") && last.contains(why), "{name}={value}: {errors}");
        assert_eq!(ended.status.code(), Some(78), "{name}={value}: {errors}");
    }
    // It may be mounted later.
    let ended = host.command().env("COLIBRI_JAIL_ROOT_BASE", "/nonexistent/jails").output().unwrap();
    let errors = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.code() == Some(1) && errors.contains("make it, or name"), "{errors}");
    // A word that is no level does not silence the log.
    host.set("COLIBRI_LOG", "verbose");
    host.start();
    assert!(
        host.log().contains("COLIBRI_LOG is not error") && host.log().contains("ready"),
        "{}",
        host.log()
    );
}

#[test]
fn a_database_that_cannot_be_read_is_told_once_and_not_tried_for_ever() {
    let mut host = Host::new();
    assert!(host.terminate());
    let database = host.path("state/tenants.db");
    let newer = |file: &Path| {
        let db = rusqlite::Connection::open(file).unwrap();
        db.pragma_update(None, "user_version", 1_000).unwrap();
    };
    let garbage = |file: &Path| fs::write(file, "no database".repeat(1_000)).unwrap();
    for (make, why) in
        [(&newer as &dyn Fn(&Path), "install that version again"), (&garbage, "file is not a database")]
    {
        make(&database);
        let ended = host.command().output().unwrap();
        let errors = String::from_utf8_lossy(&ended.stderr);
        assert_eq!((ended.status.code(), errors.matches(why).count()), (Some(78), 1), "{errors}");
    }
}

/// As systemd starts it: it is told that the daemon answers, and why it does not.
#[test]
fn the_service_manager_hears_that_the_daemon_is_ready_and_its_last_words() {
    let mut host = Host::new();
    assert!(host.terminate());
    let path = host.path("notify");
    let manager = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(SOON)).unwrap();
    let hear = || {
        let mut said = [0; 1024];
        let length = manager.recv(&mut said).unwrap();
        String::from_utf8_lossy(&said[..length]).into_owned()
    };
    host.set("NOTIFY_SOCKET", path.to_str().unwrap());
    host.start();
    assert_eq!(hear(), "READY=1");
    assert!(host.terminate());
    assert_eq!(hear(), "STOPPING=1");
    let ended = host.command().env("BW_SERVER", "http://vault.example.org").output().unwrap();
    assert_eq!(ended.status.code(), Some(78));
    let last = hear();
    assert!(last.starts_with("STATUS=BW_SERVER is refused"), "{last}");
}

#[test]
fn a_directory_that_others_may_write_is_not_taken() {
    let mut host = Host::new();
    assert!(host.terminate());
    let shared = host.path("shared");
    fs::create_dir(&shared).unwrap();
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o1777)).unwrap();
    let refused = host.command().env("COLIBRI_STATE_DIR", &shared).output().unwrap();
    let errors = String::from_utf8_lossy(&refused.stderr);
    assert!(errors.contains("belongs to others too"), "{errors}");
    assert_eq!((mode(&shared), refused.status.code()), (0o1777, Some(78)));
}

#[test]
fn a_clean_end_leaves_no_socket_and_no_fetcher() {
    let mut host = Host::new();
    host.register("web");
    host.secrets("web", &[("A", "1")]);
    host.hook("web", &host.root("web"));
    let Answer::Status(status) = host.say(r#"{"verb":"status"}"#).unwrap() else { panic!() };
    assert_eq!(status.session, SessionView::Unlocked);
    let fetcher = nix::unistd::Pid::from_raw(status.fetcher.unwrap().cast_signed());
    assert!(host.terminate());
    assert!(!host.socket().exists());
    let signal = nix::sys::signal::kill(fetcher, None);
    assert_eq!(signal, Err(nix::errno::Errno::ESRCH));
}

#[test]
fn a_client_without_end_is_dropped_and_harms_nobody() {
    let host = Host::new();
    let mut flood = UnixStream::connect(host.socket()).unwrap();
    let chunk = vec![b'x'; 1 << 20];
    let refused = (0..64).any(|_| flood.write_all(&chunk).is_err());
    assert!(refused, "64 MiB without a newline were taken");
    for line in ["\n", "{}\n", "[1]\n", "\u{0}\n", "{\"v\":1,\"id\":1}\n"] {
        let mut client = UnixStream::connect(host.socket()).unwrap();
        client.write_all(line.as_bytes()).unwrap();
        let mut answer = String::new();
        BufReader::new(client).read_line(&mut answer).unwrap();
        assert!(answer.contains("BadRequest"), "{line:?}: {answer}");
    }
    assert!(host.say(r#"{"verb":"status"}"#).is_ok());
}

/// A TCP socket with something unsent, which lingers: to close it takes `seconds`.
#[cfg(target_os = "linux")]
fn lingering(seconds: i32) -> std::net::TcpStream {
    use nix::sys::socket::{setsockopt, sockopt};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    stream.set_nonblocking(true).unwrap();
    // Nobody takes it, and it is there as long as this process is.
    std::mem::forget(listener.accept().unwrap());
    while stream.write_all(&[0; 1 << 16]).is_ok() {}
    let linger = nix::libc::linger { l_onoff: 1, l_linger: seconds };
    setsockopt(&stream, sockopt::Linger, &linger).unwrap();
    stream
}

/// Whoever receives it is the last who has it.
#[cfg(target_os = "linux")]
fn hand_over(to: &UnixStream, bytes: &[u8], stream: std::net::TcpStream) {
    use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
    let (bytes, fds) = ([std::io::IoSlice::new(bytes)], [stream.as_raw_fd()]);
    let rights = [ControlMessage::ScmRights(&fds)];
    sendmsg::<()>(to.as_raw_fd(), &bytes, &rights, MsgFlags::empty(), None).unwrap();
}

/// The kernel closes a descriptor that nobody asked for in the thread that reads the
/// bytes it came with, or that closes the socket it waits in.
#[cfg(target_os = "linux")]
#[test]
fn a_socket_that_lingers_holds_up_its_sender_only() {
    let host = Host::new();
    let status = b"{\"v\":1,\"id\":1,\"verb\":\"status\"}\n";
    // The control: who receives one waits.
    let (ours, theirs) = UnixStream::pair().unwrap();
    hand_over(&ours, b"x", lingering(2));
    let since = Instant::now();
    assert_eq!((&theirs).read(&mut [0]).unwrap(), 1);
    assert!(since.elapsed() >= Duration::from_secs(2), "closed in {:?}", since.elapsed());

    // So that the daemon is the last who has each of them.
    let daemon = nix::unistd::Pid::from_raw(host.pid().try_into().unwrap());
    kill(daemon, Signal::SIGSTOP).unwrap();
    let mut clients = Vec::new();
    for (first, second) in [(&status[..], None), (b"no call\n", Some(status)), (b"{", Some(status))] {
        let client = UnixStream::connect(host.socket()).unwrap();
        match second {
            None => hand_over(&client, first, lingering(60)),
            Some(second) => {
                (&client).write_all(first).unwrap();
                hand_over(&client, second, lingering(60));
                // It is left to the daemon to close what waits in its socket.
                client.shutdown(std::net::Shutdown::Both).unwrap();
            }
        }
        clients.push(client);
    }
    kill(daemon, Signal::SIGCONT).unwrap();
    let since = Instant::now();
    for _ in 0..20 {
        assert!(host.say(r#"{"verb":"status"}"#).is_ok());
    }
    assert!(since.elapsed() < Duration::from_secs(10), "{:?}", since.elapsed());
}

#[test]
fn more_clients_than_there_are_places_are_told_so() {
    let host = Host::new();
    let status = b"{\"v\":1,\"id\":1,\"verb\":\"status\"}\n";
    let mut held: Vec<UnixStream> = Vec::new();
    let mut busy = 0;
    for _ in 0..200 {
        let mut client = UnixStream::connect(host.socket()).unwrap();
        let _refused = client.write_all(status);
        let mut answer = String::new();
        BufReader::new(&client).read_line(&mut answer).unwrap();
        if answer.contains("\"Busy\"") { busy += 1 } else { held.push(client) }
    }
    assert!(busy > 0 && held.len() >= 50, "{busy} busy, {} served", held.len());
    drop(held);
    let free = || Client::connect(&host.socket()).unwrap().call(Request::Status {}).is_ok();
    wait(SOON, free, || host.log());
}

#[test]
fn fifty_clients_at_once_lose_no_request() {
    let host = Host::new();
    host.register("web");
    std::thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| {
                let mut client = host.client();
                for _ in 0..20 {
                    let answer = client.call(Request::ListTenants {}).unwrap();
                    assert!(matches!(answer, Answer::Tenants(tenants) if tenants.len() == 1));
                }
            });
        }
    });
}

#[test]
fn a_watcher_sees_what_happens() {
    let host = Host::new();
    let mut watcher = host.client();
    assert_eq!(watcher.call(Request::Watch {}).unwrap(), Answer::Watching);
    host.secrets("web", &[("A", "1")]);
    host.register("web");
    host.hook("web", &host.root("web"));
    let mut seen = String::new();
    loop {
        match watcher.next_event().unwrap() {
            Event::Started { .. } => seen.push_str("started "),
            Event::Session(SessionView::Unlocked) => seen.push_str("unlocked "),
            Event::Provision(provision) => {
                assert_eq!(provision.tenant.as_str(), "web");
                break;
            }
            _ => {}
        }
    }
    assert_eq!(seen, "started unlocked ");
}

#[test]
fn observers_look_and_change_nothing() {
    if !nix::unistd::geteuid().is_root() {
        colibri_test_host::skip("only root can give a directory to a group");
        return;
    }
    let host = Host::with(&[("COLIBRI_OBSERVERS", "nogroup")]);
    host.register("web");
    assert_eq!(mode(&host.path("run/observe")), 0o710);
    let mut client = Client::connect(&host.path("run/observe/colibrid.sock")).unwrap();
    assert!(client.call(Request::ListTenants {}).is_ok());
    let unregister = Request::UnregisterTenant { secrets: Secrets::There, tenant: "web".parse().unwrap() };
    for request in [unregister, Request::Collections {}, Request::KnownCollections {}] {
        let refused = client.call(request).unwrap_err();
        assert!(refused.to_string().contains(ErrorName::NotAllowed.as_str()), "{refused}");
    }
    let nobody = User::from_name("nobody").unwrap().unwrap();
    let group = Group::from_name("nogroup").unwrap().unwrap();
    let reaches = |name: &str| {
        let socket = host.path("run").join(name).join("colibrid.sock");
        // Without any other group: std takes them all away with the user.
        let mut command = std::process::Command::new("test");
        command.arg("-w").arg(socket).uid(nobody.uid.as_raw()).gid(group.gid.as_raw());
        command.status().unwrap().success()
    };
    assert!(reaches("observe") && !reaches("control"));
}

#[test]
fn answers_come_one_for_one_and_in_order() {
    let host = Host::new();
    let mut client = UnixStream::connect(host.socket()).unwrap();
    let lines: String = (1..=5).map(|id| format!("{{\"v\":1,\"id\":{id},\"verb\":\"status\"}}\n")).collect();
    client.write_all(lines.as_bytes()).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answers = String::new();
    client.read_to_string(&mut answers).unwrap();
    let ids: Vec<_> = answers.lines().map(|line| line.split(',').nth(1).unwrap().to_owned()).collect();
    assert_eq!(ids, ["\"id\":1", "\"id\":2", "\"id\":3", "\"id\":4", "\"id\":5"]);
}

#[test]
fn a_jail_does_not_wait_for_a_daemon_that_answers_nothing() {
    let host = Host::new();
    host.register("web");
    let daemon = nix::unistd::Pid::from_raw(host.pid().try_into().unwrap());
    kill(daemon, Signal::SIGSTOP).unwrap();
    let begun = std::time::Instant::now();
    let mut hook = std::process::Command::new(colibri_test_host::program("colibri").unwrap());
    hook.args(["--socket", host.socket().to_str().unwrap(), "hook", "web"]).arg(host.root("web"));
    let ended = hook.output();
    kill(daemon, Signal::SIGCONT).unwrap();
    let ended = ended.unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(!ended.status.success() && said.contains("no answer from the daemon"), "{said}");
    // Ten minutes, before it asked what it has to wait for.
    assert!(begun.elapsed() < std::time::Duration::from_secs(300), "{:?}", begun.elapsed());
}

/// A member of the socket's group says what it likes; root reads the log and the screens.
#[test]
fn nothing_that_a_client_says_forges_a_line_or_speaks_to_a_terminal() {
    let host = Host::new();
    let evil = "a\u{1b}]0;owned\u{7}\nforged 2026-01-01T00:00:00Z ERROR forged\r\u{202e}<script>";
    let root = host.path("jails").join(evil).join("root");
    fs::create_dir_all(root.join("dev")).unwrap();
    // What no client of ours would send, too.
    let say = |mut request: serde_json::Value| {
        request["v"] = 1.into();
        request["id"] = 1.into();
        let mut socket = UnixStream::connect(host.socket()).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        socket.write_all(format!("{request}\n").as_bytes()).unwrap();
        BufReader::new(socket).read_line(&mut String::new()).unwrap();
    };
    let settings = serde_json::json!({
        "collection": evil, "on-change": { "command": ["/bin/sh", evil] }, "prefix": evil, "rename": { evil: evil },
        "dir": evil, "file": evil, "only": [evil], "owner": evil,
    });
    for tenant in ["web", "plain", evil] {
        say(serde_json::json!({ "verb": "register-tenant", "tenant": tenant, "root": root }));
        say(serde_json::json!({ "verb": "hook", "jail": tenant, "root": host.path("jails").join(evil) }));
        say(
            serde_json::json!({ "verb": "spawn-agent", "jail": tenant, "root": root, "command": [evil, evil] }),
        );
        say(serde_json::json!({ "verb": "provision", "tenant": tenant }));
        say(serde_json::json!({ "verb": "rename-tenant", "tenant": "web", "to": tenant, "root": evil }));
        for (name, value) in settings.as_object().unwrap() {
            let changes = serde_json::json!({ name: value });
            say(serde_json::json!({ "verb": "update-tenant", "tenant": "web", "changes": changes }));
            let request = serde_json::json!({ "verb": "register-tenant", "tenant": "other", "root": host.root("other"), "settings": changes });
            say(request);
            say(serde_json::json!({ "verb": "provision", "tenant": "web" }));
            say(serde_json::json!({ "verb": "provision", "tenant": "other" }));
            say(serde_json::json!({ "verb": "destroy-tenant", "tenant": "other" }));
            say(serde_json::json!({ "verb": "unregister-tenant", "tenant": "other" }));
        }
    }
    for line in [format!("{{\"verb\":{evil:?}}}"), evil.to_owned()] {
        UnixStream::connect(host.socket()).unwrap().write_all(format!("{line}\n").as_bytes()).unwrap();
    }
    let forged = |text: &str| {
        let bad = |line: &str| {
            line.trim_start().starts_with("forged") || line.contains(['\u{1b}', '\u{7}', '\r', '\u{202e}'])
        };
        text.lines().find(|line| bad(line)).map(|line| format!("{line:?}"))
    };
    let program = colibri_test_host::program("colibri").unwrap();
    let page = host.path("page.html");
    let page = page.to_str().unwrap();
    for words in [
        &["list-tenants"][..],
        &["show-tenant", "web"],
        &["history"],
        &["status"],
        &["list-agents"],
        &["export"],
        &["collections"],
        &["diff", "web"],
        &["provision", "web"],
        &["doctor"],
        &["report"],
        &["report", "--html", page],
        &["accept-root", "web"],
        &["destroy-tenant", "web"],
        &["remove", "web", "--yes"],
    ] {
        let mut command = std::process::Command::new(&program);
        let output = command.args(words).env("COLIBRI_SOCKET", host.socket()).output().unwrap();
        for text in [output.stdout, output.stderr] {
            assert_eq!(forged(&String::from_utf8_lossy(&text)), None, "{words:?}");
        }
    }
    let html = fs::read_to_string(page).unwrap();
    assert!(!html.contains("<script>/root") && !html.contains('\u{202e}'), "{html}");
    assert_eq!(forged(&host.log()), None);
}
