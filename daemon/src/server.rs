//! The control socket: who may connect, how much they may send and hold, and
//! one line for one line. A slow or hostile client harms nobody else.

mod share;

pub use share::Share;

use crate::service::Service;
use crate::settings::Shared;
use anyhow::Context;
use colibri_control::{Answer, Call, Content, MAX_REQUEST, Reply, Request};
use colibri_tenant::{ErrorName, Fault};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, User, chown, geteuid, getgrouplist};
use std::ffi::CString;
use std::fs::{DirBuilder, Permissions, set_permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf, UCred};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Clients of the control socket at once.
const CLIENTS: usize = 128;
/// Clients of the observers' socket at once, and the least time from one to the
/// next: to look at who comes and to refuse is work, too.
const OBSERVERS: usize = 32;
const APART: Duration = Duration::from_millis(10);
/// A client that asks nothing for so long is dropped.
const IDLE: Duration = Duration::from_secs(60);
/// A client that takes its answer no faster than this is dropped.
const SLOW: Duration = Duration::from_secs(10);
/// Clients at once that are told that there is no place for them.
const REFUSED: usize = 16;
/// Stack of a client's thread, in bytes.
const STACK: usize = 512 * 1024;
/// After the system refused to accept, for want of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// The socket's name in its directory.
pub const SOCKET: &str = "colibrid.sock";

/// What clients of a socket may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// Everything.
    Change,
    /// Look.
    Observe,
}

/// A socket that is bound.
#[derive(Debug)]
pub struct Door {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode of what was bound.
    bound: Option<(u64, u64)>,
    group: Option<u32>,
    rights: Rights,
}

impl Door {
    /// Binds `colibrid.sock` in `dir`, which nobody but the daemon's user and
    /// the group can enter; the directory is so before the socket is there.
    ///
    /// # Errors
    /// The step that the system refused.
    pub fn open(dir: &Path, group: Option<u32>, rights: Rights) -> anyhow::Result<Self> {
        make_dir(dir, 0o700)?;
        let path = dir.join(SOCKET);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", path.display()));
            }
            _ => {}
        }
        let own = umask(Mode::from_bits_truncate(0o177));
        let bound = UnixListener::bind(&path);
        umask(own);
        let listener = bound.with_context(|| format!("cannot bind {}", path.display()))?;
        if let Some(group) = group {
            for (path, mode) in [(path.as_path(), 0o660), (dir, 0o710)] {
                chown(path, None, Some(Gid::from_raw(group)))
                    .map_err(std::io::Error::from)
                    .and_then(|()| set_permissions(path, Permissions::from_mode(mode)))
                    .with_context(|| format!("cannot open {} for the group", path.display()))?;
            }
        }
        let bound = identity(&path);
        Ok(Self { listener, path, bound, group, rights })
    }

    /// Serves clients for ever, each in a thread of its own: a descriptor that came
    /// with a client's bytes is closed by who receives them, and to close a socket that
    /// lingers takes as long as its maker likes (unix(7), socket(7)).
    pub async fn serve(self, service: Service, share: Arc<Share>) {
        let (places, apart) = match self.rights {
            Rights::Change => (CLIENTS, Duration::ZERO),
            Rights::Observe => (OBSERVERS, APART),
        };
        let (places, refused) = (Arc::new(Semaphore::new(places)), Arc::new(Semaphore::new(REFUSED)));
        let rights = self.rights;
        loop {
            tokio::time::sleep(apart).await;
            // Whoever comes can be told that there is no place.
            let Ok(refusal) = refused.clone().acquire_owned().await else { return };
            let Ok((stream, _)) = self.listener.accept().await else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let admitted = stream.peer_cred().is_ok_and(|peer| admits(&peer, self.group));
            let client = Client::new(stream);
            if !admitted {
                let told = client.refuse(ErrorName::NotAllowed, "this socket is not for you");
                in_a_thread(told, refusal);
            } else if let Ok(place) = places.clone().try_acquire_owned() {
                let (service, share) = (service.clone(), share.clone());
                in_a_thread(async move { client.serve(&service, rights, &share).await }, place);
            } else {
                in_a_thread(client.refuse(ErrorName::Busy, "there are too many clients"), refusal);
            }
        }
    }
}

/// Works in a thread that no other client shares, and gives the place back after it.
fn in_a_thread(work: impl Future<Output = ()> + Send + 'static, place: OwnedSemaphorePermit) {
    let runtime = Handle::current();
    let run = move || {
        runtime.block_on(work);
        drop(place);
    };
    if let Err(error) = std::thread::Builder::new().name("client".into()).stack_size(STACK).spawn(run) {
        tracing::error!(%error, "a client is not served");
    }
}

