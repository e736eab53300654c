//! Whom the host knows an agent as: a user of the jail's own, from a range that
//! nobody else has users in. It is given once and never to another jail, so that
//! no agent finds files or processes of another that was there before it.

use super::given;
use crate::jail::{Host, Jails};
use crate::settings::Config;
use crate::store::Store;
use colibri_pair::Owner;
use colibri_tenant::{ErrorName, Fault, JailName};
use nix::unistd::{Gid, Group, Uid, User, geteuid};
use std::fs::read_to_string;
use std::str::FromStr;

/// Where nobody has users: systemd's list of them calls this part unused, and
/// neither adduser nor /etc/subuid comes near it.
const USUAL: AgentUsers = AgentUsers { first: 1_900_000_000, last: 1_900_999_999 };
/// nobody, and what 16 bits make of "no user".
const NOT_USERS: [u32; 3] = [65534, 65535, u32::MAX];
/// Files that say whose a number is, and what they call it.
const FILES: [(&str, Kind); 6] = [
    ("/etc/passwd", Kind::Account),
    ("/etc/group", Kind::Account),
    ("/etc/subuid", Kind::Range),
    ("/etc/subgid", Kind::Range),
    ("/proc/self/uid_map", Kind::Map),
    ("/proc/self/gid_map", Kind::Map),
];

/// A range of user numbers; each is a group's number, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AgentUsers {
    /// The lowest.
    pub first: u32,
    /// The highest.
    pub last: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// NAME:x:NUMBER:…
    Account,
    /// NAME:FIRST:COUNT
    Range,
    /// What there is at all: INSIDE OUTSIDE COUNT
    Map,
}

/// Whether agents have users of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Users {
    /// The daemon has but its own to give, or jails share theirs with the host.
    Shared,
    /// Each jail's own.
    Own(AgentUsers),
    /// They should, and there is no range for it.
    Missing(String),
}

impl FromStr for AgentUsers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let range = text
            .split_once('-')
            .and_then(|(first, last)| Some(Self { first: first.parse().ok()?, last: last.parse().ok()? }));
        let range = range.filter(|range| range.first > 0 && range.first <= range.last);
        range.ok_or_else(|| "not a range of users such as 1900000000-1900999999, without root".into())
    }
}

impl Users {
    /// The configured range, which nobody else may have users in.
    ///
    /// # Errors
    /// Who has; without a configured range that is for the first agent to hear.
    pub fn find(configured: Option<AgentUsers>) -> anyhow::Result<Self> {
        if !Host::OWN_USERS || !geteuid().is_root() {
            return Ok(Self::Shared);
        }
        let range = configured.unwrap_or(USUAL);
        match range.free() {
            Ok(()) => Ok(Self::Own(range)),
            Err(why) if configured.is_none() => Ok(Self::Missing(why)),
            Err(why) => Err(anyhow::anyhow!("COLIBRI_AGENT_USERS: {why}")),
        }
    }
}

impl AgentUsers {
    fn free(self) -> Result<(), String> {
        if let Some(number) = NOT_USERS.into_iter().find(|number| self.has(*number)) {
            return Err(self.taken(&format!("{number} is nobody's to give")));
        }
        for (file, kind) in FILES {
            // Without such a file nobody is in it.
            let text = read_to_string(file).unwrap_or_default();
            if let Some(why) = self.conflict(kind, &text) {
                return Err(self.taken(&format!("{file} has {why}")));
            }
        }
        Ok(())
    }

    fn taken(self, why: &str) -> String {
        let Self { first, last } = self;
        format!("{first}-{last} cannot be the agents' users, since {why}: name a range that nobody has")
    }

    fn has(self, number: u32) -> bool {
        (self.first..=self.last).contains(&number)
    }

    /// What in such a file speaks against the range.
    fn conflict(self, kind: Kind, text: &str) -> Option<String> {
        let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        if kind == Kind::Map {
            let spans: Vec<_> = lines.filter_map(|line| span(line.split_ascii_whitespace(), 0, 2)).collect();
            let (first, last) = (u64::from(self.first), u64::from(self.last));
            let whole = spans.is_empty() || spans.iter().any(|span| span.0 <= first && last <= span.1);
            return (!whole).then(|| format!("but {}", text.trim()));
        }
        lines.into_iter().find_map(|line| {
            let (from, to) = match kind {
                Kind::Account => span(line.split(':'), 2, 2).map(|(number, _)| (number, number))?,
                Kind::Range | Kind::Map => span(line.split(':'), 1, 2)?,
            };
            let meets = from <= u64::from(self.last) && to >= u64::from(self.first);
            meets.then(|| format!("{} there, from {from}", line.split(':').next().unwrap_or_default()))
        })
    }
}

/// The first and last of so many, both from fields of a line.
fn span<'a>(fields: impl Iterator<Item = &'a str>, first: usize, count: usize) -> Option<(u64, u64)> {
    let fields: Vec<&str> = fields.collect();
    let number = |at: usize| fields.get(at)?.trim().parse::<u64>().ok();
    let (first, count) = (number(first)?, number(count)?);
    (count > 0 || first == 0).then_some((first, first.saturating_add(count).saturating_sub(1)))
}

