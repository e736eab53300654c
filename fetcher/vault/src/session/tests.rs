//! Every transition, and every known fault of `bw`, without `bw` and without a clock.

use super::*;
use crate::answer::{List, read};
use Scope::{Changes, Whole};
use colibri_session::{Rules, Sync};
use colibri_tenant::ErrorName::{
    self, AttachmentUnreadable, CollectionNotFound, CollectionReplaced, CollectionUnreadable, LimitExceeded,
    ServerMismatch, VaultUnreachable,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;

const SERVER: &str = "https://vault.example";
const SECOND: Duration = Duration::from_secs(1);

/// What a piece of work takes, and another outcome than the vault's own.
type Play = Box<dyn FnMut(&Work) -> (Duration, Option<Outcome>)>;

/// Collections by id, each with its items' ids and values.
type Content = BTreeMap<String, BTreeMap<String, String>>;

/// A vault, the `bw` in front of it, and the time, all made up.
struct World {
    machine: Session,
    now: Moment,
    running: Option<(Moment, Work, Outcome)>,
    content: Content,
    /// What bw has of it.
    stored: Content,
    read: Option<(Content, Stored)>,
    play: Play,
    begun: Vec<Work>,
    answers: Vec<Answer>,
    states: Vec<SessionState>,
    /// What is counted as logins.
    paid: usize,
    over: bool,
    next: u64,
}

impl fmt::Debug for World {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "at {:?}: {:?}\n{:?}", self.now, self.begun, self.answers)
    }
}

fn failed(name: ErrorName) -> Option<Outcome> {
    Some(Outcome::Failed(Failure::new(name, "made up")))
}

fn bounds() -> Bounds {
    Bounds { whole_ms: u64::MAX, ..Bounds::default() }
}

fn world(bounds: Bounds) -> World {
    let server = Some(Server::parse(Some(SERVER)).unwrap());
    let terms = Terms { server, bounds, idle: Duration::from_secs(300), resident: false };
    let mut world = World {
        machine: Session::new(terms),
        now: Moment::ZERO,
        running: None,
        content: BTreeMap::new(),
        stored: BTreeMap::new(),
        read: None,
        play: Box::new(|_| (Duration::from_millis(10), None)),
        begun: Vec::new(),
        answers: Vec::new(),
        states: Vec::new(),
        paid: 0,
        over: false,
        next: 0,
    };
    for name in ["web", "db"] {
        world.content.insert(name.into(), [(format!("{name}-KEY"), "value".into())].into());
    }
    world
}

/// With everything as it should be, but for the work that `fault` answers otherwise.
fn faulty(mut fault: impl FnMut(&Work) -> Option<Outcome> + 'static) -> World {
    let mut world = world(bounds());
    world.play = Box::new(move |work| (Duration::from_millis(10), fault(work)));
    world
}

/// The first `count` pieces of such work.
fn first(
    count: usize,
    of: impl Fn(&Work) -> bool + 'static,
    outcome: impl Fn() -> Option<Outcome> + 'static,
) -> World {
    let mut left = count;
    faulty(move |work| {
        let hit = left > 0 && of(work);
        left -= usize::from(hit);
        if hit { outcome() } else { None }
    })
}

fn fetch(collection: &str) -> Fetch {
    Fetch {
        id: 0,
        collection: collection.into(),
        pinned: None,
        chosen: None,
        organization: None,
        sync: Sync::Changes,
        known_keys: 0,
        held: None,
        shrunken_to: None,
        rules: Rules::default(),
        further: Vec::new(),
        deadline_ms: 30_000,
        want: Want::Pairs,
    }
}

fn listed<T: serde::de::DeserializeOwned>(data: &[Value]) -> Listed<T> {
    let text = json!({"success": true, "data": {"data": data}}).to_string();
    let List { data } = read(text.as_bytes()).unwrap();
    Listed { data, digest: 1 }
}

impl World {
    fn tell(&mut self, event: Event) {
        for action in self.machine.on(event, self.now) {
            match action {
                Action::Begin(work, bound) => {
                    assert!(self.running.is_none(), "two at once: {self:?}");
                    let (takes, other) = (self.play)(&work);
                    let outcome = match other {
                        _ if takes > bound => {
                            Outcome::Failed(Failure::new(VaultTimeout, "it did not end in time"))
                        }
                        Some(other) => other,
                        None => self.outcome(&work),
                    };
                    self.begun.push(work.clone());
                    self.running = Some((self.now + takes.min(bound), work, outcome));
                }
                Action::Answer(answer) => self.answers.push(*answer),
                Action::Tell(state) => self.states.push(state),
                Action::Login => self.paid += 1,
                Action::Say(_) => {}
                Action::End => self.over = true,
            }
        }
    }

