//! A request's turn, from its first step to its answer. It is gone through from the top
//! after each piece of work: what is known already is passed over.

use super::{
    Collections, Fetched, Listed, Moment, Outcome, Request, Scope, Session, Stage, Stop, Work, asked,
};
use crate::answer::{Attachment, Collection, Item};
use crate::answer_check::{Seen, Verdict};
use crate::choice::{self, Chosen};
use crate::files;
use crate::item::is_wanted;
use crate::stored::counts;
use crate::warnings::quoted;
use colibri_pair::{MAX_VALUE, Secret};
use colibri_session::{Age, Failure, Fetch, States, Sync, Want};
use colibri_tenant::ErrorName::{
    AttachmentUnreadable, CollectionAmbiguous, CollectionNotFound, CollectionReplaced, LimitExceeded,
    RateLimited, ValueNotCarried, VaultError, VaultTimeout,
};
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// With so many requests waiting, one list of all items is less work than each's own.
const CROWD: usize = 24;
/// A collection that is missing from the same list as before is looked for in all of
/// the vault this seldom.
const LOOK_AGAIN: Duration = Duration::from_secs(3600);
/// After a forced sync its list confirms what it shows for so long.
const RECENT: Duration = Duration::from_secs(60);
/// Most attachments of one collection: each is two requests to the vault.
const MAX_FILES: usize = 64;
/// What encryption adds to a file at most, in bytes.
const MAX_WRAPPING: usize = 1 + 16 + 32 + 16;
/// What takes longer is not begun for a request that has less left.
const SLOW: Duration = Duration::from_millis(500);

/// How far a request has come.
#[derive(Debug, Default)]
pub struct Turn {
    begun: bool,
    /// `bw serve` ran when it began.
    pub(super) warm: bool,
    /// What was put right for it.
    pub(super) repairs: u32,
    pub(super) limited: bool,
    pub(super) warnings: Vec<String>,
    pub(super) listed: Option<Listed<Item>>,
    weighed: bool,
    /// All of the vault was fetched for it, or to look for its collection.
    whole: bool,
    forced: bool,
    /// Of which `bw serve` the rest is.
    epoch: u64,
    age: Option<Age>,
    collection: Option<Collection>,
    items: Option<Vec<Item>>,
}

/// Where a request's collection is.
enum Found {
    Here(Collection),
    /// Perhaps in what only a sync of everything brings.
    Unseen,
    Nowhere(Failure),
}

impl Turn {
    /// What another `bw serve` found does not count.
    fn of(&mut self, epoch: u64) {
        if std::mem::replace(&mut self.epoch, epoch) != epoch {
            (self.age, self.collection, self.listed, self.items) = (None, None, None, None);
            self.warnings.clear();
        }
    }
}

impl Session {
    /// Goes on with a request until it is answered, or something has to be done first.
    pub(super) fn turn(&mut self, head: &mut Request, now: Moment) -> Result<Fetched, Stop> {
        head.turn.of(self.epoch);
        self.admit(head, now)?;
        if let Some(states) = self.states(head) {
            return Ok(Fetched { states: Some(states), ..self.fetched(String::new(), Age::Current) });
        }
        self.weigh(head)?;
        self.open(Some(head), now)?;
        let age = self.ask(head, now)?;
        if self.outdated {
            return Err(Stop::Do(Work::Read));
        }
        if head.fetch.want != Want::Pairs {
            head.steps.begin("collections", now);
            let Collections { all, warning } =
                self.collections.as_ref().ok_or(Stop::Do(Work::Collections))?;
            head.turn.warnings.extend(warning.clone());
            return Ok(Fetched { names: Some(choice::names(all)), ..self.fetched(String::new(), age) });
        }
        self.find(head, now)?;
        self.list(head, now)?;
        self.whole(head)?;
        self.attach(head, now)?;
        self.build(head, age)
    }

    fn fetched(&self, collection_id: String, age: Age) -> Fetched {
        let fingerprint = self.stored.as_ref().and_then(|stored| stored.fingerprint(&collection_id));
        let (bw_version, files, warnings) = (self.version.clone(), Vec::new(), Vec::new());
        let (names, states, seen) = (None, None, self.seen);
        Fetched { collection_id, age, files, warnings, bw_version, names, seen, fingerprint, states }
    }

    /// The states of all collections, once the vault was asked for changes: whether a new
    /// `bw serve` has to list what changed is for those to wait for who want it.
    fn states(&self, head: &Request) -> Option<States> {
        let current = self.synced.is_some_and(|synced| synced >= head.arrived) && !self.outdated;
        let wanted = head.fetch.want == Want::States && current;
        self.stored.as_ref().filter(|_| wanted).map(|stored| stored.states())
    }

