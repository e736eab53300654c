//! Plays the daemon: starts the real fetcher on a socketpair, asks, and looks
//! at what is left of it.

use colibri_pair::{MAX_FRAME, Secret, ToWriter, decode, encode};
use colibri_session::{
    Confinement, Credentials, Done, Failure, Fetch, Fetched, FromFetcher, MAX_WORD, SessionState, ToFetcher,
    Vault,
};
use colibri_tenant::ErrorName;
use colibri_test_host::process;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::fs::{self, File};
use std::io::{IoSlice, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(330);
/// As the vault knows the host.
pub const DEVICE: &str = "0c5fa2d6-5b43-4f0e-9d6c-7a1c5f3b9e21";

/// The `bw` that the tests run, unless `COLIBRI_TEST_BW_VERSION` names another.
pub fn version() -> String {
    std::env::var("COLIBRI_TEST_BW_VERSION").unwrap_or_else(|_| "2026.8.0".into())
}

/// The pinned `bw` of that version.
pub fn bw(version: &str) -> PathBuf {
    let bw = colibri_test_host::tree().join("target/bw").join(version).join("node_modules/.bin/bw");
    assert!(bw.exists(), "{} is missing: run scripts/bw", bw.display());
    bw
}

/// Where a fetcher may leave things: a base directory and a log.
pub struct Place(TempDir);

impl Place {
    pub fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::create_dir(place.base()).unwrap();
        place
    }

    pub fn base(&self) -> PathBuf {
        self.0.path().canonicalize().unwrap().join("base")
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.0.path().join("log")).unwrap()).into_owned()
    }

    /// What is known of the vault.
    pub fn vault(&self, vault: &colibri_test_vault::Vault) -> Vault {
        self.vault_of(vault, bw(&version()))
    }

    /// The same with another `bw`.
    pub fn vault_of(&self, vault: &colibri_test_vault::Vault, bw: PathBuf) -> Vault {
        let known = vault.credentials().unwrap();
        Vault {
            bw,
            server: Some(vault.url()),
            ca_file: Some(vault.ca_file().to_owned()),
            app_data_base: self.base(),
            idle_ms: 60_000,
            resident: false,
            bwrap: None,
            insecure_no_sandbox: false,
            any_bw_version: false,
            bounds: colibri_session::Bounds::default(),
            device: DEVICE.into(),
            credentials: Credentials {
                client_id: Secret::new(known.client_id),
                client_secret: Secret::new(known.client_secret),
                password: Secret::new(known.password),
            },
        }
    }

    /// Processes that have to do with this place, each with its command line.
    pub fn processes(&self) -> Vec<(u32, String)> {
        let mark = self.base().display().to_string();
        let ours = |(pid, line): &(u32, String)| {
            line.contains(&mark) || process::environment(*pid).is_some_and(|it| it.contains(&mark))
        };
        process::all().into_iter().filter(ours).collect()
    }

    /// Nothing is left: no process, no directory.
    pub fn assert_clean(&self) {
        let until = Instant::now() + PATIENCE;
        while !self.processes().is_empty() {
            assert!(Instant::now() < until, "left: {:?}\n{}", self.processes(), self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(fs::read_dir(self.base()).unwrap().count(), 0, "{}", self.log());
    }
}

/// A running fetcher.
pub struct Fetcher<'a> {
    place: &'a Place,
    pub child: Child,
    pub socket: UnixStream,
    pub states: Vec<SessionState>,
    pub ready: Vec<u64>,
    /// Logins at the vault, as it tells of them.
    pub logins: usize,
    pub confined: Vec<Confinement>,
}

impl<'a> Fetcher<'a> {
    /// Starts one and opens the vault.
    pub fn start(place: &'a Place, vault: Vault) -> Self {
        Self::start_with(place, vault, None)
    }

    /// The same with the socket of a warden that is there already.
    pub fn start_with(place: &'a Place, vault: Vault, warden: Option<UnixStream>) -> Self {
        Self::start_by(place, vault, warden, program(colibri_test_host::program("colibri-fetcher").unwrap()))
    }