    fn outcome(&mut self, work: &Work) -> Outcome {
        let item = |id: &String, value: &String, within: &String| {
            json!({"id": id, "name": id.split('-').next_back(), "type": 1, "collectionIds": [within],
                "passwordHistory": [], "login": {"password": value},
                "attachments": [{"id": format!("{id}.file"), "fileName": "f", "size": "4"}]})
        };
        let items = |of: &dyn Fn(&String) -> bool| {
            let of = self.stored.iter().filter(|(id, _)| of(id));
            of.flat_map(|(id, all)| all.iter().map(move |(key, value)| item(key, value, id)))
                .collect::<Vec<_>>()
        };
        match work {
            Work::Version => Outcome::Version("2026.8.0".into()),
            Work::Status => Outcome::Server(Some(format!("{SERVER}/"))),
            Work::Sync(_) => {
                self.stored = self.content.clone();
                Outcome::Done
            }
            Work::Read => Outcome::Stored(Reading::Whole(self.read())),
            Work::Weigh => Outcome::Memory(Some(200_000)),
            Work::Collections => {
                let one = |id: &String| json!({"id": id, "name": id.split('#').next()});
                Outcome::Collections(listed(&self.stored.keys().map(one).collect::<Vec<_>>()))
            }
            Work::Organizations => Outcome::Organizations(Vec::new()),
            Work::Items(id) => Outcome::Items(listed(&items(&|one| one == id))),
            Work::Everything => Outcome::Items(listed(&items(&|_| true))),
            Work::Attachment { .. } => Outcome::File(b"text".to_vec().into()),
            _ => Outcome::Done,
        }
    }

    /// What is the same as before is not hashed again.
    fn read(&mut self) -> Stored {
        if let Some((stored, read)) = &self.read
            && *stored == self.stored
        {
            return read.clone();
        }
        let read = self.hashed();
        self.read = Some((self.stored.clone(), read.clone()));
        read
    }

    fn hashed(&self) -> Stored {
        let mut items = serde_json::Map::new();
        for (id, all) in &self.stored {
            for (key, value) in all {
                let item = json!({"type": 1, "collectionIds": [id], "revisionDate": value});
                items.insert(key.clone(), item);
            }
        }
        let names: serde_json::Map<_, _> =
            self.stored.keys().map(|id| (id.clone(), json!({"name": id}))).collect();
        let whole = json!({"user_1_ciphers_ciphers": items, "user_1_collection_collections": names});
        Stored::read(whole.to_string().as_bytes()).unwrap()
    }

    fn ask(&mut self, fetch: Fetch) -> u64 {
        self.next += 1;
        self.tell(Event::Asked(Box::new(Fetch { id: self.next, ..fetch })));
        self.next
    }

    /// Goes to what happens next.
    fn step(&mut self) {
        let wake = self.machine.wake();
        match self.running.take() {
            Some((at, _, outcome)) if wake.is_none_or(|wake| at <= wake) => {
                self.now = at;
                self.tell(Event::Ended(outcome));
            }
            running => {
                self.running = running;
                self.now = self.now.max(wake.unwrap());
                self.tell(Event::Tick);
            }
        }
    }

    /// Until all that were asked are answered.
    fn answered(&mut self) {
        for _ in 0..10_000 {
            if self.answers.len() as u64 == self.next {
                return;
            }
            self.step();
        }
        panic!("no answer: {self:?}");
    }

    /// Lets time pass.
    fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while self
            .running
            .as_ref()
            .map(|it| it.0)
            .into_iter()
            .chain(self.machine.wake())
            .min()
            .is_some_and(|at| at <= end)
            && !self.over
        {
            self.step();
        }
        self.now = end;
        self.tell(Event::Tick);
    }

    /// Asks, and gives what came of it.
    fn get(&mut self, fetch: Fetch) -> Result<BTreeMap<String, String>, ErrorName> {
        let id = self.ask(fetch);
        self.answered();
        let found = self.answers.iter().find(|answer| answer.id == id).unwrap();
        match &found.outcome {
            Ok(fetched) => {
                let text = |secret: &colibri_pair::Secret| secret.expose().to_owned();
                Ok(fetched
                    .files
                    .iter()
                    .flatten()
                    .flat_map(|built| built.pairs.iter())
                    .map(|(key, value)| (key.to_string(), text(value)))
                    .collect())
            }
            Err(failure) => Err(failure.name),
        }
    }

    fn web(&mut self) -> Result<BTreeMap<String, String>, ErrorName> {
        self.get(fetch("web"))
    }

    fn count(&self, work: &Work) -> usize {
        self.begun.iter().filter(|one| *one == work).count()
    }

    fn logins(&self) -> usize {
        self.count(&Work::LogIn)
    }

    fn change(&mut self, id: &str, value: &str) {
        self.content.get_mut(id).unwrap().insert(format!("{id}-KEY"), value.into());
    }

    fn last(&self) -> &Answer {
        self.answers.last().unwrap()
    }

    /// What was begun since then.
    fn since(&mut self) -> Vec<Work> {
        std::mem::take(&mut self.begun)
    }
}

fn value(value: &str) -> Result<BTreeMap<String, String>, ErrorName> {
    Ok([("KEY".to_owned(), value.to_owned())].into())
}

const START: [Work; 10] = [
    Work::Clear,
    Work::Version,
    Work::Configure,
    Work::LogIn,
    Work::Serve,
    Work::Status,
    Work::Sync(Changes),
    Work::Read,
    Work::Unlock,
    Work::Collections,
];