    /// A vault that must be left alone is, and so is a list that was too large a moment ago:
    /// the sync and the lists before it cost the others a moment, too.
    fn admit(&mut self, head: &mut Request, now: Moment) -> Result<(), Stop> {
        if let Some(refused) = self.refused.as_ref().filter(|refused| now < refused.until) {
            return Err(refused.failure.clone().into());
        }
        let apart = Duration::from_millis(self.terms.bounds.large_ms);
        self.too_large.retain(|_, at| now.saturating_sub(*at) < apart);
        if self.too_large.contains_key(&asked(&head.fetch)) {
            let why = format!("bw's answer was over its bound within the last {} s", apart.as_secs());
            return Err(Failure::new(LimitExceeded, why).into());
        }
        if !std::mem::replace(&mut head.turn.begun, true) {
            head.turn.warm = self.stage.runs();
        }
        Ok(())
    }

    fn weigh(&mut self, head: &mut Request) -> Result<(), Stop> {
        let due = !std::mem::replace(&mut head.turn.weighed, true) && self.stage.runs();
        if due { Err(Stop::Do(Work::Weigh)) } else { Ok(()) }
    }

    /// Whether `bw serve` has leaked, or may have leaked, enough; while somebody waits,
    /// twice as much.
    pub(super) fn weighed(&mut self, memory: Option<u64>) {
        let waited_for = self.head.is_some();
        let bounds = self.terms.bounds;
        let most = if waited_for { bounds.growth.saturating_mul(2) } else { bounds.growth };
        let growth = memory.map(|memory| memory.saturating_sub(*self.first_memory.get_or_insert(memory)));
        if self.requests >= bounds.requests || growth.is_some_and(|growth| growth >= most) {
            let said = format!("bw serve is worn out after {} requests: replacing it", self.requests);
            self.say(said);
            self.restart(Stage::LoggedIn);
            self.starting = true;
        }
    }

    /// Syncs, unless there was a sync since the request came. While the vault limits
    /// logins, what the last sync brought is given.
    fn ask(&mut self, head: &mut Request, now: Moment) -> Result<Age, Stop> {
        if let Some(age) = head.turn.age {
            return Ok(age);
        }
        let everything = head.fetch.sync == Sync::Everything && self.may_look_again(now);
        let whole = !head.turn.whole && (everything || self.may_have_missed(now));
        let age = match self.current {
            _ if !whole && self.synced.is_some_and(|synced| synced >= head.arrived) => Age::Current,
            _ if !self.is_limited(now) => {
                head.steps.begin("sync", now);
                head.turn.whole |= whole;
                return Err(Stop::Do(Work::Sync(if whole { Scope::Whole } else { Scope::Changes })));
            }
            None => return Err(Failure::new(RateLimited, "the vault limits logins").into()),
            Some(current) => {
                head.turn.warnings.push(format!(
                    "the vault limits logins, and to bring changes is one: this is what it held {} s ago",
                    now.saturating_sub(current).as_secs()
                ));
                Age::Stale
            }
        };
        Ok(*head.turn.age.insert(age))
    }

    /// Whether `bw` may not have seen a change for long, if its clock is ahead.
    fn may_have_missed(&self, now: Moment) -> bool {
        self.is_whole_since(self.terms.bounds.whole_ms, now) && self.may_force(now)
    }

    /// Whether it is long enough ago that all of the vault was fetched.
    fn may_look_again(&self, now: Moment) -> bool {
        self.is_whole_since(self.terms.bounds.again_ms, now) && self.may_force(now)
    }

    fn is_whole_since(&self, bound_ms: u64, now: Moment) -> bool {
        self.whole.is_some_and(|whole| now.saturating_sub(whole) >= Duration::from_millis(bound_ms))
    }

    /// It costs a login.
    fn may_force(&self, now: Moment) -> bool {
        let again = Duration::from_millis(self.terms.bounds.forced_ms);
        !self.is_limited(now) && self.forced.is_none_or(|forced| now.saturating_sub(forced) >= again)
    }

    /// Until all of the vault may be fetched again, in seconds.
    fn until_forced(&self, now: Moment) -> u64 {
        let again = Duration::from_millis(self.terms.bounds.forced_ms);
        let ends = self.forced.map(|at| at.saturating_add(again)).into_iter().chain(self.limited);
        ends.max().unwrap_or_default().saturating_sub(now).as_secs() + 1
    }

