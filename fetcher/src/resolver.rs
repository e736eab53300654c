//! Names into addresses, by a process of its own: what name servers are asked
//! with, the confined fetcher has not. It is started before the fetcher is
//! confined, holds no credential, and answers for the vault's names only.

use crate::confine::{self, Confinement, Unconfined};
use colibri_pair::{decode, encode};
use colibri_session::{Failure, Inbox, Server, Wire};
use colibri_tenant::ErrorName::{FetcherFailed, SandboxUnavailable};
use hyper_util::client::legacy::connect::dns::Name;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io::{Error, Result};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tower_service::Service;

/// The first argument of this program when it resolves names; they follow.
pub const RESOLVER: &str = "resolver";
/// Longest word to or from it, in bytes.
const MAX_WORD: usize = 4096;
/// Most addresses of a name.
const MAX_ADDRESSES: usize = 32;
/// Most lookups at a time.
const MAX_LOOKUPS: usize = 8;
/// Longest time until it is confined.
const PATIENCE: Duration = Duration::from_secs(10);

/// From the resolver.
#[derive(Debug, Serialize, Deserialize)]
enum FromResolver {
    /// The first word: confined, or why not.
    Ready(std::result::Result<Confinement, String>),
    /// What was found of a name.
    Found(String, Found),
}

/// Addresses, or why there are none.
type Found = std::result::Result<Vec<IpAddr>, String>;
type Question = (String, oneshot::Sender<Found>);

/// A handle to the resolver's process, which ends with the last one.
#[derive(Clone, Debug)]
pub struct Resolver(mpsc::Sender<Question>);

impl Resolver {
    /// Starts the process, and waits until it is confined.
    ///
    /// # Errors
    /// `SandboxUnavailable`, unless `insecure`; `FetcherFailed`.
    pub async fn start(
        server: &Server,
        insecure: bool,
    ) -> std::result::Result<(Self, Option<Confinement>), Failure> {
        let failed =
            |error: Error| Failure::new(FetcherFailed, format!("cannot start the resolver: {error}"));
        let (near, far) = UnixStream::pair().map_err(failed)?;
        let child = spawn(server, far).map_err(failed)?;
        let wire = Wire::new(near.into()).map_err(failed)?;
        let mut inbox = wire.inbox(MAX_WORD);
        let said = match timeout(PATIENCE, inbox.recv()).await {
            Ok(Some((FromResolver::Ready(said), _))) => said,
            _ => return Err(Failure::new(FetcherFailed, "the resolver did not start")),
        };
        match &said {
            Err(error) if insecure => tracing::warn!(%error, "the resolver is not confined"),
            Err(error) => return Err(Failure::new(SandboxUnavailable, error.clone())),
            Ok(_) => {}
        }
        Ok((Self::attended(wire, inbox, Some(child)), said.ok()))
    }

    fn attended(wire: Wire, inbox: Inbox<FromResolver>, child: Option<Child>) -> Self {
        let (ask, asked) = mpsc::channel(MAX_LOOKUPS);
        tokio::spawn(async move {
            attend(&wire, inbox, asked).await;
            drop(child);
        });
        Self(ask)
    }

    /// Whether it is good for nothing any more.
    pub fn is_lost(&self) -> bool {
        self.0.is_closed()
    }
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _task: &mut Context<'_>) -> Poll<Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let ask = self.0.clone();
        Box::pin(async move {
            let gone = || Error::other("the resolver is gone");
            let (answer, found) = oneshot::channel();
            ask.send((name.as_str().to_owned(), answer)).await.map_err(|_| gone())?;
            let found = found.await.map_err(|_| gone())?.map_err(Error::other)?;
            // The port is the connector's to say.
            let addresses: Vec<_> = found.into_iter().map(|it| SocketAddr::new(it, 0)).collect();
            Ok(addresses.into_iter())
        })
    }
}

/// Asks for each name once at a time, however many wait for it.
async fn attend(wire: &Wire, mut inbox: Inbox<FromResolver>, mut asked: mpsc::Receiver<Question>) {
    let mut waiting: HashMap<String, Vec<oneshot::Sender<Found>>> = HashMap::new();
    loop {
        tokio::select! {
            word = inbox.recv() => match word {
                Some((FromResolver::Found(name, found), _)) => {
                    for answer in waiting.remove(&name).unwrap_or_default() {
                        let _gave_up = answer.send(found.clone());
                    }
                }
                Some(_) => {}
                None => break,
            },
            question = asked.recv() => match question {
                Some((name, answer)) => {
                    let under_way = waiting.entry(name.clone()).or_default();
                    under_way.retain(|waits| !waits.is_closed());
                    under_way.push(answer);
                    if under_way.len() == 1 && wire.send(&name, &[]).await.is_err() {
                        break;
                    }
                }
                None => return,
            },
        }
    }
    tracing::error!("the resolver is gone: the vault's name cannot be looked up");
}

