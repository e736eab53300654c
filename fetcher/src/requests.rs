//! The daemon's requests: answered in the order in which they came, each within
//! its own deadline; then the end of the session.

use crate::bell::Hub;
use crate::bw::Bw;
use crate::cage::{Cage, Keeper};
use crate::confine::{self, Confinement};
use crate::program::Program;
use crate::resolver::Resolver;
use crate::workdir::WorkDir;
use colibri_pair::{EnvKey, Pair, Secret, ToWriter, encode};
use colibri_session::{
    Done, Failure, Fetch, Fetched, FileFetched, FromFetcher, Inbox, MAX_WORD, Server, SessionState,
    ToFetcher, Vault, Want, Wire,
};
use colibri_tenant::ErrorName::{
    DeadlineExceeded, FetcherFailed, ProtocolViolation, SandboxUnavailable, TlsUntrusted,
};
use colibri_vault::pairs::Built;
use colibri_vault::session::{self, Action, Event, Outcome, Session, Terms, Work};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

/// Where a session cannot be prepared, requests that come so soon after the first share
/// its answer.
const SOON: Duration = Duration::from_millis(100);
/// Longest line of an answer, and most of all its warnings, in bytes: with the names of
/// all keys they fit into one frame.
const MAX_LINE: usize = 500;
const MAX_WARNINGS: usize = 192 * 1024;

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
    let (daemon, messages) = mpsc::unbounded_channel();
    let told = tokio::spawn(speak(wire, messages));
    match prepare(*vault, warden, dir.path(), idle).await {
        Ok(Prepared { bw, hub, terms, keeper, confined }) => {
            tell(&daemon, FromFetcher::Confined(confined));
            let served = serve(&daemon, inbox, bw, &hub, Session::new(terms)).await;
            keeper.close().await;
            served?;
        }
        Err(failure) => {
            tracing::error!(%failure, "no session");
            refuse(&daemon, inbox, &failure, idle).await;
        }
    }
    drop(dir);
    tell(&daemon, FromFetcher::State(SessionState::Closed));
    drop(daemon);
    Ok(told.await?)
}

/// To the daemon; what is told waits for nothing.
type Daemon = mpsc::UnboundedSender<FromFetcher>;

fn tell(daemon: &Daemon, message: FromFetcher) {
    // The end of the socket is the end of the session, and is noticed there.
    let _gone = daemon.send(message);
}

/// Sends what is told in order, until nobody listens.
async fn speak(wire: Wire, mut messages: mpsc::UnboundedReceiver<FromFetcher>) {
    while let Some(message) = messages.recv().await {
        if wire.send(&message, &[]).await.is_err() {
            return tracing::debug!("the daemon is gone");
        }
    }
}

/// A session that can begin.
struct Prepared {
    bw: Bw,
    hub: Hub,
    terms: Terms,
    keeper: Keeper,
    confined: Vec<Confinement>,
}

/// Makes the cage, then gives up what is needed for that.
async fn prepare(
    vault: Vault,
    warden: Vec<OwnedFd>,
    dir: &Path,
    idle: Duration,
) -> Result<Prepared, Failure> {
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
    let hub = cage.hub(server.clone()).map_err(|error| Failure::new(FetcherFailed, error.to_string()))?;
    let told = vault.server.is_some().then_some(server);
    let terms = Terms { server: told.clone(), bounds: vault.bounds, idle, resident: vault.resident };
    let bw = Bw::new(cage, told, vault, program.version);
    Ok(Prepared { bw, hub, terms, keeper, confined })
}

/// A session that could not be prepared answers with why. The next may find it put right.
async fn refuse(daemon: &Daemon, mut inbox: Inbox<ToFetcher>, failure: &Failure, idle: Duration) {
    let mut patience = idle;
    while let Ok(Some((ToFetcher::Fetch(fetch), _))) = timeout(patience, inbox.recv()).await {
        patience = SOON;
        answer(daemon, fetch.id, Err(failure.clone()), Vec::new(), Vec::new());
    }
}

/// The I/O around the session's machine.
struct Driver<'a> {
    daemon: &'a Daemon,
    machine: Session,
    began: Instant,
    works: mpsc::UnboundedSender<(Work, Duration)>,
    /// The writers' sockets of the requests that are not answered.
    pairs: HashMap<u64, Vec<OwnedFd>>,
    sending: JoinSet<()>,
    over: bool,
}

