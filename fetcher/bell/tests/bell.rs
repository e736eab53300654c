//! The program, against the test vault over real TLS, and against hubs that are not
//! what they should be.

#![cfg(test)]

use colibri_session::{FromBell, Listen, ToBell, Wire};
use colibri_test_vault::{Fixture, Vault};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

type Secret = colibri_pair::Secret;

/// Longest time that anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// The running program.
struct Bell {
    child: Child,
    /// The fetcher's end of its orders.
    near: Option<UnixStream>,
}

impl Bell {
    /// Starts it with these orders, over that connection.
    fn start(trust: Option<String>, order: Listen, connection: TcpStream) -> Self {
        let bell = Self::idle();
        let near = bell.near.as_ref().unwrap().try_clone().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let wire = Wire::new(near.into()).unwrap();
            wire.send(&ToBell::Trust(trust), &[]).await.unwrap();
            let connection = OwnedFd::from(connection);
            wire.send(&ToBell::Listen(order), &[connection.as_fd()]).await.unwrap();
        });
        bell
    }

    fn idle() -> Self {
        let (near, far) = UnixStream::pair().unwrap();
        let program = colibri_test_host::program("colibri-bell").unwrap();
        let mut command = Command::new(program);
        command.env_clear().stdin(OwnedFd::from(far)).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { child: command.spawn().unwrap(), near: Some(near) }
    }

    /// Its next word; nothing at its end.
    fn word(&mut self) -> Option<FromBell> {
        let mut byte = [0];
        let got = self.child.stdout.as_mut().unwrap().read(&mut byte).unwrap();
        (got == 1).then(|| FromBell::of(byte[0]).expect("a word that there is"))
    }

    /// All words until its end, and its log.
    fn end(mut self) -> (Vec<FromBell>, String) {
        let words = std::iter::from_fn(|| self.word()).collect();
        let mut log = String::new();
        self.child.stderr.as_mut().unwrap().read_to_string(&mut log).unwrap();
        self.child.wait().unwrap();
        (words, log)
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An access token of the vault's, as `bw` gets it.
fn token(vault: &Vault) -> String {
    vault.access_token().unwrap()
}

fn order(port: u16, token: &str) -> Listen {
    Listen {
        host: "localhost".into(),
        port,
        path: "/notifications".into(),
        token: Secret::new(token.to_owned()),
    }
}

fn listen(vault: &Vault, token: &str) -> Bell {
    let ca = std::fs::read_to_string(vault.ca_file()).unwrap();
    let connection = TcpStream::connect(("127.0.0.1", vault.port())).unwrap();
    Bell::start(Some(ca), order(vault.port(), token), connection)
}

fn wait(what: &str, done: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_change_rings_within_a_moment_and_what_is_silent_does_not() {
    let dir = tempfile::tempdir().unwrap();
    let vault = Vault::start(Fixture::fleet(2, 1), dir.path()).unwrap();
    let mut bell = listen(&vault, &token(&vault));
    assert_eq!(bell.word(), Some(FromBell::Listening));
    // A collection that is renamed rings nobody; the ring is that of the item.
    vault.edit(|content| content.collection("jail-0001").unwrap().name = "other".to_owned()).unwrap();
    let begin = Instant::now();
    vault.edit(|content| content.item_named("KEY_0").unwrap().set_value("new")).unwrap();
    assert_eq!(bell.word(), Some(FromBell::Rung));
    assert!(begin.elapsed() < PATIENCE / 4, "{:?}", begin.elapsed());
    vault.cut_listeners();
    assert_eq!(bell.end().0, []);
}

#[test]
fn many_changes_are_few_rings_and_the_last_is_among_them() {
    let dir = tempfile::tempdir().unwrap();
    let vault = Vault::start(Fixture::fleet(1, 1), dir.path()).unwrap();
    let mut bell = listen(&vault, &token(&vault));
    assert_eq!(bell.word(), Some(FromBell::Listening));
    (0..2500).for_each(|_| vault.tell_listeners(&[2, 0x91, 1]));
    assert_eq!(bell.word(), Some(FromBell::Rung));
    std::thread::sleep(Duration::from_secs(3));
    vault.cut_listeners();
    let rings = bell.end().0.len();
    assert!((1..20).contains(&rings), "{rings} rings of 2,500 messages");
}

#[test]
fn a_token_that_is_not_taken_is_said_and_stands_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let vault = Vault::start(Fixture::fleet(1, 1), dir.path()).unwrap();
    let token = token(&vault);
    vault.expire_tokens();
    let (words, log) = listen(&vault, &token).end();
    assert_eq!(words, [FromBell::TokenRefused], "{log}");
    assert!(log.contains("refuses the access token"), "{log}");
    assert!(!log.contains(&token[..20]), "{log}");
    let (words, log) = listen(&vault, "no token\r\nX: y").end();
    assert_eq!((words, log.contains("X: y")), (vec![], false), "{log}");
}

#[test]
fn another_certificate_or_a_missing_ca_ends_it() {
    let dir = tempfile::tempdir().unwrap();
    let vault = Vault::start(Fixture::fleet(1, 1), dir.path()).unwrap();
    let connect = || TcpStream::connect(("127.0.0.1", vault.port())).unwrap();
    let (words, log) = Bell::start(None, order(vault.port(), "x"), connect()).end();
    assert_eq!(words, [], "{log}");
    assert!(log.contains("UnknownIssuer"), "{log}");
    let ca = std::fs::read_to_string(vault.ca_file()).unwrap();
    let mut elsewhere = order(vault.port(), "x");
    elsewhere.host = "vault.example.com".into();
    let (words, log) = Bell::start(Some(ca), elsewhere, connect()).end();
    assert_eq!(words, [], "{log}");
    assert!(log.contains("not valid for name"), "{log}");
}

#[test]
fn it_ends_with_whoever_gave_its_orders() {
    let dir = tempfile::tempdir().unwrap();
    let vault = Vault::start(Fixture::fleet(1, 1), dir.path()).unwrap();
    let mut bell = listen(&vault, &token(&vault));
    assert_eq!(bell.word(), Some(FromBell::Listening));
    bell.near = None;
    assert_eq!(bell.end().0, []);
    let mut bell = Bell::idle();
    bell.near = None;
    assert_eq!(bell.end().0, []);
    wait("the hub sees its end", || vault.listeners() == 0);
}

#[test]
fn a_hub_that_is_none_ends_it_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let vault = Vault::start(Fixture::fleet(1, 1), dir.path()).unwrap();
    // Not TLS at all; and nothing of what it says is in the log.
    let hub = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = hub.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _) = hub.accept().unwrap();
        let _ = stream.write_all(&b"HTTP/1.1 200 OK\x1b[31m\r\n\r\n".repeat(1000));
        let _ = stream.read(&mut [0; 1000]);
    });
    let ca = std::fs::read_to_string(vault.ca_file()).unwrap();
    let connection = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let (words, log) = Bell::start(Some(ca), order(port, "x"), connection).end();
    assert_eq!(words, [], "{log}");
    assert!(log.contains("TLS") && !log.contains("[31m"), "{log}");
}

