//! What a fleet asks of one vault, simulated: hosts with the daemon's own rules
//! for refreshing and retrying, and a vault that limits logins as Vaultwarden
//! does. Times come from docs/fleets.md; chance is seeded, so that it prints the
//! same figures every time.

use colibri_daemon::retry;
use colibri_tenant::ErrorName;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

/// Points in time and spans, in milliseconds.
type Millis = u64;

const SECOND: Millis = 1_000;
const MINUTE: Millis = 60 * SECOND;
const HOUR: Millis = 60 * MINUTE;

/// From nothing to the first list: login, `bw serve`, unlock.
const COLD: Millis = 5_800;
/// Of that, until the login's own sync is done.
const LOGIN: Millis = 2_900;
/// A sync that brings nothing.
const SYNC: Millis = 100;
/// Two lists of a collection, and the writer.
const TENANT: Millis = 8;
/// All of the vault is fetched once in an hour, with a new token.
const WHOLE: Millis = HOUR;
/// No login at all for this long after one was limited.
const BARRED: Millis = MINUTE;

/// What is simulated.
#[derive(Clone)]
struct Fleet {
    hosts: usize,
    jails: usize,
    /// Each jail's refresh in seconds, 0 for none.
    refresh: u32,
    /// How long a session stays open without work.
    idle: Millis,
    /// All jails of a host start within this time of their host.
    start: Millis,
    /// All hosts start within this time.
    power: Millis,
    /// Whether the vault sees one address.
    one_address: bool,
    /// Logins at once from one address; then one a minute.
    burst: u64,
    /// The vault is away from here to there.
    outage: Option<(Millis, Millis)>,
    length: Millis,
}

/// What came of it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    logins: u64,
    limited: u64,
    syncs: u64,
    provisions: u64,
    failures: u64,
    /// When each jail had its secrets first, or again after the outage.
    served: BTreeMap<usize, Millis>,
    peak_logins: u64,
    peak_syncs: u64,
    open: Millis,
}

#[derive(Clone, Default)]
struct Host {
    session: Option<Session>,
    barred: Millis,
}

#[derive(Clone)]
struct Session {
    since: Millis,
    busy: Millis,
    synced: Millis,
    renew: Millis,
}

/// The limit of one address: as many logins as there are tokens in it.
struct Limit {
    tokens: u64,
    filled: Millis,
}

struct Simulation {
    fleet: Fleet,
    random: StdRng,
    hosts: Vec<Host>,
    limits: Vec<Limit>,
    failures: Vec<u32>,
    events: BinaryHeap<Reverse<(Millis, usize)>>,
    logins: BTreeMap<u64, u64>,
    syncs: BTreeMap<u64, u64>,
    outcome: Outcome,
}

impl Simulation {
    fn new(fleet: &Fleet, seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut events = BinaryHeap::new();
        for host in 0..fleet.hosts {
            let up = random.random_range(0..=fleet.power);
            for jail in 0..fleet.jails {
                let start = up + random.random_range(0..=fleet.start);
                events.push(Reverse((start, host * fleet.jails + jail)));
            }
        }
        let addresses = if fleet.one_address { 1 } else { fleet.hosts };
        Self {
            random,
            hosts: vec![Host::default(); fleet.hosts],
            limits: (0..addresses).map(|_| Limit { tokens: fleet.burst, filled: 0 }).collect(),
            failures: vec![0; fleet.hosts * fleet.jails],
            events,
            logins: BTreeMap::new(),
            syncs: BTreeMap::new(),
            outcome: Outcome::default(),
            fleet: fleet.clone(),
        }
    }

    fn run(mut self) -> Outcome {
        while let Some(Reverse((now, jail))) = self.events.pop() {
            if now > self.fleet.length {
                break;
            }
            let ended = self.attempt(now, jail / self.fleet.jails);
            self.schedule(now, jail, ended);
        }
        for host in 0..self.hosts.len() {
            self.close(host);
        }
        self.outcome.peak_logins = self.logins.values().copied().max().unwrap_or(0);
        self.outcome.peak_syncs = self.syncs.values().copied().max().unwrap_or(0);
        self.outcome
    }

