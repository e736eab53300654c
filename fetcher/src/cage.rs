//! Where `bw` runs: a process container with the warden in it, made once for
//! a session, with one way out, the relay.

use crate::bell::Hub;
use crate::confine::Confinement;
use crate::memory::{self, Gauge};
use crate::program::Program;
use crate::relay::{self, Trouble};
use crate::resolver::Resolver;
use crate::warden::{FromWarden, MAX_WORD, ToWarden, View};
use colibri_pair::Secret;
use colibri_session::{BW_JAIL, Failure, Inbox, Server, Vault, Wire};
use colibri_tenant::ErrorName::{BwCrashed, BwUnusable, FetcherFailed, SandboxUnavailable, VaultTimeout};
use rustix::process::Pid;
use std::fs::File;
use std::io::{Error, ErrorKind, PipeReader};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use zeroize::Zeroizing;

mod excess;

use self::excess::Excess;

#[cfg_attr(target_os = "linux", path = "cage/bwrap.rs")]
#[cfg_attr(target_os = "freebsd", path = "cage/group.rs")]
mod platform;

/// The first argument of this program when it runs as the warden.
pub const WARDEN: &str = "warden";
/// Longest time until the warden is ready, and until it has ended.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest output of a command that is kept, in bytes.
const MAX_OUTPUT: u64 = 1024 * 1024;
/// The same of `bw serve`.
const MAX_SERVE_OUTPUT: u64 = 4096;

/// The cage, from outside.
#[derive(Debug)]
pub struct Cage {
    wire: Wire,
    inbox: Inbox<FromWarden>,
    trouble: Trouble,
    resolver: Resolver,
    confinement: Option<Confinement>,
    inside: OwnedFd,
    excess: Excess,
    argv: Vec<PathBuf>,
    env: Vec<(&'static str, String)>,
    gauge: Option<Gauge>,
    run: u64,
    lost: bool,
}

/// Who ends the cage.
#[derive(Debug)]
pub enum Keeper {
    /// Ours: the outermost process, killed with all that is in it when dropped.
    Own(Child),
    /// The daemon's: its warden ends when this socket does, and `bw` with it.
    Given(UnixStream),
}

/// What a command wrote, and whether it ended well.
#[derive(Debug)]
pub struct Output {
    /// Standard output and standard error as they came.
    pub text: Zeroizing<String>,
    /// Exit status 0.
    pub success: bool,
    /// The exit status in the system's words.
    pub how: String,
}

impl Cage {
    /// Makes the cage and confines what is in it. Where the daemon has made one,
    /// as on FreeBSD, `warden` is the socket to its warden.
    ///
    /// # Errors
    /// `SandboxUnavailable`, unless the vault's settings say to do without;
    /// `FetcherFailed` for what may be otherwise the next time.
    pub async fn open(
        vault: &Vault,
        server: &Server,
        program: &Program,
        dir: &Path,
        resolver: Resolver,
        warden: Option<OwnedFd>,
    ) -> Result<(Self, Keeper), Failure> {
        let mut readable = program.readable.clone();
        readable.extend(vault.ca_file.clone());
        let view = View { dir: dir.to_owned(), readable, insecure: vault.insecure_no_sandbox };
        let (near, keeper) = match warden {
            Some(socket) => {
                let socket = UnixStream::from(socket);
                let end = socket.try_clone().map_err(|error| unmade(&error))?;
                (socket.into(), Keeper::Given(end))
            }
            None => {
                let (near, far) = UnixStream::pair().map_err(|error| unmade(&error))?;
                (near.into(), spawn(vault, &view, far).map_err(|error| unavailable(&error))?)
            }
        };
        let wire = Wire::new(near).map_err(|error| unmade(&error))?;
        let mut inbox = wire.inbox(MAX_WORD);
        wire.send(&ToWarden::Confine(view), &[]).await.map_err(|error| unavailable(&error))?;
        let late = |_| Failure::new(FetcherFailed, "bw's cage was not ready in time");
        let listener = match timeout(PATIENCE, inbox.recv()).await.map_err(late)? {
            Some((FromWarden::Ready(confinement), fds)) => {
                let mut fds = fds.into_iter();
                fds.next().map(|listener| (listener, fds.next(), confinement))
            }
            Some((FromWarden::Unconfined(why), _)) => return Err(Failure::new(SandboxUnavailable, why)),
            _ => None,
        };
        let (listener, inside, confinement) = listener.ok_or_else(|| {
            Failure::new(SandboxUnavailable, "bw's cage could not be set up; its own words are in the log")
        })?;
        let trouble =
            relay::open(listener.into(), server.clone(), resolver.clone()).map_err(|error| unmade(&error))?;
        let env = environment(vault, program, dir);
        let argv = program.argv.clone();
        let inside = match inside {
            Some(inside) => inside,
            None => File::open(dir).map_err(|error| unmade(&error))?.into(),
        };
        let (run, lost, excess) = (0, false, Excess::default());
        let gauge = match keeper.pid() {
            Some(top) => {
                let gauge = Gauge::start(top).map_err(|error| unmade(&error))?;
                excess.watch(top, gauge.clone(), own(&inside, dir).map_err(|error| unmade(&error))?);
                Some(gauge)
            }
            None => None,
        };
        let cage =
            Self { wire, inbox, trouble, resolver, confinement, inside, excess, argv, env, gauge, run, lost };
        Ok((cage, keeper))
    }

