//! The provisioner: one task that keeps each tenant's work in a row, runs
//! different tenants' work side by side, and knows when each is due again.

mod attempt;

use crate::clock;
use crate::events::Events;
use crate::metrics::Metrics;
use crate::retry;
use crate::session::{Session, concerns_session};
use crate::settings::Config;
use crate::store::{Db, End, Life, Store};
use crate::tenant::Tenant;
use colibri_control::{Diff, ErrorName, Event, Fault, Outcome, Provision, Reason, Status, TenantId};
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::field::{Empty, display};
use tracing::{Instrument, Span};

/// Requests that the fetcher is handed at once; each holds descriptors.
const AT_ONCE: usize = 64;
/// After the vault came back, tenants that missed it are tried within this.
const SPREAD: Duration = Duration::from_secs(2);
/// Nothing is due: look again then.
const FAR: Duration = Duration::from_secs(3600);

/// What every attempt needs.
#[derive(Debug)]
pub(crate) struct Tools {
    pub(crate) config: Arc<Config>,
    pub(crate) store: Store,
    pub(crate) session: Session,
    pub(crate) turns: Semaphore,
    pub(crate) events: Events,
    /// Tenants whose content has changed and who want something done about it.
    pub(crate) changed: mpsc::UnboundedSender<TenantId>,
    pub(crate) metrics: Metrics,
}

/// A handle to the provisioner.
#[derive(Clone, Debug)]
pub struct Provisioner {
    jobs: mpsc::UnboundedSender<Message>,
    tools: Arc<Tools>,
}

/// What shall be done with a tenant's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Bring the secrets.
    Put(Reason),
    /// Unlink the file.
    Remove,
}

/// How a piece of work ended, or why it could not begin.
pub type Ended = Result<Provision, Fault>;

/// What a comparison found, or why there is none.
pub type Compared = Result<Diff, Fault>;

/// What shall be done, and who waits for it.
enum Task {
    File(Work, Vec<oneshot::Sender<Ended>>),
    Compare(Vec<oneshot::Sender<Compared>>),
}

struct Job {
    task: Task,
    since: Instant,
}

impl Job {
    fn now(task: Task) -> Self {
        Self { task, since: Instant::now() }
    }
}

enum Message {
    Job(TenantId, Job),
    Due(TenantId, Option<u64>),
    Busy(oneshot::Sender<HashSet<TenantId>>),
}

impl Provisioner {
    /// Starts the task, and takes up again what was due or under way before.
    ///
    /// # Errors
    /// The database's.
    pub async fn start(
        config: Arc<Config>,
        store: Store,
        session: Session,
        events: Events,
        changed: mpsc::UnboundedSender<TenantId>,
        metrics: Metrics,
    ) -> Result<Self, Fault> {
        let tenants = store.with(|db| db.tenants()).await?;
        let turns = Semaphore::new(AT_ONCE);
        let tools = Arc::new(Tools { config, store, session, turns, events, changed, metrics });
        let (jobs, received) = mpsc::unbounded_channel();
        let mut queue = Queue::new(tools.clone());
        for tenant in tenants {
            let kept_up = tenant.keeps_up();
            if tenant.action_due {
                let _follows_later = queue.tools.changed.send(tenant.id.clone());
            }
            if tenant.removal_due {
                queue.take(tenant.id, Job::now(Task::File(Work::Remove, Vec::new())));
            } else {
                queue.schedule(tenant.id, tenant.next_try.filter(|_| kept_up));
            }
        }
        tokio::spawn(queue.run(received));
        Ok(Self { jobs, tools })
    }

    /// Does a piece of work after what is under way for that tenant, and waits
    /// for its end.
    ///
    /// # Errors
    /// Why it could not begin. That it failed is in the provision.
    pub async fn run(&self, id: &TenantId, work: Work) -> Ended {
        let (answer, ended) = oneshot::channel();
        self.queue(id, Task::File(work, vec![answer]));
        ended.await.unwrap_or_else(|_| Err(ending()))
    }

    /// Compares a tenant's file with the vault, after what is under way for that
    /// tenant; nothing is changed and nothing recorded.
    ///
    /// # Errors
    /// Why there is nothing to compare.
    pub async fn compare(&self, id: &TenantId) -> Compared {
        let (answer, ended) = oneshot::channel();
        self.queue(id, Task::Compare(vec![answer]));
        ended.await.unwrap_or_else(|_| Err(ending()))
    }

    fn queue(&self, id: &TenantId, task: Task) {
        let _ending = self.jobs.send(Message::Job(id.clone(), Job::now(task)));
    }

    /// Plans the next attempt, or that there is none.
    pub fn schedule(&self, id: &TenantId, at: Option<u64>) {
        let _ending = self.jobs.send(Message::Due(id.clone(), at));
    }

    /// The tenants with work under way or waiting.
    pub async fn busy(&self) -> HashSet<TenantId> {
        let (answer, busy) = oneshot::channel();
        let _ending = self.jobs.send(Message::Busy(answer));
        busy.await.unwrap_or_default()
    }