    /// The daemon's own rules say when the jail's turn is again.
    fn schedule(&mut self, now: Millis, jail: usize, ended: Result<Millis, ErrorName>) {
        let refresh = retry::refresh(self.fleet.refresh, &mut self.random);
        let (from, next) = match ended {
            Ok(done) => {
                self.outcome.provisions += 1;
                self.failures[jail] = 0;
                let over = self.fleet.outage.map_or(0, |(_, over)| over);
                if done >= over {
                    self.outcome.served.entry(jail).or_insert(done);
                }
                (done, refresh)
            }
            Err(name) => {
                self.outcome.failures += 1;
                self.failures[jail] += 1;
                (now, retry::delay(name, self.failures[jail], &mut self.random).or(refresh))
            }
        };
        if let Some(next) = next {
            self.events.push(Reverse((from + millis(next), jail)));
        }
    }

    /// One jail's turn: when it is over, or why it failed.
    fn attempt(&mut self, now: Millis, host: usize) -> Result<Millis, ErrorName> {
        if self.hosts[host].session.as_ref().is_some_and(|session| session.busy + self.fleet.idle < now) {
            self.close(host);
        }
        if self.hosts[host].session.is_none() {
            self.open(now, host)?;
        }
        let away = self.away(now);
        let Some(session) = &mut self.hosts[host].session else { return Err(ErrorName::VaultLocked) };
        let mut at = now.max(session.busy);
        if session.synced < now {
            if away {
                return Err(ErrorName::VaultUnreachable);
            }
            *self.syncs.entry(at / SECOND).or_default() += 1;
            self.outcome.syncs += 1;
            session.synced = at;
            at += SYNC;
        }
        session.busy = at + TENANT;
        let done = session.busy;
        if session.renew < now {
            session.renew = now + WHOLE;
            *self.logins.entry(now / SECOND).or_default() += 1;
            self.outcome.logins += 1;
        }
        Ok(done)
    }

    fn open(&mut self, now: Millis, host: usize) -> Result<(), ErrorName> {
        if now < self.hosts[host].barred {
            return Err(ErrorName::RateLimited);
        }
        if self.away(now) {
            return Err(ErrorName::VaultUnreachable);
        }
        let address = if self.fleet.one_address { 0 } else { host };
        if !self.limits[address].take(now, self.fleet.burst) {
            self.outcome.limited += 1;
            self.hosts[host].barred = now + BARRED;
            return Err(ErrorName::RateLimited);
        }
        *self.logins.entry(now / SECOND).or_default() += 1;
        self.outcome.logins += 1;
        let session = Session { since: now, busy: now + COLD, synced: now + LOGIN, renew: now + WHOLE };
        self.hosts[host].session = Some(session);
        Ok(())
    }

    fn close(&mut self, host: usize) {
        if let Some(session) = self.hosts[host].session.take() {
            self.outcome.open +=
                (session.busy + self.fleet.idle).min(self.fleet.length).saturating_sub(session.since);
        }
    }

    fn away(&self, now: Millis) -> bool {
        self.fleet.outage.is_some_and(|(from, to)| (from..to).contains(&now))
    }
}

impl Limit {
    fn take(&mut self, now: Millis, burst: u64) -> bool {
        let more = (now - self.filled) / MINUTE;
        self.filled += more * MINUTE;
        self.tokens = (self.tokens + more).min(burst);
        let granted = self.tokens > 0;
        self.tokens -= u64::from(granted);
        granted
    }
}

fn millis(duration: Duration) -> Millis {
    u64::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}

impl Outcome {
    /// The time by which this part of the jails, in percent, was served.
    fn by(&self, percent: usize, jails: usize) -> Option<Millis> {
        let mut times: Vec<_> = self.served.values().copied().collect();
        times.sort_unstable();
        times.get((jails * percent).div_ceil(100).checked_sub(1)?).copied()
    }
}

/// A hundred hosts with a hundred jails each.
const FLEET: Fleet = Fleet {
    hosts: 100,
    jails: 100,
    refresh: 900,
    idle: MINUTE,
    start: 30 * SECOND,
    power: MINUTE,
    one_address: false,
    burst: 10,
    outage: None,
    length: 24 * HOUR,
};

