//! One attempt to bring a tenant's secrets into its jail: contain, ask the
//! session, start the writer when the pairs are ready, and say what came of it.

use super::Tools;
use crate::agent::users::user_of;
use crate::clock;
use crate::root::Identity;
use crate::session::{MAX_CLOSED, Ticket, Unserved};
use crate::store::Held;
use crate::tenant::{Target, Tenant};
use crate::writer::{Failed, Reached, Run};
use colibri_control::{Diff, Outcome, Provision, Reason, Step};
use colibri_pair::{Change, EnvKey, Order, Owner, Report, Verb};
use colibri_session::{Age, Done, Failure, Fetch, Fetched, Sync, Want};
use colibri_tenant::{ErrorName, Fault, OnChange, Settings, TenantId};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// The fetcher gives up this long before the daemon does.
const MARGIN: Duration = Duration::from_millis(500);
/// How long the fetcher may take to say that it is done, once the file is.
const TAIL: Duration = Duration::from_secs(5);
/// What a socket should hold of a comparison that nobody reads.
const BUFFER: usize = 1 << 20;
/// Before a request is asked again because its session closed under it.
const PAUSE: Duration = Duration::from_millis(20);
const FETCH: &str = "fetch";
const MAX_STEPS: usize = 20;
/// Warnings are kept up to this, in bytes of one and of all.
const MAX_WARNING: usize = 500;
const MAX_WARNINGS: usize = 32 * 1024;

/// What came of an attempt.
#[derive(Debug)]
pub struct Attempt {
    /// For the history.
    pub provision: Provision,
    /// What the file holds, after a success.
    pub held: Option<Held>,
    /// The root that was looked at; the writer goes on in no other.
    pub identity: Option<Identity>,
    /// How many keys the vault has, where it has many fewer than before.
    pub shrunken_to: Option<u32>,
    /// How new what was brought is.
    pub age: Age,
    /// What a failure left behind.
    pub reached: Reached,
}

/// What the writer did, and how many keys the file has.
type Written = (Outcome, u32);

/// What the writer said, and the fetcher, if it said anything.
type Heard = (Report, Option<Result<Fetched, Failure>>);

/// A record under construction.
struct Record {
    started: Instant,
    last: Instant,
    provision: Provision,
    identity: Option<Identity>,
    shrunken_to: Option<u32>,
    age: Age,
    reached: Reached,
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
        Self {
            started,
            last: started,
            provision,
            identity: None,
            shrunken_to: None,
            age: Age::Current,
            reached: Reached::Nothing,
        }
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
        self.provision.warnings = warnings(&done.warnings);
        match &done.outcome {
            Ok(fetched) => self.age = fetched.age,
            Err(failure) => self.shrunken_to = failure.shrunken_to,
        }
    }

    fn attempt(mut self, result: Result<Written, Fault>, held: Option<Held>) -> Attempt {
        let identity = self.identity.take();
        let (shrunken_to, age, reached) = (self.shrunken_to, self.age, self.reached);
        Attempt { provision: self.end(result), held, identity, shrunken_to, age, reached }
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
    let fetch = fetch(tenant, reason);
    let heard = fetch_and_write(tools, tenant, (Verb::Put, fetch), deadline, &mut record).await;
    match heard.and_then(written) {
        Ok((written, held)) => record.attempt(Ok(written), Some(held)),
        Err(fault) => record.attempt(Err(fault), None),
    }
}

/// Compares the tenant's file with what the vault has.
pub async fn compare(tools: &Tools, tenant: &Tenant, deadline: Instant) -> Result<Diff, Fault> {
    compare_with(tools, tenant, tenant, deadline).await
}

/// Compares the tenant's file with what it would be by other settings. The file is
/// looked for where it is now; where it would be another, that place is tried too.
pub async fn preview(
    tools: &Tools,
    tenant: &Tenant,
    settings: &Settings,
    deadline: Instant,
) -> Result<Diff, Fault> {
    // Another collection was not found before.
    let pinned = tenant.collection_id.clone().filter(|_| settings.same_collection(&tenant.settings));
    let tried = Tenant { settings: settings.clone(), collection_id: pinned, ..tenant.clone() };
    let owner = tools.config.owner;
    let (old, new) = (Target::new(&tenant.settings, owner)?, Target::new(settings, owner)?);
    let mut diff = compare_with(tools, tenant, &tried, deadline).await?;
    diff.file = old.changes(&new);
    if !diff.file.is_empty() {
        compare_with(tools, &tried, &tried, deadline).await?;
        diff.intact = false;
    }
    Ok(diff)
}