fn spawn(server: &Server, stdin: UnixStream) -> Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(RESOLVER).args(server.hosts()).env_clear().current_dir("/").kill_on_drop(true);
    command.envs(std::env::var_os("COLIBRI_LOG").map(|level| ("COLIBRI_LOG", level)));
    command.stdin(OwnedFd::from(stdin)).stdout(Stdio::null()).spawn()
}

/// The resolver's process: answers on standard input until it closes.
///
/// # Errors
/// When the fetcher cannot be understood or the system refuses.
pub fn run() -> anyhow::Result<()> {
    let names: Vec<String> = std::env::args().skip(2).collect();
    let mut socket = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    let ready = confine::resolver().map_err(|Unconfined(why)| why);
    colibri_pair::send(&mut socket, &encode(&FromResolver::Ready(ready))?)?;
    answer(socket, &Arc::new(names))
}

/// Each question in a thread of its own: a name server that does not answer
/// holds up one lookup, and the end of this process none.
fn answer(mut socket: UnixStream, names: &Arc<Vec<String>>) -> anyhow::Result<()> {
    let answers = Arc::new(Mutex::new(socket.try_clone()?));
    let under_way = Arc::new(());
    while let Some(frame) = colibri_pair::recv(&mut socket, MAX_WORD)? {
        let name: String = decode(&frame)?;
        anyhow::ensure!(Arc::strong_count(&under_way) <= MAX_LOOKUPS, "too many lookups at a time");
        let (names, answers, one) = (names.clone(), answers.clone(), under_way.clone());
        std::thread::spawn(move || {
            let found = look_up(&names, &name);
            drop(one);
            let sent = encode(&FromResolver::Found(name, found)).map_err(Error::other).and_then(|frame| {
                let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
                colibri_pair::send(&mut *answers, &frame).map_err(Error::other)
            });
            if let Err(error) = sent {
                tracing::debug!(%error, "cannot answer the fetcher");
            }
        });
    }
    Ok(())
}

fn look_up(names: &[String], name: &str) -> Found {
    if !names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
        return Err("this is not a name of the vault".into());
    }
    let found = (name, 0).to_socket_addrs().map_err(|error| error.to_string())?;
    Ok(found.map(|address| address.ip()).take(MAX_ADDRESSES).collect())
}

/// One that answers in a thread of this process.
#[cfg(test)]
pub fn for_tests(names: &[&str]) -> Resolver {
    let (near, far) = UnixStream::pair().unwrap();
    let names = Arc::new(names.iter().map(|name| (*name).to_owned()).collect());
    std::thread::spawn(move || answer(far, &names));
    let wire = Wire::new(near.into()).unwrap();
    let inbox = wire.inbox(MAX_WORD);
    Resolver::attended(wire, inbox, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(resolver: &Resolver, name: &str) -> Result<Vec<SocketAddr>> {
        resolver.clone().call(name.parse().unwrap()).await.map(Iterator::collect)
    }

    #[tokio::test]
    async fn only_the_vaults_names_are_looked_up() {
        let resolver = for_tests(&["localhost", "no-such-name.invalid"]);
        let (one, other) = tokio::join!(ask(&resolver, "localhost"), ask(&resolver, "LOCALHOST"));
        assert!(one.unwrap().iter().all(|it| it.ip().is_loopback()) && !other.unwrap().is_empty());
        let unknown = ask(&resolver, "no-such-name.invalid").await.unwrap_err().to_string();
        assert!(unknown.contains("lookup"), "{unknown}");
        // What could carry something out is not asked for.
        let other = ask(&resolver, "secret.example.com").await.unwrap_err().to_string();
        assert!(other.contains("not a name of the vault"), "{other}");
        assert!(!resolver.is_lost());
    }

    #[tokio::test]
    async fn a_resolver_that_ends_is_lost_and_answers_nobody() {
        let (near, far) = UnixStream::pair().unwrap();
        let wire = Wire::new(near.into()).unwrap();
        let inbox = wire.inbox(MAX_WORD);
        let resolver = Resolver::attended(wire, inbox, None);
        drop(far);
        assert!(ask(&resolver, "localhost").await.unwrap_err().to_string().contains("gone"));
        assert!(resolver.is_lost());
    }
}
