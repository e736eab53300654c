//! The provisioner: what is done with a tenant's file, and what is written down
//! of it.

mod attempt;
mod missed;
mod queue;
mod silence;

pub use attempt::plain;

use self::queue::{After, Again, Held, Job, Message, Next, Queue, SPREAD, Task};
use self::silence::Silence;
use crate::clock;
use crate::events::Events;
use crate::metrics::Metrics;
use crate::retry;
use crate::root::Roots;
use crate::session::{Session, concerns_session};
use crate::settings::Config;
use crate::store::{Db, End, Life, Store, Which};
use crate::tenant::Tenant;
use crate::writer::Reached;
use colibri_control::{Diff, Event, Outcome, Provision, Reason};
use colibri_session::Age;
use colibri_tenant::{ErrorName, Fault, Retry, Settings, Status, TenantId};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;
use tracing::field::{Empty, display};
use tracing::{Instrument, Span};

/// Requests that the fetcher is handed at once; each holds descriptors.
const AT_ONCE: usize = 64;
/// Until files are put back after a removal that failed: whoever says that they are gone
/// is done by then.
const BACK: Duration = Duration::from_secs(1);

/// What every attempt needs.
#[derive(Debug)]
pub(crate) struct Tools {
    pub(crate) config: Arc<Config>,
    pub(crate) store: Store,
    pub(crate) session: Session,
    pub(crate) roots: Roots,
    pub(crate) turns: Semaphore,
    pub(crate) events: Events,
    /// Tenants whose content has changed and who want something done about it.
    pub(crate) changed: mpsc::UnboundedSender<TenantId>,
    pub(crate) metrics: Metrics,
    pub(crate) silence: Silence,
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
    /// Unlink files.
    Remove(Which),
    /// Unlink the further files that the settings do not have any more.
    Drop,
}

/// How a piece of work ended, or why it could not begin.
pub type Ended = Result<Provision, Fault>;

/// What a comparison found, or why there is none.
pub type Compared = Result<Diff, Fault>;

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
        let roots = Roots::new(config.clone());
        let silence = Silence::default();
        let tools =
            Arc::new(Tools { config, store, session, roots, turns, events, changed, metrics, silence });
        let (jobs, received) = mpsc::unbounded_channel();
        let mut queue = Queue::new(tools.clone());
        for tenant in tenants {
            if tenant.is_action_due() {
                let _follows_later = tools.changed.send(tenant.id.clone());
            }
            if tenant.error.is_some() {
                queue.has_failed(tenant.id.clone());
            }
            if tenant.removal_due {
                queue.take(tenant.id, Job::now(Task::File(Work::Remove(Which::All), Vec::new())));
            } else {
                let next = due(&tenant);
                queue.schedule(tenant.id, next);
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

    /// The same with settings that are only tried.
    ///
    /// # Errors
    /// Why there is nothing to compare, or what a provision would fail by.
    pub async fn preview(&self, id: &TenantId, settings: Settings) -> Compared {
        let (answer, ended) = oneshot::channel();
        self.queue(id, Task::Preview(Box::new(settings), answer));
        ended.await.unwrap_or_else(|_| Err(ending()))
    }

    /// Keeps the tenant's files from all work, after what is under way and waits for it.
    ///
    /// # Errors
    /// The daemon is ending.
    pub async fn hold(&self, id: &TenantId) -> Result<Held, Fault> {
        let (answer, held) = oneshot::channel();
        self.queue(id, Task::Hold(answer));
        held.await.map_err(|_| ending())
    }

    /// Plans what a tenant is due for by what is recorded of it.
    pub fn resume(&self, tenant: &Tenant) {
        if tenant.removal_due {
            self.queue(&tenant.id, Task::File(Work::Remove(Which::All), Vec::new()));
        } else {
            self.schedule(&tenant.id, due(tenant));
        }
    }

    /// Brings what has changed in the vault, after what is under way for that tenant.
    pub fn refresh(&self, id: &TenantId) {
        self.queue(id, Task::File(Work::Put(Reason::Refresh), Vec::new()));
    }

    fn queue(&self, id: &TenantId, task: Task) {
        let _ending = self.jobs.send(Message::Job(id.clone(), Job::now(task)));
    }

    /// Plans the next attempt, or that there is none.
    pub fn schedule(&self, id: &TenantId, at: Option<u64>) {
        let _ending = self.jobs.send(Message::Due(id.clone(), at));
    }

    /// Tries those again that missed their secrets because of the session: what an
    /// operator had to see to may be so now.
    pub fn wake(&self) {
        let _ending = self.jobs.send(Message::Wake);
    }

    /// The tenants with work under way or waiting.
    pub async fn busy(&self) -> HashSet<TenantId> {
        let (answer, busy) = oneshot::channel();
        let _ending = self.jobs.send(Message::Busy(answer));
        busy.await.unwrap_or_default()
    }

    /// What looks at jail roots.
    pub fn roots(&self) -> &Roots {
        &self.tools.roots
    }

    pub(crate) fn tools(&self) -> &Tools {
        &self.tools
    }
}

/// When a tenant is due after a start, or under another name. What only an operator could fix about the
/// session may be fixed by now, and who is to be kept up may never have been brought.
fn due(tenant: &Tenant) -> Option<u64> {
    if !tenant.keeps_up() {
        return None;
    }
    let to_fix = |fault: &Fault| concerns_session(fault.name) && fault.name.retry() == Retry::Hourly;
    let soon = || clock::now() + rand::random_range(0..clock::millis(SPREAD));
    if tenant.error.as_ref().is_some_and(to_fix) {
        return Some(soon());
    }
    tenant.next_try.or_else(|| tenant.awaits_first().then(soon))
}

fn ending() -> Fault {
    Fault::new(ErrorName::Busy, "the daemon is ending")
}

/// Does a job and answers everybody who waits for it.
async fn perform(tools: &Tools, id: &TenantId, Job { task, since }: Job) -> After {
    match task {
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
            let (ended, next, again) = run(tools, id, work, since).instrument(span).await;
            for waiting in waiting {
                let _gone = waiting.send(ended.clone());
            }
            After { next, again }
        }
        Task::Compare(waiting) => {
            let span = tracing::error_span!("compare", tenant = %id);
            let compared = compare(tools, id, None, since).instrument(span).await;
            for waiting in waiting {
                let _gone = waiting.send(compared.clone());
            }
            After { next: Next::Stays, again: Again::Silent }
        }
        Task::Preview(settings, waiting) => {
            let span = tracing::error_span!("preview", tenant = %id);
            let compared = compare(tools, id, Some(&settings), since).instrument(span).await;
            let _gone = waiting.send(compared);
            After { next: Next::Stays, again: Again::Silent }
        }
        Task::Hold(waiting) => {
            let (held, ended) = Held::new();
            if waiting.send(held).is_ok() {
                let _ended = ended.await;
            }
            After { next: Next::Stays, again: Again::Silent }
        }
    }
}