    /// The collections came. Their list counts when it is as stored.
    pub(super) fn listed(&mut self, listed: Listed<Collection>, now: Moment) {
        let ids = listed.data.iter().map(|one| one.id.as_str()).collect();
        let seen = Seen { list: "", ids, digest: listed.digest };
        let stored = self.stored.as_ref().map(|stored| stored.collections());
        let warning = match self.checks.judge(&seen, stored.as_ref()) {
            Verdict::Sound => None,
            Verdict::Warned(warning) => Some(warning),
            Verdict::Again => {
                (self.outdated, self.torn) = (self.stored.is_some(), 0);
                self.paused = Some(now + super::PAUSE);
                return;
            }
            Verdict::Renew => return self.restart(Stage::LoggedIn),
            Verdict::Failed(failure) => return self.failed(failure, now),
        };
        let all: BTreeSet<_> = listed.data.iter().map(|one| (&one.id, &one.name)).collect();
        let mut hasher = DefaultHasher::new();
        all.hash(&mut hasher);
        self.seen = hasher.finish();
        self.collections = Some(Collections { all: listed.data, warning });
    }

    /// A collection that is missing, or in whose place there is another of its name, is
    /// looked for once more after a forced sync.
    fn find(&mut self, head: &mut Request, now: Moment) -> Result<(), Stop> {
        if head.turn.collection.is_some() {
            return Ok(());
        }
        head.steps.begin("collections", now);
        let Collections { all, warning } = self.collections.as_ref().ok_or(Stop::Do(Work::Collections))?;
        // What was listed before the forced sync and is as it was, that has shown, too.
        if std::mem::take(&mut self.confirming) {
            self.confirmed = Some(all.iter().map(|one| one.id.clone()).collect());
        }
        let known = self.organizations.as_deref().unwrap_or_default();
        let chosen = choice::choose(all, known, &head.fetch);
        let ambiguous = chosen.as_ref().is_err_and(|failure| failure.name == CollectionAmbiguous);
        if self.organizations.is_none() && (ambiguous || head.fetch.organization.is_some()) {
            return Err(Stop::Do(Work::Organizations));
        }
        let forced = head.turn.forced;
        let found = match chosen {
            Ok(Chosen::Known(collection)) => Found::Here(collection),
            Ok(Chosen::Other(collection)) if forced || self.is_confirmed(&collection, &head.fetch, now) => {
                head.turn.warnings.push(choice::other(&collection));
                Found::Here(collection)
            }
            Ok(Chosen::Other(_)) if self.may_force(now) => Found::Unseen,
            Ok(Chosen::Other(collection)) => Found::Nowhere(Failure::new(
                CollectionReplaced,
                format!(
                    "{}: it is followed by itself, in {} s at the earliest, when all of the vault may be \
                     fetched again",
                    choice::other(&collection),
                    self.until_forced(now)
                ),
            )),
            Err(failure)
                if failure.name == CollectionNotFound
                    && !forced
                    && self.may_force(now)
                    && !self.has_looked(now) =>
            {
                Found::Unseen
            }
            Err(failure) => Found::Nowhere(failure),
        };
        head.turn.warnings.extend(warning.clone());
        match found {
            Found::Here(collection) => head.turn.collection = Some(collection),
            Found::Nowhere(failure) => return Err(failure.into()),
            Found::Unseen => {
                head.turn.warnings.clear();
                head.turn.forced = true;
                return Err(Stop::Do(Work::Sync(Scope::Whole)));
            }
        }
        Ok(())
    }

    /// Whether a forced sync for another tenant has just shown it, and not the one that
    /// was before.
    fn is_confirmed(&self, collection: &Collection, fetch: &Fetch, now: Moment) -> bool {
        let Some(confirmed) = &self.confirmed else { return false };
        let missing = fetch.pinned.as_ref().is_some_and(|id| !confirmed.contains(id));
        self.is_forced_within(RECENT, now) && missing && confirmed.contains(&collection.id)
    }

    /// Whether a forced sync has shown just these collections not long ago: another would
    /// cost everybody its time, and a login, and show no more.
    fn has_looked(&self, now: Moment) -> bool {
        let listed: BTreeSet<_> = self.collections.iter().flat_map(|it| &it.all).map(|one| &one.id).collect();
        let confirmed = self.confirmed.as_ref().is_some_and(|confirmed| confirmed.iter().eq(listed));
        self.is_forced_within(LOOK_AGAIN, now) && confirmed
    }

    fn is_forced_within(&self, time: Duration, now: Moment) -> bool {
        self.forced.is_some_and(|forced| now.saturating_sub(forced) < time)
    }

