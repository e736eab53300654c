//! The one vault session of the host, as the daemon sees it: a fetcher process
//! that is started when there is work, is handed one socket per request, and
//! ends by itself when idle. A single task owns it.

use crate::app_data::AppData;
use crate::cage::{Cell, Warden};
use crate::credentials::Account;
use crate::events::Events;
use crate::provision::plain;
use crate::retry::SLOW;
use crate::settings::{Config, FetcherUser};
use crate::stamp::Stamp;
use crate::store::Store;
use crate::{child, leftover};
use colibri_control::{CollectionsView, Event, SessionView};
use colibri_pair::{Secret, encode};
use colibri_session::{
    Age, Bounds, Confinement, Credentials, Done, Failure, Fetch, Fetched, FromFetcher, Inbox, MAX_WORD,
    Names, Rules, SessionState, States, Sync, ToFetcher, Vault, Want, Wire,
};
use colibri_tenant::{ErrorName, Fault};
use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::process::Child;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout};

/// Requests that may wait for the task.
const QUEUE: usize = 64;
/// How long the fetcher may take to read a frame, and to end when told to.
const PATIENCE: Duration = Duration::from_secs(5);
/// Before a question is asked again because its session closed under it.
const AGAIN: Duration = Duration::from_millis(20);
/// Sessions that may close under one question, one after another.
pub const MAX_CLOSED: u32 = 5;
/// States that a fetcher may tell of without an answer: a session has seven, and
/// starts again twice at most.
const MAX_STATES: u32 = 100;
/// Most that a fetcher may say of what confines its processes, of each kind.
const MAX_CONFINED: usize = 8;
/// How long the words of a fetcher that has ended may still be under way.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// Least time for a step of a session's start: `bw` is slow to begin with.
const MIN_STEP_MS: u64 = 20_000;

/// A handle to the session's task.
#[derive(Clone, Debug)]
pub struct Session {
    commands: mpsc::Sender<Command>,
    status: watch::Receiver<SessionStatus>,
}

/// What is known of the session.
#[derive(Clone, Debug)]
pub struct SessionStatus {
    /// Its state.
    pub state: SessionView,
    /// The fetcher's process.
    pub fetcher: Option<u32>,
    /// What confines its processes, as they say.
    pub confined: Vec<Confinement>,
    /// The `bw` version, once known.
    pub bw_version: Option<String>,
    /// The last failure, if nothing has succeeded since.
    pub error: Option<Fault>,
    /// The collections that the account saw when that was asked last.
    pub collections: CollectionsView,
    /// The id by which the vault knows this host.
    pub device: String,
    /// Whether there are credentials.
    pub has_credentials: bool,
    /// Another number when the account sees other collections.
    pub seen: u64,
    /// A day, and how many logins at the vault there were on it.
    pub logins: (u64, u32),
}

impl SessionStatus {
    /// How many logins at the vault there were today, as UTC has it.
    pub fn logins_today(&self) -> u32 {
        if self.logins.0 == crate::clock::today() { self.logins.1 } else { 0 }
    }

    /// Whether a file that the operator has to see to is what it fails by.
    pub fn awaits_operator(&self) -> bool {
        self.error.as_ref().is_some_and(|fault| {
            matches!(
                fault.name,
                ErrorName::BadCredentials
                    | ErrorName::CredentialsMissing
                    | ErrorName::TlsUntrusted
                    | ErrorName::TlsOutOfDate
                    | ErrorName::TlsWrongName
            )
        })
    }
}

impl Default for SessionStatus {
    fn default() -> Self {
        Self {
            device: String::new(),
            has_credentials: false,
            seen: 0,
            logins: (0, 0),
            state: SessionView::None,
            fetcher: None,
            confined: Vec::new(),
            bw_version: None,
            error: None,
            collections: CollectionsView::default(),
        }
    }
}

/// A request that was handed over.
#[derive(Debug)]
pub struct Ticket {
    /// The request's number.
    pub id: u64,
    /// Resolves when the writer should be started; fails if it never should.
    pub ready: oneshot::Receiver<()>,
    /// Resolves when the request is over.
    pub done: oneshot::Receiver<Result<Done, Unserved>>,
}