#[test]
fn a_start_goes_from_stage_to_stage_and_ends_when_idle() {
    use SessionState::{Idle, LoggedIn, Serving, Unlocked};
    let mut world = world(bounds());
    assert_eq!(world.web(), value("value"));
    let items = Work::Items("web".into());
    assert_eq!(world.since(), START.iter().cloned().chain([items.clone()]).collect::<Vec<_>>());
    let steps: Vec<_> = world.last().steps.iter().map(|(name, ms)| (name.as_str(), *ms)).collect();
    let took =
        [("wait", 0), ("login", 40), ("serve", 40), ("unlock", 10), ("collections", 10), ("items", 10)];
    assert_eq!(steps, took);
    world.wait(SECOND);
    assert_eq!(world.states, [LoggedIn, Serving, Unlocked, Idle]);
    // Warm: it is measured, and the vault is asked for changes.
    assert_eq!(world.web(), value("value"));
    assert_eq!(world.since(), [Work::Weigh, Work::Sync(Changes), Work::Read, items]);
    world.wait(Duration::from_secs(299));
    assert!(!world.over);
    world.wait(2 * SECOND);
    assert!(world.over);
}

#[test]
fn while_the_bell_listens_bw_rests_and_wakes_without_a_login() {
    let mut world = world(bounds());
    assert_eq!(world.web(), value("value"));
    world.tell(Event::Bell(true));
    world.wait(SECOND);
    world.since();
    world.wait(Duration::from_secs(300));
    assert_eq!(world.since(), [Work::Weigh, Work::Kill]);
    assert_eq!(world.states.last(), Some(&SessionState::Resting));
    // For ever, and without a look at the clock.
    assert_eq!(world.machine.wake(), None);
    world.wait(Duration::from_secs(100_000));
    assert!(!world.over && world.since().is_empty());
    world.change("web", "newer");
    assert_eq!(world.web(), value("newer"));
    assert_eq!((world.logins(), world.count(&Work::Clear)), (0, 0), "no login since it rests");
    // One that is cut off finds the session as it was, also one that rests.
    world.wait(Duration::from_secs(1000));
    assert_eq!(world.states.last(), Some(&SessionState::Resting));
    world.tell(Event::Bell(false));
    world.wait(Duration::from_secs(299));
    assert!(!world.over);
    world.tell(Event::Bell(true));
    world.wait(Duration::from_secs(100_000));
    assert!(!world.over);
    // Without it a session ends as before.
    world.tell(Event::Bell(false));
    world.wait(Duration::from_secs(301));
    assert!(world.over);
}

#[test]
fn a_bw_serve_that_is_to_stay_does() {
    let mut world = world(bounds());
    world.machine.terms.resident = true;
    assert_eq!(world.web(), value("value"));
    world.tell(Event::Bell(true));
    world.wait(Duration::from_secs(100_000));
    assert!(!world.over && !world.since().contains(&Work::Kill));
}

#[test]
fn all_that_wait_share_a_start_a_sync_and_one_list() {
    let mut world = world(bounds());
    for at in 0..100 {
        world.content.insert(format!("jail-{at}"), [(format!("{at}-KEY"), at.to_string())].into());
    }
    for at in 0..100 {
        world.ask(fetch(&format!("jail-{at}")));
    }
    world.answered();
    for (at, answer) in world.answers.iter().enumerate() {
        assert_eq!(answer.id, at as u64 + 1, "in the order of arrival");
        let pairs = &answer.outcome.as_ref().unwrap().files[0].as_ref().unwrap().pairs;
        assert!(pairs.values().next().unwrap().expose() == at.to_string(), "{answer:?}");
    }
    assert_eq!(
        (world.logins(), world.count(&Work::Sync(Changes)), world.count(&Work::Everything)),
        (1, 1, 1)
    );
    assert!(!world.begun.iter().any(|work| matches!(work, Work::Items(_))));
}

/// After a sync that brought changes `bw serve` may go on listing what it held before.
#[test]
fn a_change_is_listed_by_a_new_serve_without_a_login_or_another_sync() {
    let mut world = world(bounds());
    assert_eq!(world.web(), value("value"));
    world.change("web", "new");
    world.since();
    assert_eq!(world.web(), value("new"));
    let expected = [
        Work::Weigh,
        Work::Sync(Changes),
        Work::Read,
        Work::Kill,
        Work::Serve,
        Work::Status,
        Work::Read,
        Work::Unlock,
        Work::Collections,
        Work::Items("web".into()),
    ];
    assert_eq!(world.since(), expected);
    // Nothing changed: the same one answers, and who comes meanwhile has its list.
    assert_eq!(world.web(), value("new"));
    assert_eq!(world.count(&Work::Serve), 0);
}

#[test]
fn an_empty_list_right_after_a_sync_is_asked_for_again() {
    for empty in [|| Some(Outcome::Items(listed(&[]))), || Some(Outcome::Collections(listed(&[])))] {
        let collections = matches!(empty(), Some(Outcome::Collections(_)));
        let of = move |work: &Work| {
            if collections { *work == Work::Collections } else { matches!(work, Work::Items(_)) }
        };
        let mut world = first(2, of, empty);
        assert_eq!(world.web(), value("value"), "{world:?}");
        assert_eq!(world.count(&Work::Serve), 1);
    }
}