    fn list(&mut self, head: &mut Request, now: Moment) -> Result<(), Stop> {
        let (Some(collection), None) = (&head.turn.collection, &head.turn.items) else { return Ok(()) };
        let id = &collection.id;
        head.steps.begin("items", now);
        if let Some(listed) = head.turn.listed.take() {
            return self.check(head, listed);
        }
        if self.stored.is_some()
            && self.everything.is_none()
            && !self.in_parts
            && self.queue.len() + 1 >= CROWD
        {
            return Err(Stop::Do(Work::Everything));
        }
        // Of all items its part counts as it is stored; else it is asked for by itself.
        let part = self.everything.as_mut().and_then(|all| all.take(id));
        let stored = self.stored.as_ref().map(|stored| stored.items(id));
        match part.filter(|part| Some(ids(part, id)) == stored) {
            Some(part) => head.turn.items = Some(part),
            None => return Err(self.own(head, Work::Items(id.clone()), now)),
        }
        Ok(())
    }

    fn check(&mut self, head: &mut Request, listed: Listed<Item>) -> Result<(), Stop> {
        let Some(Collection { id, .. }) = &head.turn.collection else { return Ok(()) };
        let Listed { mut data, digest } = listed;
        let stored = self.stored.as_ref().map(|stored| stored.items(id));
        let seen = Seen { list: id, ids: ids(&data, id), digest };
        match self.checks.judge(&seen, stored.as_ref()) {
            Verdict::Sound => {}
            Verdict::Warned(warning) => head.turn.warnings.push(warning),
            Verdict::Again => {
                (self.outdated, self.torn) = (self.stored.is_some(), 0);
                return Err(Stop::Pause);
            }
            Verdict::Renew => {
                self.restart(Stage::LoggedIn);
                return Err(Stop::Do(Work::Kill));
            }
            Verdict::Failed(failure) if failure.name == VaultError => return Err(Stop::Broken(failure)),
            Verdict::Failed(failure) => return Err(failure.into()),
        }
        data.retain(|item| item.collection_ids.iter().any(|one| one == id));
        head.turn.items = Some(data);
        Ok(())
    }

    /// What is stored of an item and not listed cannot be decrypted: it is not empty.
    fn whole(&self, head: &Request) -> Result<(), Stop> {
        let (Some(stored), Some(collection)) = (&self.stored, &head.turn.collection) else { return Ok(()) };
        let items = head.turn.items.as_deref().unwrap_or_default();
        for rules in files::rules(&head.fetch) {
            stored.whole(&collection.id, items, rules)?;
        }
        Ok(())
    }

    /// A piece of work that is of use to this request alone: it is not begun where it
    /// took longer than the request has left. A machine that was slow then may not be
    /// now, so what is believed of it is less each time.
    fn own(&mut self, head: &Request, work: Work, now: Moment) -> Stop {
        let key = work.of_one_request().unwrap_or_default();
        let Some(took) = self.took.get_mut(key) else { return Stop::Do(work) };
        if now.saturating_add(*took) < head.deadline {
            return Stop::Do(work);
        }
        *took /= 2;
        if *took < SLOW {
            self.took.remove(key);
        }
        let step = head.steps.current();
        Failure::new(
            VaultTimeout,
            format!("`{step}` did not end in time before, and takes longer than there is left"),
        )
        .into()
    }

    /// A piece of work for one request took so long.
    pub(super) fn took(&mut self, key: &str, time: Duration) {
        if time >= SLOW {
            self.took.insert(key.to_owned(), time);
        } else {
            self.took.remove(key);
        }
    }

    /// An answer was over its bound: its tenant's trouble, but a `bw serve` that was not
    /// heard to the end does not take another request.
    pub(super) fn too_large(&mut self, work: &Work, spent: bool, now: Moment) {
        let failure = Failure::new(LimitExceeded, "bw's answer is over its bound");
        match (work, self.stage) {
            (Work::Everything, _) => self.in_parts = true,
            (Work::Items(_) | Work::Collections | Work::Organizations, Stage::Open) => {
                if let Some(head) = self.head.take() {
                    if matches!(work, Work::Items(_)) {
                        self.too_large.insert(asked(&head.fetch), now);
                    }
                    self.answer(head, Err(failure), now);
                }
            }
            _ => self.failed(failure, now),
        }
        if spent {
            self.restart(Stage::LoggedIn);
        }
    }

