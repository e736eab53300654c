//! The vault session: one login, one `bw serve`, one unlock for every request,
//! and what is done about the known faults of `bw serve`.

use crate::belief::{self, Chosen};
use crate::cage::{Cage, Output};
use crate::doubts::{Difference, Doubts, MAX_RENEWALS, Weighed};
use crate::serve::Serve;
use crate::steps::Steps;
use crate::store::{Names, Store};
use crate::version;
use colibri_pair::{MAX_VALUE, Secret};
use colibri_session::{
    self as words, Age, Bounds, Failure, Fetch, Rules, Server, SessionState, Sync, Vault, Want,
};
use colibri_tenant::ErrorName::{
    AttachmentUnreadable, BadCredentials, BwCrashed, ClientTooOld, CollectionAmbiguous, CollectionNotFound,
    CollectionReplaced, CollectionUnreadable, DeadlineExceeded, LimitExceeded, RateLimited, ServerMismatch,
    ValueNotCarried, VaultError, VaultLocked, VaultTimeout, VaultUnreachable,
};
use colibri_vault::answer::{
    self, Answer, Anything, Attachment, Collection, Item, List, Organization, Status,
};
use colibri_vault::classify;
use colibri_vault::everything::Everything;
use colibri_vault::item::is_wanted;
use colibri_vault::pairs::{self, Built};
use colibri_vault::warnings::quoted;
use hyper::Method;
use serde::de::DeserializeOwned;
use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::ErrorKind;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Instant, sleep, timeout_at};
use zeroize::Zeroizing;

/// How often a list is asked for until two answers in a row agree, and agree
/// with what is stored.
const MAX_LISTS: u32 = 6;
/// Between a list that is empty or doubted and the question whether it is true.
const PAUSE: Duration = Duration::from_millis(250);
/// How often what is stored is read until it is whole.
const MAX_READS: u32 = 5;
/// Longest time for an unlock, which takes a second. `bw` hangs in it for ever
/// when the vault failed in the middle of the login.
const UNLOCK: Duration = Duration::from_secs(30);
/// After the vault limited or refused a login, none is tried for this long.
const PENALTY: Duration = Duration::from_secs(60);
/// With so many requests waiting, one list of all items is less work than each's own.
const CROWD: usize = 24;
/// A collection that is missing from the same list as before is looked for in all of
/// the vault this seldom.
const LOOK_AGAIN: Duration = Duration::from_secs(3600);
/// Most attachments of one collection: each is two requests to the vault.
const MAX_FILES: usize = 64;
/// What encryption adds to a file at most, in bytes.
const MAX_WRAPPING: usize = 1 + 16 + 32 + 16;
/// Fetches all of the vault, and costs a login at the server.
const FORCED: &str = "/sync?force=true";

/// The session.
#[derive(Debug)]
pub struct Session {
    cage: Cage,
    server: Option<Server>,
    vault: Vault,
    version: String,
    state: SessionState,
    states: UnboundedSender<SessionState>,
    serve: Option<Serve>,
    synced: Option<Instant>,
    current: Option<Instant>,
    /// The vault limits logins, and to bring a change is one: it is not asked for
    /// changes until then.
    limited: Option<Instant>,
    forced: Option<Instant>,
    whole: Option<Instant>,
    store: Stored,
    readable: bool,
    /// Good for as long as what is stored stays the same.
    collections: Option<Vec<Collection>>,
    /// The same, while requests wait.
    everything: Option<Everything>,
    /// A list of all items is over the bound of an answer.
    in_parts: bool,
    /// Asked for where a collection's name does not tell which is meant.
    organizations: Option<Vec<Organization>>,
    /// What was asked for whose items were over the bound, and when.
    too_large: HashMap<Asked, Instant>,
    /// The ids of those that the last forced sync brought.
    confirmed: Option<BTreeSet<String>>,
    names: Names,
    /// The collections were listed with a warning.
    names_doubted: bool,
    doubts: Doubts,
    refused: Option<Refused>,
}

/// What `bw` has stored since the last sync.
#[derive(Debug)]
enum Stored {
    /// With what was stored before, where that was read.
    Unread(Option<Store>),
    Read(Store),
    /// In a form that is not known: its lists are believed as they are.
    Unknown,
}

impl Stored {
    /// It may be otherwise now.
    fn outdate(&mut self) {
        let before = match std::mem::replace(self, Self::Unread(None)) {
            Self::Read(store) | Self::Unread(Some(store)) => Some(store),
            Self::Unread(None) | Self::Unknown => None,
        };
        *self = Self::Unread(before);
    }
}

/// A start that failed. It answers those who waited for it, too.
#[derive(Debug)]
struct Refused {
    at: Instant,
    until: Instant,
    failure: Failure,
}