async fn serve(
    daemon: &Daemon,
    mut inbox: Inbox<ToFetcher>,
    bw: Bw,
    hub: &Hub,
    machine: Session,
) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let (works, begun) = mpsc::unbounded_channel();
    let (ended, mut outcomes) = mpsc::unbounded_channel();
    let mut working = tokio::spawn(work(bw, begun, ended));
    let (began, pairs, sending) = (Instant::now(), HashMap::new(), JoinSet::new());
    let mut driver = Driver { daemon, machine, began, works, pairs, sending, over: false };
    let (mut closing, mut bells) = (false, JoinSet::new());
    let (listens, mut listening) = mpsc::unbounded_channel();
    driver.on(Event::Tick);
    while !driver.over || !driver.sending.is_empty() {
        let wake = driver.machine.wake().filter(|_| !driver.over).map(|at| began + at);
        tokio::select! {
            message = inbox.recv(), if !closing => match message {
                Some((ToFetcher::Fetch(fetch), fds)) => driver.ask(fetch, fds),
                Some((ToFetcher::Bell, fds)) => ring(&mut bells, hub, &listens, fds),
                Some((ToFetcher::Close, _)) => {
                    closing = true;
                    driver.on(Event::Closing);
                }
                Some((ToFetcher::Open(_), _)) => anyhow::bail!("the daemon said twice how to reach the vault"),
                None => break,
            },
            Some((outcome, lost)) = outcomes.recv() => {
                // What is lost the next session may find put right.
                if lost {
                    closing = true;
                    driver.on(Event::Closing);
                }
                driver.on(Event::Ended(outcome));
            }
            Some(_) = driver.sending.join_next() => {}
            Some(_) = bells.join_next() => {}
            Some(listens) = listening.recv() => driver.on(Event::Bell(listens)),
            () = sleep_until(wake.unwrap_or(began)), if wake.is_some() => driver.on(Event::Tick),
            _ = &mut working => anyhow::bail!("the work of bw broke off"),
            _ = terminate.recv() => break,
        }
    }
    driver.sending.shutdown().await;
    working.abort();
    Ok(())
}

/// One bell at a time: another one takes its place.
fn ring(bells: &mut JoinSet<()>, hub: &Hub, listens: &mpsc::UnboundedSender<bool>, fds: Vec<OwnedFd>) {
    bells.abort_all();
    match (fds.into_iter().next(), hub.again()) {
        (Some(bell), Ok(hub)) => drop(bells.spawn(hub.equip(bell, listens.clone()))),
        (None, _) => tracing::error!("a bell came without its socket"),
        (_, Err(error)) => tracing::warn!(%error, "the bell cannot listen"),
    }
}

/// Does one piece of work after another.
async fn work(
    mut bw: Bw,
    mut begun: mpsc::UnboundedReceiver<(Work, Duration)>,
    ended: mpsc::UnboundedSender<(Outcome, bool)>,
) {
    while let Some((work, time)) = begun.recv().await {
        let outcome = bw.perform(&work, time).await;
        if ended.send((outcome, bw.is_lost())).is_err() {
            return;
        }
    }
}

impl Driver<'_> {
    fn ask(&mut self, fetch: Box<Fetch>, fds: Vec<OwnedFd>) {
        if fds.len() != 1 + fetch.further.len() {
            let failure = Failure::new(ProtocolViolation, "a request came without its sockets");
            return answer(self.daemon, fetch.id, Err(failure), Vec::new(), Vec::new());
        }
        self.pairs.insert(fetch.id, fds);
        self.on(Event::Asked(fetch));
    }

    /// Tells the machine, and does what it says.
    fn on(&mut self, event: Event) {
        for action in self.machine.on(event, self.began.elapsed()) {
            match action {
                Action::Begin(work, time) => {
                    tracing::debug!(?work, "begins");
                    let _ending = self.works.send((work, time));
                }
                Action::Answer(over) => self.answer(*over),
                Action::Tell(state) => {
                    tracing::debug!(?state, "session");
                    tell(self.daemon, FromFetcher::State(state));
                }
                Action::Login => tell(self.daemon, FromFetcher::Login),
                Action::Say(said) => tracing::info!("{said}"),
                Action::End => self.over = true,
            }
        }
    }

    fn answer(&mut self, over: session::Answer) {
        let session::Answer { id, want, outcome, steps, deadline } = over;
        match (outcome, self.pairs.remove(&id)) {
            (Ok(fetched), Some(sockets)) => {
                let (daemon, end) = (self.daemon.clone(), self.began + deadline);
                self.sending.spawn(give(daemon, id, want, fetched, sockets, steps, end));
            }
            (Ok(_), None) => tracing::error!(request = id, "two requests bear one number"),
            (Err(mut failure), sockets) => {
                let warnings = std::mem::take(&mut failure.warnings);
                answer(self.daemon, id, Err(failure), warnings, steps);
                drop(sockets);
            }
        }
    }
}

/// Hands each file's pairs to its own writer, if that is what was asked for.
async fn give(
    daemon: Daemon,
    id: u64,
    want: Want,
    fetched: session::Fetched,
    sockets: Vec<OwnedFd>,
    mut steps: Vec<(String, u64)>,
    end: Instant,
) {
    let session::Fetched {
        collection_id,
        age,
        files,
        warnings,
        bw_version,
        names,
        seen,
        fingerprint,
        states,
    } = fetched;
    let begun = Instant::now();
    if want == Want::Pairs {
        tell(&daemon, FromFetcher::Ready { id });
    }
    let mut given = Vec::new();
    for (built, socket) in files.into_iter().zip(sockets) {
        given.push(hand_over(built, socket, end).await);
    }
    if want == Want::Pairs {
        let took = begun.elapsed().as_millis();
        steps.push(("send".into(), u64::try_from(took).unwrap_or(u64::MAX)));
    }
    let further = given.split_off(given.len().min(1));
    let nothing = || FileFetched { outcome: Ok(Vec::new()), warnings: Vec::new() };
    let first = given.pop().unwrap_or_else(nothing);
    let warnings = warnings.into_iter().chain(first.warnings).collect();
    let (keys, failed) = match first.outcome {
        Ok(keys) => (keys, None),
        Err(failure) => (Vec::new(), Some(failure)),
    };
    let outcome = match (failed, further.is_empty()) {
        (Some(failure), true) => Err(failure),
        (failed, _) => Ok(Fetched {
            collection_id,
            age,
            keys,
            failed,
            further,
            bw_version,
            names,
            seen,
            fingerprint,
            states,
        }),
    };
    answer(&daemon, id, outcome, warnings, steps);
}