/// Why a request was not served.
#[derive(Clone, Debug)]
pub enum Unserved {
    /// The session closed before it came to the request: ask again.
    Closed,
    /// It failed.
    Failed(Failure),
}

enum Command {
    Fetch { fetch: Box<Fetch>, pairs: Vec<OwnedFd>, ticket: oneshot::Sender<Ticket> },
    Overdue(u64),
    Equip(OwnedFd),
    Reload(Reload, oneshot::Sender<Result<bool, Fault>>),
    Close(oneshot::Sender<()>),
}

/// Why credentials and CA are read anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// Somebody asks for it.
    Asked,
    /// Their files may have changed.
    Watched,
}

impl Session {
    /// Starts the task.
    pub fn start(
        config: Arc<Config>,
        device: String,
        account: Account,
        store: Store,
        events: Events,
    ) -> Self {
        let (commands, received) = mpsc::channel(QUEUE);
        let status = SessionStatus {
            device,
            has_credentials: account.credentials.is_some(),
            ..SessionStatus::default()
        };
        let (shown, status) = watch::channel(status);
        tokio::spawn(Keeper::new(config, account, store, events, shown).run(received));
        Self { commands, status }
    }

    /// Hands a request and its end of each file's pair to the fetcher. The request's
    /// `id` is given here.
    ///
    /// # Errors
    /// `Closed` once the daemon is ending.
    pub async fn fetch(&self, fetch: Fetch, pairs: Vec<OwnedFd>) -> Result<Ticket, Unserved> {
        let (ticket, handed) = oneshot::channel();
        let command = Command::Fetch { fetch: Box::new(fetch), pairs, ticket };
        self.commands.send(command).await.map_err(|_| Unserved::Closed)?;
        handed.await.map_err(|_| Unserved::Closed)
    }

    /// Whether the vault takes the credentials: asks for what costs it least.
    ///
    /// # Errors
    /// The session's failure.
    pub async fn check(&self, time: Duration) -> Result<(), Failure> {
        match self.collections(time).await {
            Err(failure) if concerns_session(failure.name) => Err(failure),
            _ => Ok(()),
        }
    }

    /// The names of all collections that the account sees, as one line each.
    ///
    /// # Errors
    /// The session's failure.
    pub async fn collections(&self, time: Duration) -> Result<CollectionsView, Failure> {
        Ok(listed(self.ask(Want::Names, time).await?.names.as_ref()))
    }

    /// The states of all collections, after a sync; none where they are not known.
    ///
    /// # Errors
    /// The session's failure.
    pub async fn states(&self, time: Duration) -> Result<Option<States>, Failure> {
        Ok(self.ask(Want::States, time).await?.states)
    }

    /// Asks for what is no tenant's.
    async fn ask(&self, want: Want, time: Duration) -> Result<Fetched, Failure> {
        let mut asked = None;
        let ask = async {
            for _ in 0..MAX_CLOSED {
                // Ours is held until the answer, so that the fetcher has a peer.
                let (_ours, theirs) = std::os::unix::net::UnixStream::pair()
                    .map_err(|error| failed(format!("cannot make a socket pair: {error}")))?;
                let done = match self.fetch(question(want, time), vec![theirs.into()]).await {
                    Ok(ticket) => {
                        asked = Some(ticket.id);
                        ticket.done.await.unwrap_or(Err(Unserved::Closed))
                    }
                    Err(_) => return Err(failed("the daemon is ending".into())),
                };
                match done {
                    Ok(done) => return done.outcome,
                    Err(Unserved::Failed(failure)) => return Err(failure),
                    Err(Unserved::Closed) => tokio::time::sleep(AGAIN).await,
                }
            }
            Err(failed("each session closed before it came to the question".into()))
        };
        timeout(time + PATIENCE, ask).await.unwrap_or_else(|_| {
            asked.into_iter().for_each(|id| self.overdue(id));
            Err(Failure::new(ErrorName::VaultTimeout, "the vault did not answer in time"))
        })
    }

    /// The request should be over: a fetcher that has not answered it soon
    /// hangs, and is replaced.
    pub fn overdue(&self, id: u64) {
        let commands = self.commands.clone();
        tokio::spawn(async move {
            tokio::time::sleep(PATIENCE).await;
            let _ending = commands.send(Command::Overdue(id)).await;
        });
    }

