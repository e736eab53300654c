//! The vault session as a machine: one login, one `bw serve`, one unlock for every request.
//! It is told what happens and when, and says what is to be done next; it has no clock,
//! and does nothing itself.

mod start;
mod steps;
mod turn;

#[cfg(test)]
mod tests;

use self::start::Stage;
use self::steps::Steps;
use self::turn::Turn;
use crate::answer::{Collection, Item, Organization};
use crate::answer_check::Checks;
use crate::everything::Everything;
use crate::pairs::Built;
use crate::stored::Stored;
use colibri_session::{Age, Bounds, Failure, Fetch, Fingerprint, Names, Server, SessionState, States, Want};
use colibri_tenant::ErrorName::{
    BadCredentials, BwCrashed, ClientTooOld, RateLimited, VaultError, VaultLocked, VaultTimeout,
};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

/// Since the machine began.
pub type Moment = Duration;

/// Between a list, or a file, that is doubted and the next look.
const PAUSE: Duration = Duration::from_millis(250);
/// Without a request for so long, nobody waits for `bw`.
const QUIET: Duration = Duration::from_secs(2);
/// After the vault limited or refused a login, none is tried for this long.
const PENALTY: Duration = Duration::from_secs(60);
/// How often what is stored is read until it is whole.
const MAX_READS: u32 = 5;

/// What happens.
#[derive(Debug)]
pub enum Event {
    /// A request came.
    Asked(Box<Fetch>),
    /// The work under way ended.
    Ended(Outcome),
    /// The time of [`Session::wake`] has come.
    Tick,
    /// The bell listens, or does not any more. While it does, an idle session does not
    /// end: `bw` rests.
    Bell(bool),
    /// No more requests come, and what is waiting is the last.
    Closing,
}

/// What is to be done.
#[derive(Debug)]
pub enum Action {
    /// Do this, within that time; nothing else is under way.
    Begin(Work, Duration),
    /// A request is over.
    Answer(Box<Answer>),
    /// The state is another.
    Tell(SessionState),
    /// A login at the vault: one that begins, or one that a sync has cost.
    Login,
    /// For the log.
    Say(String),
    /// The session is over.
    End,
}

/// How a request ended.
#[derive(Debug)]
pub struct Answer {
    /// The request's number.
    pub id: u64,
    /// What was asked for.
    pub want: Want,
    /// What it gets.
    pub outcome: Result<Fetched, Failure>,
    /// How long each step took, in milliseconds.
    pub steps: Vec<(String, u64)>,
    /// Until when it must be out.
    pub deadline: Moment,
}

/// What a request gets.
#[derive(Debug)]
pub struct Fetched {
    /// The collection's id.
    pub collection_id: String,
    /// Whether the vault was asked for changes.
    pub age: Age,
    /// What each of its files gets, the first's in front; nothing, where pairs were not
    /// asked for.
    pub files: Vec<Result<Built, Failure>>,
    /// What is to be said of all of them.
    pub warnings: Vec<String>,
    /// The `bw` version.
    pub bw_version: String,
    /// All collections' names, where those were asked for.
    pub names: Option<Names>,
    /// Another number where the account sees other collections.
    pub seen: u64,
    /// What tells the state of the collection apart.
    pub fingerprint: Option<Fingerprint>,
    /// All collections' states, where those were asked for.
    pub states: Option<States>,
}

/// A piece of work of `bw`, or about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// End `bw serve`.
    Kill,
    /// Empty `bw`'s directory.
    Clear,
    /// Learn `bw`'s version, and whether it may be run.
    Version,
    /// Set it up for the server.
    Configure,
    /// Log in.
    LogIn,
    /// Start `bw serve`.
    Serve,
    /// Ask it which server it means.
    Status,
    /// Ask the vault for changes.
    Sync(Scope),
    /// Read what is stored.
    Read,
    /// Unlock.
    Unlock,
    /// Measure the memory that it takes.
    Weigh,
    /// List the collections.
    Collections,
    /// List the organizations.
    Organizations,
    /// List a collection's items.
    Items(String),
    /// List all items.
    Everything,
    /// Fetch a file of an item.
    Attachment {
        /// The item's id.
        item: String,
        /// The file's id.
        file: String,
    },
}

