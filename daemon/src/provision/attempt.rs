//! One attempt to bring a tenant's secrets into its jail: contain, ask the
//! session, start the writer when the pairs are ready, and say what came of it.

use super::Tools;
use crate::contain::contain;
use crate::session::{Ticket, Unserved};
use crate::store::Held;
use crate::tenant::{Target, Tenant};
use crate::{clock, writer};
use colibri_control::{ErrorName, Fault, Outcome, Provision, Reason, Step};
use colibri_fetcher::words::{Done, Failure, Fetch, Fetched};
use colibri_ipc::{EnvKey, Report};
use colibri_order::{Order, Verb};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// The fetcher gives up this long before the daemon does.
const MARGIN: Duration = Duration::from_millis(500);
/// How long the fetcher may take to say that it is done, once the file is.
const TAIL: Duration = Duration::from_secs(2);
/// Before a request is asked again because its session closed under it.
const PAUSE: Duration = Duration::from_millis(20);
const FETCH: &str = "fetch";
const MAX_STEPS: usize = 20;
const MAX_WARNINGS: usize = 1000;
const MAX_WARNING: usize = 500;

/// What came of an attempt.
#[derive(Debug)]
pub struct Attempt {
    /// For the history.
    pub provision: Provision,
    /// What the file holds, after a success.
    pub held: Option<Held>,
}

/// What the writer did, and how many keys the file has.
type Written = (Outcome, u32);

/// A record under construction.
struct Record {
    started: Instant,
    last: Instant,
    provision: Provision,
}

impl Record {
    fn new(tenant: &Tenant, reason: Reason) -> Self {
        let started = Instant::now();
        let provision = Provision {
            number: 0,
            tenant: tenant.id.clone(),
            reason,
            at: clock::now(),
            ms: 0,
            outcome: Outcome::Failed,
            error: None,
            keys: 0,
            steps: Vec::new(),
            warnings: Vec::new(),
        };
        Self { started, last: started, provision }
    }

    /// Everything since the last step was this step.
    fn step(&mut self, name: &str) {
        let now = Instant::now();
        self.provision.steps.push(Step { name: name.into(), ms: clock::millis(now - self.last) });
        self.last = now;
    }

    fn heard(&mut self, done: &Done) {
        let steps = done.steps.iter().take(MAX_STEPS).map(|(name, ms)| Step { name: plain(name), ms: *ms });
        // They are the wait for the fetcher in detail.
        if let Some(wait) = self.provision.steps.iter().position(|step| step.name == FETCH)
            && !done.steps.is_empty()
        {
            self.provision.steps.splice(wait..=wait, steps);
        }
        self.provision.warnings = done.warnings.iter().take(MAX_WARNINGS).map(|line| plain(line)).collect();
    }

    fn end(mut self, result: Result<Written, Fault>) -> Provision {
        self.provision.ms = clock::millis(self.started.elapsed());
        match result {
            Ok((outcome, keys)) => (self.provision.outcome, self.provision.keys) = (outcome, keys),
            Err(fault) => self.provision.error = Some(fault),
        }
        self.provision
    }
}

/// Brings the tenant's secrets into its jail.
pub async fn put(tools: &Tools, tenant: &Tenant, reason: Reason, deadline: Instant) -> Attempt {
    let mut record = Record::new(tenant, reason);
    match fetch_and_write(tools, tenant, reason, deadline, &mut record).await {
        Ok((written, held)) => Attempt { provision: record.end(Ok(written)), held: Some(held) },
        Err(fault) => Attempt { provision: record.end(Err(fault)), held: None },
    }
}

/// Unlinks the tenant's file.
pub async fn remove(tools: &Tools, tenant: &Tenant, reason: Reason, deadline: Instant) -> Provision {
    let mut record = Record::new(tenant, reason);
    let result = unlink(tools, tenant, deadline).await;
    record.step("remove");
    record.end(result.map(|outcome| (outcome, 0)))
}

async fn unlink(tools: &Tools, tenant: &Tenant, deadline: Instant) -> Result<Outcome, Fault> {
    // A jail that was deleted took its file with it.
    if !tenant.root.exists() {
        return Ok(Outcome::Absent);
    }
    let order = order(tools, tenant, Verb::Remove, deadline).await?;
    match writer::run(&tools.config.writer, &order, None, deadline).await? {
        Report::Removed => Ok(Outcome::Removed),
        Report::Absent => Ok(Outcome::Absent),
        _ => Err(Fault::new(ErrorName::ProtocolViolation, "the writer answered what was not asked")),
    }
}

/// Contains the root; the tenant's stored root must still be what it was.
async fn order(tools: &Tools, tenant: &Tenant, verb: Verb, deadline: Instant) -> Result<Order, Fault> {
    let (base, root) = (tools.config.base.clone(), tenant.root.clone());
    let contained = tokio::task::spawn_blocking(move || contain(&base, &root))
        .await
        .map_err(|_| Fault::new(ErrorName::TargetEscapesRoot, "the jail root could not be looked at"))??;
    if contained.root() != tenant.root {
        let message = format!("{} leads to {} now", tenant.root.display(), contained.root().display());
        return Err(Fault::new(ErrorName::TargetEscapesRoot, message));
    }
    let target = Target::new(&tenant.settings, tools.config.owner)?;
    Ok(target.order(verb, &contained, deadline.saturating_duration_since(Instant::now())))
}