#[test]
fn what_is_never_listed_costs_one_new_serve_and_is_not_taken_for_gone() {
    let mut world = faulty(|work| matches!(work, Work::Items(_)).then(|| Outcome::Items(listed(&[]))));
    for _ in 0..3 {
        assert_eq!(world.web(), Err(CollectionUnreadable));
        assert!(world.last().outcome.as_ref().unwrap_err().message.contains("web-KEY"));
    }
    assert_eq!((world.count(&Work::Serve), world.logins()), (2, 1));
}

#[test]
fn an_unlock_that_answers_500_is_decided_by_reading() {
    let unlock = |work: &Work| *work == Work::Unlock;
    let mut world = first(1, unlock, || failed(VaultError));
    assert_eq!(world.web(), value("value"));
    assert_eq!((world.logins(), world.count(&Work::Unlock)), (1, 1));
    // Locked, and it says why.
    let mut world = faulty(move |work| match work {
        Work::Unlock => failed(BadCredentials),
        Work::Collections => failed(VaultLocked),
        _ => None,
    });
    assert_eq!(world.web(), Err(BadCredentials));
    // Nobody tries a password that is refused for a minute.
    world.since();
    assert_eq!(world.web(), Err(BadCredentials));
    assert_eq!(world.since(), []);
}

#[test]
fn an_unlock_that_hangs_is_ended_and_logs_in_anew() {
    let mut hangs = true;
    let mut world = world(bounds());
    world.play = Box::new(move |work| {
        let takes = if *work == Work::Unlock && std::mem::take(&mut hangs) { 3600 } else { 0 };
        (Duration::from_secs(takes), None)
    });
    assert_eq!(world.get(Fetch { deadline_ms: 100_000, ..fetch("web") }), Err(VaultError));
    assert_eq!(world.web(), value("value"));
    assert_eq!(world.logins(), 2);
}

#[test]
fn a_bw_that_does_not_sync_before_it_is_unlocked_is_asked_after_it() {
    let mut world = first(1, |work| *work == Work::Sync(Changes), || Some(Outcome::Locked));
    assert_eq!(world.web(), value("value"));
    // What the sync brought is other than what this one began with.
    assert_eq!((world.count(&Work::Sync(Changes)), world.count(&Work::Serve), world.logins()), (2, 2, 1));
}

#[test]
fn a_vault_that_locks_is_opened_without_a_login_then_with_one_and_then_left_alone() {
    let items = |work: &Work| matches!(work, Work::Items(_));
    for (locks, logins, outcome) in [(1, 1, value("value")), (2, 2, value("value")), (9, 2, Err(VaultLocked))]
    {
        let mut world = first(locks, items, || failed(VaultLocked));
        assert_eq!(world.web(), outcome, "{locks}");
        assert_eq!(world.logins(), logins, "{locks}");
        world.since();
        if locks == 9 {
            assert_eq!((world.web(), world.since()), (Err(VaultLocked), vec![]));
        }
    }
    // A token that expired.
    let mut world = world(bounds());
    assert!(world.web().is_ok());
    let mut expired = 2;
    world.play = Box::new(move |work| {
        let sync = matches!(work, Work::Sync(_)) && expired > 0;
        expired -= u32::from(sync);
        (Duration::ZERO, if sync { failed(VaultLocked) } else { None })
    });
    world.change("web", "new");
    assert_eq!((world.web(), world.logins()), (value("new"), 2), "{world:?}");
}

#[test]
fn a_crash_is_put_right_once_and_a_cold_one_is_an_answer() {
    let mut world = world(bounds());
    assert!(world.web().is_ok());
    for name in [BwCrashed, VaultError] {
        let mut left = 1;
        world.play = Box::new(move |work| {
            let hit = matches!(work, Work::Items(_)) && left > 0;
            left -= u32::from(hit);
            (Duration::ZERO, if hit { failed(name) } else { None })
        });
        assert_eq!((world.web(), world.logins()), (value("value"), 1), "{name}");
    }
    let mut world = first(1, |work| *work == Work::Status, || failed(BwCrashed));
    assert_eq!(world.web(), Err(BwCrashed));
    assert_eq!((world.web(), world.logins()), (value("value"), 1));
}

#[test]
fn a_login_that_is_limited_or_refused_is_not_tried_for_a_minute() {
    for name in [RateLimited, BadCredentials, ClientTooOld] {
        let mut world = first(1, |work| *work == Work::LogIn, move || failed(name));
        world.ask(fetch("web"));
        assert_eq!(world.get(fetch("db")), Err(name));
        assert_eq!(world.logins(), 1, "it answers all that waited for it");
        assert_eq!((world.web(), world.logins()), (Err(name), 1));
        world.wait(Duration::from_secs(61));
        assert_eq!((world.web(), world.logins()), (value("value"), 2));
    }
}

