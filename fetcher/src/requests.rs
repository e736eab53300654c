//! The daemon's requests: answered in the order in which they came, each within
//! its own deadline; then the end of the session.

use crate::cage::{Cage, Keeper};
use crate::confine::{self, Confinement};
use crate::program::Program;
use crate::resolver::Resolver;
use crate::session::{self, Session, Span, within};
use crate::steps::Steps;
use crate::workdir::WorkDir;
use colibri_pair::{EnvKey, Pair, Secret, ToWriter, encode};
use colibri_session::{
    Done, Failure, Fetch, Fetched, FromFetcher, Inbox, MAX_WORD, Server, SessionState, ToFetcher, Vault,
    Want, Wire,
};
use colibri_tenant::ErrorName::{
    DeadlineExceeded, FetcherFailed, ProtocolViolation, SandboxUnavailable, TlsUntrusted, VaultTimeout,
};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

/// Without a request for so long, nobody waits for `bw`.
const QUIET: Duration = Duration::from_secs(2);

/// A session that could not even be prepared answers every request with why.
type Prepared = Arc<Mutex<Result<Session, Failure>>>;

/// Serves the daemon on standard input until it closes, the session has been
/// idle for long enough, or a signal asks for the end.
///
/// # Errors
/// When the daemon cannot be understood or the system refuses.
pub async fn run() -> anyhow::Result<()> {
    let wire = Wire::new(std::io::stdin().as_fd().try_clone_to_owned()?)?;
    let mut inbox = wire.inbox::<ToFetcher>(MAX_WORD);
    let Some((ToFetcher::Open(vault), warden)) = inbox.recv().await else {
        anyhow::bail!("the daemon did not say how to reach the vault");
    };
    let idle = Duration::from_millis(vault.idle_ms);
    // With a cage of the daemon's, the directory is the daemon's, too.
    let dir = match warden.is_empty() {
        true => WorkDir::open(&vault.app_data_base)?,
        false => WorkDir::take(&vault.app_data_base)?,
    };
    let states = forward_states(wire.clone());
    let (session, keeper) = match prepare(*vault, warden, dir.path(), states).await {
        Ok((session, keeper, confined)) => {
            wire.send(&FromFetcher::Confined(confined), &[]).await?;
            (Ok(session), Some(keeper))
        }
        Err(failure) => {
            tracing::error!(%failure, "no session");
            (Err(failure), None)
        }
    };
    serve(&wire, inbox, Arc::new(Mutex::new(session)), idle).await?;
    if let Some(keeper) = keeper {
        keeper.close().await;
    }
    drop(dir);
    if wire.send(&FromFetcher::State(SessionState::Closed), &[]).await.is_err() {
        tracing::debug!("the daemon is gone");
    }
    Ok(())
}

/// Makes the cage, then gives up what is needed for that.
async fn prepare(
    vault: Vault,
    warden: Vec<OwnedFd>,
    dir: &Path,
    states: mpsc::UnboundedSender<SessionState>,
) -> Result<(Session, Keeper, Vec<Confinement>), Failure> {
    let server = Server::parse(vault.server.as_deref())?;
    let program = Program::find(&vault.bw)?;
    if let Some(file) = &vault.ca_file {
        File::open(file).map_err(|error| {
            Failure::new(TlsUntrusted, format!("cannot read the CA file {}: {error}", file.display()))
        })?;
    }
    let warden = warden.into_iter().next();
    let (resolver, resolving) = Resolver::start(&server, vault.insecure_no_sandbox).await?;
    let (cage, keeper) = Cage::open(&vault, &server, &program, dir, resolver, warden).await?;
    let own = match confine::fetcher(dir, cage.dir(), server.port()) {
        Ok(confinement) => Some(confinement),
        Err(error) if vault.insecure_no_sandbox => {
            tracing::warn!(%error, "the fetcher is not confined");
            None
        }
        Err(error) => return Err(Failure::new(SandboxUnavailable, error.to_string())),
    };
    let confined = own.into_iter().chain(resolving).chain(cage.confinement().cloned()).collect();
    let told = vault.server.is_some().then_some(server);
    Ok((Session::new(cage, told, vault, program.version, states), keeper, confined))
}

async fn serve(
    wire: &Wire,
    mut inbox: Inbox<ToFetcher>,
    session: Prepared,
    idle: Duration,
) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut requests = JoinSet::new();
    // Each request holds one.
    let queue = Arc::new(());
    let (mut until, mut quiet, mut asked) = (None, None, false);
    let mut last = false;
    loop {
        tokio::select! {
            word = inbox.recv(), if !last => match word {
                Some((ToFetcher::Fetch(fetch), fds)) => {
                    (until, quiet, asked) = (None, None, true);
                    requests.spawn(answer(*fetch, fds, wire.clone(), session.clone(), queue.clone()));
                }
                Some((ToFetcher::Close, _)) => last = true,
                Some((ToFetcher::Open(_), _)) => anyhow::bail!("the daemon said twice how to reach the vault"),
                None => break,
            },
            Some(_) = requests.join_next() => {
                // What is lost the next session may find mended.
                last |= session.try_lock().is_ok_and(|it| it.as_ref().map_or(true, Session::is_lost));
                if requests.is_empty() {
                    if let Ok(session) = &mut *session.lock().await {
                        session.rest();
                    }
                    until = Some(Instant::now() + idle);
                    quiet = std::mem::take(&mut asked).then(|| Instant::now() + QUIET);
                }
            }
            () = sleep_until(quiet.unwrap_or_else(Instant::now)), if quiet.is_some() => {
                quiet = None;
                requests.spawn(renew(session.clone()));
            }
            () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => break,
            _ = terminate.recv() => break,
        }
        if last && requests.is_empty() {
            break;
        }
    }
    requests.shutdown().await;
    Ok(())
}

