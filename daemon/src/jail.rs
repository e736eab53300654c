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
use colibri_pair::Owner;
use colibri_tenant::{AgentNetwork, ErrorName, Fault, JailName, plain};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::{Mode, umask};
use nix::unistd::Pid;
use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::task::JoinHandle;

/// How long a jail may take to start or stop.
const PATIENCE: Duration = Duration::from_secs(60);
/// Most bytes that are kept of what such a program prints.
const KEPT: usize = 256 << 10;
/// How long the last of them may take to be read.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// Turns of the runtime then, in each of which some of what is in the pipe is read.
const TURNS: u32 = 64;
/// Between two looks whether an earlier one goes on.
const PAUSE: Duration = Duration::from_millis(20);

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

/// An agent's process, or one that was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// The jail that it runs in or is about to enter.
    pub jail: JailName,
    /// Its number.
    pub pid: u32,
    /// What tells it from another process of that number.
    pub identity: String,
}

/// What a jail system can do.
pub trait Jails {
    /// Whether the host can know agents as other users than they are inside.
    const OWN_USERS: bool;
    /// By what a line enters the jail that was found.
    type Entry: Send + Sync;
    /// Whether the jail runs.
    fn runs(&self, jail: &Jail) -> impl Future<Output = Result<bool, Fault>> + Send;
    /// A mark for a jail that is to be started, to be written down before it is.
    fn mark(&self) -> String;
    /// Starts a jail that does not run, with this mark. Gives the mark to know it
    /// by from now on.
    fn start(&self, jail: &Jail, mark: &str) -> impl Future<Output = Result<String, Fault>> + Send;
    /// Stops the jail of this name if it bears this mark, and unmounts what was
    /// mounted for it: one that somebody else started is not touched. `path` is where
    /// it was to be.
    fn stop(
        &self,
        name: &JailName,
        path: &Path,
        mark: &str,
    ) -> impl Future<Output = Result<(), Fault>> + Send;
    /// The directory that the line's program shall have open as [`ROOT`]; `None`
    /// where that program would hand it on into the jail.
    fn descriptor<'a>(&self, jail: &'a Jail) -> Option<BorrowedFd<'a>>;
    /// The jail to be entered: the one that runs with the root that was looked at, and
    /// bears this mark, if it was started for an agent. Asked directly before it is
    /// entered: names change their jail.
    fn entry(
        &self,
        jail: &Jail,
        mark: Option<&str>,
    ) -> impl Future<Output = Result<Self::Entry, Fault>> + Send;
    /// Program and arguments that run `command` inside the jail.
    fn line(&self, jail: &Jail, entry: &Self::Entry, command: &[String]) -> Vec<OsString>;
    /// Whom to run that line as, if not as the daemon.
    fn user(&self, jail: &Jail) -> Option<Owner>;
    /// Tells a process from any other of the same number; `None` if it is gone.
    fn identity(&self, pid: u32) -> impl Future<Output = Option<String>> + Send;
    /// Whether it still is that process.
    fn is(&self, process: &Process) -> impl Future<Output = bool> + Send;
    /// Sends a signal to the agent whose `line` runs as that process; `false` if it
    /// is another process by now, or only just being started and cannot take one yet.
    fn signal(&self, process: &Process, signal: Signal) -> impl Future<Output = bool> + Send;
}

/// Held as long as a program makes or removes a jail: it goes on when the daemon
/// is killed, and the next one has to wait for it.
#[derive(Clone, Debug)]
pub struct Works(PathBuf);

impl Works {
    /// Of the daemon with this state directory.
    pub fn new(state_dir: &Path) -> Self {
        Self(state_dir.join("jails.lock"))
    }

    /// Runs a program that makes or removes a jail and starts nothing that stays.
    /// As its input it holds the lock, and there is nothing to read.
    pub(crate) async fn run(&self, line: &[OsString]) -> Result<Option<String>, Fault> {
        let held = self.open().and_then(|file| file.lock_shared().map(|()| file));
        let held = held.map_err(|error| {
            Fault::new(ErrorName::JailFailed, format!("cannot lock {}: {error}", self.0.display()))
        })?;
        run_with(line, held.into()).await
    }

    fn open(&self) -> std::io::Result<File> {
        File::options().read(true).write(true).create(true).truncate(false).open(&self.0)
    }

    /// Returns when none of an earlier daemon's goes on any more, or it takes too
    /// long. Blocks.
    pub fn wait(&self) -> std::io::Result<()> {
        let (file, end) = (self.open()?, Instant::now() + PATIENCE);
        loop {
            match file.try_lock() {
                Err(TryLockError::WouldBlock) if Instant::now() < end => sleep(PAUSE),
                Err(TryLockError::Error(error)) => return Err(error),
                Ok(()) | Err(TryLockError::WouldBlock) => return Ok(()),
            }
        }
    }
}