#[test]
fn while_the_vault_limits_logins_what_it_held_is_given() {
    let mut world = world(bounds());
    assert!(world.web().is_ok());
    world.change("web", "new");
    let mut left = 1;
    world.play = Box::new(move |work| {
        let hit = matches!(work, Work::Sync(_)) && left > 0;
        left -= u32::from(hit);
        (Duration::ZERO, if hit { failed(RateLimited) } else { None })
    });
    for _ in 0..2 {
        assert_eq!(world.web(), value("value"));
        let fetched = world.last().outcome.as_ref().unwrap();
        assert!(fetched.age == Age::Stale && fetched.warnings[0].contains("limits logins"));
    }
    assert_eq!((world.count(&Work::Sync(Changes)), world.logins()), (2, 1));
    world.wait(Duration::from_secs(61));
    assert_eq!(world.web(), value("new"));
}

#[test]
fn another_server_than_the_configured_one_is_refused() {
    let mut world =
        first(1, |work| *work == Work::Status, || Some(Outcome::Server(Some("https://other".into()))));
    assert_eq!(world.web(), Err(ServerMismatch));
    assert!(!world.begun.contains(&Work::Unlock));
    assert_eq!(world.web(), value("value"), "and asked again, by a new one");
    assert_eq!(world.count(&Work::Kill), 1);
}

#[test]
fn a_list_over_its_bound_is_its_tenants_trouble_alone() {
    for spent in [false, true] {
        let web = |work: &Work| *work == Work::Items("web".into());
        let mut world = faulty(move |work| web(work).then_some(Outcome::TooLarge { spent }));
        assert_eq!(world.web(), Err(LimitExceeded));
        assert_eq!(world.get(fetch("db")), value("value"));
        assert_eq!((world.count(&Work::Serve), world.logins()), (1 + usize::from(spent), 1));
        world.since();
        assert_eq!((world.web(), world.since()), (Err(LimitExceeded), vec![]), "not again at once");
    }
}

#[test]
fn a_list_of_everything_over_its_bound_is_asked_for_in_parts() {
    for spent in [false, true] {
        let mut world =
            faulty(move |work| (*work == Work::Everything).then_some(Outcome::TooLarge { spent }));
        for at in 0..100 {
            world.content.insert(format!("jail-{at}"), [(format!("{at}-KEY"), at.to_string())].into());
        }
        for at in 0..100 {
            world.ask(fetch(&format!("jail-{at}")));
        }
        world.answered();
        assert!(world.answers.iter().all(|answer| answer.outcome.is_ok()), "{world:?}");
        let serves = 1 + usize::from(spent);
        assert_eq!(
            (world.count(&Work::Everything), world.count(&Work::Serve), world.logins()),
            (1, serves, 1)
        );
    }
}

#[test]
fn a_list_of_everything_that_takes_too_long_is_not_asked_for_again() {
    let mut world = world(bounds());
    world.play =
        Box::new(|work| (if *work == Work::Everything { 1000 * SECOND } else { SECOND / 100 }, None));
    for _ in 0..2 {
        world.answers.clear();
        world.next = 0;
        for at in 0..40 {
            world.ask(fetch(if at % 2 == 0 { "web" } else { "db" }));
        }
        world.answered();
    }
    assert!(world.answers.iter().all(|answer| answer.outcome.is_ok()), "{world:?}");
    assert_eq!((world.count(&Work::Everything), world.count(&Work::Serve), world.logins()), (1, 2, 1));
}

#[test]
fn a_late_list_ends_its_request_and_nothing_else() {
    let mut world = world(bounds());
    assert!(world.get(fetch("db")).is_ok());
    world.play = Box::new(|work| {
        let takes = if *work == Work::Items("web".into()) { 5000 } else { 10 };
        (Duration::from_millis(takes), None)
    });
    assert_eq!(world.get(Fetch { deadline_ms: 1000, ..fetch("web") }), Err(VaultTimeout));
    assert!(world.last().outcome.as_ref().unwrap_err().message.starts_with("`items`"));
    assert_eq!(world.get(fetch("db")), value("value"));
    // It is known how long it takes: it is not begun for who has less time, at first.
    world.since();
    let hasty = || Fetch { deadline_ms: 2000, ..fetch("web") };
    assert_eq!((world.get(hasty()), world.count(&Work::Items("web".into()))), (Err(VaultTimeout), 0));
    // The machine may have been slow then: what is believed of it is less each time.
    world.play = Box::new(|_| (Duration::from_millis(10), None));
    world.get(hasty()).ok();
    assert_eq!(world.get(hasty()), value("value"));
    assert_eq!((world.count(&Work::Serve), world.logins()), (0, 0));
}

#[test]
fn a_list_that_hangs_costs_a_serve_and_no_login() {
    let mut world = world(bounds());
    assert!(world.web().is_ok());
    let mut left = 1;
    world.play = Box::new(move |work| {
        let hit = matches!(work, Work::Items(_)) && left > 0;
        left -= u32::from(hit);
        (if hit { 1000 * SECOND } else { SECOND / 100 }, None)
    });
    assert_eq!(world.web(), Err(VaultTimeout));
    assert_eq!((world.web(), world.logins(), world.count(&Work::Serve)), (value("value"), 1, 2));
}