/// The file is `tenant`'s, what it would hold is by `tried`.
async fn compare_with(
    tools: &Tools,
    tenant: &Tenant,
    tried: &Tenant,
    deadline: Instant,
) -> Result<Diff, Fault> {
    let mut record = Record::new(tenant, Reason::Operator);
    let mut of = Tenant { settings: tenant.settings.clone(), ..tried.clone() };
    of.settings.allow.clone_from(&tried.settings.allow);
    // All that is there is to be seen: a small answer needs no second look.
    let fetch = Fetch { known_keys: 0, ..fetch(tried, Reason::Operator) };
    let heard = fetch_and_write(tools, &of, (Verb::Compare, fetch), deadline, &mut record).await;
    let diff = difference(&tenant.id, heard?)?;
    Ok(Diff { warnings: record.provision.warnings, ..diff })
}

fn difference(id: &TenantId, heard: Heard) -> Result<Diff, Fault> {
    let mut diff = Diff::of(id.clone());
    match heard {
        (Report::Compared { differences, same, intact }, _) => {
            (diff.same, diff.intact) = (same, intact);
            for (change, key) in differences {
                let keys = match change {
                    Change::Added => &mut diff.added,
                    Change::Removed => &mut diff.removed,
                    Change::Changed => &mut diff.changed,
                };
                keys.push(key.to_string());
            }
        }
        // There is no directory yet: everything is new.
        (Report::Absent, Some(Ok(fetched))) => diff.added = keys(fetched),
        (Report::Absent, _) => {
            let message = "there is no directory to compare with yet, and too much that would be new";
            return Err(Fault::new(ErrorName::WriteFailed, message));
        }
        _ => return Err(unasked()),
    }
    Ok(diff)
}

/// Unlinks the tenant's file.
pub async fn remove(tools: &Tools, tenant: &Tenant, reason: Reason, deadline: Instant) -> Provision {
    let mut record = Record::new(tenant, reason);
    let result = unlink(tools, tenant, deadline).await;
    record.step("remove");
    record.end(result.map(|outcome| (outcome, 0)))
}

async fn unlink(tools: &Tools, tenant: &Tenant, deadline: Instant) -> Result<Outcome, Fault> {
    let (order, _) = match order(tools, tenant, Verb::Remove, deadline).await {
        Err(fault) if fault.name == ErrorName::RootNotMounted && tenant.is_clean() => {
            return Ok(Outcome::Absent);
        }
        order => order?,
    };
    match writer(tools, &tenant.id).run(&order, None, deadline).await {
        Ok(Report::Removed) => Ok(Outcome::Removed),
        Ok(Report::Absent) => Ok(Outcome::Absent),
        Ok(_) => Err(unasked()),
        // A place that cannot be entered was asked about while a provision failed there.
        Err(failed) if failed.fault.name == ErrorName::WriteFailed && tenant.is_clean() => {
            Ok(Outcome::Absent)
        }
        Err(failed) => Err(failed.fault.of_removal()),
    }
}

/// Looks at the tenant's root; the writer is told which directory that is.
async fn order(
    tools: &Tools,
    tenant: &Tenant,
    verb: Verb,
    deadline: Instant,
) -> Result<(Order, Identity), Fault> {
    let root = tools.roots.of(tenant).await?;
    let user = match (tenant.agent_uid, &tenant.settings.on_change) {
        (Some(uid), _) => Some(Owner { uid, gid: uid }),
        // It runs as an agent does, and reads the file.
        (None, OnChange::Command(_)) => {
            user_of(&tools.config, &tools.store, &tenant.id).await.unwrap_or_default()
        }
        (None, _) => None,
    };
    let target = Target::new(&tenant.settings, tools.config.owner)?.given_to(user);
    let time = deadline.saturating_duration_since(Instant::now());
    Ok((target.order(verb, &tenant.id, &root, time), root.identity().clone()))
}

fn writer<'a>(tools: &'a Tools, id: &'a TenantId) -> Run<'a> {
    Run { program: &tools.config.writer, jail: id, leaving: tools.roots.leaving() }
}

