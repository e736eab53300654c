//! The provisioner: one task that keeps each tenant's work in a row, runs
//! different tenants' work side by side, and knows when each is due again.

mod attempt;

use crate::clock;
use crate::events::Events;
use crate::retry;
use crate::session::{Session, concerns_session};
use crate::settings::Config;
use crate::store::{Db, End, Store};
use crate::tenant::Tenant;
use colibri_control::{ErrorName, Event, Fault, Outcome, Provision, Reason, Status, TenantId};
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

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

struct Job {
    work: Work,
    since: Instant,
    waiting: Vec<oneshot::Sender<Ended>>,
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
    ) -> Result<Self, Fault> {
        let tenants = store.with(|db| db.tenants()).await?;
        let turns = Semaphore::new(AT_ONCE);
        let tools = Arc::new(Tools { config, store, session, turns, events, changed });
        let (jobs, received) = mpsc::unbounded_channel();
        let mut queue = Queue::new(tools.clone());
        for tenant in tenants {
            let kept_up = tenant.keeps_up();
            if tenant.action_due {
                let _follows_later = queue.tools.changed.send(tenant.id.clone());
            }
            if tenant.removal_due {
                let job = Job { work: Work::Remove, since: Instant::now(), waiting: Vec::new() };
                queue.take(tenant.id, job);
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
        let job = Job { work, since: Instant::now(), waiting: vec![answer] };
        let _ending = self.jobs.send(Message::Job(id.clone(), job));
        ended.await.unwrap_or_else(|_| Err(Fault::new(ErrorName::Busy, "the daemon is ending")))
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

struct Queue {
    tools: Arc<Tools>,
    /// Tenants at work, and what waits behind it.
    running: HashMap<TenantId, VecDeque<Job>>,
    tasks: JoinSet<(TenantId, Option<Instant>, Again)>,
    due: BTreeSet<(Instant, TenantId)>,
    due_of: HashMap<TenantId, Instant>,
    /// Tenants that missed their secrets because of the vault.
    missed: HashSet<TenantId>,
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
                    Ok((id, next, again)) => self.ended(id, next, again),
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
            if !self.running.contains_key(&id) {
                self.take(id, Job { work: Work::Put(Reason::Refresh), since: now, waiting: Vec::new() });
            }
        }
    }

    /// Starts a job, or puts it behind what is under way. Jobs of one kind that
    /// wait for the same tenant become one.
    fn take(&mut self, id: TenantId, mut job: Job) {
        match self.running.get_mut(&id) {
            None => {
                self.running.insert(id.clone(), VecDeque::new());
                self.start(id, job);
            }
            Some(behind) => match behind.back_mut() {
                Some(last) if last.work.same_kind(job.work) => {
                    last.waiting.append(&mut job.waiting);
                    last.work = job.work;
                }
                _ => behind.push_back(job),
            },
        }
    }

    fn start(&mut self, id: TenantId, job: Job) {
        self.schedule_at(id.clone(), None);
        let tools = self.tools.clone();
        self.tasks.spawn(async move {
            let (ended, next, again) = run(&tools, &id, job.work, job.since).await;
            for waiting in job.waiting {
                let _gone = waiting.send(ended.clone());
            }
            let next = next.map(|delay| Instant::now() + delay);
            (id, next, again)
        });
    }

    fn ended(&mut self, id: TenantId, next: Option<Instant>, again: Again) {
        match again {
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
                self.schedule_at(id, next);
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

async fn run(tools: &Tools, id: &TenantId, work: Work, since: Instant) -> (Ended, Option<Duration>, Again) {
    let outcome = match work {
        Work::Put(reason) => put(tools, id, reason, since).await,
        Work::Remove => remove(tools, id, since).await.map(|provision| (provision, None, Again::Silent)),
    };
    match outcome {
        Ok((provision, next, again)) => {
            report(&provision);
            tools.events.announce(Event::Provision(Box::new(provision.clone())));
            (Ok(provision), next, again)
        }
        Err(fault) => {
            tracing::warn!(tenant = %id, "{fault}");
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
    let provision = record(tools, &tenant, attempt, next).await?;
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
) -> Result<Provision, Fault> {
    let provision = attempt.provision;
    let written = provision.outcome == Outcome::Written;
    // The hook comes before the agent, so there is nobody yet to be told.
    let wanted = tenant.settings.on_change != colibri_control::OnChange::None;
    let action_due = written && wanted && provision.reason != Reason::Hook;
    let next_try = next.map(|delay| clock::now() + clock::millis(delay));
    let end = End { provision, held: attempt.held, next_try, action_due };
    let mut provision = end.provision.clone();
    provision.number = tools.store.with(move |db| db.end(&end)).await?;
    if provision.error.is_none() && tenant.status != Status::Active {
        let event = Event::Tenant { tenant: tenant.id.clone(), status: Some(Status::Active) };
        tools.events.announce(event);
    }
    if action_due {
        let _ending = tools.changed.send(tenant.id.clone());
    }
    Ok(provision)
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

fn report(provision: &Provision) {
    let Provision { tenant, reason, outcome, keys, ms, warnings, .. } = provision;
    match &provision.error {
        None => tracing::info!(%tenant, %reason, keys, ms, warnings = warnings.len(), "{outcome}"),
        Some(fault) => tracing::warn!(%tenant, %reason, ms, "{fault}"),
    }
}