async fn renew(session: Prepared) {
    if let Ok(session) = &mut *session.lock().await {
        session.renew().await;
    }
}

/// Answers a request by its deadline. What it had begun by then goes on: the next
/// finds it done, or further.
async fn answer(fetch: Fetch, fds: Vec<OwnedFd>, wire: Wire, session: Prepared, queue: Arc<()>) {
    let arrived = Instant::now();
    let deadline = arrived + Duration::from_millis(fetch.deadline_ms);
    let span = Span { arrived, deadline, waiting: 1 };
    let steps = Steps::new("wait", arrived);
    let answer = Answer { id: fetch.id, wire: &wire, steps: &steps };
    let Ok([pair]) = <[OwnedFd; 1]>::try_from(fds) else {
        let failure = Failure::new(ProtocolViolation, "a request came without its socket");
        return answer.send(Err(failure), Vec::new()).await;
    };
    let fetching = async {
        let mut turn = within(span.deadline, "other requests took all the time", session.lock()).await?;
        let span = Span { waiting: Arc::strong_count(&queue).saturating_sub(1), ..span };
        turn.as_mut().map_err(|failure| failure.clone())?.fetch(&fetch, span, &steps).await
    };
    let mut fetching = std::pin::pin!(fetching);
    match timeout_at(span.deadline, &mut fetching).await {
        Ok(Ok(fetched)) => answer.give(fetch.want, fetched, pair, span.deadline).await,
        Ok(Err(mut failure)) => {
            let warnings = std::mem::take(&mut failure.warnings);
            answer.send(Err(failure), warnings).await;
        }
        Err(_) => {
            drop(pair);
            answer.send(Err(answer.late()), Vec::new()).await;
            if let Err(failure) = fetching.await {
                tracing::debug!(request = fetch.id, %failure, "after its time");
            }
        }
    }
}

/// Where a request's answer goes, and what it says of its steps.
struct Answer<'a> {
    id: u64,
    wire: &'a Wire,
    steps: &'a Steps,
}

impl Answer<'_> {
    fn late(&self) -> Failure {
        let message = match self.steps.current() {
            "wait" => "other requests took all the time".into(),
            step => format!("`{step}` did not end in time; it goes on, for the next try"),
        };
        Failure::new(VaultTimeout, message)
    }

    /// Hands the pairs to the writer, unless only names were asked for.
    async fn give(&self, want: Want, fetched: session::Fetched, pair: OwnedFd, deadline: Instant) {
        let session::Fetched { collection_id, age, built, bw_version, names, seen } = fetched;
        let keys = built.pairs.keys().map(EnvKey::to_string).collect();
        let fetched = Fetched { collection_id, age, keys, bw_version, names, seen };
        let sent = async {
            if want == Want::Names {
                return Ok(());
            }
            let ready = self.wire.send(&FromFetcher::Ready { id: self.id }, &[]).await;
            ready.map_err(|error| Failure::new(FetcherFailed, format!("cannot tell the daemon: {error}")))?;
            self.steps.begin("send");
            let late = || Failure::new(DeadlineExceeded, "the writer did not take the pairs in time");
            let sent = timeout_at(deadline, send(pair, built.pairs)).await.map_err(|_| late())?;
            sent.map_err(|error| {
                Failure::new(FetcherFailed, format!("the writer does not take the pairs: {error}"))
            })
        };
        let outcome = sent.await.map(|()| fetched);
        self.send(outcome, built.warnings).await;
    }

    async fn send(&self, outcome: Result<Fetched, Failure>, warnings: Vec<String>) {
        if let Err(failure) = &outcome {
            tracing::warn!(request = self.id, name = %failure.name, %failure, "no pairs");
        }
        let done = Done { id: self.id, outcome, warnings, steps: self.steps.list() };
        if let Err(error) = self.wire.send(&FromFetcher::Done(Box::new(done)), &[]).await {
            tracing::error!(%error, "cannot answer the daemon");
        }
    }
}

/// Sends all pairs, ascending, and the commit.
async fn send(pair: OwnedFd, pairs: BTreeMap<EnvKey, Secret>) -> std::io::Result<()> {
    let socket = std::os::unix::net::UnixStream::from(pair);
    socket.set_nonblocking(true)?;
    let mut socket = UnixStream::from_std(socket)?;
    let count = u32::try_from(pairs.len()).unwrap_or(u32::MAX);
    let words = pairs.into_iter().map(|(key, value)| ToWriter::Pair(Pair { key, value }));
    for word in words.chain([ToWriter::Commit(count)]) {
        let body = encode(&word).map_err(std::io::Error::other)?;
        let length = u32::try_from(body.len()).map_err(std::io::Error::other)?;
        socket.write_all(&length.to_le_bytes()).await?;
        socket.write_all(&body).await?;
    }
    socket.shutdown().await
}

fn forward_states(wire: Wire) -> mpsc::UnboundedSender<SessionState> {
    let (states, mut changes) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(state) = changes.recv().await {
            if wire.send(&FromFetcher::State(state), &[]).await.is_err() {
                return;
            }
        }
    });
    states
}
