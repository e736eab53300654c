//! The queue: one task that keeps each tenant's work in a row, runs different
//! tenants' work side by side, and knows when each is due again.

use super::missed::Missed;
use super::{Compared, Ended, Tools, Work, perform};
use crate::clock;
use crate::store::Which;
use colibri_control::Reason;
use colibri_tenant::{Settings, TenantId};
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

/// After the vault came back, or the daemon, tenants that missed it are tried
/// within this.
pub(super) const SPREAD: Duration = Duration::from_secs(2);
/// Nothing is due: look again then.
const FAR: Duration = Duration::from_secs(3600);

/// What shall be done, and who waits for it.
pub(super) enum Task {
    File(Work, Vec<oneshot::Sender<Ended>>),
    Compare(Vec<oneshot::Sender<Compared>>),
    /// With settings that are only tried.
    Preview(Box<Settings>, oneshot::Sender<Compared>),
    /// Nothing, until whoever holds the tenant is done with it.
    Hold(oneshot::Sender<Held>),
}

/// While this is there, nothing is done with the tenant's files.
#[derive(Debug)]
pub struct Held {
    _end: oneshot::Sender<()>,
}

impl Held {
    /// With it goes what waits for its end.
    pub(super) fn new() -> (Self, oneshot::Receiver<()>) {
        let (end, ended) = oneshot::channel();
        (Self { _end: end }, ended)
    }
}

pub(super) struct Job {
    pub(super) task: Task,
    pub(super) since: Instant,
}

impl Job {
    pub(super) fn now(task: Task) -> Self {
        Self { task, since: Instant::now() }
    }
}

pub(super) enum Message {
    Job(TenantId, Job),
    Due(TenantId, Option<u64>),
    Busy(oneshot::Sender<HashSet<TenantId>>),
    /// Those that missed their secrets are to be tried again.
    Wake,
}

pub(super) struct Queue {
    tools: Arc<Tools>,
    /// Tenants at work, and what waits behind it.
    running: HashMap<TenantId, VecDeque<Job>>,
    tasks: JoinSet<(TenantId, After)>,
    due: BTreeSet<(Instant, TenantId)>,
    due_of: HashMap<TenantId, Instant>,
    /// Tenants whose file could not be removed: that is what they are due for.
    removing: HashSet<TenantId>,
    /// Tenants that failed last: their next attempt is not put off.
    failed: HashSet<TenantId>,
    missed: Missed,
    /// Tenants whose collection was not to be found, and what the account saw when
    /// they were woken last.
    absent: HashSet<TenantId>,
    seen: u64,
}

/// What follows from a task.
pub(super) struct After {
    pub(super) next: Next,
    pub(super) again: Again,
}

/// When the tenant's file is looked after next.
pub(super) enum Next {
    /// As it was planned before.
    Stays,
    /// So long from now, or never.
    In(Option<Duration>),
    /// The same, to be removed then.
    Removal(Option<Duration>),
}

/// What an attempt says about the vault.
pub(super) enum Again {
    /// It works.
    Works,
    /// The tenant missed its secrets because of it.
    Missed,
    /// The tenant's collection is not among those that the account sees.
    Absent,
    /// It failed by something else.
    Failed,
    /// Nothing.
    Silent,
}

impl Queue {
    pub(super) fn new(tools: Arc<Tools>) -> Self {
        Self {
            tools,
            running: HashMap::new(),
            tasks: JoinSet::new(),
            due: BTreeSet::new(),
            due_of: HashMap::new(),
            removing: HashSet::new(),
            failed: HashSet::new(),
            missed: Missed::default(),
            absent: HashSet::new(),
            seen: 0,
        }
    }

    pub(super) async fn run(mut self, mut received: mpsc::UnboundedReceiver<Message>) {
        loop {
            let next = self.due.first().map_or_else(|| Instant::now() + FAR, |(at, _)| *at);
            tokio::select! {
                message = received.recv() => match message {
                    Some(Message::Job(id, job)) => self.take(id, job),
                    Some(Message::Due(id, at)) => self.schedule(id, at),
                    Some(Message::Busy(answer)) => {
                        let _gone = answer.send(self.running.keys().cloned().collect());
                    }
                    Some(Message::Wake) => {
                        let missed = self.missed.woken();
                        self.soon(missed);
                    }
                    None => return,
                },
                Some(ended) = self.tasks.join_next() => match ended {
                    Ok((id, after)) => self.ended(id, after),
                    Err(error) => tracing::error!("an attempt broke off: {error}"),
                },
                () = sleep_until(next) => self.start_due(),
            }
        }
    }

    pub(super) fn has_failed(&mut self, id: TenantId) {
        self.failed.insert(id);
    }