async fn fetch_and_write(
    tools: &Tools,
    tenant: &Tenant,
    reason: Reason,
    deadline: Instant,
    record: &mut Record,
) -> Result<(Written, Held), Fault> {
    let order = order(tools, tenant, Verb::Put, deadline).await?;
    record.step("contain");
    let turn = timeout_at(deadline, tools.turns.acquire()).await;
    let _turn = turn.map_err(|_| late("no turn came before the deadline"))?;
    record.step("queue");
    while Instant::now() < deadline {
        let (ours, theirs) = UnixStream::pair().map_err(|error| unwritten(&error))?;
        let fetch = fetch(tenant, reason, deadline);
        let ticket = match tools.session.fetch(fetch, theirs.into()).await {
            Ok(ticket) => ticket,
            Err(_) => return Err(late("the daemon is ending")),
        };
        match serve(tools, ticket, &order, ours.into(), deadline, record).await {
            Err(Some(fault)) => return Err(fault),
            Err(None) => sleep(PAUSE).await,
            Ok(served) => return Ok(served),
        }
    }
    Err(late("each session closed before it came to the request"))
}

fn fetch(tenant: &Tenant, reason: Reason, deadline: Instant) -> Fetch {
    let rest = deadline.saturating_duration_since(Instant::now()).saturating_sub(MARGIN);
    let waited = |since: u64| {
        reason == Reason::Operator || clock::now().saturating_sub(since) >= clock::millis(crate::retry::SLOW)
    };
    Fetch {
        id: 0,
        collection: tenant.collection().into(),
        pinned: tenant.collection_id.clone(),
        known_keys: u32::try_from(tenant.keys.len()).unwrap_or(u32::MAX),
        confirm_shrunken: tenant.shrunken_since.is_some_and(waited),
        rules: tenant.rules(),
        deadline_ms: clock::millis(rest),
    }
}

/// Serves one ticket; `Err(None)` means that its session closed before.
async fn serve(
    tools: &Tools,
    ticket: Ticket,
    order: &Order,
    pair: OwnedFd,
    deadline: Instant,
    record: &mut Record,
) -> Result<(Written, Held), Option<Fault>> {
    let Ticket { id, ready, mut done } = ticket;
    let is_ready = match timeout_at(deadline, ready).await {
        Ok(is_ready) => is_ready.is_ok(),
        Err(_) => {
            tools.session.overdue(id);
            return Err(Some(late("the vault's answer did not come before the deadline")));
        }
    };
    record.step(FETCH);
    if !is_ready {
        return Err(Some(unready(done, deadline, record).await?));
    }
    let written = writer::run(&tools.config.writer, order, Some(pair), deadline + MARGIN).await;
    record.step("write");
    let fetched = timeout_at(Instant::now() + TAIL, &mut done).await.ok().and_then(Result::ok);
    if fetched.is_none() {
        tools.session.overdue(id);
    }
    judge(written, fetched, record).map_err(Some)
}

/// Why a request never became ready; `Err(None)` if its session closed.
async fn unready(
    done: tokio::sync::oneshot::Receiver<Result<Done, Unserved>>,
    deadline: Instant,
    record: &mut Record,
) -> Result<Fault, Option<Fault>> {
    match timeout_at(deadline, done).await {
        Ok(Ok(Ok(done))) => {
            record.heard(&done);
            Ok(match done.outcome {
                Err(failure) => Fault::new(failure.name, plain(&failure.message)),
                Ok(_) => Fault::new(ErrorName::ProtocolViolation, "the fetcher was done before it was ready"),
            })
        }
        Ok(Ok(Err(Unserved::Failed(failure)))) => Ok(Fault::new(failure.name, plain(&failure.message))),
        Ok(Ok(Err(Unserved::Closed)) | Err(_)) => Err(None),
        Err(_) => Ok(late("the fetcher did not say why it has nothing")),
    }
}

/// The writer's word counts for the file. For a failure, whoever failed first:
/// a writer that got no commit failed because of the fetcher.
fn judge(
    written: Result<Report, Fault>,
    fetched: Option<Result<Done, Unserved>>,
    record: &mut Record,
) -> Result<(Written, Held), Fault> {
    let done = fetched.and_then(Result::ok);
    if let Some(done) = &done {
        record.heard(done);
    }
    let outcome = done.map(|done| done.outcome);
    match (written, outcome) {
        (Ok(Report::Written { keys }), outcome) => Ok(((Outcome::Written, keys), held(outcome))),
        (Ok(Report::Unchanged { keys }), outcome) => Ok(((Outcome::Unchanged, keys), held(outcome))),
        (Ok(_), _) => Err(Fault::new(ErrorName::ProtocolViolation, "the writer answered what was not asked")),
        (Err(fault), Some(Err(failure))) if fault.name == ErrorName::ProtocolViolation => {
            Err(Fault::new(failure.name, plain(&failure.message)))
        }
        (Err(fault), _) => Err(fault),
    }
}

/// Without the fetcher's word the file is in place all the same; the names of
/// its keys then stay as they were known.
fn held(outcome: Option<Result<Fetched, Failure>>) -> Held {
    let Some(Ok(fetched)) = outcome else { return Held::default() };
    let keys = fetched.keys.into_iter().filter(|key| EnvKey::try_from(key.clone()).is_ok()).collect();
    Held { keys: Some(keys), collection_id: Some(plain(&fetched.collection_id)) }
}

/// A text from the fetcher, which may be hostile, as one bounded line.
fn plain(text: &str) -> String {
    text.chars().take(MAX_WARNING).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn late(message: &str) -> Fault {
    Fault::new(ErrorName::DeadlineExceeded, message)
}

fn unwritten(error: &std::io::Error) -> Fault {
    Fault::new(ErrorName::WriteFailed, format!("cannot make a socket pair: {error}"))
}