    /// Runs one command to its end; `secrets` are in its environment.
    ///
    /// # Errors
    /// `VaultTimeout`, the command killed; `BwCrashed` without a cage.
    pub async fn run(
        &mut self,
        args: &[&str],
        secrets: Vec<(String, Secret)>,
        deadline: Instant,
    ) -> Result<Output, Failure> {
        let reader = self.start(args, secrets, None).await?;
        match timeout_at(deadline, self.finish(reader)).await {
            Ok(output) => output,
            Err(_) => {
                self.kill().await?;
                let step = args.iter().find(|arg| !arg.starts_with('-')).copied().unwrap_or_default();
                Err(Failure::new(VaultTimeout, format!("`bw {step}` did not end in time")))
            }
        }
    }

    /// Starts `bw serve` on one end of a socketpair; the other is returned,
    /// with the output, which is at its end when `bw serve` is.
    ///
    /// # Errors
    /// `BwCrashed`.
    pub async fn serve(&mut self) -> Result<(UnixStream, JoinHandle<String>), Failure> {
        let (near, far) = UnixStream::pair().map_err(|error| lost(&error))?;
        let reader =
            self.start(&["serve", "--hostname", "fd+connected://0"], Vec::new(), Some(far.into())).await?;
        let mut reader = receiver(reader).map_err(|error| lost(&error))?;
        let output = tokio::spawn(async move {
            let mut head = Vec::new();
            let kept = (&mut reader).take(MAX_SERVE_OUTPUT).read_to_end(&mut head).await;
            let rest = tokio::io::copy(&mut reader, &mut tokio::io::sink()).await;
            if let Err(error) = kept.and(rest.map(|_| 0)) {
                tracing::debug!(%error, "cannot read what bw serve says");
            }
            String::from_utf8_lossy(&head).into_owned()
        });
        Ok((near, output))
    }

    /// `bw`'s private directory, as `bw` sees it.
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.inside.as_fd()
    }

    /// What the bell needs of the cage's session.
    ///
    /// # Errors
    /// The system's.
    pub fn hub(&self, server: Server) -> std::io::Result<Hub> {
        Ok(Hub { dir: self.inside.try_clone()?, server, resolver: self.resolver.clone() })
    }

    /// Empties it, but for the id of the device that the next login is for.
    ///
    /// # Errors
    /// `BwUnusable`; `BwCrashed` without a cage.
    pub async fn clear(&mut self, device: &str, deadline: Instant) -> Result<(), Failure> {
        self.run += 1;
        self.tell(&ToWarden::Clear { run: self.run, device: device.to_owned() }, &[]).await?;
        let unfit = |why| Failure::new(BwUnusable, format!("cannot empty bw's private directory: {why}"));
        match timeout_at(deadline, self.over()).await {
            Ok(Ok((true, _))) => Ok(()),
            Ok(Ok((false, how))) => Err(unfit(how)),
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(unfit("it takes too long".into())),
        }
    }

    /// Kills what runs.
    ///
    /// # Errors
    /// `BwCrashed` without a cage.
    pub async fn kill(&mut self) -> Result<(), Failure> {
        self.tell(&ToWarden::Kill, &[]).await
    }

    /// Whether it is good for nothing any more.
    pub fn is_lost(&self) -> bool {
        self.lost || self.resolver.is_lost()
    }

    /// The failure; or that `bw` was ended for what it took, if it was.
    pub fn explain(&self, failure: Failure) -> Failure {
        self.excess.explain(failure)
    }

    /// What confines `bw`; nothing where that was not asked for.
    pub fn confinement(&self) -> Option<&Confinement> {
        self.confinement.as_ref()
    }