/// What a request gets.
#[derive(Debug)]
pub struct Fetched {
    /// The collection's id.
    pub collection_id: String,
    /// Whether the vault was asked for changes.
    pub age: Age,
    /// Its pairs and warnings.
    pub built: Built,
    /// The `bw` version.
    pub bw_version: String,
    /// All collections' names, where those were asked for.
    pub names: Option<words::Names>,
    /// Another number where the account sees other collections.
    pub seen: u64,
}

/// When a request came and until when it must be answered.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// Its arrival.
    pub arrived: Instant,
    /// Its end.
    pub deadline: Instant,
    /// How many requests wait when its turn comes, with itself.
    pub waiting: usize,
}

impl Span {
    /// Nothing is begun for a request that has been answered by its end.
    fn goes_on(self) -> Result<(), Failure> {
        let over = || Failure::new(DeadlineExceeded, "the request is over");
        (Instant::now() < self.deadline).then_some(()).ok_or_else(over)
    }
}

/// Which collection a request asks for: its name, the id that it must have, the
/// operator's choice of an id, and of an organization.
type Asked = (String, [Option<String>; 3]);

fn asked(fetch: &Fetch) -> Asked {
    let Fetch { collection, pinned, chosen, organization, .. } = fetch.clone();
    (collection, [pinned, chosen, organization])
}

impl Session {
    /// A session that has not begun. `server` is `None` for `bw`'s default.
    pub fn new(
        cage: Cage,
        server: Option<Server>,
        vault: Vault,
        version: Option<String>,
        states: UnboundedSender<SessionState>,
    ) -> Self {
        Self {
            cage,
            server,
            vault,
            version: version.unwrap_or_default(),
            state: SessionState::LoggedOut,
            states,
            serve: None,
            synced: None,
            current: None,
            limited: None,
            forced: None,
            whole: None,
            store: Stored::Unread(None),
            readable: true,
            collections: None,
            everything: None,
            in_parts: false,
            organizations: None,
            too_large: HashMap::new(),
            confirmed: None,
            names: Names::new(),
            names_doubted: false,
            doubts: Doubts::default(),
            refused: None,
        }
    }

    /// Answers one request. A vault that locked, a token that expired and a
    /// `bw` that died are put right once each; a vault that does not accept a new
    /// session either is then left alone for a while.
    ///
    /// Each step has a bound of its own, in [`Bounds`](colibri_session::Bounds), and is
    /// not cut short at the request's deadline: whoever waits stops waiting then, and
    /// what was begun is there for the others.
    ///
    /// # Errors
    /// By name; `DeadlineExceeded` when the request is over before the next step.
    pub async fn fetch(&mut self, fetch: &Fetch, span: Span, steps: &Steps) -> Result<Fetched, Failure> {
        let result = self.served(fetch, span, steps).await;
        result.map_err(|failure| self.cage.explain(failure))
    }

    async fn served(&mut self, fetch: &Fetch, span: Span, steps: &Steps) -> Result<Fetched, Failure> {
        let refused = self.refused.as_ref();
        if let Some(refused) = refused.filter(|it| span.arrived <= it.at || Instant::now() < it.until) {
            return Err(refused.failure.clone());
        }
        // The sync and the lists before it cost the others a moment, too.
        let apart = Duration::from_millis(self.bounds().large_ms);
        if self.too_large.get(&asked(fetch)).is_some_and(|at| at.elapsed() < apart) {
            let why = format!("bw's answer was over its bound within the last {} s", apart.as_secs());
            return Err(Failure::new(LimitExceeded, why));
        }
        let warm = self.serve.is_some();
        let mut result = self.renewing_attempt(fetch, span, steps).await;
        let mut anew = false;
        for state in [SessionState::LoggedIn, SessionState::LoggedOut] {
            let Err(failure) = &result else { break };
            let session_is_to_blame = match failure.name {
                VaultLocked => self.state != SessionState::LoggedOut,
                BwCrashed | VaultError => warm && state == SessionState::LoggedIn,
                _ => false,
            };
            if session_is_to_blame {
                span.goes_on()?;
                tracing::warn!(%failure, "starting again");
                self.fall_back(state).await?;
                self.refused = None;
                anew = state == SessionState::LoggedOut;
                result = self.renewing_attempt(fetch, span, steps).await;
            }
        }
        if result.as_ref().is_err_and(|failure| failure.name == RateLimited) && self.current.is_some() {
            // bw serve ends by it, a moment later; what it had can be read without
            // asking the vault.
            self.fall_back(SessionState::LoggedIn).await?;
            result = self.renewing_attempt(fetch, span, steps).await;
        }
        if let Err(failure) = &result {
            let left_alone = match failure.name {
                // Without a login what is there can be read.
                RateLimited => !self.is_open() || self.current.is_none(),
                VaultLocked => anew,
                BadCredentials | ClientTooOld => true,
                _ => false,
            };
            if left_alone {
                self.refused = Some(Refused::for_a_while(failure));
            }
            self.discard(failure).await?;
        }
        result
    }