/// The user of a jail's agents, given to it for ever if it has none yet; `None`
/// where agents have no users of their own.
///
/// # Errors
/// `AgentFailed` if there is none to give, or the database's.
pub async fn user_of(config: &Config, store: &Store, jail: &JailName) -> Result<Option<Owner>, Fault> {
    let range = match &config.agent_users {
        Users::Shared => return Ok(None),
        Users::Own(range) => *range,
        Users::Missing(why) => return Err(none(why)),
    };
    // One that was given before, too: the other daemon may have given it as well.
    config.agent_claim.hold(range).map_err(|why| none(&why))?;
    let name = jail.clone();
    if let Some(uid) = store.with(move |db| db.agent_uid(&name)).await? {
        return Ok(Some(Owner { uid, gid: uid }));
    }
    let mut from = range.first;
    loop {
        let next = next(config, store, range, from).await?;
        if tokio::task::spawn_blocking(move || is_somebody(next)).await.unwrap_or(true) {
            tracing::warn!(user = next, "is somebody on this host, and no jail's");
            from = next.saturating_add(1);
            continue;
        }
        let (name, dir) = (jail.clone(), config.settings.state_dir.clone());
        let given = store.with(move |db| match given::keep(&dir, range, next) {
            Ok(()) => db.give_agent_uid(&name, next).map(Ok),
            Err(error) => Ok(Err(error)),
        });
        if let Some(uid) = given.await?.map_err(|error| unkept(&error))? {
            tracing::info!(%jail, user = uid, "given to the jail's agents, for ever");
            return Ok(Some(Owner { uid, gid: uid }));
        }
    }
}

/// One that was given to nobody, as far as the database knows and the file beside it.
async fn next(config: &Config, store: &Store, range: AgentUsers, from: u32) -> Result<u32, Fault> {
    let dir = config.settings.state_dir.clone();
    let next = store.with(move |db| match given::above(&dir, range) {
        Ok(above) => db.next_agent_uid(above.max(from), range.last).map(Ok),
        Err(error) => Ok(Err(error)),
    });
    let next = next.await?.map_err(|error| unkept(&error))?;
    next.ok_or_else(|| none("each of COLIBRI_AGENT_USERS was given to a jail"))
}

/// Has the file know what the database knows, as that of an earlier version does not.
///
/// # Errors
/// `AgentFailed` if it cannot be kept, or the database's.
pub async fn remember(config: &Config, store: &Store) -> Result<(), Fault> {
    let Users::Own(range) = config.agent_users else { return Ok(()) };
    let dir = config.settings.state_dir.clone();
    let kept = store.with(move |db| {
        let next = db.next_agent_uid(range.first, range.last)?;
        let given = next.map_or(Some(range.last), |next| next.checked_sub(1));
        let given = given.filter(|given| *given >= range.first);
        Ok(given.map_or(Ok(()), |given| given::keep(&dir, range, given)))
    });
    kept.await?.map_err(|error| unkept(&error))
}

fn unkept(error: &std::io::Error) -> Fault {
    none(&format!("what users were given to jails cannot be kept: {error}"))
}

/// Of a directory service, too, which may have come after the daemon's start.
fn is_somebody(number: u32) -> bool {
    !matches!(User::from_uid(Uid::from_raw(number)), Ok(None))
        || !matches!(Group::from_gid(Gid::from_raw(number)), Ok(None))
}

fn none(why: &str) -> Fault {
    let advice =
        "set COLIBRI_AGENT_USERS in the provider file to a range that nobody has, and restart colibrid";
    Fault { advice: advice.into(), ..Fault::new(ErrorName::AgentFailed, why) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_as_it_is_written() {
        assert_eq!("5-9".parse(), Ok(AgentUsers { first: 5, last: 9 }));
        for text in ["", "5", "0-9", "9-5", "a-b", "-5-9", "5-4294967296"] {
            assert!(text.parse::<AgentUsers>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_range_that_somebody_has_a_part_of_is_refused() {
        let range: AgentUsers = "200000-200999".parse().unwrap();
        for (kind, text, met) in [
            (Kind::Account, "alice:x:1000:1000::/:/bin/sh\n", false),
            (Kind::Account, "bob:x:200999:100::/:/bin/sh\n", true),
            (Kind::Account, "#bob:x:200999:100::/:/bin/sh\n\nx\n", false),
            (Kind::Range, "alice:100000:65536\n", false),
            (Kind::Range, "alice:100000:100000\n", false),
            (Kind::Range, "alice:100000:100001\n", true),
            (Kind::Range, "alice:200999:1\n", true),
            (Kind::Range, "alice:201000:65536\n", false),
            (Kind::Map, "         0          0 4294967295\n", false),
            (Kind::Map, "0 100000 65536\n", true),
            (Kind::Map, "0 100000 200500\n", true),
            (Kind::Map, "", false),
        ] {
            assert_eq!(range.conflict(kind, text).is_some(), met, "{text}");
        }
        assert!("65000-66000".parse::<AgentUsers>().unwrap().free().is_err());
        assert!("4294967000-4294967295".parse::<AgentUsers>().unwrap().free().is_err());
    }

    #[test]
    fn the_usual_range_is_nobodys_here() {
        assert_eq!(USUAL.free(), Ok(()));
    }
}