/// What a sync fails by that was begun for another says nothing to who came since.
#[test]
fn a_sync_that_hung_for_one_who_is_gone_fails_nobody_else() {
    for name in [VaultUnreachable, VaultTimeout, VaultLocked, VaultError] {
        let mut world = world(bounds());
        assert!(world.web().is_ok());
        let mut left = 1;
        world.play = Box::new(move |work| {
            let hit = matches!(work, Work::Sync(_)) && left > 0;
            left -= u32::from(hit);
            (if hit { 10 * SECOND } else { SECOND / 100 }, if hit { failed(name) } else { None })
        });
        assert_eq!(world.get(Fetch { deadline_ms: 5000, ..fetch("web") }), Err(VaultTimeout));
        assert_eq!((world.web(), world.logins()), (value("value"), 1), "{name}");
    }
}

#[test]
fn a_start_longer_than_any_deadline_serves_everybody_with_one_login() {
    let mut world = world(bounds());
    world.play = Box::new(|work| {
        let slow = matches!(work, Work::LogIn | Work::Serve | Work::Unlock);
        (Duration::from_millis(if slow { 13_000 } else { 50 }), None)
    });
    let mut waiting: Vec<_> = (0..50).map(|at| if at % 2 == 0 { "web" } else { "db" }).collect();
    let mut rounds = 0;
    while !waiting.is_empty() {
        rounds += 1;
        let asked: Vec<_> = waiting.iter().map(|name| (world.ask(fetch(name)), *name)).collect();
        world.answered();
        let is_late = |id| world.answers.iter().any(|one| one.id == id && one.outcome.is_err());
        waiting = asked.into_iter().filter(|(id, _)| is_late(*id)).map(|(_, name)| name).collect();
    }
    assert_eq!((rounds, world.logins()), (2, 1));
}

#[test]
fn what_is_stored_is_waited_for_and_without_it_two_lists_must_agree() {
    let torn = || Some(Outcome::Stored(Reading::Torn));
    let mut world = first(3, |work| *work == Work::Read, torn);
    assert_eq!((world.web(), world.count(&Work::Read)), (value("value"), 4));
    let mut world = faulty(move |work| if *work == Work::Read { torn() } else { None });
    assert_eq!((world.web(), world.count(&Work::Read)), (value("value"), 5));
    assert_eq!(world.count(&Work::Items("web".into())), 2);
    world.since();
    assert_eq!((world.web(), world.count(&Work::Read)), (value("value"), 1), "not waited for each time");
    assert_eq!(world.get(fetch("db")), value("value"));
    let mut digest = 0;
    let mut world = faulty(move |work| match work {
        Work::Read => Some(Outcome::Stored(Reading::Unknown)),
        Work::Items(_) => {
            digest += 1;
            Some(Outcome::Items(Listed { data: Vec::new(), digest }))
        }
        _ => None,
    });
    assert_eq!(world.web(), Err(VaultError), "another each time");
}

#[test]
fn a_collection_that_is_missing_costs_one_forced_sync() {
    let mut world = world(Bounds { forced_ms: 0, ..bounds() });
    assert!(world.web().is_ok());
    for _ in 0..3 {
        assert_eq!(world.get(fetch("new")), Err(CollectionNotFound));
    }
    assert_eq!(world.count(&Work::Sync(Whole)), 1);
    let seen = world.machine.seen;
    world.content.insert("new".into(), BTreeMap::new());
    assert_eq!(world.get(fetch("new")), Ok(BTreeMap::new()));
    assert_ne!(world.machine.seen, seen);
    // It is the same while what was listed is forgotten.
    let seen = world.machine.seen;
    world.change("web", "other");
    world.ask(fetch("web"));
    while world.machine.collections.is_some() {
        world.step();
    }
    assert_eq!(world.machine.seen, seen);
}

#[test]
fn another_collection_of_the_name_is_followed_after_a_forced_sync() {
    let mut world = world(bounds());
    world.content.insert("web#1".into(), world.content["web"].clone());
    world.content.remove("web");
    let pinned = || Fetch { pinned: Some("web".into()), ..fetch("web") };
    assert_eq!(world.get(pinned()), value("value"));
    assert_eq!((world.count(&Work::Sync(Whole)), world.logins()), (1, 1));
    assert!(world.last().outcome.as_ref().unwrap().warnings[0].contains("web#1"));
    world.content.insert("web#2".into(), BTreeMap::new());
    world.content.remove("web#1");
    let again = || Fetch { pinned: Some("web#1".into()), ..fetch("web") };
    assert_eq!(world.get(again()), Err(CollectionReplaced), "within a minute it is not asked again");
    world.wait(Duration::from_secs(61));
    assert_eq!(world.get(again()), Ok(BTreeMap::new()));
}