    /// After some failures `bw serve` is good for nothing.
    async fn discard(&mut self, failure: &Failure) -> Result<(), Failure> {
        match (failure.name, self.state) {
            (VaultTimeout | VaultError | BwCrashed, SessionState::Serving) => {
                self.fall_back(SessionState::LoggedOut).await
            }
            (VaultTimeout | BwCrashed | VaultLocked | VaultError, _) if self.serve.is_some() => {
                self.fall_back(SessionState::LoggedIn).await
            }
            // The tenant's own trouble, but this one does not take another request.
            (LimitExceeded, _) if self.serve.as_ref().is_some_and(Serve::is_spent) => {
                self.fall_back(SessionState::LoggedIn).await
            }
            _ => Ok(()),
        }
    }

    /// Whether no request can be answered any more.
    pub fn is_lost(&self) -> bool {
        self.cage.is_lost()
    }

    /// Tells the daemon that nothing is under way.
    pub fn rest(&mut self) {
        self.everything = None;
        if self.state == SessionState::Unlocked {
            self.enter(SessionState::Idle);
        }
    }

    /// Replaces a worn out `bw serve` while nobody waits for it: it takes two seconds,
    /// and an answer over its bound wears one out at once. A request that finds it
    /// failed tries the same.
    pub async fn renew(&mut self) {
        if self.state != SessionState::Idle || !self.worn_out(self.vault.bounds.growth).await {
            return;
        }
        let renewed = match self.fall_back(SessionState::LoggedIn).await {
            Ok(()) => self.open(&Steps::new("renewal", Instant::now())).await,
            failed => failed,
        };
        if let Err(failure) = renewed {
            tracing::warn!(%failure, "bw serve was not replaced");
        }
        self.rest();
    }

    /// With a new `bw serve` for each list that is doubted.
    async fn renewing_attempt(
        &mut self,
        fetch: &Fetch,
        span: Span,
        steps: &Steps,
    ) -> Result<Fetched, Failure> {
        let mut result = self.attempt(fetch, span, steps).await;
        for _ in 0..MAX_RENEWALS {
            let Some(failure) = result.as_ref().err().filter(|_| self.doubts.renewing()) else { break };
            tracing::warn!(%failure, "starting again");
            self.fall_back(SessionState::LoggedIn).await?;
            result = self.attempt(fetch, span, steps).await;
        }
        result
    }

    /// A failure keeps what there was to be said before.
    async fn attempt(&mut self, fetch: &Fetch, span: Span, steps: &Steps) -> Result<Fetched, Failure> {
        let mut warnings = Vec::new();
        match self.attempt_with(fetch, span, steps, &mut warnings).await {
            Ok(fetched) => Ok(Fetched { built: Built { warnings, ..fetched.built }, ..fetched }),
            Err(failure) => Err(Failure { warnings, ..failure }),
        }
    }

    async fn attempt_with(
        &mut self,
        fetch: &Fetch,
        span: Span,
        steps: &Steps,
        warnings: &mut Vec<String>,
    ) -> Result<Fetched, Failure> {
        self.open(steps).await?;
        span.goes_on()?;
        let age = self.ask_for_changes(fetch.sync, span, steps, warnings).await?;
        steps.begin("collections");
        if fetch.want == Want::Names {
            let names = Some(self.all_names(span, warnings).await?);
            let (collection_id, built) = (String::new(), Built::default());
            let (bw_version, seen) = (self.version.clone(), self.seen());
            return Ok(Fetched { collection_id, age, built, bw_version, names, seen });
        }
        let collection = self.collection(fetch, span, warnings).await?;
        steps.begin("items");
        let items = self.items(&collection.id, span, warnings).await;
        if items.as_ref().is_err_and(|failure| failure.name == LimitExceeded) {
            self.too_large.insert(asked(fetch), Instant::now());
        }
        let mut items = items?;
        if let Some(store) = self.stored().await {
            let mut alive =
                items.iter().filter(|item| item.deleted_date.is_none() && item.archived_date.is_none());
            alive.try_for_each(|item| store.whole(item, &fetch.rules))?;
        }
        if fetch.rules.attachments {
            steps.begin("attachments");
            self.attachments(&mut items, &fetch.rules, span).await?;
        }
        let mut built = pairs::build(items, &fetch.rules, fetch.held.as_deref()).map_err(|mut failure| {
            warnings.append(&mut failure.warnings);
            failure
        })?;
        warnings.append(&mut built.warnings);
        // What is old confirms nothing.
        let confirming = if age == Age::Stale { None } else { fetch.shrunken_to };
        belief::shrunken(fetch.known_keys, confirming, built.pairs.len(), warnings).map_err(|failure| {
            let shrunken_to = failure.shrunken_to.filter(|_| age == Age::Current);
            Failure { shrunken_to, ..failure }
        })?;
        let bw_version = self.version.clone();
        let seen = self.seen();
        Ok(Fetched { collection_id: collection.id, age, built, bw_version, names: None, seen })
    }