/// How much of the vault a sync fetches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// What has changed, by the date that the vault tells.
    Changes,
    /// All of it; it costs a login at the vault.
    Whole,
}

/// How work ended.
#[derive(Debug)]
pub enum Outcome {
    /// Well; for work that finds nothing out.
    Done,
    /// `bw`'s version.
    Version(String),
    /// The server that `bw` means.
    Server(Option<String>),
    /// What is stored.
    Stored(Reading),
    /// The memory that it takes, in KiB, where the system says it.
    Memory(Option<u64>),
    /// The collections.
    Collections(Listed<Collection>),
    /// The organizations.
    Organizations(Vec<Organization>),
    /// The items.
    Items(Listed<Item>),
    /// What is in the file.
    File(zeroize::Zeroizing<Vec<u8>>),
    /// `bw` does not sync before it is unlocked.
    Locked,
    /// The answer was over its bound; `spent` when `bw serve` cannot be asked again.
    TooLarge {
        /// It was not read to its end.
        spent: bool,
    },
    /// It failed.
    Failed(Failure),
}

/// A list.
#[derive(Debug)]
pub struct Listed<T> {
    /// Its entries.
    pub data: Vec<T>,
    /// Tells it from another list.
    pub digest: u64,
}

/// How what is stored was read.
#[derive(Debug)]
pub enum Reading {
    /// All of it.
    Whole(Stored),
    /// Perhaps while it was written.
    Torn,
    /// It cannot be.
    Unknown,
}

/// What a session is for.
#[derive(Debug)]
pub struct Terms {
    /// The server; `None` for `bw`'s default.
    pub server: Option<Server>,
    /// What the session may take.
    pub bounds: Bounds,
    /// How long it stays open after the last request.
    pub idle: Duration,
    /// `bw serve` stays while the bell listens.
    pub resident: bool,
}

/// The session.
#[derive(Debug)]
pub struct Session {
    terms: Terms,
    actions: Vec<Action>,
    /// The request whose turn it is, and those behind it.
    head: Option<Request>,
    queue: VecDeque<Request>,
    under_way: Option<(Work, Moment)>,
    /// Nothing is begun before then.
    paused: Option<Moment>,
    closing: bool,
    bell: bool,
    ended: bool,
    /// Since when nobody asks, and whether somebody did since `bw serve` was looked after.
    quiet: Option<Moment>,
    asked: bool,
    /// Nobody has asked yet.
    next_is_first: bool,
    stage: Stage,
    told: SessionState,
    /// A start was begun, and goes on whoever waits for it.
    starting: bool,
    /// What an unlock that was perhaps none was answered with.
    unopened: Option<Failure>,
    kill_due: bool,
    version: String,
    refused: Option<Refused>,
    /// When the vault was asked for changes; since the last login.
    synced: Option<Moment>,
    current: Option<Moment>,
    /// The vault limits logins, and to bring a change is one: it is not asked for
    /// changes until then.
    limited: Option<Moment>,
    forced: Option<Moment>,
    whole: Option<Moment>,
    stored: Option<Stored>,
    outdated: bool,
    torn: u32,
    readable: bool,
    checks: Checks,
    collections: Option<Collections>,
    /// Asked for where a collection's name does not tell which is meant.
    organizations: Option<Vec<Organization>>,
    /// One list for all that wait.
    everything: Option<Everything>,
    /// A list of all items is over the bound of an answer.
    in_parts: bool,
    /// What was asked for whose items were over the bound, and when.
    too_large: HashMap<Asked, Moment>,
    /// The ids of those that the last forced sync brought.
    confirmed: Option<BTreeSet<String>>,
    confirming: bool,
    seen: u64,
    /// Requests to this `bw serve`, and the memory of its cage when that was first looked at.
    requests: u32,
    first_memory: Option<u64>,
    /// How long a request's own work took last, by what it is.
    took: HashMap<String, Duration>,
    /// Another number for each `bw serve`.
    epoch: u64,
}

/// The collections, and what was doubtful about their list.
#[derive(Debug)]
struct Collections {
    all: Vec<Collection>,
    warning: Option<String>,
}

