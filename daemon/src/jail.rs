//! Jails behind one small interface: jail(8) and bastille on FreeBSD,
//! bubblewrap on Linux. Which one is decided here and nowhere else. Both sides
//! are built everywhere, so that both are tested everywhere.

pub mod bubblewrap;
pub mod freebsd;

#[cfg(not(target_os = "freebsd"))]
pub use bubblewrap::Bubblewrap as Host;
#[cfg(target_os = "freebsd")]
pub use freebsd::FreeBsd as Host;

use crate::root::JailRoot;
use colibri_control::{AgentNetwork, ErrorName, Fault, JailName};
use colibri_order::Owner;
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::{Mode, umask};
use nix::unistd::Pid;
use std::ffi::OsString;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// How long a jail may take to start or stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// The descriptor of the jail's root in the process that a `line` becomes.
pub const ROOT: i32 = 3;

/// A jail that agents run in.
#[derive(Clone, Debug)]
pub struct Jail {
    /// Its name.
    pub name: JailName,
    /// Its root.
    pub root: JailRoot,
    /// Who an agent is inside.
    pub owner: Owner,
    /// Whom the host knows it as, if not as the daemon.
    pub user: Option<Owner>,
    /// What network it has.
    pub network: AgentNetwork,
}

/// What a jail system can do.
pub trait Jails {
    /// Whether the host can know agents as other users than they are inside.
    const OWN_USERS: bool;
    /// Whether the jail runs.
    fn runs(&self, jail: &Jail) -> impl Future<Output = Result<bool, Fault>> + Send;
    /// Starts a jail that does not run.
    fn start(&self, jail: &Jail) -> impl Future<Output = Result<(), Fault>> + Send;
    /// Stops a jail that `start` started; without its root, what was mounted for it
    /// stays.
    fn stop(
        &self,
        name: &JailName,
        root: Option<&JailRoot>,
    ) -> impl Future<Output = Result<(), Fault>> + Send;
    /// The directory that the line's program shall have open as [`ROOT`]; `None`
    /// where that program would hand it on into the jail.
    fn descriptor<'a>(&self, jail: &'a Jail) -> Option<BorrowedFd<'a>>;
    /// Program and arguments that run `command` inside the jail.
    fn line(&self, jail: &Jail, command: &[String]) -> Vec<OsString>;
    /// Whom to run that line as, if not as the daemon.
    fn user(&self, jail: &Jail) -> Option<Owner>;
    /// Tells a process from any other of the same number; `None` if it is gone.
    fn identity(&self, pid: u32) -> impl Future<Output = Option<String>> + Send;
    /// Sends a signal to the agent whose `line` runs as `pid`; `false` if it is
    /// only just being started and cannot take one yet.
    fn signal(&self, pid: u32, signal: Signal) -> bool;
}

/// Runs a program of the jail system to its end; gives what it printed.
pub(crate) async fn run(line: &[OsString]) -> Result<Option<String>, Fault> {
    let Some((program, args)) = line.split_first() else { return Ok(None) };
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    // Not with the daemon's own mask: what it makes is for others, too.
    let own = umask(Mode::from_bits_truncate(0o022));
    let ended = command.output();
    umask(own);
    let output = tokio::time::timeout(PATIENCE, ended).await;
    let failed = |why: String| Fault::new(ErrorName::JailFailed, format!("{}: {why}", program.display()));
    match output {
        Ok(Ok(output)) if output.status.success() => {
            Ok(Some(String::from_utf8_lossy(&output.stdout).trim().to_owned()))
        }
        Ok(Ok(output)) => {
            let errors = String::from_utf8_lossy(&output.stderr);
            Err(failed(format!("{}: {}", output.status, errors.lines().next_back().unwrap_or_default())))
        }
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed("did not end in time".into())),
    }
}

/// Whether there was such a process.
fn send(pid: u32, signal: Signal) -> bool {
    let pid = i32::try_from(pid).ok().filter(|pid| *pid > 0);
    pid.is_some_and(|pid| kill(Pid::from_raw(pid), signal).is_ok())
}

fn words(line: &[&str]) -> Vec<OsString> {
    line.iter().map(OsString::from).collect()
}

fn exists(program: &Path) -> bool {
    program.is_file()
}