    /// Syncs, unless there was a sync since the request came. While the vault
    /// limits logins, what the last sync brought is given.
    async fn ask_for_changes(
        &mut self,
        sync: Sync,
        span: Span,
        steps: &Steps,
        warnings: &mut Vec<String>,
    ) -> Result<Age, Failure> {
        let whole = self.may_have_missed() || (sync == Sync::Everything && self.may_look_again());
        if !whole && self.synced.is_some_and(|synced| synced >= span.arrived) {
            return Ok(Age::Current);
        }
        if !self.is_limited() {
            let path = if whole { FORCED } else { "/sync" };
            steps.begin("sync");
            return self.sync(path, self.answer_end()).await.map(|()| Age::Current);
        }
        let Some(current) = self.current else {
            return Err(Failure::new(RateLimited, "the vault limits logins"));
        };
        let since = current.elapsed().as_secs();
        warnings.push(format!(
            "the vault limits logins, and to bring changes is one: this is what it held {since} s ago"
        ));
        Ok(Age::Stale)
    }

    fn bounds(&self) -> &Bounds {
        &self.vault.bounds
    }

    /// The end of a step of the start that begins now.
    fn step_end(&self) -> Instant {
        Instant::now() + Duration::from_millis(self.bounds().step_ms)
    }

    /// The end of the time for an answer that is asked for now.
    fn answer_end(&self) -> Instant {
        Instant::now() + Duration::from_millis(self.bounds().answer_ms)
    }

    fn is_limited(&self) -> bool {
        self.limited.is_some_and(|until| Instant::now() < until)
    }

    fn is_open(&self) -> bool {
        matches!(self.state, SessionState::Unlocked | SessionState::Idle)
    }

    /// Goes on from wherever the session is until it is unlocked.
    /// All that wait share it: it does not end with the request that began it.
    async fn open(&mut self, steps: &Steps) -> Result<(), Failure> {
        // Below this it has until nobody waits for it.
        if self.worn_out(self.vault.bounds.growth.saturating_mul(2)).await {
            self.fall_back(SessionState::LoggedIn).await?;
        }
        loop {
            let (name, next) = match self.state {
                SessionState::LoggedOut => ("login", SessionState::LoggedIn),
                SessionState::LoggedIn => ("serve", SessionState::Serving),
                SessionState::Serving => ("unlock", SessionState::Unlocked),
                SessionState::Idle => ("wake", SessionState::Unlocked),
                SessionState::Unlocked | SessionState::Closed => return Ok(()),
            };
            steps.begin(name);
            let result = match self.state {
                SessionState::LoggedOut => self.log_in().await,
                SessionState::LoggedIn => self.start().await,
                SessionState::Serving => self.unlock().await,
                SessionState::Idle | SessionState::Unlocked | SessionState::Closed => Ok(()),
            };
            if let Err(failure) = result {
                self.refused = Some(Refused::waiting(&failure));
                return Err(failure);
            }
            self.enter(next);
        }
    }

    /// Whether `bw serve` has leaked, or may have leaked, enough.
    async fn worn_out(&mut self, most: u64) -> bool {
        let Some(serve) = &mut self.serve else { return false };
        let (bounds, requests) = (self.vault.bounds, serve.requests());
        let growth = self.cage.memory().await.map(|memory| {
            let first = *serve.first_memory.get_or_insert(memory);
            memory.saturating_sub(first)
        });
        let worn_out = requests >= bounds.requests || growth.is_some_and(|growth| growth >= most);
        if worn_out {
            tracing::info!(requests, growth_kib = growth, "bw serve is worn out: replacing it");
        }
        worn_out
    }

    async fn log_in(&mut self) -> Result<(), Failure> {
        self.cage.clear(&self.vault.device, self.step_end()).await?;
        if self.version.is_empty() {
            let output = self.cage.run(&["--version"], Vec::new(), self.step_end()).await?;
            // In a new directory it has more to say first.
            self.version = output.text.lines().last().unwrap_or_default().trim().chars().take(32).collect();
        }
        version::admit(&self.version, self.vault.any_bw_version)?;
        if !self.vault.credentials.client_id.expose().starts_with("user.") {
            return Err(Failure::new(
                BadCredentials,
                "BW_CLIENTID is no user's: it begins with `user.`, and an organization's key cannot log in",
            ));
        }
        if let Some(server) = &self.server {
            let url = server.url().to_owned();
            let args = ["--response", "config", "server", &url];
            let output = self.cage.run(&args, Vec::new(), self.step_end()).await?;
            self.verdict(&output)?;
        }
        let secret = |name: &str, value: &Secret| (name.to_owned(), Secret::new(value.expose().to_owned()));
        let credentials = vec![
            secret("BW_CLIENTID", &self.vault.credentials.client_id),
            secret("BW_CLIENTSECRET", &self.vault.credentials.client_secret),
        ];
        (self.whole, self.current) = (Some(Instant::now()), None);
        let args = ["--response", "login", "--apikey"];
        let output = self.cage.run(&args, credentials, self.step_end()).await?;
        self.verdict(&output).map_err(|failure| match failure.name {
            VaultLocked => Failure::new(VaultError, "the vault refuses to let anybody log in"),
            _ => failure,
        })
    }

