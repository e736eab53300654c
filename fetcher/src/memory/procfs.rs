//! Linux: /proc, which shows every process of the host and its arguments. So not the
//! fetcher reads it but a process of its own, which is started before the fetcher is
//! confined and answers each byte with the memory of one cage.

use crate::confine;
use anyhow::Context;
use std::ffi::OsStr;
use std::fs::{read_dir, read_to_string};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::sync::{mpsc, oneshot};

/// The first argument of this program when it counts memory; the process follows.
const GAUGE: &str = "gauge";
/// Most that ask at a time.
const ASKING: usize = 8;

/// A handle to that process, which ends with the last one.
#[derive(Clone, Debug)]
pub struct Gauge(mpsc::Sender<oneshot::Sender<u64>>);

impl Gauge {
    /// Counts the process `top` and all below it.
    ///
    /// # Errors
    /// The system's.
    pub fn start(top: u32) -> std::io::Result<Self> {
        let (near, far) = UnixStream::pair()?;
        near.set_nonblocking(true)?;
        let mut near = tokio::net::UnixStream::from_std(near)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args([GAUGE, &top.to_string()]).env_clear().current_dir("/").kill_on_drop(true);
        command.envs(std::env::var_os("COLIBRI_LOG").map(|level| ("COLIBRI_LOG", level)));
        let child = command.stdin(OwnedFd::from(far)).stdout(Stdio::null()).spawn()?;
        let (ask, mut asked) = mpsc::channel::<oneshot::Sender<u64>>(ASKING);
        tokio::spawn(async move {
            while let Some(answer) = asked.recv().await {
                let Ok(()) = near.write_u8(0).await else { break };
                let Ok(held) = near.read_u64().await else { break };
                let _gave_up = answer.send(held);
            }
            drop(child);
        });
        Ok(Self(ask))
    }

    /// Resident memory in KiB; `None` when the process has ended.
    pub async fn held(&self) -> Option<u64> {
        let (answer, held) = oneshot::channel();
        self.0.send(answer).await.ok()?;
        held.await.ok().filter(|held| *held > 0)
    }
}

/// The process that counts, if `word` says that this is it.
pub fn counted(word: &OsStr) -> Option<anyhow::Result<()>> {
    (word == GAUGE).then(run)
}

fn run() -> anyhow::Result<()> {
    let top =
        std::env::args().nth(2).and_then(|top| top.parse().ok()).context("there is no process to count")?;
    if let Err(error) = confine::gauge() {
        // The fetcher, where it may go without, says so itself.
        tracing::debug!(%error, "what counts memory is not confined");
    }
    let mut socket = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    loop {
        match socket.read_exact(&mut [0]) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
            asked => asked?,
        }
        socket.write_all(&below(top).unwrap_or_default().to_be_bytes())?;
    }
}

fn below(top: u32) -> Option<u64> {
    let mut sum = resident(top)?;
    let mut left = children(top);
    while let Some(pid) = left.pop() {
        // What has ended since holds nothing.
        sum += resident(pid).unwrap_or_default();
        left.extend(children(pid));
    }
    Some(sum)
}

fn resident(pid: u32) -> Option<u64> {
    let status = read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// What any of its threads started.
fn children(pid: u32) -> Vec<u32> {
    let threads = read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lines = threads.map(|thread| read_to_string(thread.path().join("children")).unwrap_or_default());
    lines
        .flat_map(|line| line.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// There are no jails here.
pub async fn of_jail(_name: &str) -> Option<u64> {
    None
}

#[cfg(test)]
pub async fn of(top: u32) -> Option<u64> {
    below(top)
}