    pub(crate) fn tools(&self) -> &Tools {
        &self.tools
    }
}

fn ending() -> Fault {
    Fault::new(ErrorName::Busy, "the daemon is ending")
}

struct Queue {
    tools: Arc<Tools>,
    /// Tenants at work, and what waits behind it.
    running: HashMap<TenantId, VecDeque<Job>>,
    tasks: JoinSet<(TenantId, After)>,
    due: BTreeSet<(Instant, TenantId)>,
    due_of: HashMap<TenantId, Instant>,
    /// Tenants that missed their secrets because of the vault.
    missed: HashSet<TenantId>,
}

/// What follows from a task.
struct After {
    next: Next,
    again: Again,
}

/// When the tenant's file is looked after next.
enum Next {
    /// As it was planned before.
    Stays,
    /// So long from now, or never.
    In(Option<Duration>),
}

/// What an attempt says about the vault.
enum Again {
    /// It works.
    Works,
    /// The tenant missed its secrets because of it.
    Missed,
    /// Nothing.
    Silent,
}

impl Queue {
    fn new(tools: Arc<Tools>) -> Self {
        Self {
            tools,
            running: HashMap::new(),
            tasks: JoinSet::new(),
            due: BTreeSet::new(),
            due_of: HashMap::new(),
            missed: HashSet::new(),
        }
    }