    /// Starts `bw serve`, makes sure that it means the configured server, and
    /// syncs: without the vault's content, unlocking would hang.
    async fn start(&mut self) -> Result<(), Failure> {
        self.serve = Some(Serve::open(self.cage.serve().await?, self.vault.bounds.skipped).await?);
        let status: Status = self.get("/status", self.step_end()).await?;
        let configured = self.server.as_ref().and_then(Server::known_as);
        let actual = status.template.server_url.as_deref().map(|url| url.trim_end_matches('/'));
        if self.server.is_some() && configured != actual {
            return Err(Failure::new(
                ServerMismatch,
                "bw is set up for another server than the configured one",
            ));
        }
        if self.current.is_some() && self.is_limited() {
            return Ok(());
        }
        match self.sync("/sync", self.step_end()).await {
            // A bw that does not sync before the unlock is asked after it.
            Err(failure) if failure.message == classify::LOCKED => Ok(()),
            result => result,
        }
    }

    /// Whether the vault is open is decided by reading, not by the answer:
    /// 2026.9.0 may answer with status 500 and open it all the same.
    async fn unlock(&mut self) -> Result<(), Failure> {
        #[derive(serde::Serialize)]
        struct Unlock<'a> {
            password: &'a str,
        }
        let password = self.vault.credentials.password.expose();
        let mut body = Zeroizing::new(Vec::with_capacity(password.len() * 6 + 32));
        serde_json::to_writer(&mut *body, &Unlock { password })
            .map_err(|_| Failure::new(BadCredentials, "the password cannot be sent"))?;
        let soon = Instant::now() + UNLOCK;
        match self.ask::<Anything>(Method::POST, "/unlock", body, soon).await {
            Err(Failure { name: VaultTimeout, .. }) => Err(Failure::new(
                VaultError,
                "bw does not unlock: the vault's content did not come with the login",
            )),
            Err(failure) if failure.name != BwCrashed => {
                let open = self.get::<Anything>("/list/object/collections", self.step_end()).await;
                open.map(drop).map_err(|_| failure)
            }
            other => other.map(drop),
        }
    }

    /// Whether `bw` may not have seen a change for long, if its clock is ahead.
    fn may_have_missed(&self) -> bool {
        let bound = Duration::from_millis(self.vault.bounds.whole_ms);
        self.whole.is_some_and(|whole| whole.elapsed() >= bound) && self.may_force()
    }

    /// Whether it is long enough ago that all of the vault was fetched.
    fn may_look_again(&self) -> bool {
        let bound = Duration::from_millis(self.vault.bounds.again_ms);
        self.whole.is_some_and(|whole| whole.elapsed() >= bound) && self.may_force()
    }

    async fn sync(&mut self, path: &str, deadline: Instant) -> Result<(), Failure> {
        let begun = Instant::now();
        if path == FORCED {
            // Also if it fails: the next try is one that costs no login.
            (self.forced, self.whole) = (Some(begun), Some(begun));
        }
        let result = self.ask::<Anything>(Method::POST, path, Zeroizing::default(), deadline).await;
        if let Err(failure) = &result
            && failure.name == RateLimited
        {
            tracing::warn!("the vault limits logins: it is not asked for changes for a while");
            self.limited = Some(begun + PENALTY);
        }
        result?;
        (self.synced, self.current) = (Some(begun), Some(begun));
        self.store.outdate();
        self.organizations = None;
        Ok(())
    }

    /// A collection that is missing, or in whose place there is another of its
    /// name, is asked for once more after a forced sync.
    async fn collection(
        &mut self,
        fetch: &Fetch,
        span: Span,
        warnings: &mut Vec<String>,
    ) -> Result<Collection, Failure> {
        for forced in [false, true] {
            self.listed(span, warnings).await?;
            match self.choose(fetch).await? {
                Ok(Chosen::Known(collection)) => return Ok(collection),
                Ok(Chosen::Other(collection)) if forced || self.is_confirmed(&collection, fetch) => {
                    warnings.push(belief::other(&collection));
                    return Ok(collection);
                }
                Ok(Chosen::Other(_)) if self.may_force() => {}
                Ok(Chosen::Other(collection)) => {
                    let message = format!(
                        "{}: it is followed by itself, in {} s at the earliest, when all of the vault may be \
                         fetched again",
                        belief::other(&collection),
                        self.until_forced()
                    );
                    return Err(Failure::new(CollectionReplaced, message));
                }
                Err(failure)
                    if failure.name == CollectionNotFound
                        && !forced
                        && self.may_force()
                        && !self.has_looked() => {}
                Err(failure) => return Err(failure),
            }
            span.goes_on()?;
            self.sync(FORCED, self.answer_end()).await?;
            let listed = self.collections(span, warnings).await?;
            self.confirmed = Some(listed.iter().map(|one| one.id.clone()).collect());
            self.collections = Some(listed);
        }
        let all = self.collections.as_deref().unwrap_or_default();
        Err(belief::missing(all, self.organizations.as_deref().unwrap_or_default(), fetch))
    }

    /// What the names say, and where they say too little the organizations, too.
    async fn choose(&mut self, fetch: &Fetch) -> Result<Result<Chosen, Failure>, Failure> {
        let all = self.collections.clone().unwrap_or_default();
        let known = self.organizations.as_deref().unwrap_or_default();
        let chosen = belief::choose(&all, known, fetch);
        let ambiguous = chosen.as_ref().is_err_and(|failure| failure.name == CollectionAmbiguous);
        if self.organizations.is_some() || !(ambiguous || fetch.organization.is_some()) {
            return Ok(chosen);
        }
        let path = "/list/object/organizations";
        let List { data } = self.get::<List<Organization>>(path, self.answer_end()).await?;
        Ok(belief::choose(&all, self.organizations.insert(data), fetch))
    }

    /// The collections since the last sync.
    async fn listed(&mut self, span: Span, warnings: &mut Vec<String>) -> Result<&[Collection], Failure> {
        // Forgets the collections where they may be others now.
        self.stored().await;
        if self.collections.is_none() {
            let said = warnings.len();
            let listed = self.collections(span, warnings).await?;
            // What is doubtful is said each time.
            self.names_doubted = warnings.len() > said;
            self.collections = Some(listed);
        }
        Ok(self.collections.as_deref().unwrap_or_default())
    }

    /// It needs no items, and no sync that costs a login.
    async fn all_names(&mut self, span: Span, warnings: &mut Vec<String>) -> Result<words::Names, Failure> {
        Ok(belief::names(self.listed(span, warnings).await?))
    }

    /// Whether a forced sync for another tenant has just shown it, and not the
    /// one that was before.
    fn is_confirmed(&self, collection: &Collection, fetch: &Fetch) -> bool {
        let Some(confirmed) = &self.confirmed else { return false };
        let missing = fetch.pinned.as_ref().is_some_and(|id| !confirmed.contains(id));
        let recent = self.forced.is_some_and(|forced| forced.elapsed() < PENALTY);
        recent && missing && confirmed.contains(&collection.id)
    }

    /// Whether a forced sync has shown just these collections not long ago: another
    /// would cost everybody its time, and a login, and show no more.
    fn has_looked(&self) -> bool {
        let listed: BTreeSet<_> = self.collections.iter().flatten().map(|one| &one.id).collect();
        let recent = self.forced.is_some_and(|forced| forced.elapsed() < LOOK_AGAIN);
        recent && self.confirmed.as_ref().is_some_and(|confirmed| confirmed.iter().eq(listed))
    }

    /// Tells what the account sees from anything else that it may see.
    fn seen(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        let all: BTreeSet<_> = self.collections.iter().flatten().map(|one| (&one.id, &one.name)).collect();
        all.hash(&mut hasher);
        hasher.finish()
    }

    /// It costs a login.
    fn may_force(&self) -> bool {
        let again = Duration::from_millis(self.vault.bounds.forced_ms);
        !self.is_limited() && self.forced.is_none_or(|forced| forced.elapsed() >= again)
    }

    /// Until all of the vault may be fetched again, in seconds.
    fn until_forced(&self) -> u64 {
        let again = Duration::from_millis(self.vault.bounds.forced_ms);
        let left = |at: Instant| (at + again).saturating_duration_since(Instant::now());
        let limited = self.limited.map(|until| until.saturating_duration_since(Instant::now()));
        self.forced.map(left).into_iter().chain(limited).max().unwrap_or_default().as_secs() + 1
    }

    async fn collections(
        &mut self,
        span: Span,
        warnings: &mut Vec<String>,
    ) -> Result<Vec<Collection>, Failure> {
        let names = std::mem::take(&mut self.names);
        let compare = |store: &Store, listed: &[Collection]| store.collections(listed, &names);
        let listed = self.list("", "/list/object/collections", compare, span, warnings).await?;
        if let Stored::Read(store) = &self.store {
            self.names = store.names(&listed);
        }
        Ok(listed)
    }

    async fn items(
        &mut self,
        collection: &str,
        span: Span,
        warnings: &mut Vec<String>,
    ) -> Result<Vec<Item>, Failure> {
        if let Some(items) = self.of_everything(collection, span).await? {
            return Ok(items);
        }
        let path = format!("/list/object/items?collectionid={}", escaped(collection));
        let compare = |store: &Store, listed: &[Item]| store.items(collection, listed);
        let mut items = self.list(collection, &path, compare, span, warnings).await?;
        items.retain(|item| item.collection_ids.iter().any(|id| id == collection));
        Ok(items)
    }

    /// The collection's part of one list for all that wait. It counts as it is stored,
    /// and where it does not, the collection is asked for by itself.
    async fn of_everything(&mut self, collection: &str, span: Span) -> Result<Option<Vec<Item>>, Failure> {
        if self.stored().await.is_none() {
            return Ok(None);
        }
        if self.everything.is_none() && span.waiting >= CROWD && !self.in_parts {
            span.goes_on()?;
            match self.get::<List<Item>>("/list/object/items", self.answer_end()).await {
                Ok(List { data }) => {
                    tracing::debug!(
                        items = data.len(),
                        waiting = span.waiting,
                        "all items are listed at once"
                    );
                    self.everything = Some(Everything::split(data));
                }
                Err(failure) if failure.name == LimitExceeded => self.in_parts = true,
                Err(failure) => return Err(failure),
            }
        }
        let part = self.everything.as_mut().and_then(|all| all.take(collection));
        let (Some(items), Stored::Read(store)) = (part, &self.store) else { return Ok(None) };
        Ok(store.items(collection, &items).is_empty().then_some(items))
    }

    /// What was listed may be otherwise now.
    fn forget(&mut self) {
        (self.collections, self.organizations, self.everything) = (None, None, None);
        self.names_doubted = false;
    }

    /// Fetches what is in the attachments that become pairs.
    async fn attachments(&mut self, items: &mut [Item], rules: &Rules, span: Span) -> Result<(), Failure> {
        let mut count = 0;
        for item in
            items.iter_mut().filter(|item| item.deleted_date.is_none() && item.archived_date.is_none())
        {
            for file in item.attachments.iter_mut().filter(|file| is_wanted(&item.name, file, rules)) {
                count += 1;
                if count > MAX_FILES {
                    let message = format!("more than {MAX_FILES} attachments in one collection");
                    return Err(Failure::new(LimitExceeded, message));
                }
                let name = quoted(file.file_name.as_deref().unwrap_or_default());
                let label = format!("attachment {name} of item {}", quoted(&item.name));
                span.goes_on()?;
                file.content = Some(self.attachment(&item.id, file, &label).await?);
            }
        }
        Ok(())
    }

    /// Its size is known before it is fetched; a vault that lies is found out later.
    async fn attachment(&mut self, item: &str, file: &Attachment, label: &str) -> Result<Secret, Failure> {
        let large = || Failure::new(LimitExceeded, format!("{label} is over {MAX_VALUE} bytes"));
        let size = file.size.as_deref().and_then(|size| size.parse().ok()).unwrap_or(0_usize);
        if size > MAX_VALUE + MAX_WRAPPING {
            return Err(large());
        }
        let path = format!("/object/attachment/{}?itemid={}", escaped(&file.id), escaped(item));
        let soon = self.answer_end();
        let serve = self.serve.as_mut().ok_or_else(|| Failure::new(BwCrashed, "bw serve does not run"))?;
        let bytes = serve.file(&path, soon).await.map_err(|failure| self.with_trouble(failure));
        let bytes = bytes.map_err(|failure| match failure.name {
            // It is about this file: the session is as good as before.
            VaultError => Failure::new(AttachmentUnreadable, format!("{label}: {failure}")),
            _ => failure,
        })?;
        if bytes.len() > MAX_VALUE {
            return Err(large());
        }
        match std::str::from_utf8(&bytes) {
            Ok(text) if !text.contains('\0') => Ok(Secret::new(text.to_owned())),
            _ => Err(Failure::new(ValueNotCarried, format!("{label} is no text"))),
        }
    }

    /// A list counts when two answers in a row agree, and agree with what is
    /// stored: after a sync that brought changes, the first may be empty though
    /// the collection is not, and all may be as they were before.
    async fn list<T: DeserializeOwned>(
        &mut self,
        name: &str,
        path: &str,
        compare: impl Fn(&Store, &[T]) -> BTreeSet<Difference>,
        span: Span,
        warnings: &mut Vec<String>,
    ) -> Result<Vec<T>, Failure> {
        let (mut before, mut doubted) = (None, BTreeSet::new());
        for _ in 0..MAX_LISTS {
            span.goes_on()?;
            let soon = self.answer_end();
            let bytes = self.bytes(Method::GET, path, Zeroizing::default(), soon).await?;
            let List { data: listed } = answer::read::<List<T>>(&bytes)?;
            let agree = before.as_ref() == Some(&bytes);
            if agree {
                let found = self.stored().await.map(|store| compare(store, &listed)).unwrap_or_default();
                match self.doubts.weigh(name, found) {
                    Weighed::Sound => return Ok(listed),
                    Weighed::Warned(warning) => {
                        warnings.push(warning);
                        return Ok(listed);
                    }
                    Weighed::Unreadable(message) => {
                        return Err(Failure::new(CollectionUnreadable, message));
                    }
                    Weighed::Doubted(found) => {
                        tracing::debug!(list = name, count = found.len(), first = ?found.first(), "doubted");
                        doubted = found;
                    }
                }
                self.store.outdate();
            }
            if agree || listed.is_empty() {
                sleep(PAUSE).await;
            }
            before = Some(bytes);
        }
        if doubted.is_empty() {
            return Err(Failure::new(VaultError, "bw gives another list each time it is asked"));
        }
        Err(self.doubts.renew(doubted))
    }

    /// What is stored; `bw` writes it anew now and then, and is then waited for.
    async fn stored(&mut self) -> Option<&Store> {
        for turn in 1.. {
            let Stored::Unread(before) = &mut self.store else { break };
            // A form that is not known is not waited for each time.
            let most = if self.readable { MAX_READS } else { 1 };
            match Store::read(self.cage.dir()) {
                Ok(store) => {
                    let same = before.as_ref() == Some(&store) && !self.names_doubted;
                    (self.store, self.readable) = (Stored::Read(store), true);
                    if !same {
                        self.forget();
                    }
                }
                Err(error) if is_torn(&error) && turn < most => sleep(PAUSE).await,
                Err(error) => {
                    tracing::warn!(%error, "what bw stores cannot be read: its lists are believed without it");
                    (self.store, self.readable) = (Stored::Unknown, false);
                    self.forget();
                }
            }
        }
        match &self.store {
            Stored::Read(store) => Some(store),
            Stored::Unread(_) | Stored::Unknown => None,
        }
    }

    async fn get<T: DeserializeOwned>(&mut self, path: &str, deadline: Instant) -> Result<T, Failure> {
        self.ask(Method::GET, path, Zeroizing::default(), deadline).await
    }

    async fn ask<T: DeserializeOwned>(
        &mut self,
        method: Method,
        path: &str,
        body: Zeroizing<Vec<u8>>,
        deadline: Instant,
    ) -> Result<T, Failure> {
        let bytes = self.bytes(method, path, body, deadline).await?;
        answer::read(&bytes).map_err(|failure| self.with_trouble(failure))
    }

    async fn bytes(
        &mut self,
        method: Method,
        path: &str,
        body: Zeroizing<Vec<u8>>,
        deadline: Instant,
    ) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let serve = self.serve.as_mut().ok_or_else(|| Failure::new(BwCrashed, "bw serve does not run"))?;
        serve.bytes(method, path, body, deadline).await
    }

    /// A command's answer counts with complete JSON and exit status 0.
    fn verdict(&self, output: &Output) -> Result<(), Failure> {
        let json = output.text.lines().rev().find(|line| line.starts_with('{')).unwrap_or_default();
        let failure = match answer::parse::<Anything>(json.as_bytes()) {
            Answer::Success(_) if output.success => return Ok(()),
            Answer::Success(_) => {
                Failure::new(BwCrashed, format!("bw answered, but ended with {}", output.how))
            }
            Answer::Refusal(message) => classify::failure(&message),
            Answer::Garbage if output.success && output.text.is_empty() => {
                Failure::new(VaultError, "bw ended without a word: the vault's answer was cut off")
            }
            Answer::Garbage => match classify::failure(&output.text) {
                Failure { name: VaultError, .. } => {
                    Failure::new(BwCrashed, format!("bw gave no answer and ended with {}", output.how))
                }
                known => known,
            },
        };
        Err(self.with_trouble(failure))
    }

    /// `bw` sees only that its proxy failed; the relay knows why.
    fn with_trouble(&self, failure: Failure) -> Failure {
        match (failure.name, self.cage.trouble()) {
            (VaultError | VaultUnreachable | BwCrashed, Some(trouble)) => {
                Failure::new(VaultUnreachable, trouble)
            }
            _ => failure,
        }
    }

    /// Ends `bw serve`, and the login too when `state` is `LoggedOut`.
    async fn fall_back(&mut self, state: SessionState) -> Result<(), Failure> {
        self.serve = None;
        (self.synced, self.store) = (None, Stored::Unread(None));
        self.forget();
        self.names = Names::new();
        if self.state != SessionState::LoggedOut {
            self.enter(state);
        }
        self.cage.kill().await
    }

    fn enter(&mut self, state: SessionState) {
        tracing::debug!(?state, "session");
        self.state = state;
        if self.states.send(state).is_err() {
            tracing::debug!("nobody asks for the session's state any more");
        }
    }
}

impl Refused {
    /// By a start that failed: it answers all who waited for it.
    fn waiting(failure: &Failure) -> Self {
        let at = Instant::now();
        Self { at, until: at, failure: failure.clone() }
    }

    /// By a vault that must be left alone.
    fn for_a_while(failure: &Failure) -> Self {
        let at = Instant::now();
        Self { at, until: at + PENALTY, failure: failure.clone() }
    }
}

/// It may have been read while it was written.
fn is_torn(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::InvalidData)
}

fn escaped(id: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    id.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// Waits for `future` until the deadline.
///
/// # Errors
/// `VaultTimeout` with `what`.
pub async fn within<T>(deadline: Instant, what: &str, future: impl Future<Output = T>) -> Result<T, Failure> {
    timeout_at(deadline, future).await.map_err(|_| Failure::new(VaultTimeout, what))
}