impl Drop for Door {
    /// What somebody else put at its place meanwhile stays.
    fn drop(&mut self) {
        if self.bound.is_some() && self.bound == identity(&self.path) {
            let _gone = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

/// Makes a directory, or takes one of our own that is there, and sets its mode.
///
/// # Errors
/// The step that the system refused, or that the directory is not ours alone.
pub fn make_dir(dir: &Path, mode: u32) -> anyhow::Result<()> {
    let cannot = || format!("cannot make the directory {}", dir.display());
    DirBuilder::new().recursive(true).mode(mode).create(dir).with_context(cannot)?;
    let found = std::fs::metadata(dir).with_context(cannot)?;
    // Such as /tmp, whose mode is nothing to meddle with.
    if found.uid() != geteuid().as_raw() || found.mode() & 0o002 != 0 {
        return Err(Shared(dir.into()).into());
    }
    set_permissions(dir, Permissions::from_mode(mode)).with_context(cannot)
}

/// The directory keeps others out; this is the second lock.
fn admits(peer: &UCred, group: Option<u32>) -> bool {
    let uid = Uid::from_raw(peer.uid());
    uid.is_root()
        || uid == geteuid()
        || group.is_some_and(|group| peer.gid() == group || is_member(uid, group))
}

fn is_member(uid: Uid, group: u32) -> bool {
    let user = User::from_uid(uid).ok().flatten();
    let groups = user.and_then(|user| getgrouplist(&CString::new(user.name).ok()?, user.gid).ok());
    groups.is_some_and(|groups| groups.contains(&Gid::from_raw(group)))
}

struct Client {
    from: BufReader<OwnedReadHalf>,
    to: OwnedWriteHalf,
}

impl Client {
    fn new(stream: UnixStream) -> Self {
        let (from, to) = stream.into_split();
        Self { from: BufReader::new(from), to }
    }

    async fn refuse(mut self, name: ErrorName, why: &'static str) {
        let _gone = self.send(0, Content::Error(Fault::new(name, why))).await;
    }

    async fn serve(mut self, service: &Service, rights: Rights, share: &Share) {
        loop {
            let line = match self.line().await {
                Ok(Some(line)) => line,
                Ok(None) => return self.refuse(ErrorName::BadRequest, "the line is too long").await,
                Err(()) => return,
            };
            let sent = match Call::from_line(&line) {
                Ok(Call { id, request }) if rights == Rights::Observe && !request.observes() => {
                    let fault = Fault::new(ErrorName::NotAllowed, "this socket is for observing");
                    self.send(id, Content::Error(fault)).await
                }
                Ok(Call { id, request: Request::Watch {} }) => return self.watch(id, service).await,
                Ok(Call { id, request }) => match rights {
                    Rights::Change => {
                        let ahead = share.ahead();
                        let content = content(service.answer(request).await);
                        drop(ahead);
                        self.send(id, content).await
                    }
                    Rights::Observe => match share.work(observed(service, id, request)).await {
                        Ok(line) => self.send_line(&line).await,
                        Err(error) => Err(error),
                    },
                },
                Err(bad) => {
                    let fault = Fault::new(ErrorName::BadRequest, bad.message);
                    self.send(bad.id, Content::Error(fault)).await
                }
            };
            if sent.is_err() {
                return;
            }
        }
    }

    /// One line; `None` if it is over its bound, an error at the end or if it
    /// does not come in time.
    async fn line(&mut self) -> Result<Option<Vec<u8>>, ()> {
        let mut line = Vec::new();
        let mut bounded = (&mut self.from).take(MAX_REQUEST as u64);
        match timeout(IDLE, bounded.read_until(b'\n', &mut line)).await {
            Ok(Ok(_)) if line.last() == Some(&b'\n') => Ok(Some(line)),
            Ok(Ok(MAX_REQUEST)) => Ok(None),
            Ok(Ok(_) | Err(_)) | Err(_) => Err(()),
        }
    }

    async fn send(&mut self, id: u64, content: Content) -> std::io::Result<()> {
        let line = Reply::new(id, content).to_line()?;
        self.send_line(&line).await
    }

    async fn send_line(&mut self, line: &[u8]) -> std::io::Result<()> {
        timeout(SLOW, self.to.write_all(line)).await?
    }

    async fn watch(mut self, id: u64, service: &Service) {
        let mut watcher = service.events.watch();
        let mut sent = self.send(id, Content::Ok(Answer::Watching)).await;
        while sent.is_ok() {
            let mut byte = [0];
            sent = tokio::select! {
                event = watcher.next() => match event {
                    Some(event) => self.send(id, Content::Event(event)).await,
                    None => return,
                },
                // A watcher has nothing more to say but that it has gone.
                _ = self.from.read(&mut byte) => return,
            };
        }
    }
}

fn content(answered: Result<Answer, Fault>) -> Content {
    answered.map_or_else(Content::Error, Content::Ok)
}

/// An answer as a line. A long one is written down in another thread: the one
/// that hooks wait for has better to do.
async fn observed(service: &Service, id: u64, request: Request) -> std::io::Result<Vec<u8>> {
    let content = content(service.answer(request).await);
    let line = tokio::task::spawn_blocking(move || Reply::new(id, content).to_line()).await;
    Ok(line.map_err(std::io::Error::other)??)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    /// With a clock that goes on by itself when there is nothing to do.
    fn run(test: impl Future<Output = ()>) {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().start_paused(true).build().unwrap().block_on(test);
    }

    #[test]
    fn a_client_that_says_nothing_or_never_ends_its_line_is_given_up() {
        run(async {
            for said in ["", "{\"v\":1,"] {
                let (mut theirs, ours) = UnixStream::pair().unwrap();
                theirs.write_all(said.as_bytes()).await.unwrap();
                let since = Instant::now();
                assert_eq!(Client::new(ours).line().await, Err(()));
                assert!(since.elapsed() >= IDLE);
            }
        });
    }

    #[test]
    fn a_client_that_does_not_take_its_answer_is_given_up() {
        run(async {
            let (theirs, ours) = UnixStream::pair().unwrap();
            let mut client = Client::new(ours);
            let fault = Fault::new(ErrorName::BadRequest, "x".repeat(1 << 20));
            let since = Instant::now();
            assert!(client.send(1, Content::Error(fault)).await.is_err());
            assert!(since.elapsed() >= SLOW);
            drop(theirs);
        });
    }
}