    /// The same by another command.
    pub fn start_by(
        place: &'a Place,
        vault: Vault,
        warden: Option<UnixStream>,
        mut command: Command,
    ) -> Self {
        let (socket, stdin) = UnixStream::pair().unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let log = File::options().append(true).create(true).open(place.0.path().join("log")).unwrap();
        let child = command
            .stdin(OwnedFd::from(stdin))
            .stdout(std::process::Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut fetcher = Self {
            place,
            child,
            socket,
            states: Vec::new(),
            ready: Vec::new(),
            logins: 0,
            confined: Vec::new(),
        };
        fetcher.say(&ToFetcher::Open(Box::new(vault)), warden);
        fetcher
    }

    /// Sends a word, with a descriptor on its header.
    pub fn say(&mut self, word: &ToFetcher, fd: Option<UnixStream>) {
        let body = encode(word).unwrap();
        let header = u32::try_from(body.len()).unwrap().to_le_bytes();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fds: Vec<_> = fd.iter().map(AsFd::as_fd).collect();
        if !fds.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
        }
        sendmsg(&self.socket, &[IoSlice::new(&header)], &mut control, SendFlags::NOSIGNAL).unwrap();
        self.socket.write_all(&body).unwrap();
    }

    /// Asks; the returned end is the writer's.
    pub fn ask(&mut self, fetch: Fetch) -> UnixStream {
        let (near, far) = UnixStream::pair().unwrap();
        near.set_read_timeout(Some(PATIENCE)).unwrap();
        self.say(&ToFetcher::Fetch(Box::new(fetch)), Some(far));
        near
    }

    /// Asks, and waits for the end of it.
    pub fn fetch(&mut self, fetch: Fetch) -> (Done, Option<Vec<(String, String)>>) {
        let pair = self.ask(fetch);
        let pairs = pairs(pair);
        (self.done(), pairs)
    }

    /// The next word; `None` when the fetcher has closed.
    pub fn hear(&mut self) -> Option<FromFetcher> {
        let body = colibri_pair::recv(&mut self.socket, MAX_WORD)
            .unwrap_or_else(|error| panic!("{error}\n{}", self.place.log()))?;
        Some(decode(&body).unwrap())
    }

    /// The next request's end.
    pub fn done(&mut self) -> Done {
        loop {
            match self.hear().unwrap_or_else(|| panic!("closed\n{}", self.place.log())) {
                FromFetcher::State(state) => self.states.push(state),
                FromFetcher::Login => self.logins += 1,
                FromFetcher::Confined(confined) => self.confined = confined,
                FromFetcher::Ready { id } => self.ready.push(id),
                FromFetcher::Done(done) => {
                    let due = done.outcome.as_ref().is_ok_and(|fetched| fetched.names.is_none());
                    assert!(!due || self.ready.contains(&done.id), "done before ready");
                    return *done;
                }
            }
        }
    }

    /// Closes, and makes sure that nothing is left.
    pub fn close(mut self) -> ExitStatus {
        self.socket.shutdown(std::net::Shutdown::Write).unwrap();
        self.ended()
    }

    /// Waits for the end.
    pub fn ended(&mut self) -> ExitStatus {
        while let Some(word) = self.hear() {
            if let FromFetcher::State(state) = word {
                self.states.push(state);
            }
        }
        let status = self.child.wait().unwrap();
        self.place.assert_clean();
        status
    }
}

impl Drop for Fetcher<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.place.log());
        }
        // Reaped already, unless a test fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command with as little of this environment as it needs.
pub fn program(name: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(name);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("COLIBRI_LOG", "trace");
    command
}

/// A request as a test would make it.
pub fn request(id: u64, collection: &str) -> Fetch {
    Fetch {
        id,
        collection: collection.into(),
        pinned: None,
        chosen: None,
        organization: None,
        sync: colibri_session::Sync::Changes,
        known_keys: 0,
        held: None,
        shrunken_to: None,
        rules: colibri_session::Rules::default(),
        further: Vec::new(),
        deadline_ms: 60_000,
        want: colibri_session::Want::Pairs,
    }
}

/// What came on the pair's socket; `None` without a commit.
pub fn pairs(mut pair: UnixStream) -> Option<Vec<(String, String)>> {
    let mut found = Vec::new();
    while let Some(body) = colibri_pair::recv(&mut pair, MAX_FRAME).unwrap() {
        match decode(&body).unwrap() {
            ToWriter::Pair(pair) => found.push((pair.key.to_string(), pair.value.expose().to_owned())),
            ToWriter::Commit(count) => {
                assert_eq!(usize::try_from(count).unwrap(), found.len());
                assert_eq!(pair.read(&mut [0]).unwrap(), 0, "nothing follows a commit");
                return Some(found);
            }
        }
    }
    None
}

/// A vault with collections `jail-0000` to `jail-0002` of two items each.
pub fn fleet(place: &Place) -> colibri_test_vault::Vault {
    colibri_test_vault::Vault::start(colibri_test_vault::Fixture::fleet(3, 2), place.path()).unwrap()
}

/// The failure's name.
pub fn name(outcome: &Result<Fetched, Failure>) -> ErrorName {
    outcome.as_ref().unwrap_err().name
}