/// Runs a program of the jail system to its end; gives what it printed.
pub(crate) async fn run(line: &[OsString]) -> Result<Option<String>, Fault> {
    run_with(line, Stdio::null()).await
}

async fn run_with(line: &[OsString], input: Stdio) -> Result<Option<String>, Fault> {
    let Some((program, args)) = line.split_first() else { return Ok(None) };
    let failed = |why: String| Fault::new(ErrorName::JailFailed, format!("{}: {why}", program.display()));
    let mut command = Command::new(program);
    command.args(args).stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = with_common_mask(|| command.spawn()).map_err(|error| failed(error.to_string()))?;
    let (output, errors) = (Printed::of(child.stdout.take()), Printed::of(child.stderr.take()));
    match tokio::time::timeout(PATIENCE, child.wait()).await {
        Ok(Ok(status)) if status.success() => Ok(Some(output.rest().await.trim().to_owned())),
        Ok(Ok(status)) => {
            let errors = errors.rest().await;
            Err(failed(format!("{status}: {}", plain(errors.lines().next_back().unwrap_or_default()))))
        }
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed("did not end in time".into())),
    }
}

/// Starts something not with the daemon's own mask: what it makes is for others, too.
pub(crate) fn with_common_mask<T>(start: impl FnOnce() -> T) -> T {
    let own = umask(Mode::from_bits_truncate(0o022));
    let started = start();
    umask(own);
    started
}

/// What a program prints, the end of it: a jail's services print there, too, as much
/// as they like, and keep it open for longer than the program runs.
struct Printed {
    kept: Arc<Mutex<Vec<u8>>>,
    reading: JoinHandle<()>,
}

impl Printed {
    fn of(from: Option<impl AsyncRead + Unpin + Send + 'static>) -> Self {
        let kept = Arc::<Mutex<Vec<u8>>>::default();
        let into = kept.clone();
        let reading = tokio::spawn(async move {
            let Some(mut from) = from else { return };
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = from.read(&mut piece).await {
                let mut kept = into.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend_from_slice(piece.get(..count).unwrap_or_default());
                // Not at each piece: moving the rest takes time.
                if kept.len() > 2 * KEPT {
                    kept.drain(..KEPT);
                }
            }
        });
        Self { kept, reading }
    }

    /// For a program that has ended: what it printed last is in the pipe already.
    async fn rest(mut self) -> String {
        let _over = tokio::time::timeout(LAST_WORDS, &mut self.reading).await;
        // On a busy machine that is over before anybody has looked: a line of jls(8) that
        // is not there, or not all of it, is another jail's.
        for _ in 0..TURNS {
            if self.reading.is_finished() {
                break;
            }
            tokio::task::yield_now().await;
        }
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(kept.get(kept.len().saturating_sub(KEPT)..).unwrap_or_default()).into_owned()
    }
}

impl Drop for Printed {
    fn drop(&mut self) {
        self.reading.abort();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_that_makes_a_jail_is_waited_for_after_its_daemon_died() {
        let dir = tempfile::tempdir().unwrap();
        let works = Works::new(dir.path());
        works.wait().unwrap();
        let done = dir.path().join("done");
        let script = format!("sleep 1; cat; : >{}", done.display());
        let line = words(&["/bin/sh", "-c", &script]);
        // Polled once, so that it runs; then nobody waits for it any more.
        let running = works.clone();
        let task = tokio::spawn(async move { running.run(&line).await });
        tokio::time::sleep(Duration::from_millis(200)).await;
        let began = Instant::now();
        let waited = tokio::task::spawn_blocking(move || works.wait().map(|()| done.exists()));
        assert!(waited.await.unwrap().unwrap() && began.elapsed() < Duration::from_secs(30));
        task.await.unwrap().unwrap();
    }

    async fn shell(script: &str) -> Result<Option<String>, Fault> {
        run(&words(&["/bin/sh", "-c", script])).await
    }

    #[tokio::test]
    async fn the_end_of_what_a_jail_s_start_prints_is_kept_and_no_more() {
        let flood = "yes | head -c 33554432; echo done";
        let printed = shell(flood).await.unwrap().unwrap();
        assert!(printed.len() <= KEPT && printed.ends_with("done"), "{}", printed.len());
        let fault = shell(&format!("{{ {flood}; printf 'a\\033[31mb'; }} >&2; exit 3")).await.unwrap_err();
        let told = "/bin/sh: exit status: 3: a\u{fffd}[31mb";
        assert_eq!((fault.name, fault.message.as_str()), (ErrorName::JailFailed, told));
    }

    #[tokio::test]
    async fn a_service_that_keeps_the_output_does_not_hold_up_a_jail_s_start() {
        let began = Instant::now();
        assert_eq!(shell("sleep 20 & echo started").await.unwrap().unwrap(), "started");
        let failed = shell("sleep 20 & echo why >&2; exit 1").await.unwrap_err();
        assert!(failed.message.ends_with("exit status: 1: why"), "{failed:?}");
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    }
}