async fn fetch_and_write(
    tools: &Tools,
    tenant: &Tenant,
    (verb, fetch): (Verb, Fetch),
    deadline: Instant,
    record: &mut Record,
) -> Result<Heard, Fault> {
    let (order, identity) = order(tools, tenant, verb, deadline).await?;
    record.identity = Some(identity);
    record.step("contain");
    let turn = timeout_at(deadline, tools.turns.acquire()).await;
    let _turn = turn.map_err(|_| late("no turn came before the deadline"))?;
    record.step("queue");
    for _ in 0..MAX_CLOSED {
        if Instant::now() >= deadline {
            break;
        }
        let (ours, theirs) = UnixStream::pair().map_err(|error| unwritten(&error))?;
        if verb == Verb::Compare {
            // See `serve`: the kernel takes what it can.
            let _as_it_is = rustix::net::sockopt::set_socket_send_buffer_size(&theirs, BUFFER);
        }
        let rest = deadline.saturating_duration_since(Instant::now()).saturating_sub(MARGIN);
        let fetch = Fetch { deadline_ms: clock::millis(rest), ..fetch.clone() };
        let ticket = match tools.session.fetch(fetch, theirs.into()).await {
            Ok(ticket) => ticket,
            Err(_) => return Err(late("the daemon is ending")),
        };
        match serve(tools, &tenant.id, ticket, (&order, ours.into()), deadline, record).await {
            Ok(served) => return Ok(served),
            Err(NotServed::Failed(fault)) => return Err(fault),
            Err(NotServed::Closed) => sleep(PAUSE).await,
        }
    }
    Err(late("each session closed before it came to the request"))
}

fn fetch(tenant: &Tenant, reason: Reason) -> Fetch {
    let waited = |since: u64| {
        reason == Reason::Operator || clock::now().saturating_sub(since) >= clock::millis(crate::retry::SLOW)
    };
    Fetch {
        id: 0,
        collection: tenant.collection().into(),
        pinned: tenant.collection_id.clone(),
        chosen: tenant.settings.collection_id.clone(),
        organization: tenant.settings.organization.clone(),
        // Who asks may know that the vault was restored, which bw does not see.
        sync: if reason == Reason::Operator { Sync::Everything } else { Sync::Changes },
        known_keys: u32::try_from(tenant.keys.len()).unwrap_or(u32::MAX),
        // What may have been written without a record may hold other keys.
        held: (!tenant.unsure).then(|| tenant.keys.clone()),
        shrunken_to: tenant.shrunken_since.filter(|since| waited(*since)).and(tenant.shrunken_to),
        rules: tenant.rules(),
        deadline_ms: 0,
        want: Want::Pairs,
    }
}

/// Why a ticket came to nothing.
enum NotServed {
    /// Its session closed before: another may serve it.
    Closed,
    /// It failed.
    Failed(Fault),
}

impl From<Fault> for NotServed {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault)
    }
}

/// Serves one ticket.
async fn serve(
    tools: &Tools,
    tenant: &TenantId,
    ticket: Ticket,
    (order, pair): (&Order, OwnedFd),
    deadline: Instant,
    record: &mut Record,
) -> Result<Heard, NotServed> {
    let Ticket { id, ready, mut done } = ticket;
    let is_ready = match timeout_at(deadline, ready).await {
        Ok(is_ready) => is_ready.is_ok(),
        Err(_) => {
            tools.session.overdue(id);
            return Err(late("the vault's answer did not come before the deadline").into());
        }
    };
    record.step(FETCH);
    if !is_ready {
        return Err(unready(done, deadline, record).await);
    }
    // A writer that finds no directory to compare with reads nothing: the
    // fetcher's words go into the socket all the same, so that it can be done.
    let held_open = (order.verb == Verb::Compare).then(|| pair.try_clone()).transpose();
    let held_open = held_open.map_err(|error| unwritten(&error))?;
    let written = writer(tools, tenant).run(order, Some(pair), deadline + MARGIN).await;
    record.step("write");
    let fetched = timeout_at(Instant::now() + TAIL, &mut done).await.ok().and_then(Result::ok);
    drop(held_open);
    if fetched.is_none() {
        tools.session.overdue(id);
    }
    record.reached = written.as_ref().map_or_else(|failed| failed.reached, |_| Reached::Unknown);
    Ok(judge(written.map_err(Failed::into), fetched, record)?)
}

