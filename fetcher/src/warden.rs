//! Inside the cage: gives the fetcher the relay's listening socket, confines
//! itself, then starts and kills `bw` as the fetcher asks, one at a time. It
//! ends when the fetcher does, and the cage with it.

use crate::attempts;
use crate::confine::{self, Confinement};
use crate::workdir;
use colibri_pair::Secret;
use colibri_session::Wire;
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::Stdio;
use tokio::process::{Child, Command};

/// Longest word to or from the warden, in bytes.
pub const MAX_WORD: usize = 64 * 1024;
/// Most that `bw` may store, in bytes, where its directory is a file system of its
/// own; it holds a vault's items twice while it writes them.
#[cfg(target_os = "linux")]
pub const DISK: u64 = 256 << 20;

/// From the fetcher.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToWarden {
    /// The first word, once.
    Confine(View),
    /// Kill what runs and start this. The first descriptor is its output, the
    /// second, if any, its input.
    Run {
        /// Names the run in the answer.
        run: u64,
        /// The program and its arguments.
        argv: Vec<PathBuf>,
        /// Its whole environment, but for the proxy.
        env: Vec<(String, Secret)>,
    },
    /// Kill what runs.
    Kill,
    /// Kill what runs, and empty the private directory but for the device's id.
    Clear {
        /// Names the clearing in the answer.
        run: u64,
        /// The device that the next login is for.
        device: String,
    },
}

/// What `bw` may see of the file system.
#[derive(Debug, Serialize, Deserialize)]
pub struct View {
    /// The private directory, to read and write.
    pub dir: PathBuf,
    /// Program files, to read and execute.
    pub readable: Vec<PathBuf>,
    /// Go on without confinement where there is none.
    pub insecure: bool,
}

/// From the warden.
#[derive(Debug, Serialize, Deserialize)]
pub enum FromWarden {
    /// Confined, unless it may go without; the relay's listening socket comes
    /// with this word, and where only the cage sees it, the private directory.
    Ready(Option<Confinement>),
    /// No confinement is to be had.
    Unconfined(String),
    /// A run is over, or could not begin.
    Over {
        /// Which.
        run: u64,
        /// Whether it ended with status 0.
        success: bool,
        /// How it ended, in the system's words.
        how: String,
    },
}

/// Serves the fetcher on standard input until it closes.
///
/// # Errors
/// When the fetcher cannot be understood or the system refuses.
pub async fn run() -> anyhow::Result<()> {
    let wire = Wire::new(std::io::stdin().as_fd().try_clone_to_owned()?)?;
    let mut inbox = wire.inbox::<ToWarden>(MAX_WORD);
    let Some((ToWarden::Confine(view), _)) = inbox.recv().await else {
        anyhow::bail!("the fetcher did not say what bw may see");
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    let dir = confine::hand_out(&view.dir)?;
    let mut confinement = match confine::bw(&view, port) {
        Ok(confinement) => Some(confinement),
        Err(error) if view.insecure => {
            tracing::warn!(%error, "bw is not confined");
            None
        }
        Err(error) => return Ok(wire.send(&FromWarden::Unconfined(error.to_string()), &[]).await?),
    };
    if let Err(error) = attempts::record(&view, port) {
        tracing::warn!(%error, "what bw tries and may not cannot be recorded here");
        // It is the recorder that refuses them.
        if let Some(confinement) = &mut confinement {
            confinement
                .lacking
                .push("processes of bw: their number is bounded, their memory one by one".into());
        }
    }
    wire.send(&FromWarden::Ready(confinement), &handed(&listener, &dir)).await?;
    drop((listener, dir));
    let mut bw = None;
    loop {
        tokio::select! {
            word = inbox.recv() => match word {
                Some((ToWarden::Run { run, argv, env }, fds)) => {
                    kill(&mut bw).await;
                    match spawn(&argv, env, port, fds) {
                        Ok(child) => bw = Some((run, child)),
                        Err(error) => {
                            let how = error.to_string();
                            wire.send(&FromWarden::Over { run, success: false, how }, &[]).await?;
                        }
                    }
                }
                Some((ToWarden::Kill, _)) => kill(&mut bw).await,
                Some((ToWarden::Clear { run, device }, _)) => {
                    kill(&mut bw).await;
                    let cleared = workdir::begin(&view.dir, &device);
                    let success = cleared.is_ok();
                    let how = cleared.map_or_else(|error| error.to_string(), |()| String::new());
                    wire.send(&FromWarden::Over { run, success, how }, &[]).await?;
                }
                Some((ToWarden::Confine(_), _)) | None => break,
            },
            over = wait(&mut bw) => wire.send(&over, &[]).await?,
        }
    }
    kill(&mut bw).await;
    Ok(())
}

fn spawn(
    argv: &[PathBuf],
    env: Vec<(String, Secret)>,
    port: u16,
    fds: Vec<OwnedFd>,
) -> std::io::Result<Child> {
    let missing = || std::io::Error::from(std::io::ErrorKind::InvalidInput);
    let (program, args) = argv.split_first().ok_or_else(missing)?;
    let mut fds = fds.into_iter();
    let output = fds.next().ok_or_else(missing)?;
    let mut command = Command::new(program);
    command.args(args).env_clear().kill_on_drop(true);
    command.envs(env.iter().map(|(name, value)| (name, value.expose())));
    command.env("https_proxy", format!("http://{}:{port}", Ipv4Addr::LOCALHOST));
    command.stdin(fds.next().map_or_else(Stdio::null, Stdio::from));
    command.stdout(output.try_clone()?).stderr(output);
    command.spawn()
}

fn handed<'a>(listener: &'a TcpListener, dir: &'a Option<OwnedFd>) -> Vec<BorrowedFd<'a>> {
    std::iter::once(listener.as_fd()).chain(dir.as_ref().map(AsFd::as_fd)).collect()
}

async fn kill(bw: &mut Option<(u64, Child)>) {
    let Some((run, mut child)) = bw.take() else { return };
    // By itself, a moment ago.
    if let Ok(Some(status)) = child.try_wait() {
        tracing::debug!(run, how = %status, "bw ended");
        return;
    }
    if let Err(error) = child.kill().await {
        tracing::error!(%error, "cannot kill bw");
    }
}

/// Waits for the end of what runs; for ever when nothing does.
async fn wait(bw: &mut Option<(u64, Child)>) -> FromWarden {
    let Some((run, child)) = bw else { return std::future::pending().await };
    let (run, status) = (*run, child.wait().await);
    *bw = None;
    let success = status.as_ref().is_ok_and(std::process::ExitStatus::success);
    let how = status.map_or_else(|error| error.to_string(), |status| status.to_string());
    tracing::debug!(run, how, "bw ended");
    FromWarden::Over { run, success, how }
}