    /// Takes up other credentials and another CA; gives whether those who failed by
    /// what was before are to be tried again.
    ///
    /// # Errors
    /// `CredentialsUnreadable`: those of before stay.
    pub async fn reload(&self, why: Reload) -> Result<bool, Fault> {
        let (answer, reloaded) = oneshot::channel();
        let ending = |_| Fault::new(ErrorName::Busy, "the daemon is ending");
        self.commands.send(Command::Reload(why, answer)).await.map_err(|_| ending(()))?;
        reloaded.await.map_err(|_| ending(()))?
    }

    /// Returns when a session is open.
    pub async fn opened(&self) {
        let open = |status: &SessionStatus| {
            matches!(status.state, SessionView::Unlocked | SessionView::Idle | SessionView::Resting)
        };
        // Without its task nothing is ever open again.
        if self.status.clone().wait_for(open).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Hands the bell's socket to the fetcher, which gives the bell what it needs. The
    /// socket is closed where no session is open.
    pub async fn equip(&self, bell: OwnedFd) {
        let _ending = self.commands.send(Command::Equip(bell)).await;
    }

    /// Ends the fetcher and the task.
    pub async fn close(&self) {
        let (closed, done) = oneshot::channel();
        if self.commands.send(Command::Close(closed)).await.is_ok() {
            let _closed = done.await;
        }
    }

    /// What the account sees, as a number that says no more than whether it is the same.
    pub fn seen(&self) -> u64 {
        self.status.borrow().seen
    }

    /// What is known of the session.
    pub fn status(&self) -> SessionStatus {
        self.status.borrow().clone()
    }
}

/// What a session may take that serves requests with this deadline: an answer all of
/// it, and a step of its start twice that, since nobody's deadline cuts that short.
fn bounds(deadline: Duration) -> Bounds {
    let (answer_ms, step_ms) = (crate::clock::millis(deadline), crate::clock::millis(deadline * 2));
    Bounds { answer_ms, step_ms: step_ms.max(MIN_STEP_MS), ..Bounds::default() }
}

struct Request {
    ready: Option<oneshot::Sender<()>>,
    done: oneshot::Sender<Result<Done, Unserved>>,
}

/// A fetcher process and the requests that it has not answered.
struct Fetcher {
    generation: u64,
    child: Child,
    /// Dropped, it tells the fetcher that there is no more.
    socket: Wire,
    state: SessionState,
    requests: HashMap<u64, Request>,
    /// What was made for it.
    made: Made,
    /// Reads the socket, which a child of the fetcher's may hold on to.
    listener: AbortHandle,
    /// When the process was seen to have ended.
    gone: Option<Instant>,
    /// States since the last answer.
    states: u32,
}

/// What the daemon makes for a session where the fetcher cannot.
#[derive(Default)]
struct Made {
    /// The directory that `bw`'s jail has.
    app_data: Option<AppData>,
    /// What is in that jail.
    warden: Option<Warden>,
    /// The fetcher's own jail.
    cell: Option<Cell>,
}

/// A word from a fetcher, or `None` at its end.
type Heard = (u64, Option<FromFetcher>);

struct Keeper {
    config: Arc<Config>,
    account: Account,
    /// The CA's file as the last session has it.
    ca: Stamp,
    store: Store,
    events: Events,
    shown: watch::Sender<SessionStatus>,
    fetcher: Option<Fetcher>,
    next_id: u64,
    heard: (mpsc::Sender<Heard>, mpsc::Receiver<Heard>),
    /// No new session before then, and why.
    barred: Option<(Instant, Failure)>,
    /// The one session that may have the directory of `bw`'s jail.
    turn: Arc<Mutex<()>>,
    /// When it was asked for changes of all collections.
    polled: Option<Instant>,
}

impl Keeper {
    fn new(
        config: Arc<Config>,
        account: Account,
        store: Store,
        events: Events,
        shown: watch::Sender<SessionStatus>,
    ) -> Self {
        let heard = mpsc::channel(QUEUE);
        let (fetcher, next_id, barred, turn, polled) = (None, 0, None, Arc::default(), None);
        let ca = ca_of(&config);
        Self { config, account, ca, store, events, shown, fetcher, next_id, heard, barred, turn, polled }
    }

    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        self.recall_bar().await;
        self.recall_logins().await;
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Fetch { fetch, pairs, ticket }) => self.fetch(*fetch, pairs, ticket).await,
                    Some(Command::Overdue(id)) => self.overdue(id),
                    Some(Command::Equip(bell)) => self.equip(&bell).await,
                    Some(Command::Reload(why, answer)) => drop(answer.send(self.take_up(why))),
                    Some(Command::Close(closed)) => {
                        self.close().await;
                        let _gone = closed.send(());
                        return;
                    }
                    None => return self.close().await,
                },
                Some((generation, word)) = self.heard.1.recv() => self.hear(generation, word),
                () = ended(&mut self.fetcher) => drop(self.fail("the fetcher ended unexpectedly")),
            }
        }
    }

    async fn fetch(&mut self, mut fetch: Fetch, pairs: Vec<OwnedFd>, ticket: oneshot::Sender<Ticket>) {
        self.next_id += 1;
        fetch.id = self.next_id;
        if fetch.want == Want::States {
            self.polled = Some(Instant::now());
        }
        let (ready, is_ready) = oneshot::channel();
        let (done, is_done) = oneshot::channel();
        let _gone = ticket.send(Ticket { id: fetch.id, ready: is_ready, done: is_done });
        let id = fetch.id;
        let request = Request { ready: Some(ready), done };
        let word = ToFetcher::Fetch(Box::new(fetch));
        if !encode(&word).is_ok_and(|body| body.len() <= MAX_WORD) {
            // The fetcher would end at it, and with it everybody's session.
            let message = "the tenant's settings and keys are too long for one request to the vault";
            let failure = Failure::new(ErrorName::LimitExceeded, message);
            let _gone = request.done.send(Err(Unserved::Failed(failure)));
            return;
        }
        if let Err(failure) = self.open().await {
            self.note(Some(&failure));
            let _gone = request.done.send(Err(Unserved::Failed(failure)));
            return;
        }
        let Some(fetcher) = &mut self.fetcher else { return };
        fetcher.requests.insert(id, request);
        if send(&fetcher.socket, &word, &pairs).await.is_err() {
            self.fail("the fetcher does not read its requests");
        }
    }

    async fn equip(&mut self, bell: &OwnedFd) {
        let Some(fetcher) = &self.fetcher else { return };
        if send(&fetcher.socket, &ToFetcher::Bell, std::slice::from_ref(bell)).await.is_err() {
            self.fail("the fetcher does not read its requests");
        }
    }

    /// What an operator has put in the place of files that were read counts from the
    /// next request on; what is asked again is tried as if nothing had failed before.
    fn take_up(&mut self, why: Reload) -> Result<bool, Fault> {
        let failing = self.shown.borrow().awaits_operator();
        let mut news = why == Reload::Asked && failing;
        let ca = ca_of(&self.config);
        news |= std::mem::replace(&mut self.ca, ca) != ca;
        let read = match why == Reload::Asked || self.account.is_stale() {
            true => self.account.reload(),
            false => Ok(false),
        };
        news |= read.as_ref().is_ok_and(|changed| *changed);
        if news {
            tracing::info!("credentials and CA are taken anew");
            self.barred.take_if(|(_, failure)| failure.name != ErrorName::RateLimited);
            self.retire();
        }
        let has_credentials = self.account.credentials.is_some();
        self.shown.send_modify(|status| status.has_credentials = has_credentials);
        read.map(|_| news).map_err(|error| {
            let message = format!("{error:#}");
            tracing::error!("the credentials stay as they were: {message}");
            Fault::new(ErrorName::CredentialsUnreadable, plain(&message))
        })
    }

    /// Makes sure that a fetcher runs and takes requests.
    async fn open(&mut self) -> Result<(), Failure> {
        // What cannot be read is in the log; what was read before still serves.
        let _stays = self.take_up(Reload::Watched);
        let serving =
            |fetcher: &Fetcher| matches!(fetcher.state, SessionState::Unlocked | SessionState::Idle);
        if let Some((until, failure)) = &self.barred
            && Instant::now() < *until
            && !self.fetcher.as_ref().is_some_and(serving)
        {
            return Err(failure.clone());
        }
        if self.fetcher.is_some() {
            return Ok(());
        }
        let opening = self.vault()?;
        let mut made = Made::default();
        let (door, spawned) = match self.make(&mut made).await {
            Ok(door) => (door, self.spawn(&made)),
            Err(failure) => {
                tokio::spawn(made.close());
                return Err(failure);
            }
        };
        let fetcher = match spawned {
            Ok(fetcher) => Fetcher { made, ..fetcher },
            Err(error) => {
                tokio::spawn(made.close());
                return Err(failed(format!("cannot start the fetcher: {error}")));
            }
        };
        let sent = send(&fetcher.socket, &ToFetcher::Open(Box::new(opening)), door.as_slice()).await;
        self.show(SessionView::LoggedOut, fetcher.child.id());
        self.fetcher = Some(fetcher);
        sent.map_err(|_| self.fail("the fetcher does not read its socket"))
    }

    /// The jails of a session and their directory. Gives the socket to the warden.
    async fn make(&self, made: &mut Made) -> Result<Option<OwnedFd>, Failure> {
        let unmade = |fault: Fault| Failure::new(fault.name, fault.message);
        let mut door = None;
        if let Some(cage) = &self.config.cage {
            let app_data = AppData::open(self.config.clone(), self.turn.clone().lock_owned().await).await;
            let app_data =
                app_data.map_err(|error| failed(format!("cannot make bw's directory: {error:#}")))?;
            made.app_data = Some(app_data);
            let (warden, socket) = cage.open(&self.config.fetcher).await.map_err(unmade)?;
            (made.warden, door) = (Some(warden), Some(socket));
        }
        if let Some(cage) = &self.config.fetcher_cage {
            made.cell = Some(cage.make().await.map_err(unmade)?);
        }
        Ok(door)
    }

    fn vault(&self) -> Result<Vault, Failure> {
        let copy = |secret: &Secret| Secret::new(secret.expose().to_owned());
        let credentials = self.account.credentials.as_ref().map(|found| Credentials {
            client_id: copy(&found.client_id),
            client_secret: copy(&found.client_secret),
            password: copy(&found.password),
        });
        let missing = || Failure::new(ErrorName::CredentialsMissing, "no credentials are set");
        let settings = &self.config.settings;
        Ok(Vault {
            bw: self.config.bw.clone(),
            server: settings.server.clone(),
            ca_file: settings.ca_file.clone(),
            app_data_base: self.config.private_dir(),
            idle_ms: crate::clock::millis(self.idle()),
            resident: settings.bw_resident,
            bwrap: Some(self.config.bwrap.clone()),
            insecure_no_sandbox: settings.insecure_no_sandbox,
            any_bw_version: settings.any_bw_version,
            bounds: bounds(settings.deadline),
            device: self.shown.borrow().device.clone(),
            credentials: credentials.ok_or_else(missing)?,
        })
    }

    /// A session that is asked again and again stays open meanwhile: each is a login.
    fn idle(&self) -> Duration {
        let settings = &self.config.settings;
        let polls = self.polled.is_some_and(|at| at.elapsed() < settings.poll * 3);
        if polls { settings.session_idle.max(settings.poll * 2) } else { settings.session_idle }
    }

    fn spawn(&mut self, made: &Made) -> std::io::Result<Fetcher> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        let mut command = match (&made.cell, &self.config.fetcher_user) {
            (Some(cell), _) => cell.command(&self.config.fetcher)?,
            (None, FetcherUser::Other(owner)) => {
                let mut command = child::command(&self.config.fetcher);
                // With another uid, std clears the supplementary groups too.
                command.uid(owner.uid).gid(owner.gid);
                command
            }
            (None, FetcherUser::Same) => child::command(&self.config.fetcher),
        };
        command.env("PATH", &self.config.path).process_group(0);
        command.stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        if let Some(stderr) = child.stderr.take() {
            child::log("fetcher", child.id(), stderr);
        }
        let socket = Wire::new(ours.into())?;
        let heard = self.heard.0.clone();
        self.next_id += 1;
        let generation = self.next_id;
        let listener = tokio::spawn(listen(socket.inbox(MAX_WORD), generation, heard)).abort_handle();
        let (state, requests) = (SessionState::LoggedOut, HashMap::new());
        let (made, gone, states) = (Made::default(), None, 0);
        Ok(Fetcher { generation, child, socket, state, requests, made, listener, gone, states })
    }

    fn hear(&mut self, generation: u64, word: Option<FromFetcher>) {
        let Some(fetcher) = self.fetcher.as_mut().filter(|fetcher| fetcher.generation == generation) else {
            return;
        };
        match word {
            Some(FromFetcher::Confined(confined)) => {
                let confined = confined.into_iter().take(MAX_CONFINED).map(bounded).collect();
                self.shown.send_modify(|status| status.confined = confined);
            }
            Some(FromFetcher::State(SessionState::Closed)) => self.retire(),
            Some(FromFetcher::State(state)) => {
                fetcher.state = state;
                fetcher.states += 1;
                let (pid, states) = (fetcher.child.id(), fetcher.states);
                self.show(view(state), pid);
                if states > MAX_STATES {
                    self.fail("the fetcher says its state again and again");
                }
            }
            Some(FromFetcher::Login) => {
                // A state and no answer, as far as a hostile one is concerned.
                fetcher.states += 1;
                match fetcher.states > MAX_STATES {
                    true => drop(self.fail("the fetcher logs in again and again")),
                    false => self.count_login(),
                }
            }
            Some(FromFetcher::Ready { id }) => {
                match fetcher.requests.get_mut(&id).map(|request| request.ready.take()) {
                    Some(Some(ready)) => drop(ready.send(())),
                    _ => drop(self.fail("the fetcher is ready for what nobody asked")),
                }
            }
            Some(FromFetcher::Done(done)) => match fetcher.requests.remove(&done.id) {
                Some(request) => {
                    fetcher.states = 0;
                    self.over(request, *done);
                }
                None => drop(self.fail("the fetcher answers what nobody asked")),
            },
            None => drop(self.fail("the fetcher ended unexpectedly")),
        }
    }

    fn over(&mut self, request: Request, done: Done) {
        match &done.outcome {
            Ok(fetched) => {
                let version = plain(&fetched.bw_version);
                self.shown
                    .send_modify(|status| (status.bw_version, status.seen) = (Some(version), fetched.seen));
                if let Some(names) = &fetched.names {
                    let collections = listed(Some(names));
                    self.shown.send_modify(|status| status.collections = collections);
                }
                match fetched.age {
                    Age::Current if self.barred.take().is_some() => self.record_bar(None),
                    Age::Current => {}
                    // The open session goes on, a new one would have to log in.
                    Age::Stale => {
                        let failure = Failure::new(ErrorName::RateLimited, "the vault limits logins");
                        self.bar(&failure);
                    }
                }
                self.note(None);
            }
            Err(failure) => {
                if matches!(
                    failure.name,
                    ErrorName::RateLimited | ErrorName::BadCredentials | ErrorName::ClientTooOld
                ) {
                    self.bar(failure);
                }
                if concerns_session(failure.name) {
                    self.note(Some(failure));
                }
            }
        }
        let _gone = request.done.send(Ok(done));
    }

    /// The one count of all that costs a login at the vault, over restarts.
    fn count_login(&self) {
        let (store, shown, day) = (self.store.clone(), self.shown.clone(), crate::clock::today());
        tokio::spawn(async move {
            match store.with(move |db| db.count_login(day)).await {
                Ok(count) => shown.send_modify(|status| status.logins = (day, count)),
                Err(error) => tracing::error!(%error, "cannot count a login"),
            }
        });
    }

    async fn recall_logins(&mut self) {
        let day = crate::clock::today();
        match self.store.with(move |db| db.logins(day)).await {
            Ok(count) => self.shown.send_modify(|status| status.logins = (day, count)),
            Err(error) => tracing::error!(%error, "cannot read how many logins there were"),
        }
    }

    /// A vault that limited logins does so after a restart, too.
    async fn recall_bar(&mut self) {
        let now = crate::clock::now();
        match self.store.with(move |db| db.bar(now)).await {
            Ok(Some((until, fault))) => {
                let rest = Duration::from_millis(until - now).min(SLOW);
                self.barred = Some((Instant::now() + rest, Failure::new(fault.name, fault.message)));
            }
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "cannot read whether logins are barred"),
        }
    }

    /// No login for a while. What an operator mends, such as credentials, is tried
    /// at the next start all the same.
    fn bar(&mut self, failure: &Failure) {
        self.barred = Some((Instant::now() + SLOW, failure.clone()));
        if failure.name == ErrorName::RateLimited {
            self.record_bar(Some(Fault::new(failure.name, plain(&failure.message))));
        }
    }

    fn record_bar(&self, fault: Option<Fault>) {
        let store = self.store.clone();
        let until = crate::clock::now() + crate::clock::millis(SLOW);
        tokio::spawn(async move {
            let recorded = store.with(move |db| db.set_bar(fault.as_ref().map(|fault| (until, fault)))).await;
            if let Err(error) = recorded {
                tracing::error!(%error, "cannot record whether logins are barred");
            }
        });
    }

    fn overdue(&mut self, id: u64) {
        if self.fetcher.as_ref().is_some_and(|fetcher| fetcher.requests.contains_key(&id)) {
            self.fail("the fetcher hangs");
        }
    }

    /// The session says that it is over: what it has not served is asked again.
    fn retire(&mut self) {
        if let Some(fetcher) = self.fetcher.take() {
            dismiss(&self.config, fetcher, &Unserved::Closed, PATIENCE);
            self.show(SessionView::None, None);
        }
    }

    /// The fetcher cannot be relied on any more.
    fn fail(&mut self, message: &str) -> Failure {
        let failure = failed(message.to_owned());
        if let Some(fetcher) = self.fetcher.take() {
            tracing::warn!(pid = fetcher.child.id(), "{message}");
            dismiss(&self.config, fetcher, &Unserved::Failed(failure.clone()), Duration::from_millis(500));
            self.show(SessionView::None, None);
            self.note(Some(&failure));
        }
        failure
    }

    async fn close(&mut self) {
        let Some(fetcher) = self.fetcher.take() else { return };
        let _gone = send(&fetcher.socket, &ToFetcher::Close, &[]).await;
        drop(fetcher.socket);
        reap(&self.config, fetcher.child, fetcher.made, Duration::from_secs(2)).await;
        fetcher.listener.abort();
    }

    fn show(&self, state: SessionView, fetcher: Option<u32>) {
        self.shown.send_modify(|status| {
            (status.state, status.fetcher) = (state, fetcher);
            if fetcher.is_none() {
                status.confined.clear();
            }
        });
        self.events.announce(Event::Session(state));
    }

    fn note(&self, failure: Option<&Failure>) {
        let fault = failure.map(|failure| Fault::new(failure.name, plain(&failure.message)));
        self.shown.send_modify(|status| status.error = fault);
    }
}

