//! One attempt to bring a tenant's secrets into its jail: contain, ask the
//! session, start the writer when the pairs are ready, and say what came of it.

use super::Tools;
use crate::agent::users::user_of;
use crate::clock;
use crate::root::Identity;
use crate::session::{MAX_CLOSED, Ticket, Unserved};
use crate::store::{Held, Which};
use crate::tenant::{Placed, Target, Tenant};
use crate::writer::{Failed, Reached, Run};
use colibri_control::{Diff, FileDiff, FileProvision, Outcome, Provision, Reason, Step};
use colibri_pair::{Change, EnvKey, Order, Owner, Report, Verb};
use colibri_session::{Age, Done, Failure, Fetch, Fetched, Fingerprint, Sync, Want};
use colibri_tenant::{ErrorName, Fault, FilePath, FileSettings, MAX_FILES, OnChange, Settings, TenantId};
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
    /// How it ended for the first file alone.
    pub first: Outcome,
    /// What became of the further files.
    pub files: Vec<Placed>,
    /// Those whose content changed.
    pub changed: Vec<FilePath>,
    /// Those that are gone.
    pub gone: Vec<u32>,
}

/// What the writer did, and how many keys the file has.
type Written = (Outcome, u32);

/// What one file's writer said, and the fetcher of it: names of keys, or why there are
/// none. A failure says how far the writer came.
struct Heard {
    report: Result<Report, Fault>,
    reached: Reached,
    said: Option<Result<Vec<String>, Failure>>,
}

/// What was heard of all files, the first's in front, and where it came from.
struct Served {
    files: Vec<Heard>,
    collection_id: Option<String>,
    fingerprint: Option<Fingerprint>,
}

/// What the further files of a tenant came to.
#[derive(Default)]
struct Further {
    files: Vec<Placed>,
    changed: Vec<FilePath>,
    gone: Vec<u32>,
}