    /// Fetches what is in the attachments that become pairs, one by one.
    fn attach(&mut self, head: &mut Request, now: Moment) -> Result<(), Stop> {
        if !files::rules(&head.fetch).any(|rules| rules.attachments) {
            return Ok(());
        }
        head.steps.begin("attachments", now);
        let items = head.turn.items.as_deref().unwrap_or_default();
        if wanted(items, &head.fetch).count() > MAX_FILES {
            let message = format!("more than {MAX_FILES} attachments in one collection");
            return Err(Failure::new(LimitExceeded, message).into());
        }
        let Some((item, file, label)) = next_file(head) else { return Ok(()) };
        // Its size is known before it is fetched; a vault that lies is found out later.
        let size = file.size.as_deref().and_then(|size| size.parse().ok()).unwrap_or(0_usize);
        if size > MAX_VALUE + MAX_WRAPPING {
            return Err(large(&label).into());
        }
        let work = Work::Attachment { item, file: file.id.clone() };
        Err(self.own(head, work, now))
    }

    /// A file came, or did not: that is about this file, the session is as good as before.
    pub(super) fn attached(&mut self, outcome: Outcome, now: Moment) {
        // Who asked may have gone.
        let Some(mut head) = self.head.take() else { return };
        let Some((_, file, label)) = next_file(&mut head) else { return };
        let content = match outcome {
            Outcome::File(bytes) if bytes.len() > MAX_VALUE => Err(large(&label)),
            Outcome::File(bytes) => text(&bytes, &label),
            Outcome::Failed(failure) if failure.name == VaultError => {
                Err(Failure::new(AttachmentUnreadable, format!("{label}: {failure}")))
            }
            Outcome::TooLarge { spent } => {
                if spent {
                    self.restart(Stage::LoggedIn);
                }
                Err(large(&label))
            }
            other => {
                self.head = Some(head);
                let unknown = || Failure::new(VaultError, "bw's answer is of no form that is known");
                let failure = if let Outcome::Failed(failure) = other { failure } else { unknown() };
                return self.failed(failure, now);
            }
        };
        match content {
            Ok(content) => {
                file.content = Some(content);
                self.head = Some(head);
            }
            Err(failure) => self.answer(head, Err(failure), now),
        }
    }

    fn build(&mut self, head: &mut Request, age: Age) -> Result<Fetched, Stop> {
        let items = head.turn.items.take().unwrap_or_default();
        let files = files::build(items, &head.fetch, age, &mut head.turn.warnings)?;
        let id = head.turn.collection.take().map(|collection| collection.id).unwrap_or_default();
        Ok(Fetched { files, ..self.fetched(id, age) })
    }
}

/// The ids of those in the collection that can become pairs.
fn ids<'a>(items: &'a [Item], collection: &str) -> BTreeSet<&'a str> {
    let gone = |item: &Item| item.deleted_date.is_some() || item.archived_date.is_some();
    let within = |item: &&Item| item.collection_ids.iter().any(|id| id == collection);
    let found = items.iter().filter(within).filter(|item| counts(item.r#type, gone(item)));
    found.map(|item| item.id.as_str()).collect()
}

/// The attachments that become pairs, by their places: an item's, and that in it.
fn wanted<'a>(items: &'a [Item], fetch: &'a Fetch) -> impl Iterator<Item = (usize, usize)> + 'a {
    let alive = |(_, item): &(usize, &Item)| item.deleted_date.is_none() && item.archived_date.is_none();
    items.iter().enumerate().filter(alive).flat_map(move |(at, item)| {
        let files = item.attachments.iter().enumerate();
        let taken = |file: &Attachment| files::rules(fetch).any(|rules| is_wanted(&item.name, file, rules));
        files.filter(move |(_, file)| taken(file)).map(move |(file, _)| (at, file))
    })
}

/// The first of them that was not fetched, and what it is called.
fn next_file(head: &mut Request) -> Option<(String, &mut Attachment, String)> {
    let items = head.turn.items.as_mut()?;
    let missing = |&(item, file): &(usize, usize)| {
        items.get(item).and_then(|it| it.attachments.get(file)).is_some_and(|it| it.content.is_none())
    };
    let (item, file) = wanted(items, &head.fetch).find(missing)?;
    let item = items.get_mut(item)?;
    let (id, of) = (item.id.clone(), quoted(&item.name));
    let file = item.attachments.get_mut(file)?;
    let label = format!("attachment {} of item {of}", quoted(file.file_name.as_deref().unwrap_or_default()));
    Some((id, file, label))
}

fn large(label: &str) -> Failure {
    Failure::new(LimitExceeded, format!("{label} is over {MAX_VALUE} bytes"))
}

fn text(bytes: &[u8], label: &str) -> Result<Secret, Failure> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(Secret::new(text.to_owned())),
        _ => Err(Failure::new(ValueNotCarried, format!("{label} is no text"))),
    }
}
