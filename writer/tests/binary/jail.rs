//! A jail in a temporary directory, and the writer run for it.

use colibri_pair::{
    ANY, EnvKey, Failure, FileMode, FileName, Format, MAX_REPORT, Medium, Order, Owner, Pair, RelPath,
    Report, Secret, ToWriter, Verb, decode, encode, recv, send,
};
use nix::unistd::{getegid, geteuid};
use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use tempfile::TempDir;

pub struct Jail {
    top: TempDir,
    pub order: Order,
}

pub struct Outcome {
    pub status: ExitStatus,
    pub reports: Vec<Report>,
    pub log: String,
}

pub fn me() -> Owner {
    Owner { uid: geteuid().as_raw(), gid: getegid().as_raw() }
}

/// Whether the test runs as root; says why it is skipped if not.
pub fn root(why: &str) -> bool {
    if !geteuid().is_root() {
        colibri_test_host::skip(format_args!("{why} needs root"));
    }
    geteuid().is_root()
}

impl Jail {
    /// A jail with a target directory.
    pub fn new() -> Self {
        let jail = Self::bare();
        fs::create_dir_all(jail.dir()).unwrap();
        fs::set_permissions(jail.dir(), fs::Permissions::from_mode(0o700)).unwrap();
        jail
    }

    /// A jail without one.
    pub fn bare() -> Self {
        Self::below(tempfile::tempdir().unwrap())
    }

    pub fn below(top: TempDir) -> Self {
        let base = fs::canonicalize(top.path()).unwrap().join("base");
        fs::create_dir_all(base.join("jail/root")).unwrap();
        fs::create_dir(top.path().join("outside")).unwrap();
        let order = Order {
            verb: Verb::Put,
            base,
            root: rel("jail/root"),
            inode: ANY.into(),
            dir: rel("etc/colibri"),
            file: FileName::try_from(OsStr::new("env")).unwrap(),
            owner: me(),
            format: Format::Env,
            seconds: 60,
            medium: Medium::Any,
            tenant: String::new(),
            mode: FileMode::Owner,
            id: 0,
            allow: Vec::new(),
        };
        Self { top, order }
    }

    pub fn outside(&self) -> PathBuf {
        self.top.path().join("outside")
    }

    pub fn root(&self) -> PathBuf {
        self.order.base.join(self.order.root.as_path())
    }

    pub fn dir(&self) -> PathBuf {
        self.root().join(self.order.dir.as_path())
    }

    pub fn file(&self) -> PathBuf {
        self.dir().join(self.order.file.as_os_str())
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(colibri_test_host::program("colibri-writer").unwrap());
        command.args(self.order.to_args());
        command
    }

    pub fn put(&self, wire: &[u8]) -> Outcome {
        run(self.command(), wire)
    }

    /// What lies in the target directory.
    pub fn names(&self) -> Vec<String> {
        let names = fs::read_dir(self.dir()).unwrap();
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Everything in the jail, with what changes when it is touched.
    pub fn snapshot(&self) -> Vec<(PathBuf, u64, u32, i64, i64)> {
        let mut found = Vec::new();
        let mut dirs = vec![self.root()];
        while let Some(dir) = dirs.pop() {
            for path in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
                let state = fs::symlink_metadata(&path).unwrap();
                found.push((path.clone(), state.ino(), state.mode(), state.mtime(), state.mtime_nsec()));
                dirs.extend(state.is_dir().then_some(path));
            }
        }
        found.sort();
        found
    }

    /// The file is just this, and as a file of secrets has to be.
    pub fn holds(&self, lines: &str) {
        let state = fs::symlink_metadata(self.file()).unwrap();
        assert!(state.is_file());
        assert_eq!((state.mode() & 0o7777, state.nlink()), (self.order.mode.bits().into(), 1));
        assert_eq!((state.uid(), state.gid()), (self.order.owner.uid, self.order.owner.gid));
        assert_eq!(fs::read_to_string(self.file()).unwrap(), format!("{}{lines}", colibri_envfile::HEADER));
        assert_eq!(self.names(), [self.order.file.as_os_str().to_str().unwrap()]);
    }
}

impl Outcome {
    pub fn last(&self) -> &Report {
        self.reports.last().expect("a report")
    }

    /// It failed that way, with those words in its report and in its log.
    pub fn failed(&self, expected: Failure, words: &str) {
        let Report::Failed { kind, message } = self.last() else { panic!("no failure: {:?}", self.reports) };
        assert_eq!(*kind, expected, "{message}");
        assert!(message.contains(words), "{message}");
        assert_eq!(self.log, format!("writer: {message}\n"));
        assert_eq!(self.status.code(), Some(1));
    }
}

pub fn rel(path: &str) -> RelPath {
    RelPath::try_from(Path::new(path)).unwrap()
}

pub fn start(mut command: Command) -> (Child, UnixStream) {
    // The writer refuses to start with what a test runner left open.
    close_fds::set_fds_cloexec(3, &[]);
    let (ours, theirs) = UnixStream::pair().unwrap();
    command.env_clear().stdin(OwnedFd::from(theirs)).stdout(Stdio::piped()).stderr(Stdio::piped());
    (command.spawn().unwrap(), ours)
}

pub fn run(command: Command, wire: &[u8]) -> Outcome {
    let (child, mut socket) = start(command);
    // A writer that refused does not read on.
    let _ = socket.write_all(wire);
    drop(socket);
    finish(child)
}

pub fn finish(child: Child) -> Outcome {
    let output = child.wait_with_output().unwrap();
    let mut from = output.stdout.as_slice();
    let reports = std::iter::from_fn(|| next(&mut from)).collect();
    Outcome { status: output.status, reports, log: String::from_utf8(output.stderr).unwrap() }
}

pub fn next(from: &mut impl Read) -> Option<Report> {
    recv(from, MAX_REPORT).unwrap().map(|frame| decode(&frame).unwrap())
}

pub fn frame(body: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    send(&mut wire, body).unwrap();
    wire
}

pub fn pair(key: &str, value: &str) -> Vec<u8> {
    let (key, value) = (EnvKey::try_from(key.to_owned()).unwrap(), Secret::new(value.to_owned()));
    frame(&encode(&ToWriter::Pair(Pair { key, value })).unwrap())
}

pub fn commit(count: u32) -> Vec<u8> {
    frame(&encode(&ToWriter::Commit(count)).unwrap())
}

/// One pair and its commit.
pub fn one(value: &str) -> Vec<u8> {
    [pair("K", value), commit(1)].concat()
}