fn ca_of(config: &Config) -> Stamp {
    config.settings.ca_file.as_deref().map(Stamp::of).unwrap_or_default()
}

/// The words of a fetcher that may be hostile, as few and as plain as ours.
fn bounded(said: Confinement) -> Confinement {
    let plain = |all: Vec<String>| all.iter().take(MAX_CONFINED).map(|one| plain(one)).collect();
    Confinement { process: said.process, by: plain(said.by), lacking: plain(said.lacking) }
}

/// Descriptors that come along are not taken.
async fn listen(mut from: Inbox<FromFetcher>, generation: u64, heard: mpsc::Sender<Heard>) {
    loop {
        let word = from.recv().await.map(|(word, _)| word);
        let end = word.is_none();
        if heard.send((generation, word)).await.is_err() || end {
            return;
        }
    }
}

async fn send(to: &Wire, word: &ToFetcher, fds: &[OwnedFd]) -> std::io::Result<()> {
    let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    timeout(PATIENCE, to.send(word, &fds)).await?
}

/// Answers what is left, hangs up, and reaps in the background.
fn dismiss(config: &Arc<Config>, fetcher: Fetcher, answer: &Unserved, grace: Duration) {
    fetcher.listener.abort();
    let config = config.clone();
    for request in fetcher.requests.into_values() {
        let _gone = request.done.send(Err(answer.clone()));
    }
    drop(fetcher.socket);
    tokio::spawn(async move { reap(&config, fetcher.child, fetcher.made, grace).await });
}

