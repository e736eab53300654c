//! What the proofs have in common: a jail in a temporary directory, with a
//! directory outside that nothing may touch, and the real writer run in it.

use anyhow::Result;
use colibri_pair::{
    ANY, EnvKey, FileMode, FileName, Format, Medium, Order, Owner, Pair, RelPath, Report, Secret, ToWriter,
    Verb,
};
pub use colibri_test_host::program;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use tempfile::TempDir;

/// A base directory with one jail, and a directory beside it.
#[derive(Debug)]
pub struct Jail {
    top: TempDir,
    /// Who shall own the file.
    pub owner: Owner,
    /// How it is written.
    pub format: Format,
    dir: &'static str,
}

impl Jail {
    /// A jail whose target directory is `dir` below its root.
    ///
    /// # Errors
    /// When the directories cannot be made.
    pub fn new(dir: &'static str, owner: Owner) -> Result<Self> {
        let top = tempfile::tempdir()?;
        let jail = Self { top, owner, format: Format::Env, dir };
        fs::set_permissions(jail.top.path(), fs::Permissions::from_mode(0o755))?;
        fs::create_dir_all(jail.root())?;
        fs::create_dir_all(jail.outside())?;
        Ok(jail)
    }

    /// What holds all of it.
    pub fn top(&self) -> &Path {
        self.top.path()
    }

    /// The jail's root.
    pub fn root(&self) -> PathBuf {
        self.top().join("base/jail/root")
    }

    /// The target directory.
    pub fn dir(&self) -> PathBuf {
        self.root().join(self.dir)
    }

    /// The file.
    pub fn file(&self) -> PathBuf {
        self.dir().join("env")
    }

    /// The directory that must stay as it is.
    pub fn outside(&self) -> PathBuf {
        self.top().join("outside")
    }

    /// The writer's arguments.
    ///
    /// # Errors
    /// When the temporary directory has no canonical path.
    pub fn order(&self, verb: Verb) -> Result<Vec<OsString>> {
        let order = Order {
            verb,
            base: fs::canonicalize(self.top().join("base"))?,
            root: RelPath::try_from(Path::new("jail/root"))?,
            inode: ANY.into(),
            dir: RelPath::try_from(Path::new(self.dir))?,
            file: FileName::try_from(OsStr::new("env"))?,
            owner: self.owner,
            format: self.format,
            seconds: 60,
            medium: Medium::Any,
            tenant: String::new(),
            mode: FileMode::Owner,
            id: 0,
            allow: Vec::new(),
        };
        Ok(order.to_args())
    }
}

/// An owner: another user when root asks, since only root can give files away.
pub fn other_owner() -> Owner {
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    if uid.is_root() {
        Owner { uid: 1234, gid: 1235 }
    } else {
        Owner { uid: uid.as_raw(), gid: gid.as_raw() }
    }
}

/// The frames of these pairs and their commit.
///
/// # Errors
/// When one of them is no pair.
pub fn frames(pairs: &[(&str, &str)]) -> Result<Vec<u8>> {
    let mut wire = Vec::new();
    for (key, value) in pairs {
        let pair =
            Pair { key: EnvKey::try_from((*key).to_owned())?, value: Secret::new((*value).to_owned()) };
        colibri_pair::send(&mut wire, &colibri_pair::encode(&ToWriter::Pair(pair))?)?;
    }
    let commit = ToWriter::Commit(u32::try_from(pairs.len())?);
    colibri_pair::send(&mut wire, &colibri_pair::encode(&commit)?)?;
    Ok(wire)
}

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    /// Its status.
    pub status: ExitStatus,
    /// What it reported.
    pub reports: Vec<Report>,
    /// What it logged.
    pub log: String,
}

impl Outcome {
    /// Whether it ended as a writer that did its work does.
    pub fn done(&self) -> bool {
        self.status.success()
    }

    /// Whether a signal ended it.
    pub fn killed(&self) -> bool {
        self.status.signal().is_some()
    }
}

/// Starts `command` with the pair's socket, the report and the log as the
/// daemon does; the other end of the socket comes back.
///
/// # Errors
/// When it cannot be started.
pub fn start(command: Command) -> Result<(Child, UnixStream)> {
    start_with(command, Stdio::piped())
}

/// The same with the report to go there.
///
/// # Errors
/// When it cannot be started.
pub fn start_with(mut command: Command, report: Stdio) -> Result<(Child, UnixStream)> {
    // Whoever runs the tests may leave descriptors open; the writer refuses any.
    close_fds::set_fds_cloexec(3, &[]);
    let (ours, theirs) = UnixStream::pair()?;
    command.env_clear().stdin(Stdio::from(OwnedFd::from(theirs)));
    let child = command.stdout(report).stderr(Stdio::piped()).spawn()?;
    Ok((child, ours))
}

/// Runs `command` to its end, with those frames.
///
/// # Errors
/// When it cannot be started or waited for.
pub fn run(command: Command, frames: &[u8]) -> Result<Outcome> {
    let (child, mut socket) = start(command)?;
    // A writer that ended early does not read.
    let _ = socket.write_all(frames);
    drop(socket);
    let output = child.wait_with_output()?;
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok(Outcome { status: output.status, reports: reports(&mut output.stdout.as_slice()), log })
}

/// The whole reports in `from`.
pub fn reports(from: &mut impl Read) -> Vec<Report> {
    let next = || colibri_pair::recv(from, colibri_pair::MAX_REPORT).ok().flatten();
    std::iter::from_fn(next).map_while(|frame| colibri_pair::decode(&frame).ok()).collect()
}

/// The writer with this order.
///
/// # Errors
/// When it was not built.
pub fn writer(order: &[OsString]) -> Result<Command> {
    let mut command = Command::new(program("colibri-writer")?);
    command.args(order);
    Ok(command)
}