/// A record under construction.
struct Record {
    started: Instant,
    last: Instant,
    provision: Provision,
    identity: Option<Identity>,
    shrunken_to: Option<u32>,
    age: Age,
    reached: Reached,
    /// Of the further files that are asked for.
    paths: Vec<FilePath>,
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
            files: Vec::new(),
        };
        Self {
            started,
            last: started,
            provision,
            identity: None,
            shrunken_to: None,
            age: Age::Current,
            reached: Reached::Nothing,
            paths: Vec::new(),
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
        let further = done.outcome.iter().flat_map(|fetched| &fetched.further).take(MAX_FILES);
        let further = further
            .zip(&self.paths)
            .flat_map(|(file, path)| file.warnings.iter().map(move |line| format!("{path}: {line}")));
        let all: Vec<_> = done.warnings.iter().cloned().chain(further).collect();
        self.provision.warnings = warnings(&all);
        match &done.outcome {
            Ok(fetched) => {
                self.age = fetched.age;
                self.shrunken_to = fetched.failed.as_ref().and_then(|failure| failure.shrunken_to);
            }
            Err(failure) => self.shrunken_to = failure.shrunken_to,
        }
    }

    fn attempt(mut self, result: Result<Written, Fault>, held: Option<Held>, further: Further) -> Attempt {
        let identity = self.identity.take();
        let (shrunken_to, age, reached) = (self.shrunken_to, self.age, self.reached);
        let Further { files, changed, gone } = further;
        let mut provision = self.end(result);
        let first = provision.outcome;
        if first == Outcome::Unchanged && !changed.is_empty() {
            provision.outcome = Outcome::Written;
        }
        if provision.error.is_none() {
            provision.error = first_fault(&provision.files);
        }
        Attempt { provision, held, identity, shrunken_to, age, reached, first, files, changed, gone }
    }

    /// How it ended for a further file.
    fn file(&mut self, file: &FilePath, result: Result<Written, Fault>) {
        let (outcome, keys, error) = match result {
            Ok((outcome, keys)) => (outcome, keys, None),
            Err(fault) => (Outcome::Failed, 0, Some(fault)),
        };
        self.provision.files.push(FileProvision { file: file.clone(), outcome, error, keys });
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

/// The first fault of a further file, which names it.
fn first_fault(files: &[FileProvision]) -> Option<Fault> {
    files.iter().find_map(|file| Some(file.error.as_ref()?.of_file(&file.file)))
}

/// Brings the tenant's secrets into its jail.
pub async fn put(tools: &Tools, tenant: &Tenant, reason: Reason, deadline: Instant) -> Attempt {
    let mut record = Record::new(tenant, reason);
    let mut further = Further::default();
    drop_strays(tools, tenant, deadline, &mut record, &mut further).await;
    let fetch = fetch(tenant, reason);
    let heard = fetch_and_write(tools, tenant, tenant, (Verb::Put, fetch), deadline, &mut record).await;
    let mut served = match heard {
        Ok(served) => served,
        Err(fault) => {
            // Whether they are as they were before is as it was before.
            let same = |placed: Placed| Placed { state: placed.state.owing_nothing(), ..placed };
            further.files.extend(tenant.files().map(|(placed, _)| same(placed)));
            return record.attempt(Err(fault), None, further);
        }
    };
    let rest = served.files.split_off(served.files.len().min(1));
    for ((placed, settings), heard) in tenant.files().zip(rest) {
        record_file(placed, settings, heard, &mut record, &mut further);
    }
    let first = served
        .files
        .pop()
        .map_or_else(|| Err(unasked()), |heard| written(heard, (served.collection_id, served.fingerprint)));
    match first {
        Ok((written, held)) => record.attempt(Ok(written), Some(held), further),
        Err(fault) => record.attempt(Err(fault), None, further),
    }
}

fn record_file(
    placed: Placed,
    settings: &FileSettings,
    heard: Heard,
    record: &mut Record,
    further: &mut Further,
) {
    let shrunken = heard.said.as_ref().and_then(|said| said.as_ref().err()).cloned();
    let Placed { id, path, state } = placed;
    let reached = heard.reached;
    let state = match written(heard, (None, None)) {
        Ok((result, held)) => {
            let changed = result.0 == Outcome::Written || state.unsure;
            let own = settings.on_change.as_ref().is_some_and(|action| *action != OnChange::None);
            // The hook comes before the agent, so there is nobody yet to be told.
            let due = changed && own && record.provision.reason != Reason::Hook;
            further.changed.extend(changed.then(|| path.clone()));
            record.file(&path, Ok(result));
            state.succeeded(held.keys, settings, due)
        }
        Err(fault) => {
            let unsure = state.unsure || (reached == Reached::Unknown && fault.name.may_have_written());
            record.file(&path, Err(fault.clone()));
            state.failed(fault, unsure, shrunken.as_ref())
        }
    };
    further.files.push(Placed { id, path, state });
}

/// Unlinks the files that the settings do not have any more.
pub async fn drop_files(
    tools: &Tools,
    tenant: &Tenant,
    reason: Reason,
    deadline: Instant,
) -> (Provision, Vec<u32>) {
    let (mut record, mut further) = (Record::new(tenant, reason), Further::default());
    drop_strays(tools, tenant, deadline, &mut record, &mut further).await;
    record.step("remove");
    let result = match first_fault(&record.provision.files) {
        Some(fault) => Err(fault),
        None if record.provision.files.iter().any(|file| file.outcome == Outcome::Removed) => {
            Ok((Outcome::Removed, 0))
        }
        None => Ok((Outcome::Absent, 0)),
    };
    (record.end(result), further.gone)
}

async fn drop_strays(
    tools: &Tools,
    tenant: &Tenant,
    deadline: Instant,
    record: &mut Record,
    further: &mut Further,
) {
    for stray in tenant.stray() {
        let result = unlink_file(tools, tenant, stray, deadline).await;
        further.gone.extend(result.is_ok().then_some(stray.id));
        record.file(&stray.path, result.map(|outcome| (outcome, 0)));
    }
}

async fn unlink_file(
    tools: &Tools,
    tenant: &Tenant,
    placed: &Placed,
    deadline: Instant,
) -> Result<Outcome, Fault> {
    if placed.state.is_clean() {
        return Ok(Outcome::Absent);
    }
    let target = Target::left(&tenant.settings, placed, tools.config.owner)?;
    let (root, user) = (tools.roots.of(tenant).await?, user_of_files(tools, tenant).await);
    let order = target.given_to(user).order(Verb::Remove, &tenant.id, &root, left(deadline));
    match writer(tools, &tenant.id).run(&order, None, deadline).await {
        Ok(Report::Removed) => Ok(Outcome::Removed),
        Ok(Report::Absent) => Ok(Outcome::Absent),
        Ok(_) => Err(unasked()),
        Err(failed) => Err(failed.fault.of_removal()),
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
    diff.file.extend(tried.stray().map(|placed| format!("{} is removed", placed.path)));
    Ok(diff)
}

/// The first file is `tenant`'s, what it would hold is by `tried`; so are further files.
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
    let mut fetch = Fetch { known_keys: 0, ..fetch(tried, Reason::Operator) };
    fetch.further.iter_mut().for_each(|file| file.known_keys = 0);
    let served = fetch_and_write(tools, &of, tried, (Verb::Compare, fetch), deadline, &mut record).await?;
    let mut heard = served.files.into_iter();
    let first = heard.next().ok_or_else(unasked)?;
    let found = difference(first)?;
    let mut diff = Diff { warnings: record.provision.warnings, ..Diff::of(tenant.id.clone()) };
    (diff.added, diff.removed, diff.changed) = (found.added, found.removed, found.changed);
    (diff.same, diff.intact) = (found.same, found.intact);
    diff.files = tried.files().zip(heard).map(|((placed, _), heard)| file_diff(placed.path, heard)).collect();
    Ok(diff)
}

/// What a comparison found of one file.
#[derive(Default)]
struct Found {
    added: Vec<String>,
    removed: Vec<String>,
    changed: Vec<String>,
    same: u32,
    intact: bool,
}

fn file_diff(file: FilePath, heard: Heard) -> FileDiff {
    let (found, error) =
        difference(heard).map_or_else(|fault| (Found::default(), Some(fault)), |found| (found, None));
    let Found { added, removed, changed, same, intact } = found;
    FileDiff { file, added, removed, changed, same, intact, error }
}

fn difference(heard: Heard) -> Result<Found, Fault> {
    let mut found = Found::default();
    match (heard.report?, heard.said) {
        (Report::Compared { differences, same, intact }, _) => {
            (found.same, found.intact) = (same, intact);
            for (change, key) in differences {
                let keys = match change {
                    Change::Added => &mut found.added,
                    Change::Removed => &mut found.removed,
                    Change::Changed => &mut found.changed,
                };
                keys.push(key.to_string());
            }
        }
        // There is no directory yet: everything is new.
        (Report::Absent, Some(Ok(keys))) => found.added = keys,
        (Report::Absent, Some(Err(failure))) => {
            return Err(Fault::new(failure.name, plain(&failure.message)));
        }
        (Report::Absent, None) => {
            let message = "there is no directory to compare with yet, and too much that would be new";
            return Err(Fault::new(ErrorName::WriteFailed, message));
        }
        _ => return Err(unasked()),
    }
    Ok(found)
}

/// Unlinks the tenant's files.
pub async fn remove(
    tools: &Tools,
    tenant: &Tenant,
    which: Which,
    reason: Reason,
    deadline: Instant,
) -> Provision {
    let mut record = Record::new(tenant, reason);
    let result = unlink(tools, tenant, deadline).await;
    let further = tenant.placed.iter().filter(|_| which == Which::All);
    for placed in further {
        let unlinked = unlink_file(tools, tenant, placed, deadline).await;
        record.file(&placed.path, unlinked.map(|outcome| (outcome, 0)));
    }
    record.step("remove");
    let others = first_fault(&record.provision.files).map_or(Ok(()), Err);
    record.end(result.and_then(|outcome| others.map(|()| (outcome, 0))))
}

async fn unlink(tools: &Tools, tenant: &Tenant, deadline: Instant) -> Result<Outcome, Fault> {
    let (order, _) = match order(tools, tenant, Verb::Remove, deadline).await {
        Err(fault) if fault.name == ErrorName::RootNotMounted && tenant.is_first_clean() => {
            return Ok(Outcome::Absent);
        }
        order => order?,
    };
    match writer(tools, &tenant.id).run(&order, None, deadline).await {
        Ok(Report::Removed) => Ok(Outcome::Removed),
        Ok(Report::Absent) => Ok(Outcome::Absent),
        Ok(_) => Err(unasked()),
        // A place that cannot be entered was asked about while a provision failed there.
        Err(failed) if failed.fault.name == ErrorName::WriteFailed && tenant.is_first_clean() => {
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
    let (mut orders, identity) = orders(tools, tenant, None, verb, deadline).await?;
    Ok((orders.pop().ok_or_else(unasked)?, identity))
}

/// The orders for the first file, and for the further ones that `files` has.
async fn orders(
    tools: &Tools,
    tenant: &Tenant,
    files: Option<&Tenant>,
    verb: Verb,
    deadline: Instant,
) -> Result<(Vec<Order>, Identity), Fault> {
    let root = tools.roots.of(tenant).await?;
    let user = user_of_files(tools, tenant).await;
    let owner = tools.config.owner;
    let mut targets = vec![Target::new(&tenant.settings, owner)?];
    for (placed, file) in files.into_iter().flat_map(Tenant::files) {
        targets.push(Target::further(&tenant.settings, &placed, file, owner)?);
    }
    let order = |target: Target| target.given_to(user).order(verb, &tenant.id, &root, left(deadline));
    Ok((targets.into_iter().map(order).collect(), root.identity().clone()))
}

/// The jail's own user, if it has one.
async fn user_of_files(tools: &Tools, tenant: &Tenant) -> Option<Owner> {
    let actions = tenant.settings.files.values().filter_map(|file| file.on_change.as_ref());
    let mut actions = actions.chain([&tenant.settings.on_change]);
    match tenant.agent_uid {
        Some(uid) => Some(Owner { uid, gid: uid }),
        // It runs as an agent does, and reads the file.
        None if actions.any(|action| matches!(action, OnChange::Command(_))) => {
            user_of(&tools.config, &tools.store, &tenant.id).await.unwrap_or_default()
        }
        None => None,
    }
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

fn writer<'a>(tools: &'a Tools, id: &'a TenantId) -> Run<'a> {
    Run { program: &tools.config.writer, jail: id, leaving: tools.roots.leaving() }
}

/// One question to the vault for all files; the further ones are those of `files`.
async fn fetch_and_write(
    tools: &Tools,
    tenant: &Tenant,
    files: &Tenant,
    (verb, fetch): (Verb, Fetch),
    deadline: Instant,
    record: &mut Record,
) -> Result<Served, Fault> {
    let (orders, identity) = orders(tools, tenant, Some(files), verb, deadline).await?;
    record.identity = Some(identity);
    record.paths = files.settings.files.keys().cloned().collect();
    record.step("contain");
    let descriptors = u32::try_from(orders.len()).unwrap_or(u32::MAX);
    let turn = timeout_at(deadline, tools.turns.acquire_many(descriptors)).await;
    let _turn = turn.map_err(|_| late("no turn came before the deadline"))?;
    record.step("queue");
    for _ in 0..MAX_CLOSED {
        if Instant::now() >= deadline {
            break;
        }
        let (mut jobs, mut theirs) = (Vec::new(), Vec::new());
        for order in &orders {
            let (ours, far) = UnixStream::pair().map_err(|error| unwritten(&error))?;
            if verb == Verb::Compare {
                // See `serve`: the kernel takes what it can.
                let _as_it_is = rustix::net::sockopt::set_socket_send_buffer_size(&far, BUFFER);
            }
            jobs.push((order, OwnedFd::from(ours)));
            theirs.push(OwnedFd::from(far));
        }
        let rest = left(deadline).saturating_sub(MARGIN);
        let fetch = Fetch { deadline_ms: clock::millis(rest), ..fetch.clone() };
        let ticket = match tools.session.fetch(fetch, theirs).await {
            Ok(ticket) => ticket,
            Err(_) => return Err(late("the daemon is ending")),
        };
        match serve(tools, &tenant.id, ticket, jobs, deadline, record).await {
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
        further: tenant
            .files()
            .map(|(it, file)| it.state.fetch(file, tenant.rules_of(file), waited))
            .collect(),
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

/// Serves one ticket, a writer after the other.
async fn serve(
    tools: &Tools,
    tenant: &TenantId,
    ticket: Ticket,
    jobs: Vec<(&Order, OwnedFd)>,
    deadline: Instant,
    record: &mut Record,
) -> Result<Served, NotServed> {
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
    let (mut written, mut held_open) = (Vec::new(), Vec::new());
    for (order, pair) in jobs {
        // A writer that finds no directory to compare with reads nothing: the
        // fetcher's words go into the socket all the same, so that it can be done.
        if order.verb == Verb::Compare {
            held_open.push(pair.try_clone().map_err(|error| unwritten(&error))?);
        }
        written.push(writer(tools, tenant).run(order, Some(pair), deadline + MARGIN).await);
    }
    record.step("write");
    let fetched = timeout_at(Instant::now() + TAIL, &mut done).await.ok().and_then(Result::ok);
    drop(held_open);
    if fetched.is_none() {
        tools.session.overdue(id);
    }
    let served = judge(written, fetched, record);
    record.reached = served.files.first().map_or(Reached::Nothing, |first| first.reached);
    Ok(served)
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

/// What writers and fetcher said, file by file.
fn judge(
    written: Vec<Result<Report, Failed>>,
    fetched: Option<Result<Done, Unserved>>,
    record: &mut Record,
) -> Served {
    let done = fetched.and_then(Result::ok);
    if let Some(done) = &done {
        record.heard(done);
    }
    let outcome = done.map(|done| done.outcome);
    let collection_id = outcome.as_ref().and_then(|it| it.as_ref().ok()).map(|it| plain(&it.collection_id));
    let fingerprint = outcome.as_ref().and_then(|it| it.as_ref().ok()).and_then(|it| it.fingerprint);
    let files = written.into_iter().enumerate();
    let files = files.map(|(place, written)| judge_file(written, said(outcome.as_ref(), place))).collect();
    Served { files, collection_id, fingerprint }
}

/// What the fetcher says of one file; a hostile one may say nothing of it.
fn said(outcome: Option<&Result<Fetched, Failure>>, place: usize) -> Option<Result<Vec<String>, Failure>> {
    let said = match (outcome?, place.checked_sub(1)) {
        (Err(failure), _) => Err(failure.clone()),
        (Ok(Fetched { failed: Some(failure), .. }), None) => Err(failure.clone()),
        (Ok(fetched), None) => Ok(fetched.keys.clone()),
        (Ok(fetched), Some(further)) => fetched.further.get(further)?.outcome.clone(),
    };
    Some(said.map(keys))
}

/// The writer's word counts for the file. For a failure, whoever failed first:
/// a writer that got no commit failed because of the fetcher.
fn judge_file(written: Result<Report, Failed>, said: Option<Result<Vec<String>, Failure>>) -> Heard {
    let reached = written.as_ref().map_or_else(|failed| failed.reached, |_| Reached::Unknown);
    let report = match (written, &said) {
        (Err(failed), Some(Err(failure))) if failed.fault.name == ErrorName::ProtocolViolation => {
            Err(Fault::new(failure.name, plain(&failure.message)))
        }
        (written, _) => written.map_err(Failed::into),
    };
    Heard { report, reached, said }
}

/// Without the fetcher's word the file is in place all the same; the names of
/// its keys then stay as they were known.
fn written(
    heard: Heard,
    (collection_id, fingerprint): (Option<String>, Option<Fingerprint>),
) -> Result<(Written, Held), Fault> {
    let held = match heard.said {
        Some(Ok(keys)) => Held { keys: Some(keys), collection_id, fingerprint },
        _ => Held::default(),
    };
    match heard.report? {
        Report::Written { keys } => Ok(((Outcome::Written, keys), held)),
        Report::Unchanged { keys } => Ok(((Outcome::Unchanged, keys), held)),
        _ => Err(unasked()),
    }
}

fn keys(names: Vec<String>) -> Vec<String> {
    names.into_iter().filter(|key| EnvKey::try_from(key.clone()).is_ok()).collect()
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