/// Returns a little after the fetcher's process has ended, when its last words
/// have been heard.
async fn ended(fetcher: &mut Option<Fetcher>) {
    let Some(fetcher) = fetcher else { return std::future::pending().await };
    if fetcher.gone.is_none() {
        if let Err(error) = fetcher.child.wait().await {
            tracing::error!("cannot wait for the fetcher: {error}");
        }
        fetcher.gone = Some(Instant::now());
    }
    if let Some(gone) = fetcher.gone {
        sleep_until(gone + LAST_WORDS).await;
    }
}

/// The fetcher first: it empties bw's directory once bw has ended. What it could
/// not, because it was killed or bw would not let it, is emptied here.
async fn reap(config: &Arc<Config>, fetcher: Child, made: Made, grace: Duration) {
    let run = fetcher.id().map(|pid| config.private_dir().join(format!("run-{pid}")));
    child::end(fetcher, grace).await;
    if made.close().await {
        return;
    }
    let Some(run) = run else { return };
    let config = config.clone();
    match tokio::task::spawn_blocking(move || leftover::clear(&config, &run)).await {
        Ok(Err(error)) => tracing::error!("{error:#}"),
        Err(error) => tracing::error!("what a fetcher left was not removed: {error}"),
        Ok(Ok(())) => {}
    }
}