/// A file that cannot be made has its socket closed without a commit.
async fn hand_over(built: Result<Built, Failure>, socket: OwnedFd, end: Instant) -> FileFetched {
    let built = match built {
        Ok(built) => built,
        Err(mut failure) => {
            let warnings = std::mem::take(&mut failure.warnings);
            return FileFetched { outcome: Err(failure), warnings };
        }
    };
    let keys = built.pairs.keys().map(EnvKey::to_string).collect();
    let outcome = match timeout_at(end, send(socket, built.pairs)).await {
        Ok(Ok(())) => Ok(keys),
        Ok(Err(error)) => {
            Err(Failure::new(FetcherFailed, format!("the writer does not take the pairs: {error}")))
        }
        Err(_) => Err(Failure::new(DeadlineExceeded, "the writer did not take the pairs in time")),
    };
    FileFetched { outcome, warnings: built.warnings }
}

fn answer(
    daemon: &Daemon,
    id: u64,
    outcome: Result<Fetched, Failure>,
    warnings: Vec<String>,
    steps: Vec<(String, u64)>,
) {
    if let Err(failure) = &outcome {
        tracing::warn!(request = id, name = %failure.name, %failure, "no pairs");
    }
    tell(daemon, FromFetcher::Done(Box::new(bounded(Done { id, outcome, warnings, steps }))));
}

/// The same in lines that fit into one frame, however long the names in a vault are: a
/// longer one would end everybody's session.
fn bounded(mut done: Done) -> Done {
    let mut room = MAX_WARNINGS;
    shorten_all(&mut done.warnings, &mut room);
    match &mut done.outcome {
        Err(failure) => shorten(&mut failure.message),
        Ok(fetched) => {
            fetched.failed.iter_mut().for_each(|failure| shorten(&mut failure.message));
            for file in &mut fetched.further {
                shorten_all(&mut file.warnings, &mut room);
                file.outcome.as_mut().err().into_iter().for_each(|failure| shorten(&mut failure.message));
            }
        }
    }
    done
}

/// The last line tells how many there was no room for.
fn shorten_all(lines: &mut Vec<String>, room: &mut usize) {
    lines.iter_mut().for_each(shorten);
    let fits = |line: &&String| match room.checked_sub(line.len() + 8) {
        Some(left) => {
            *room = left;
            true
        }
        None => false,
    };
    let kept = lines.iter().take_while(fits).count();
    let more = lines.len() - kept;
    lines.truncate(kept);
    lines.extend((more > 0).then(|| format!("{more} more warnings")));
}

fn shorten(line: &mut String) {
    let end = (0..=MAX_LINE).rev().find(|at| line.is_char_boundary(*at));
    line.truncate(end.unwrap_or_default());
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

#[cfg(test)]
mod tests {
    use super::*;
    use colibri_session::Age;
    use colibri_tenant::MAX_FILES;

    #[test]
    fn an_answer_fits_into_one_frame_however_long_its_lines_are() {
        let long = || vec!["ü".repeat(40_000); 300];
        let failure = || Failure::new(ProtocolViolation, "ü".repeat(40_000));
        let file = || FileFetched { outcome: Err(failure()), warnings: long() };
        let fetched = Fetched {
            collection_id: "c".into(),
            age: Age::Current,
            keys: vec!["K".repeat(72); 1024],
            failed: Some(failure()),
            further: (0..MAX_FILES).map(|_| file()).collect(),
            bw_version: "0".into(),
            names: None,
            seen: 1,
            fingerprint: None,
            states: None,
        };
        let done = bounded(Done { id: 1, outcome: Ok(fetched), warnings: long(), steps: Vec::new() });
        assert!(done.warnings[0].len() == MAX_LINE && done.warnings.len() > 100);
        assert!(
            done.outcome.as_ref().unwrap().further[MAX_FILES - 1].warnings[0].ends_with(" more warnings")
        );
        assert!(encode(&FromFetcher::Done(Box::new(done))).unwrap().len() <= MAX_WORD);
        let short = Done {
            id: 1,
            outcome: Err(Failure::new(FetcherFailed, "a")),
            warnings: vec!["b".into()],
            steps: Vec::new(),
        };
        assert_eq!(bounded(short.clone()), short);
    }
}