    async fn tell(&mut self, word: &ToWarden, fds: &[BorrowedFd<'_>]) -> Result<(), Failure> {
        let sent = timeout(PATIENCE, self.wire.send(word, fds)).await;
        sent.unwrap_or_else(|late| Err(late.into())).map_err(|error| {
            self.lost = true;
            lost(&error)
        })
    }

    /// Why the vault could not be reached, if it could not, since last asked.
    pub fn trouble(&self) -> Option<String> {
        relay::take(&self.trouble)
    }

    /// The memory of all that is in it, in KiB, where the system says it.
    pub async fn memory(&self) -> Option<u64> {
        match &self.gauge {
            Some(gauge) => gauge.held().await,
            None => memory::of_jail(BW_JAIL).await,
        }
    }

    async fn start(
        &mut self,
        args: &[&str],
        mut env: Vec<(String, Secret)>,
        input: Option<OwnedFd>,
    ) -> Result<PipeReader, Failure> {
        let (reader, writer) = std::io::pipe().map_err(|error| lost(&error))?;
        self.run += 1;
        self.trouble();
        env.extend(self.env.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(value.clone()))));
        let argv = self.argv.iter().cloned().chain(args.iter().map(PathBuf::from)).collect();
        let fds: Vec<_> = std::iter::once(writer.as_fd()).chain(input.as_ref().map(AsFd::as_fd)).collect();
        let word = ToWarden::Run { run: self.run, argv, env };
        self.tell(&word, &fds).await?;
        Ok(reader)
    }

    async fn finish(&mut self, reader: PipeReader) -> Result<Output, Failure> {
        let mut bytes = Zeroizing::new(Vec::new());
        let reader = receiver(reader).map_err(|error| lost(&error))?;
        reader.take(MAX_OUTPUT).read_to_end(&mut bytes).await.map_err(|error| lost(&error))?;
        let (success, how) = self.over().await?;
        let text = Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned());
        Ok(Output { text, success, how })
    }

    /// The end of the last run: whether it ended well, and how.
    async fn over(&mut self) -> Result<(bool, String), Failure> {
        loop {
            match self.inbox.recv().await {
                Some((FromWarden::Over { run, success, how }, _)) if run == self.run => {
                    return Ok((success, how));
                }
                Some(_) => {}
                None => {
                    self.lost = true;
                    return Err(Failure::new(BwCrashed, "bw's cage is gone"));
                }
            }
        }
    }
}

impl Keeper {
    /// Ends the cage and all that is in it, and waits for that.
    pub async fn close(mut self) {
        self.end();
        let ended = match &mut self {
            Self::Own(child) => child.wait().await.map(drop),
            Self::Given(socket) => match socket.try_clone() {
                Ok(socket) => {
                    timeout(PATIENCE, hung_up(socket)).await.unwrap_or_else(|late| Err(late.into()))
                }
                Err(error) => Err(error),
            },
        };
        if let Err(error) = ended {
            tracing::error!(%error, "cannot wait for the cage");
        }
    }

    fn pid(&self) -> Option<u32> {
        match self {
            Self::Own(child) => child.id(),
            Self::Given(_) => None,
        }
    }

    fn end(&self) {
        let ended = match self {
            Self::Own(_) => {
                let pid = self.pid().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
                pid.map_or(Ok(()), platform::end)
            }
            Self::Given(socket) => socket.shutdown(Shutdown::Write),
        };
        match ended {
            // The warden was first.
            Err(error) if error.kind() == ErrorKind::NotConnected => {}
            Err(error) => tracing::error!(%error, "cannot end the cage"),
            Ok(()) => {}
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.end();
    }
}

fn spawn(vault: &Vault, view: &View, stdin: UnixStream) -> std::io::Result<Keeper> {
    let warden = std::env::current_exe()?;
    let mut command = Command::from(platform::command(vault, view, &warden)?);
    command.arg(WARDEN).env_clear().envs(std::env::var_os("COLIBRI_LOG").map(|level| ("COLIBRI_LOG", level)));
    command.process_group(0).kill_on_drop(true);
    command.stdin(OwnedFd::from(stdin)).stdout(Stdio::null());
    command.spawn().map(Keeper::Own)
}

/// The directory, if it is a file system that only the cage has.
fn own(inside: &OwnedFd, dir: &Path) -> std::io::Result<Option<OwnedFd>> {
    let ours = std::fs::metadata(dir)?.dev();
    let inside = inside.try_clone()?;
    Ok((rustix::fs::fstat(&inside)?.st_dev != ours).then_some(inside))
}

/// Returns when the warden has closed its end, which is when it has ended.
async fn hung_up(socket: UnixStream) -> std::io::Result<()> {
    let mut socket = tokio::net::UnixStream::from_std(socket)?;
    tokio::io::copy(&mut socket, &mut tokio::io::sink()).await.map(drop)
}

fn environment(vault: &Vault, program: &Program, dir: &Path) -> Vec<(&'static str, String)> {
    let dir = dir.display().to_string();
    let path = program.argv.first().and_then(|first| first.parent()).unwrap_or(Path::new("/"));
    let ca = vault.ca_file.as_ref().map(|file| ("NODE_EXTRA_CA_CERTS", file.display().to_string()));
    let fixed = [
        ("PATH", path.display().to_string()),
        ("HOME", dir.clone()),
        ("BITWARDENCLI_APPDATA_DIR", dir),
        ("BW_NOINTERACTION", "true".to_owned()),
    ];
    fixed.into_iter().chain(ca).collect()
}

fn receiver(reader: PipeReader) -> std::io::Result<Receiver> {
    Receiver::from_owned_fd(reader.into())
}

fn unavailable(error: &Error) -> Failure {
    Failure::new(SandboxUnavailable, format!("cannot make bw's cage: {error}"))
}

/// For want of something that may be there the next time.
fn unmade(error: &Error) -> Failure {
    Failure::new(FetcherFailed, format!("cannot make bw's cage: {error}"))
}

fn lost(error: &Error) -> Failure {
    Failure::new(BwCrashed, format!("bw's cage does not answer: {error}"))
}
