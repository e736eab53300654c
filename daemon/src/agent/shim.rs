//! Starting something in a jail: the line waits for our word, has a pipe for
//! its output, and a log keeper of its own that outlives this process.

use super::cgroup::Cgroups;
use crate::jail::ROOT;
use crate::settings::Config;
use colibri_pair::Owner;
use command_fds::{CommandFdExt, FdMapping};
use nix::fcntl::OFlag;
use nix::unistd::geteuid;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{PipeReader, Result};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Who keeps the log where jails share their users with the host.
const NOBODY: Owner = Owner { uid: 65534, gid: 65534 };
/// How long what was printed last may take to the log.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What is started.
#[derive(Debug)]
pub struct Start<'a> {
    /// Program and arguments that run it in the jail.
    pub line: Vec<OsString>,
    /// The directory that the line's program shall have open as [`ROOT`].
    pub root: Option<BorrowedFd<'a>>,
    /// Whom the host knows it as, if not as the daemon.
    pub user: Option<Owner>,
    /// Where the jail has its env file.
    pub env_file: &'a Path,
    /// The file for what it prints.
    pub log: &'a Path,
    /// Where the one who keeps that file has its group.
    pub cgroups: &'a Cgroups,
}

/// What was started, and its log.
#[derive(Debug)]
pub struct Started {
    /// It waits for our word.
    pub child: Child,
    log: JoinHandle<()>,
}

/// Whether what is started goes on without this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It does.
    Own,
    /// It is killed when nobody waits for it any more.
    Ours,
}

impl Start<'_> {
    /// Starts it up to where it waits for our word.
    ///
    /// # Errors
    /// What the system refused; nothing runs then.
    pub fn start(self, config: &Config, life: Life) -> Result<Started> {
        let (output, pipe) = std::io::pipe()?;
        let log = self.keep_log(config, output)?;
        let mut command = Command::new(&config.shim);
        command.arg("run").arg(text(self.user));
        command.arg(or_none(config.base_group.map(|gid| gid.to_string())));
        // Of a user that is the jail's alone: others would be counted with it.
        let most = self.user.map(|_| config.settings.agent_processes.to_string());
        command.arg(or_none(most)).args(self.line);
        command.env_clear().env("PATH", PATH).env("COLIBRI_ENV_FILE", self.env_file);
        command.current_dir("/").process_group(0).kill_on_drop(life == Life::Ours);
        command.stdin(Stdio::piped()).stdout(pipe.try_clone()?).stderr(pipe);
        hand(&mut command, self.root)?;
        Ok(Started { child: command.spawn()?, log })
    }

    /// It ends with the last one that holds the pipe's other end.
    fn keep_log(&self, config: &Config, output: PipeReader) -> Result<JoinHandle<()>> {
        let mut older = self.log.as_os_str().to_owned();
        older.push(".old");
        let user = self.user.or_else(|| geteuid().is_root().then_some(NOBODY));
        let mut command = Command::new(&config.shim);
        command.arg("log").arg(text(user)).env_clear().current_dir("/").process_group(0);
        command.stdin(output).stdout(open(self.log)?).stderr(open(Path::new(&older))?);
        let mut keeper = command.spawn()?;
        self.cgroups.admit_keeper(keeper.id().unwrap_or_default())?;
        Ok(tokio::spawn(async move { drop(keeper.wait().await) }))
    }
}

impl Started {
    /// Tells it to go on.
    ///
    /// # Errors
    /// If it is gone.
    pub async fn go(&mut self) -> Result<()> {
        match self.child.stdin.take() {
            Some(mut stdin) => stdin.write_all(b"go\n").await,
            None => Ok(()),
        }
    }

    /// Waits for its end; by then its log has what it printed.
    ///
    /// # Errors
    /// If it cannot be waited for.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        let status = self.child.wait().await?;
        // What it left behind on FreeBSD may hold the pipe.
        let _late = timeout(LAST_WORDS, &mut self.log).await;
        Ok(status)
    }
}

/// The jail's root, for the program that makes the container.
fn hand(command: &mut Command, root: Option<BorrowedFd<'_>>) -> Result<()> {
    let Some(root) = root else { return Ok(()) };
    let parent_fd = root.try_clone_to_owned()?;
    let handed = command.fd_mappings(vec![FdMapping { parent_fd, child_fd: ROOT }]);
    handed.map(drop).map_err(std::io::Error::other)
}

fn open(path: &Path) -> Result<File> {
    let no_follow = OFlag::O_NOFOLLOW.bits();
    OpenOptions::new().read(true).append(true).create(true).mode(0o600).custom_flags(no_follow).open(path)
}

fn text(user: Option<Owner>) -> String {
    or_none(user.map(|owner| format!("{}:{}", owner.uid, owner.gid)))
}

fn or_none(word: Option<String>) -> String {
    word.unwrap_or_else(|| "-".into())
}