#[test]
fn a_message_that_is_no_message_or_too_long_is_no_ring() {
    let dir = tempfile::tempdir().unwrap();
    let vault = Vault::start(Fixture::fleet(1, 1), dir.path()).unwrap();
    let mut bell = listen(&vault, &token(&vault));
    assert_eq!(bell.word(), Some(FromBell::Listening));
    for message in [&b""[..], b"\x01", b"\xff\xff\xff\xff\xff\x01\x91\x01", b"{\"type\":1}", &[2, 0x91, 6]] {
        vault.tell_listeners(message);
    }
    vault.tell_listeners(&vec![0x91; 70_000]);
    let (words, log) = bell.end();
    assert_eq!(words, [], "{log}");
    assert!(log.contains("WebSocket"), "{log}");
}

#[test]
#[cfg(target_os = "linux")]
fn it_is_confined_small_and_cannot_be_looked_into() {
    let dir = tempfile::tempdir().unwrap();
    let vault = Vault::start(Fixture::fleet(1, 1), dir.path()).unwrap();
    let mut bell = listen(&vault, &token(&vault));
    assert_eq!(bell.word(), Some(FromBell::Listening));
    let of = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", bell.child.id()));
    let status = of("status").unwrap();
    let line = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(&format!("{name}:"))).unwrap();
        line.trim().to_owned()
    };
    assert_eq!((line("Seccomp"), line("NoNewPrivs"), line("Threads")), ("2".into(), "1".into(), "1".into()));
    match std::fs::read_dir(format!("/proc/{}/fd", bell.child.id())) {
        // Its orders, the vault, what it says, its log, and what waits for them: no file.
        Ok(descriptors) => {
            for one in descriptors.map(|one| std::fs::read_link(one.unwrap().path()).unwrap()) {
                let kind = one.to_string_lossy().split(':').next().unwrap_or_default().to_owned();
                assert!(
                    ["socket", "pipe", "anon_inode", "/dev/null"].contains(&kind.as_str()),
                    "{}",
                    one.display()
                );
            }
        }
        // Undumpable: to its own user it is as another user's.
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied),
    }
    let resident: u64 = line("VmRSS").trim_end_matches(" kB").trim().parse().unwrap();
    assert!(resident < 16 * 1024, "{resident} KiB");
    vault.cut_listeners();
}