async fn compare(tools: &Tools, id: &TenantId, settings: Option<&Settings>, since: Instant) -> Compared {
    let known = id.clone();
    let tenant = tools.store.with(move |db| db.known(&known)).await?;
    if tenant.status == Status::Destroyed {
        let message = format!("{id} was destroyed and gets no secrets");
        return Err(Fault::new(ErrorName::WrongState, message));
    }
    let deadline = since + tenant.deadline(tools.config.settings.deadline);
    match settings {
        Some(settings) => attempt::preview(tools, &tenant, settings, deadline).await,
        None => attempt::compare(tools, &tenant, deadline).await,
    }
}

async fn run(tools: &Tools, id: &TenantId, work: Work, since: Instant) -> (Ended, Next, Again) {
    let outcome = match work {
        Work::Put(reason) => put(tools, id, reason, since)
            .await
            .map(|(provision, next, again)| (provision, Next::In(next), again)),
        Work::Remove(which) => {
            remove(tools, id, which, since).await.map(|(provision, next)| (provision, next, Again::Silent))
        }
        Work::Drop => {
            drop_files(tools, id, since).await.map(|provision| (provision, Next::Stays, Again::Silent))
        }
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
            let next = match work {
                Work::Put(_) | Work::Remove(Which::All) => {
                    Next::In(retry::delay(fault.name, 1, &mut rand::rng()))
                }
                Work::Remove(Which::First) | Work::Drop => Next::Stays,
            };
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
    let next = next_try(&tenant, attempt.provision.error.as_ref(), attempt.age);
    let again = match &attempt.provision.error {
        None => Again::Works,
        Some(fault) if concerns_session(fault.name) => Again::Missed,
        Some(fault) if is_of_the_list(fault.name) => Again::Absent,
        Some(_) => Again::Failed,
    };
    let (provision, next) = record(tools, &tenant, attempt, next).await?;
    tools.silence.ended(&provision, Instant::now());
    Ok((provision, next, again))
}

/// Whether other collections in the vault can be all that it takes.
const fn is_of_the_list(name: ErrorName) -> bool {
    matches!(name, ErrorName::CollectionNotFound | ErrorName::CollectionAmbiguous)
}

fn next_try(tenant: &Tenant, fault: Option<&Fault>, age: Age) -> Option<Duration> {
    let mut random = rand::rng();
    let refresh = retry::refresh(tenant.settings.refresh, &mut random);
    let Some(fault) = fault else {
        let soon = (age == Age::Stale).then(|| retry::stale(&mut random));
        return soon.into_iter().chain(refresh).min();
    };
    let delay = retry::delay(fault.name, tenant.failures + 1, &mut random);
    // What has to be mended in the vault's content is looked at again with the
    // next refresh; a session that cannot be had would only be asked in vain.
    if concerns_session(fault.name) { delay } else { delay.or(refresh) }
}

async fn record(
    tools: &Tools,
    tenant: &Tenant,
    attempt: attempt::Attempt,
    next: Option<Duration>,
) -> Result<(Provision, Option<Duration>), Fault> {
    let attempt::Attempt {
        provision, held, identity, shrunken_to, reached, first, files, changed, gone, ..
    } = attempt;
    // What an earlier provision wrote and did not live to record is a change, too.
    let written = first == Outcome::Written || (first == Outcome::Unchanged && tenant.unsure);
    let may_have_written = |fault: &Fault| reached == Reached::Unknown && fault.name.may_have_written();
    let failed = provision.error.as_ref().filter(|_| held.is_none());
    let unsure = failed.is_some_and(|fault| tenant.unsure || may_have_written(fault));
    // What failed after a change is done again for whoever asks.
    let asked = tenant.action_error.is_some() && provision.reason == Reason::Operator;
    let without_own = |path| tenant.settings.files.get(path).is_some_and(|file| file.on_change.is_none());
    let due = written || changed.iter().any(without_own) || (asked && provision.error.is_none());
    // The hook comes before the agent, so there is nobody yet to be told.
    let wanted = tenant.settings.on_change != colibri_tenant::OnChange::None;
    let action_due = due && wanted && provision.reason != Reason::Hook;
    let next_try = next.map(|delay| clock::now() + clock::millis(delay));
    let began = tenant.status;
    let own_due = files.iter().any(|file| file.state.action_due > 0);
    let end =
        End { provision, began, held, identity, next_try, action_due, unsure, shrunken_to, files, gone };
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
    if action_due || own_due {
        let _ending = tools.changed.send(tenant.id.clone());
    }
    Ok((provision, next))
}

async fn remove(
    tools: &Tools,
    id: &TenantId,
    which: Which,
    since: Instant,
) -> Result<(Provision, Next), Fault> {
    let known = id.clone();
    let tenant = tools.store.with(move |db| db.known(&known)).await?;
    let deadline = since + tenant.deadline(tools.config.settings.deadline);
    let mut provision = attempt::remove(tools, &tenant, which, Reason::Operator, deadline).await;
    let next = after_removal(&tenant, which, provision.error.as_ref());
    let next_try = match next {
        Next::In(delay) | Next::Removal(delay) => delay.map(|delay| clock::now() + clock::millis(delay)),
        Next::Stays => tenant.next_try,
    };
    let ended = provision.clone();
    provision.number = tools.store.with(move |db| db.removed(&ended, which, next_try)).await?;
    Ok((provision, next))
}

async fn drop_files(tools: &Tools, id: &TenantId, since: Instant) -> Result<Provision, Fault> {
    let known = id.clone();
    let tenant = tools.store.with(move |db| db.known(&known)).await?;
    let deadline = since + tenant.deadline(tools.config.settings.deadline);
    let (mut provision, gone) = attempt::drop_files(tools, &tenant, Reason::Operator, deadline).await;
    let ended = provision.clone();
    provision.number = tools.store.with(move |db| db.dropped(&ended, &gone)).await?;
    Ok(provision)
}

/// A removal that has to come about is tried again. After another, a tenant that is kept
/// up gets back what it lost until the failure.
fn after_removal(tenant: &Tenant, which: Which, fault: Option<&Fault>) -> Next {
    let Some(fault) = fault else {
        return if which == Which::First { Next::Stays } else { Next::In(None) };
    };
    if tenant.removal_due {
        return Next::Removal(retry::delay(fault.name, tenant.failures + 1, &mut rand::rng()));
    }
    if tenant.keeps_up() {
        return Next::In(Some(BACK));
    }
    Next::In(tenant.next_try.map(|at| Duration::from_millis(at.saturating_sub(clock::now()))))
}

/// One line, in the provision's span, which holds its figures.
fn report(provision: &Provision) {
    let Provision { reason, outcome, keys, ms, steps, warnings, files, .. } = provision;
    let steps: Vec<_> = steps.iter().map(|step| format!("{}={}", step.name, step.ms)).collect();
    let span = Span::current();
    span.record("reason", display(reason)).record("outcome", display(outcome));
    span.record("keys", keys).record("ms", ms).record("steps", steps.join(" "));
    match &provision.error {
        None => tracing::info!(warnings = warnings.len(), files = files.len() + 1, "{outcome}"),
        Some(fault) => tracing::warn!("{fault}"),
    }
}