/// A vault that must be left alone for a while.
#[derive(Debug)]
struct Refused {
    until: Moment,
    failure: Failure,
}

/// Which collection a request asks for: its name, the id that it must have, the
/// operator's choice of an id, and of an organization.
type Asked = (String, [Option<String>; 3]);

fn asked(fetch: &Fetch) -> Asked {
    let Fetch { collection, pinned, chosen, organization, .. } = fetch.clone();
    (collection, [pinned, chosen, organization])
}

/// One request.
#[derive(Debug)]
struct Request {
    fetch: Fetch,
    arrived: Moment,
    deadline: Moment,
    steps: Steps,
    turn: Turn,
}

/// Why a turn does not go on.
#[derive(Debug)]
enum Stop {
    /// This has to be done first.
    Do(Work),
    /// A moment has to pass.
    Pause,
    /// The request failed: the session is as good as before.
    Failed(Failure),
    /// `bw` failed.
    Broken(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Session {
    /// A session that has not begun.
    pub fn new(terms: Terms) -> Self {
        Self {
            terms,
            actions: Vec::new(),
            head: None,
            queue: VecDeque::new(),
            under_way: None,
            paused: None,
            closing: false,
            bell: false,
            ended: false,
            quiet: None,
            asked: false,
            next_is_first: true,
            stage: Stage::LoggedOut,
            told: SessionState::LoggedOut,
            starting: false,
            unopened: None,
            kill_due: false,
            version: String::new(),
            refused: None,
            synced: None,
            current: None,
            limited: None,
            forced: None,
            whole: None,
            stored: None,
            outdated: true,
            torn: 0,
            readable: true,
            checks: Checks::default(),
            collections: None,
            organizations: None,
            everything: None,
            in_parts: false,
            too_large: HashMap::new(),
            confirmed: None,
            confirming: false,
            seen: 0,
            requests: 0,
            first_memory: None,
            took: HashMap::new(),
            epoch: 0,
        }
    }

    /// What follows from an event.
    pub fn on(&mut self, event: Event, now: Moment) -> Vec<Action> {
        match event {
            Event::Asked(fetch) => {
                let deadline = now.saturating_add(Duration::from_millis(fetch.deadline_ms));
                let (steps, turn) = (Steps::new("wait", now), Turn::default());
                self.queue.push_back(Request { fetch: *fetch, arrived: now, deadline, steps, turn });
                (self.quiet, self.asked, self.next_is_first) = (None, true, false);
            }
            Event::Ended(outcome) => self.ended(outcome, now),
            Event::Tick => {}
            Event::Bell(listens) => {
                self.bell = listens;
                // Time for another one to take its place, before the login is given up.
                self.quiet = self.quiet.map(|_| now);
            }
            Event::Closing => self.closing = true,
        }
        self.expire(now);
        self.advance(now);
        std::mem::take(&mut self.actions)
    }

    /// When it has to be told of the time.
    pub fn wake(&self) -> Option<Moment> {
        let deadlines = self.head.iter().chain(&self.queue).map(|request| request.deadline);
        let renewal = self.quiet.filter(|_| self.asked).map(|since| since + QUIET);
        let ends = !self.bell || (self.stage.runs() && !self.terms.resident);
        let end = self.quiet.filter(|_| ends).map(|since| since.saturating_add(self.terms.idle));
        let idle = [self.paused, renewal, end].into_iter().flatten().filter(|_| self.under_way.is_none());
        deadlines.chain(idle).min()
    }

    /// Requests that are over are answered; what is under way for them goes on.
    fn expire(&mut self, now: Moment) {
        let late = |request: &Request| request.deadline <= now;
        let waiting = std::mem::take(&mut self.queue);
        let (over, waiting): (Vec<_>, Vec<_>) = waiting.into_iter().partition(late);
        self.queue = VecDeque::from(waiting);
        for request in self.head.take_if(|head| late(head)).into_iter().chain(over) {
            let message = match request.steps.current() {
                "wait" => "other requests took all the time".into(),
                step => format!("`{step}` did not end in time; it goes on, for the next try"),
            };
            self.answer(request, Err(Failure::new(VaultTimeout, message)), now);
        }
    }

    /// Goes on until something is under way, or there is nothing to do.
    fn advance(&mut self, now: Moment) {
        while self.under_way.is_none() && self.paused.is_none_or(|until| until <= now) && !self.ended {
            self.paused = None;
            let head = self.head.take().or_else(|| self.queue.pop_front());
            let stop = match head {
                Some(mut head) => match self.turn(&mut head, now) {
                    Ok(fetched) => {
                        self.answer(head, Ok(fetched), now);
                        continue;
                    }
                    Err(stop) => {
                        self.head = Some(head);
                        stop
                    }
                },
                None => match self.unattended(now) {
                    Ok(()) => return,
                    Err(stop) => stop,
                },
            };
            match stop {
                Stop::Do(work) => self.begin(work, now),
                Stop::Pause => self.paused = Some(now + PAUSE),
                Stop::Failed(failure) => {
                    if let Some(head) = self.head.take() {
                        self.answer(head, Err(failure), now);
                    }
                }
                Stop::Broken(failure) => self.failed(failure, now),
            }
        }
    }

    /// Nobody waits: a start goes on, a worn out `bw serve` is replaced, and the end comes.
    fn unattended(&mut self, now: Moment) -> Result<(), Stop> {
        if self.starting || self.kill_due {
            self.open(None, now)?;
        }
        self.everything = None;
        if self.told == SessionState::Unlocked {
            self.tell(SessionState::Idle);
        }
        if self.closing {
            self.ended = true;
            self.actions.push(Action::End);
            return Ok(());
        }
        // It is for somebody that a session was made.
        if self.next_is_first {
            return Ok(());
        }
        let since = *self.quiet.get_or_insert(now);
        let idle = now >= since.saturating_add(self.terms.idle);
        if idle && !self.bell {
            self.ended = true;
            self.actions.push(Action::End);
        } else if idle && self.stage.runs() && !self.terms.resident {
            self.restart(Stage::LoggedIn);
            self.tell(SessionState::Resting);
            return Err(Stop::Do(Work::Kill));
        } else if self.asked && now >= since + QUIET {
            self.asked = false;
            if self.stage == Stage::Open {
                return Err(Stop::Do(Work::Weigh));
            }
        }
        Ok(())
    }

    fn begin(&mut self, work: Work, now: Moment) {
        let bound = match work {
            _ if self.stage < Stage::Serving => self.terms.bounds.step_ms,
            Work::Unlock => start::UNLOCK_MS,
            Work::Collections if self.stage < Stage::Open => self.terms.bounds.step_ms,
            _ => self.terms.bounds.answer_ms,
        };
        if work.is_asked_of_serve() {
            self.requests += 1;
        }
        match work {
            Work::Kill => self.kill_due = false,
            Work::LogIn => {
                (self.whole, self.current, self.synced) = (Some(now), None, None);
                self.actions.push(Action::Login);
            }
            // Also if it fails: the next try is one that costs no login.
            Work::Sync(Scope::Whole) => {
                (self.forced, self.whole) = (Some(now), Some(now));
                self.actions.push(Action::Login);
            }
            _ => {}
        }
        self.actions.push(Action::Begin(work.clone(), Duration::from_millis(bound)));
        self.under_way = Some((work, now));
    }

    fn ended(&mut self, outcome: Outcome, now: Moment) {
        let Some((work, begun)) = self.under_way.take() else { return };
        if let Some(key) = work.of_one_request() {
            // What broke off says nothing of how long it takes.
            let whole = !matches!(outcome, Outcome::Failed(_));
            self.took(key, if whole { now.saturating_sub(begun) } else { Duration::ZERO });
        } else if self.stage < Stage::Open {
            // All that wait share a start.
            self.head = self.head.take().or_else(|| self.queue.pop_front());
        }
        match (work, outcome) {
            (Work::Unlock, outcome) => self.unlocked(outcome, now),
            (Work::Collections, outcome) if self.stage == Stage::Doubtful => self.probed(&outcome, now),
            (Work::Sync(_), Outcome::Done) => self.synced(begun),
            (Work::Sync(_), Outcome::Locked) if self.stage == Stage::Checked => self.stage = Stage::Synced,
            (Work::Sync(_), Outcome::Locked) => {
                self.failed(Failure::new(VaultLocked, "the vault is locked"), now);
            }
            (Work::Sync(_), Outcome::Failed(failure)) if failure.name == RateLimited => {
                self.say("the vault limits logins: it is not asked for changes for a while".into());
                self.limited = Some(begun + PENALTY);
                self.failed(failure, now);
            }
            (Work::LogIn, Outcome::Failed(failure)) if failure.name == VaultLocked => {
                self.failed(Failure::new(VaultError, "the vault refuses to let anybody log in"), now);
            }
            (Work::Read, Outcome::Stored(reading)) => self.read(reading, now),
            (Work::Weigh, Outcome::Memory(memory)) => self.weighed(memory),
            (Work::Attachment { .. }, outcome) => self.attached(outcome, now),
            (Work::Everything, Outcome::Failed(failure)) => {
                // Whatever it fails by, the next is not to wait for the same.
                self.in_parts = true;
                self.failed(failure, now);
            }
            (work, Outcome::TooLarge { spent }) => self.too_large(&work, spent, now),
            (_, Outcome::Failed(failure)) => self.failed(failure, now),
            (Work::Collections, Outcome::Collections(listed)) => self.listed(listed, now),
            (Work::Organizations, Outcome::Organizations(all)) => self.organizations = Some(all),
            (Work::Items(_), Outcome::Items(listed)) => {
                // Who asked may have gone.
                if let Some(head) = &mut self.head {
                    head.turn.listed = Some(listed);
                }
            }
            (Work::Everything, Outcome::Items(listed)) => {
                let waiting = self.queue.len() + 1;
                self.say(format!("all items are listed at once, for {waiting}"));
                self.everything = Some(Everything::split(listed.data));
            }
            (work, outcome) => self.started(&work, outcome, now),
        }
    }

    /// A sync that brought nothing leaves what is stored as it was; which it was is read.
    fn synced(&mut self, begun: Moment) {
        (self.synced, self.current) = (Some(begun), Some(begun));
        (self.outdated, self.torn, self.organizations) = (true, 0, None);
        self.confirming = self.forced == Some(begun);
        if self.stage == Stage::Checked {
            self.stage = Stage::Synced;
        }
    }

    /// What is stored is other than when this `bw serve` began: it may go on listing what
    /// it held before, until its end.
    fn read(&mut self, reading: Reading, now: Moment) {
        let most = if self.readable { MAX_READS } else { 1 };
        self.torn += 1;
        match reading {
            Reading::Torn if self.torn < most => {
                self.paused = Some(now + PAUSE);
                return;
            }
            Reading::Torn | Reading::Unknown => {
                if std::mem::replace(&mut self.readable, false) {
                    let said = "what bw stores is of no form that is known: its lists count without it";
                    self.say(said.into());
                }
                self.stored = None;
                self.forget();
            }
            Reading::Whole(stored) => {
                self.readable = true;
                if self.stored.as_ref() != Some(&stored) {
                    self.stored = Some(stored);
                    self.checks = Checks::default();
                    self.forget();
                    if self.stage > Stage::Synced {
                        // Before it fetches changes bw renews its token.
                        if self.forced.is_none() || self.forced != self.synced {
                            self.actions.push(Action::Login);
                        }
                        self.restart(Stage::LoggedIn);
                    }
                }
            }
        }
        self.outdated = false;
        if self.stage == Stage::Synced {
            self.stage = Stage::Serving;
            self.tell(SessionState::Serving);
        }
    }

    /// What was listed may be otherwise now.
    fn forget(&mut self) {
        (self.collections, self.organizations, self.everything) = (None, None, None);
    }

    /// Something failed: what can be put right is, once each; the rest is an answer.
    fn failed(&mut self, failure: Failure, now: Moment) {
        let starting = self.stage < Stage::Open;
        if let Some(to) = self.repair(&failure) {
            self.say(format!("starting again: {failure}"));
            (self.refused, self.synced) = (None, None);
            return self.restart(to);
        }
        let repaired = self.head.as_ref().is_some_and(|head| head.turn.repairs > 1);
        let left_alone = match failure.name {
            // Without a login what is there can be read.
            RateLimited => starting || self.current.is_none(),
            VaultLocked => repaired,
            BadCredentials | ClientTooOld => true,
            _ => false,
        };
        if left_alone {
            self.refused = Some(Refused { until: now + PENALTY, failure: failure.clone() });
        }
        self.discard(&failure);
        self.starting = false;
        let head = self.head.take();
        if head.is_none() && starting {
            self.say(format!("bw serve was not started: {failure}"));
        }
        if let Some(head) = head {
            self.answer(head, Err(failure.clone()), now);
        }
        // A start is for all that wait, and so is its end.
        let waiting = if starting { std::mem::take(&mut self.queue) } else { VecDeque::new() };
        for request in waiting {
            self.answer(request, Err(failure.clone()), now);
        }
    }

    /// From where on to start again; nothing where that was of no use.
    fn repair(&mut self, failure: &Failure) -> Option<Stage> {
        let (stage, current) = (self.stage, self.current);
        let turn = &mut self.head.as_mut()?.turn;
        let to = match failure.name {
            VaultLocked if stage >= Stage::LoggedIn && turn.repairs == 0 => Stage::LoggedIn,
            VaultLocked if stage >= Stage::LoggedIn && turn.repairs == 1 => Stage::LoggedOut,
            BwCrashed | VaultError if turn.warm && turn.repairs == 0 => Stage::LoggedIn,
            // bw serve ends by it, a moment later; what it had can be read without
            // asking the vault.
            RateLimited if current.is_some() && !turn.limited => {
                turn.limited = true;
                return Some(Stage::LoggedIn);
            }
            _ => return None,
        };
        turn.repairs += 1;
        Some(to)
    }

    /// After some failures `bw serve`, or all of the login, is good for nothing.
    fn discard(&mut self, failure: &Failure) {
        if self.stage < Stage::LoggedIn {
            self.stage = Stage::LoggedOut;
        }
        let broken = matches!(failure.name, VaultTimeout | VaultError | BwCrashed);
        let opening = matches!(self.stage, Stage::Serving | Stage::Doubtful);
        if broken && opening {
            self.restart(Stage::LoggedOut);
        } else if self.stage.runs() && (broken || failure.name == VaultLocked || self.stage < Stage::Serving)
        {
            self.synced = None;
            self.restart(Stage::LoggedIn);
        }
    }

    /// Ends `bw serve`, and the login too when `to` is `LoggedOut`.
    fn restart(&mut self, to: Stage) {
        self.kill_due |= self.stage.runs();
        self.stage = self.stage.min(to);
        self.epoch += 1;
        (self.requests, self.first_memory, self.outdated, self.torn) = (0, None, true, 0);
        self.forget();
        if self.told != SessionState::LoggedOut {
            let told = if to == Stage::LoggedOut { SessionState::LoggedOut } else { SessionState::LoggedIn };
            self.tell(told);
        }
    }

    fn answer(&mut self, mut request: Request, outcome: Result<Fetched, Failure>, now: Moment) {
        let warnings = std::mem::take(&mut request.turn.warnings);
        let outcome = match outcome {
            Ok(fetched) => Ok(Fetched { warnings, ..fetched }),
            Err(failure) => Err(Failure { warnings, ..failure }),
        };
        self.actions.push(Action::Answer(Box::new(Answer {
            id: request.fetch.id,
            want: request.fetch.want,
            outcome,
            steps: request.steps.list(now),
            deadline: request.deadline,
        })));
    }

    fn say(&mut self, said: String) {
        self.actions.push(Action::Say(said));
    }

    fn tell(&mut self, state: SessionState) {
        self.told = state;
        self.actions.push(Action::Tell(state));
    }

    fn is_limited(&self, now: Moment) -> bool {
        self.limited.is_some_and(|until| now < until)
    }
}

impl Work {
    /// What is a request's own work, and of no use to another.
    fn of_one_request(&self) -> Option<&str> {
        match self {
            Self::Items(id) | Self::Attachment { file: id, .. } => Some(id),
            _ => None,
        }
    }

    const fn is_asked_of_serve(&self) -> bool {
        !matches!(
            self,
            Self::Kill
                | Self::Clear
                | Self::Version
                | Self::Configure
                | Self::LogIn
                | Self::Serve
                | Self::Read
                | Self::Weigh
        )
    }
}