/// Why a request never became ready.
async fn unready(
    done: tokio::sync::oneshot::Receiver<Result<Done, Unserved>>,
    deadline: Instant,
    record: &mut Record,
) -> NotServed {
    match timeout_at(deadline, done).await {
        Ok(Ok(Ok(done))) => {
            record.heard(&done);
            NotServed::Failed(match done.outcome {
                Err(failure) => Fault::new(failure.name, plain(&failure.message)),
                Ok(_) => Fault::new(ErrorName::ProtocolViolation, "the fetcher was done before it was ready"),
            })
        }
        Ok(Ok(Err(Unserved::Failed(failure)))) => Fault::new(failure.name, plain(&failure.message)).into(),
        Ok(Ok(Err(Unserved::Closed)) | Err(_)) => NotServed::Closed,
        Err(_) => late("the fetcher did not say why it has nothing").into(),
    }
}

/// The writer's word counts for the file. For a failure, whoever failed first:
/// a writer that got no commit failed because of the fetcher.
fn judge(
    written: Result<Report, Fault>,
    fetched: Option<Result<Done, Unserved>>,
    record: &mut Record,
) -> Result<Heard, Fault> {
    let done = fetched.and_then(Result::ok);
    if let Some(done) = &done {
        record.heard(done);
    }
    let outcome = done.map(|done| done.outcome);
    match (written, outcome) {
        (Ok(report), outcome) => Ok((report, outcome)),
        (Err(fault), Some(Err(failure))) if fault.name == ErrorName::ProtocolViolation => {
            Err(Fault::new(failure.name, plain(&failure.message)))
        }
        (Err(fault), _) => Err(fault),
    }
}

fn written((report, outcome): Heard) -> Result<(Written, Held), Fault> {
    match report {
        Report::Written { keys } => Ok(((Outcome::Written, keys), held(outcome))),
        Report::Unchanged { keys } => Ok(((Outcome::Unchanged, keys), held(outcome))),
        _ => Err(unasked()),
    }
}

/// Without the fetcher's word the file is in place all the same; the names of
/// its keys then stay as they were known.
fn held(outcome: Option<Result<Fetched, Failure>>) -> Held {
    let Some(Ok(fetched)) = outcome else { return Held::default() };
    let (collection_id, fingerprint) = (Some(plain(&fetched.collection_id)), fetched.fingerprint);
    Held { keys: Some(keys(fetched)), collection_id, fingerprint }
}

fn keys(fetched: Fetched) -> Vec<String> {
    fetched.keys.into_iter().filter(|key| EnvKey::try_from(key.clone()).is_ok()).collect()
}

/// What is kept of a fetcher's warnings; the last line tells of the rest.
fn warnings(all: &[String]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut room = MAX_WARNINGS;
    for line in all {
        let line = plain(line);
        let Some(left) = room.checked_sub(line.len()) else {
            kept.push(format!("{} more warnings", all.len() - kept.len()));
            break;
        };
        room = left;
        kept.push(line);
    }
    kept
}

/// A text from the fetcher, which may be hostile, as one bounded line.
pub fn plain(text: &str) -> String {
    let end = text.char_indices().nth(MAX_WARNING).map_or(text.len(), |(end, _)| end);
    colibri_tenant::plain(&text[..end])
}

fn unasked() -> Fault {
    Fault::new(ErrorName::ProtocolViolation, "the writer answered what was not asked")
}

fn late(message: &str) -> Fault {
    Fault::new(ErrorName::DeadlineExceeded, message)
}

fn unwritten(error: &std::io::Error) -> Fault {
    Fault::new(ErrorName::WriteFailed, format!("cannot make a socket pair: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_kept_up_to_their_bound_and_the_rest_is_counted() {
        let few = vec!["a\u{1b}[31m\u{202e}".to_owned(), String::new()];
        assert_eq!(warnings(&few), ["a\u{fffd}[31m\u{fffd}", ""]);
        let many = vec!["w".repeat(10_000); 1000];
        let kept = warnings(&many);
        assert_eq!(kept.len(), MAX_WARNINGS / MAX_WARNING + 1);
        assert_eq!(kept[0].len(), MAX_WARNING);
        assert_eq!(kept.last().unwrap(), &format!("{} more warnings", 1000 - (kept.len() - 1)));
    }
}