    async fn run(mut self, mut received: mpsc::UnboundedReceiver<Message>) {
        loop {
            let next = self.due.first().map_or_else(|| Instant::now() + FAR, |(at, _)| *at);
            tokio::select! {
                message = received.recv() => match message {
                    Some(Message::Job(id, job)) => self.take(id, job),
                    Some(Message::Due(id, at)) => self.schedule(id, at),
                    Some(Message::Busy(answer)) => {
                        let _gone = answer.send(self.running.keys().cloned().collect());
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

    fn schedule(&mut self, id: TenantId, at: Option<u64>) {
        let at = at.map(|at| Instant::now() + Duration::from_millis(at.saturating_sub(clock::now())));
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
            self.take(id, Job::now(Task::File(Work::Put(Reason::Refresh), Vec::new())));
        }
    }

    /// Starts a job, or puts it behind what is under way. Jobs of one kind that
    /// wait for the same tenant become one.
    fn take(&mut self, id: TenantId, job: Job) {
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
        if matches!(job.task, Task::File(..)) {
            self.schedule_at(id.clone(), None);
        }
        let tools = self.tools.clone();
        self.tasks.spawn(async move {
            let after = job.run(&tools, &id).await;
            (id, after)
        });
    }

    fn ended(&mut self, id: TenantId, after: After) {
        match after.again {
            Again::Works => {
                self.missed.remove(&id);
                self.catch_up();
            }
            Again::Missed => drop(self.missed.insert(id.clone())),
            Again::Silent => {}
        }
        match self.running.get_mut(&id).and_then(VecDeque::pop_front) {
            Some(job) => self.start(id, job),
            None => {
                self.running.remove(&id);
                if let Next::In(delay) = after.next {
                    self.schedule_at(id, delay.map(|delay| Instant::now() + delay));
                }
            }
        }
    }

    /// The vault is back: those who missed it need not wait out their backoff.
    fn catch_up(&mut self) {
        for id in std::mem::take(&mut self.missed) {
            let soon = Instant::now() + rand::random_range(Duration::ZERO..SPREAD);
            if self.due_of.get(&id).is_some_and(|at| *at > soon) {
                self.schedule_at(id, Some(soon));
            }
        }
    }
}

impl Work {
    const fn same_kind(self, other: Self) -> bool {
        matches!((self, other), (Self::Put(_), Self::Put(_)) | (Self::Remove, Self::Remove))
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

impl Job {
    /// Does it and answers everybody who waits for it.
    async fn run(self, tools: &Tools, id: &TenantId) -> After {
        match self.task {
            Task::File(work, waiting) => {
                // Its lines are told apart at every level that is logged.
                let span = tracing::error_span!(
                    "provision",
                    tenant = %id,
                    reason = Empty,
                    outcome = Empty,
                    keys = Empty,
                    ms = Empty,
                    steps = Empty,
                );
                let (ended, next, again) = run(tools, id, work, self.since).instrument(span).await;
                for waiting in waiting {
                    let _gone = waiting.send(ended.clone());
                }
                After { next: Next::In(next), again }
            }
            Task::Compare(waiting) => {
                let span = tracing::error_span!("compare", tenant = %id);
                let compared = compare(tools, id, self.since).instrument(span).await;
                for waiting in waiting {
                    let _gone = waiting.send(compared.clone());
                }
                After { next: Next::Stays, again: Again::Silent }
            }
        }
    }
}

async fn compare(tools: &Tools, id: &TenantId, since: Instant) -> Compared {
    let known = id.clone();
    let tenant = tools.store.with(move |db| db.known(&known)).await?;
    if tenant.status == Status::Destroyed {
        let message = format!("{id} was destroyed and gets no secrets");
        return Err(Fault::new(ErrorName::WrongState, message));
    }
    let deadline = since + tenant.deadline(tools.config.settings.deadline);
    attempt::compare(tools, &tenant, deadline).await
}

async fn run(tools: &Tools, id: &TenantId, work: Work, since: Instant) -> (Ended, Option<Duration>, Again) {
    let outcome = match work {
        Work::Put(reason) => put(tools, id, reason, since).await,
        Work::Remove => remove(tools, id, since).await.map(|provision| (provision, None, Again::Silent)),
    };
    match outcome {
        Ok((provision, next, again)) => {
            report(&provision);
            tools.metrics.observe(&provision);
            tools.events.announce(Event::Provision(Box::new(provision.clone())));
            (Ok(provision), next, again)
        }
        Err(fault) => {
            tracing::warn!("{fault}");
            let next = retry::delay(fault.name, 1, &mut rand::rng());
            (Err(fault), next, Again::Silent)
        }
    }
}

async fn put(
    tools: &Tools,
    id: &TenantId,
    reason: Reason,
    since: Instant,
) -> Result<(Provision, Option<Duration>, Again), Fault> {
    let known = id.clone();
    let begin = move |db: &mut Db| db.begin(&known, reason, clock::now());
    let tenant = tools.store.with(begin).await?;
    let retried = reason == Reason::Refresh && tenant.error.is_some();
    let reason = if retried { Reason::Retry } else { reason };
    tools.events.announce(Event::Started { tenant: id.clone(), reason });
    let deadline = since + tenant.deadline(tools.config.settings.deadline);
    let attempt = attempt::put(tools, &tenant, reason, deadline).await;
    let next = next_try(&tenant, attempt.provision.error.as_ref());
    let again = match &attempt.provision.error {
        None => Again::Works,
        Some(fault) if next.is_some() && concerns_session(fault.name) => Again::Missed,
        Some(_) => Again::Silent,
    };
    let (provision, next) = record(tools, &tenant, attempt, next).await?;
    Ok((provision, next, again))
}

fn next_try(tenant: &Tenant, fault: Option<&Fault>) -> Option<Duration> {
    let mut random = rand::rng();
    let refresh = retry::refresh(tenant.settings.refresh, &mut random);
    match fault {
        None => refresh,
        // What cannot heal by itself is looked at again with the next refresh.
        Some(fault) => retry::delay(fault.name, tenant.failures + 1, &mut random).or(refresh),
    }
}

async fn record(
    tools: &Tools,
    tenant: &Tenant,
    attempt: attempt::Attempt,
    next: Option<Duration>,
) -> Result<(Provision, Option<Duration>), Fault> {
    let provision = attempt.provision;
    let written = provision.outcome == Outcome::Written;
    // The hook comes before the agent, so there is nobody yet to be told.
    let wanted = tenant.settings.on_change != colibri_control::OnChange::None;
    let action_due = written && wanted && provision.reason != Reason::Hook;
    let next_try = next.map(|delay| clock::now() + clock::millis(delay));
    let end = End { provision, began: tenant.status, held: attempt.held, next_try, action_due };
    let mut provision = end.provision.clone();
    let (number, life) = tools.store.with(move |db| db.end(&end)).await?;
    provision.number = number;
    if life == Life::Halted {
        return Ok((provision, None));
    }
    if provision.error.is_none() && tenant.status != Status::Active {
        let event = Event::Tenant { tenant: tenant.id.clone(), status: Some(Status::Active) };
        tools.events.announce(event);
    }
    if action_due {
        let _ending = tools.changed.send(tenant.id.clone());
    }
    Ok((provision, next))
}

async fn remove(tools: &Tools, id: &TenantId, since: Instant) -> Result<Provision, Fault> {
    let known = id.clone();
    let tenant = tools.store.with(move |db| db.known(&known)).await?;
    let deadline = since + tenant.deadline(tools.config.settings.deadline);
    let mut provision = attempt::remove(tools, &tenant, Reason::Operator, deadline).await;
    let ended = provision.clone();
    provision.number = tools.store.with(move |db| db.removed(&ended)).await?;
    Ok(provision)
}

/// One line, in the provision's span, which holds its figures.
fn report(provision: &Provision) {
    let Provision { reason, outcome, keys, ms, steps, warnings, .. } = provision;
    let steps: Vec<_> = steps.iter().map(|step| format!("{}={}", step.name, step.ms)).collect();
    let span = Span::current();
    span.record("reason", display(reason)).record("outcome", display(outcome));
    span.record("keys", keys).record("ms", ms).record("steps", steps.join(" "));
    match &provision.error {
        None => tracing::info!(warnings = warnings.len(), "{outcome}"),
        Some(fault) => tracing::warn!("{fault}"),
    }
}