fn scenarios() -> Vec<(&'static str, Fleet)> {
    let day = Fleet { power: 15 * MINUTE, start: 15 * MINUTE, ..FLEET };
    let cut = Fleet { refresh: 0, length: 12 * HOUR, ..FLEET };
    let outage = Fleet { outage: Some((2 * HOUR, 2 * HOUR + 10 * MINUTE)), length: 4 * HOUR, ..day.clone() };
    vec![
        ("a day, refresh 15 min", day.clone()),
        ("a day, refresh 15 min, 10 jails a host", Fleet { jails: 10, ..day.clone() }),
        ("the same, session idle 15 min", Fleet { jails: 10, idle: 15 * MINUTE, ..day.clone() }),
        ("a day, refresh 15 min, 1 jail a host", Fleet { jails: 1, ..day.clone() }),
        ("a day, no refresh", Fleet { refresh: 0, ..day }),
        ("power cut, an address each", cut.clone()),
        ("power cut, one address", Fleet { one_address: true, ..cut.clone() }),
        ("power cut, one address, burst 100", Fleet { one_address: true, burst: 100, ..cut.clone() }),
        ("power cut, one host of 1,000 jails", Fleet { hosts: 1, jails: 1_000, ..cut }),
        ("outage of 10 min, an address each", outage.clone()),
        ("outage of 10 min, one address", Fleet { one_address: true, length: 12 * HOUR, ..outage }),
    ]
}

fn main() {
    println!(
        "{:40} {:>7} {:>8} {:>9} {:>9} {:>8} {:>7} {:>7} {:>9} {:>9} {:>9}",
        "scenario",
        "logins",
        "limited",
        "syncs",
        "provided",
        "failed",
        "peak l",
        "peak s",
        "half at",
        "99 % at",
        "all at"
    );
    for (name, fleet) in scenarios() {
        let jails = fleet.hosts * fleet.jails;
        let from = fleet.outage.map_or(0, |(_, over)| over);
        let outcome = Simulation::new(&fleet, 7).run();
        let at = |percent| match outcome.by(percent, jails) {
            Some(time) => format!("{:.1} s", (time - from) as f64 / 1e3),
            None => "never".to_owned(),
        };
        println!(
            "{name:40} {:>7} {:>8} {:>9} {:>9} {:>8} {:>7} {:>7} {:>6.0} {:>9} {:>9} {:>9}",
            outcome.logins,
            outcome.limited,
            outcome.syncs,
            outcome.provisions,
            outcome.failures,
            outcome.peak_logins,
            outcome.peak_syncs,
            outcome.open as f64 * 100.0 / (fleet.length * fleet.hosts as u64) as f64,
            at(50),
            at(99),
            at(100)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Fleet {
        Fleet { hosts: 20, jails: 5, refresh: 0, one_address: true, length: 2 * HOUR, ..FLEET }
    }

    #[test]
    fn the_same_seed_gives_the_same_figures() {
        let fleet = small();
        assert_eq!(Simulation::new(&fleet, 1).run(), Simulation::new(&fleet, 1).run());
        assert_ne!(Simulation::new(&fleet, 1).run().served, Simulation::new(&fleet, 2).run().served);
    }

    #[test]
    fn one_address_gets_its_burst_and_then_one_login_a_minute() {
        let mut limit = Limit { tokens: 10, filled: 0 };
        assert_eq!((0..30).filter(|_| limit.take(5 * SECOND, 10)).count(), 10);
        assert!(limit.take(61 * SECOND, 10) && !limit.take(62 * SECOND, 10));
        assert_eq!((0..30).filter(|_| limit.take(HOUR, 10)).count(), 10);
    }

    #[test]
    fn every_jail_is_served_in_the_end_though_logins_are_limited() {
        let outcome = Simulation::new(&small(), 3).run();
        assert!(outcome.limited > 0);
        assert_eq!(outcome.served.len(), 100);
        assert!((20..=40).contains(&outcome.logins), "{}", outcome.logins);
    }

    #[test]
    fn jails_that_start_together_share_a_login_and_nearly_all_syncs() {
        let fleet = Fleet { hosts: 1, jails: 50, start: 0, refresh: 0, ..small() };
        let outcome = Simulation::new(&fleet, 4).run();
        assert_eq!((outcome.logins, outcome.syncs, outcome.provisions), (1, 0, 50));
    }
}