    pub(super) fn schedule(&mut self, id: TenantId, at: Option<u64>) {
        let at = at.map(|at| Instant::now() + Duration::from_millis(at.saturating_sub(clock::now())));
        let later = |due: &Instant| at.is_some_and(|at| at > *due);
        if self.failed.contains(&id) && self.due_of.get(&id).is_some_and(later) {
            return;
        }
        self.removing.remove(&id);
        if at.is_none() {
            self.missed.forget(&id);
            self.absent.remove(&id);
            self.failed.remove(&id);
        }
        self.schedule_at(id, at);
    }

    fn schedule_at(&mut self, id: TenantId, at: Option<Instant>) {
        if let Some(before) = self.due_of.remove(&id) {
            self.due.remove(&(before, id.clone()));
        }
        if let Some(at) = at {
            self.due_of.insert(id.clone(), at);
            self.due.insert((at, id));
        }
    }

    fn start_due(&mut self) {
        let now = Instant::now();
        while self.due.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, id)) = self.due.pop_first() else { return };
            self.due_of.remove(&id);
            let removing = self.removing.contains(&id);
            let work = if removing { Work::Remove(Which::All) } else { Work::Put(Reason::Refresh) };
            self.take(id, Job::now(Task::File(work, Vec::new())));
        }
    }

    /// Starts a job, or puts it behind what is under way. Jobs of one kind that
    /// wait for the same tenant become one.
    pub(super) fn take(&mut self, id: TenantId, job: Job) {
        let Some(behind) = self.running.get_mut(&id) else {
            self.running.insert(id.clone(), VecDeque::new());
            return self.start(id, job);
        };
        let Job { task, since } = job;
        let left = match behind.back_mut() {
            Some(last) => last.task.join(task),
            None => Some(task),
        };
        behind.extend(left.map(|task| Job { task, since }));
    }

    fn start(&mut self, id: TenantId, job: Job) {
        // Other work leaves what the tenant is due for.
        if matches!(job.task, Task::File(Work::Put(_) | Work::Remove(Which::All), _)) {
            self.schedule_at(id.clone(), None);
        }
        let tools = self.tools.clone();
        self.tasks.spawn(async move {
            let after = perform(&tools, &id, job).await;
            (id, after)
        });
    }

    fn ended(&mut self, id: TenantId, after: After) {
        self.absent.remove(&id);
        match after.again {
            Again::Works => self.catch_up(&id),
            Again::Missed => self.missed.failed(id.clone()),
            Again::Absent => drop(self.absent.insert(id.clone())),
            Again::Failed | Again::Silent => {}
        }
        match after.again {
            Again::Works => drop(self.failed.remove(&id)),
            Again::Missed | Again::Absent | Again::Failed => self.has_failed(id.clone()),
            Again::Silent => {}
        }
        match self.running.get_mut(&id).and_then(VecDeque::pop_front) {
            Some(job) => self.start(id, job),
            None => {
                self.running.remove(&id);
                let (delay, removal) = match after.next {
                    Next::Stays => return,
                    Next::In(delay) => (delay, false),
                    Next::Removal(delay) => (delay, true),
                };
                self.removing.remove(&id);
                if removal {
                    self.removing.insert(id.clone());
                }
                // What was planned since it began, by whoever changed the tenant, stays.
                let at = delay.map(|delay| Instant::now() + delay);
                if at.is_some_and(|at| self.due_of.get(&id).is_none_or(|due| *due > at)) {
                    self.schedule_at(id, at);
                }
            }
        }
    }

    /// The vault is back: those who missed it need not wait out their backoff, or
    /// for somebody who says that it is.
    fn catch_up(&mut self, id: &TenantId) {
        let missed = self.missed.succeeded(id);
        self.soon(missed);
        let seen = self.tools.session.seen();
        if std::mem::replace(&mut self.seen, seen) != seen {
            let absent = std::mem::take(&mut self.absent);
            self.soon(absent);
        }
    }

    fn soon(&mut self, ids: HashSet<TenantId>) {
        for id in ids {
            let soon = Instant::now() + rand::random_range(Duration::ZERO..SPREAD);
            if self.due_of.get(&id).is_none_or(|at| *at > soon) {
                self.schedule_at(id, Some(soon));
            }
        }
    }
}

impl Work {
    fn same_kind(self, other: Self) -> bool {
        match (self, other) {
            (Self::Put(_), Self::Put(_)) => true,
            (Self::Remove(one), Self::Remove(other)) => one == other,
            _ => false,
        }
    }
}

impl Task {
    /// Takes in a later task that one run serves too, or gives it back.
    fn join(&mut self, later: Self) -> Option<Self> {
        match (self, later) {
            (Self::File(work, waiting), Self::File(newer, more)) if work.same_kind(newer) => {
                *work = newer;
                waiting.extend(more);
                None
            }
            (Self::Compare(waiting), Self::Compare(more)) => {
                waiting.extend(more);
                None
            }
            (_, later) => Some(later),
        }
    }
}