#[test]
fn all_of_the_vault_is_fetched_for_who_asks_and_when_it_may_have_been_missed() {
    let mut world = world(Bounds { whole_ms: 3_600_000, ..Bounds::default() });
    let whole = || Fetch { sync: Sync::Everything, ..fetch("web") };
    assert!(world.get(whole()).is_ok());
    assert_eq!(world.count(&Work::Sync(Whole)), 0, "the login was a moment ago");
    world.wait(Duration::from_secs(61));
    for _ in 0..2 {
        assert!(world.get(whole()).is_ok());
    }
    assert_eq!(world.count(&Work::Sync(Whole)), 1);
    for _ in 0..16 {
        world.wait(Duration::from_secs(240));
        assert!(world.web().is_ok());
    }
    assert_eq!((world.count(&Work::Sync(Whole)), world.logins()), (2, 1));
}

#[test]
fn a_worn_out_serve_is_replaced_without_a_login() {
    let mut world = world(Bounds { requests: 10, ..bounds() });
    for _ in 0..6 {
        assert!(world.web().is_ok());
    }
    assert_eq!((world.count(&Work::Serve), world.logins()), (2, 1));
    // While nobody waits, at half of what it may take in addition while somebody does.
    let mut memory = 100;
    let mut world = faulty(move |work| {
        memory += 40;
        (*work == Work::Weigh).then_some(Outcome::Memory(Some(memory)))
    });
    world.machine.terms.bounds.growth = 100;
    assert!(world.web().is_ok());
    assert!(world.web().is_ok());
    world.wait(Duration::from_secs(3));
    assert_eq!((world.count(&Work::Serve), world.logins()), (2, 1), "{world:?}");
    assert_eq!(world.states.last(), Some(&SessionState::Idle));
    world.wait(Duration::from_secs(60));
    assert_eq!(world.count(&Work::Serve), 2, "once");
}

#[test]
fn attachments_are_fetched_one_by_one_and_one_that_is_lost_is_its_tenants_trouble() {
    let rules = Rules { attachments: true, key_case: colibri_tenant::KeyCase::Upper, ..Rules::default() };
    let with_files = move || Fetch { rules: rules.clone(), ..fetch("web") };
    let mut good = world(bounds());
    let both = [("KEY".to_owned(), "value".to_owned()), ("KEY_F".to_owned(), "text".to_owned())];
    assert_eq!(good.get(with_files()), Ok(both.into()));
    for (outcome, name) in [
        (failed(VaultError), AttachmentUnreadable),
        (failed(VaultUnreachable), VaultUnreachable),
        (Some(Outcome::TooLarge { spent: false }), LimitExceeded),
        (Some(Outcome::File(vec![b'x'; colibri_pair::MAX_VALUE + 1].into())), LimitExceeded),
        (Some(Outcome::File(b"\xff".to_vec().into())), ErrorName::ValueNotCarried),
    ] {
        let mut outcome = outcome;
        let mut world =
            faulty(move |work| if matches!(work, Work::Attachment { .. }) { outcome.take() } else { None });
        assert_eq!(world.get(with_files()), Err(name));
        assert_eq!((world.get(with_files()).map(|it| it.len()), world.logins()), (Ok(2), 1));
        assert_eq!(world.count(&Work::Serve), 1, "the session was as good as before");
    }
}

#[test]
fn who_only_asks_for_names_needs_no_items() {
    let mut world = world(bounds());
    assert!(world.get(Fetch { want: Want::Names, ..fetch("") }).is_ok());
    assert_eq!(world.last().outcome.as_ref().unwrap().names.as_ref().unwrap().shown, ["db", "web"]);
    assert_eq!(world.since(), START);
}

/// One look for all: nobody who has what the vault has asks for it again, and a change that
/// is nobody's starts no `bw serve`.
#[test]
fn the_states_of_collections_tell_whose_changed() {
    let mut world = world(bounds());
    assert!(world.web().is_ok());
    let had = world.last().outcome.as_ref().unwrap().fingerprint.unwrap();
    let states = |world: &mut World| {
        assert!(world.get(Fetch { want: Want::States, ..fetch("") }).is_ok());
        let states = world.last().outcome.as_ref().unwrap().states.clone().unwrap();
        states.shown.into_iter().collect::<BTreeMap<_, _>>()
    };
    let before = states(&mut world);
    assert_eq!(before["web"], had);
    world.since();
    assert_eq!(states(&mut world), before);
    assert_eq!(world.since(), [Work::Weigh, Work::Sync(Changes), Work::Read]);
    world.change("db", "new");
    let after = states(&mut world);
    assert!(after["web"] == before["web"] && after["db"] != before["db"]);
    assert_eq!(world.since(), [Work::Weigh, Work::Sync(Changes), Work::Read, Work::Kill]);
    assert_eq!(world.get(fetch("db")), value("new"));
    assert_eq!(world.last().outcome.as_ref().unwrap().fingerprint, Some(after["db"]));
    // A look is a sync, and whoever comes cold has all of a start.
    world.wait(SECOND);
    let mut cold = self::world(bounds());
    assert_eq!(states(&mut cold).len(), 2);
    assert!(!cold.begun.contains(&Work::Collections));
}