impl Made {
    /// The jails end with all that is in them; then the directory goes. Whether
    /// there was one.
    async fn close(self) -> bool {
        if let Some(cell) = self.cell {
            cell.close().await;
        }
        if let Some(warden) = self.warden {
            warden.close().await;
        }
        match self.app_data {
            Some(app_data) => {
                app_data.close().await;
                true
            }
            None => false,
        }
    }
}

/// A request for what is no tenant's.
fn question(want: Want, time: Duration) -> Fetch {
    Fetch {
        id: 0,
        collection: String::new(),
        pinned: None,
        chosen: None,
        organization: None,
        sync: Sync::Changes,
        known_keys: 0,
        further: Vec::new(),
        held: None,
        shrunken_to: None,
        rules: Rules::default(),
        deadline_ms: crate::clock::millis(time),
        want,
    }
}

/// Names from the fetcher, which may be hostile.
fn listed(names: Option<&Names>) -> CollectionsView {
    let view = |names: &Names| CollectionsView {
        names: names.shown.iter().map(|name| plain(name)).collect(),
        more: names.more,
    };
    names.map(view).unwrap_or_default()
}

fn failed(message: String) -> Failure {
    Failure::new(ErrorName::FetcherFailed, message)
}

const fn view(state: SessionState) -> SessionView {
    match state {
        SessionState::LoggedOut => SessionView::LoggedOut,
        SessionState::LoggedIn => SessionView::LoggedIn,
        SessionState::Serving => SessionView::Serving,
        SessionState::Unlocked => SessionView::Unlocked,
        SessionState::Idle => SessionView::Idle,
        SessionState::Resting => SessionView::Resting,
        SessionState::Closed => SessionView::Closed,
    }
}

/// Whether a failure is the vault's or the session's, and so hits all tenants.
pub const fn concerns_session(name: ErrorName) -> bool {
    matches!(
        name,
        ErrorName::ServerMismatch
            | ErrorName::BadCredentials
            | ErrorName::CredentialsMissing
            | ErrorName::RateLimited
            | ErrorName::ClientTooOld
            | ErrorName::VaultUnreachable
            | ErrorName::TlsUntrusted
            | ErrorName::TlsOutOfDate
            | ErrorName::TlsWrongName
            | ErrorName::VaultTimeout
            | ErrorName::VaultError
            | ErrorName::VaultLocked
            | ErrorName::BwUnusable
            | ErrorName::BwCrashed
            | ErrorName::SandboxUnavailable
            | ErrorName::BwJailFailed
            | ErrorName::FetcherFailed
            | ErrorName::DeadlineExceeded
    )
}