/// A login, a sync of all of the vault, and each that brought changes.
#[test]
fn what_costs_a_login_at_the_vault_is_told_once() {
    let mut world = world(bounds());
    for (change, paid) in [(None, 1), (None, 1), (Some("new"), 2), (None, 2)] {
        if let Some(change) = change {
            world.change("web", change);
        }
        assert!(world.web().is_ok());
        assert_eq!(world.paid, paid, "{world:?}");
    }
    world.wait(Duration::from_secs(61));
    world.change("web", "newest");
    assert!(world.get(Fetch { sync: Sync::Everything, ..fetch("web") }).is_ok());
    assert_eq!(world.paid, 3);
}

#[test]
fn a_session_that_is_to_end_at_once_waits_for_its_first_request() {
    let mut world = world(bounds());
    world.machine.terms.idle = Duration::ZERO;
    world.tell(Event::Tick);
    assert!(!world.over);
    assert!(world.web().is_ok());
    assert!(world.over);
}

#[test]
fn no_more_requests_end_the_session_after_those_that_wait() {
    let mut world = world(bounds());
    world.ask(fetch("web"));
    world.tell(Event::Closing);
    assert!(!world.over);
    world.answered();
    assert!(world.over && world.last().outcome.is_ok());
}

/// Whatever fails, at whatever work, once or twice: who asks has an answer, and the next
/// is served when the vault has been left alone for long enough.
#[test]
fn after_any_failure_of_any_work_the_next_is_served() {
    let mut works: Vec<_> = START.to_vec();
    works.extend([Work::Kill, Work::Weigh, Work::Items("web".into()), Work::Everything]);
    for work in works {
        for name in [
            VaultTimeout,
            VaultError,
            VaultLocked,
            VaultUnreachable,
            BwCrashed,
            RateLimited,
            BadCredentials,
            LimitExceeded,
        ] {
            for (warm, times) in [(false, 1), (true, 1), (true, 3)] {
                let mut world = world(bounds());
                if warm {
                    assert!(world.web().is_ok());
                    world.change("web", "new");
                }
                let (failing, mut left) = (work.clone(), times);
                world.play = Box::new(move |work| {
                    let hit = left > 0 && *work == failing;
                    left -= u32::from(hit);
                    let outcome = match name {
                        LimitExceeded => Some(Outcome::TooLarge { spent: true }),
                        name => failed(name),
                    };
                    (SECOND / 10, if hit { outcome } else { None })
                });
                let many = if work == Work::Everything { 30 } else { 3 };
                (0..many).for_each(|_| assert!(world.ask(fetch("web")) > 0));
                world.answered();
                // Each that fails may be the last that is answered so.
                for _ in 0..3 {
                    world.wait(Duration::from_secs(61));
                    world.web().ok();
                }
                let now = if warm { value("new") } else { value("value") };
                assert_eq!(world.web(), now, "{work:?} {name} {warm} {times}: {world:?}");
                assert!(world.logins() <= 6, "{work:?} {name} {warm} {times}: {world:?}");
            }
        }
    }
}

/// For any queue, any deadlines and any speed of the vault: while it answers each step
/// within its own bound, all get their secrets, with one login. A request has at least the
/// time that a sync and its own list take.
#[test]
fn while_the_vault_answers_everybody_is_served() {
    use rand::{Rng, SeedableRng};
    for seed in 0..30 {
        let mut random = rand::rngs::StdRng::seed_from_u64(seed);
        let mut world = world(bounds());
        let most = random.random_range(1..40);
        for at in 0..most {
            world.content.insert(format!("jail-{at}"), [(format!("{at}-KEY"), at.to_string())].into());
        }
        let own = random.random_range(1..12_000_u64);
        let slow = random.random_range(1..30_000_u64);
        let mut speed = rand::rngs::StdRng::seed_from_u64(seed + 1_000_000);
        world.play = Box::new(move |work| {
            let most = match work {
                Work::Sync(_)
                | Work::Items(_)
                | Work::Collections
                | Work::Everything
                | Work::Weigh
                | Work::Read => own / 4 + 1,
                _ => slow,
            };
            (Duration::from_millis(speed.random_range(0..=most)), None)
        });
        let mut waiting: Vec<_> = (0..most).collect();
        for round in 0.. {
            assert!(round < 200, "seed {seed}: never served {waiting:?}");
            let asked: Vec<_> = std::mem::take(&mut waiting)
                .into_iter()
                .map(|at| {
                    let deadline_ms = random.random_range(own * 2 + 10..own * 6 + 100);
                    let id = world.ask(Fetch { deadline_ms, ..fetch(&format!("jail-{at}")) });
                    if random.random_bool(0.3) {
                        world.wait(Duration::from_millis(random.random_range(0..own)));
                    }
                    (id, at)
                })
                .collect();
            world.answered();
            for (id, at) in asked {
                let answer = world.answers.iter().find(|answer| answer.id == id).unwrap();
                match &answer.outcome {
                    Ok(_) => {}
                    Err(failure) if failure.name == VaultTimeout => waiting.push(at),
                    Err(failure) => panic!("seed {seed}: {failure:?}"),
                }
            }
            if waiting.is_empty() {
                break;
            }
        }
        assert_eq!(world.logins(), 1, "seed {seed}");
        assert_eq!(world.count(&Work::Serve), 1, "seed {seed}: no list ended one that works");
    }
}
