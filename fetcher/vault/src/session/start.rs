//! How a session starts: stages, each of which one piece of work leads to the next. All
//! that wait share it, and no request's deadline cuts it short.

use super::{Moment, Outcome, Request, Scope, Session, Stop, Work};
use colibri_session::{Failure, Server, SessionState};
use colibri_tenant::ErrorName::{BwCrashed, LimitExceeded, ServerMismatch, VaultError, VaultTimeout};

/// Longest time for an unlock, which takes a second: `bw` hangs in it for ever when the
/// vault failed in the middle of the login.
pub const UNLOCK_MS: u64 = 30_000;

/// How far a start has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Nothing was done.
    LoggedOut,
    /// `bw`'s directory is empty.
    Cleared,
    /// `bw` may be run.
    Admitted,
    /// It is set up for the server.
    Configured,
    /// It is logged in.
    LoggedIn,
    /// `bw serve` runs.
    Running,
    /// It means the configured server.
    Checked,
    /// It has what the vault holds: without that, unlocking would hang.
    Synced,
    /// What it has is known.
    Serving,
    /// The answer to the unlock was none: whether the vault is open, a list tells.
    /// 2026.9.0 may answer with status 500 and open it all the same.
    Doubtful,
    /// It is unlocked.
    Open,
}

impl Stage {
    /// Whether `bw serve` runs.
    pub fn runs(self) -> bool {
        self >= Self::Running
    }
}

impl Session {
    /// Goes on until the vault is open.
    pub(super) fn open(&mut self, mut head: Option<&mut Request>, now: Moment) -> Result<(), Stop> {
        if self.kill_due {
            return Err(Stop::Do(Work::Kill));
        }
        let (step, work) = match self.stage {
            Stage::LoggedOut => ("login", Work::Clear),
            Stage::Cleared => ("login", Work::Version),
            Stage::Admitted => ("login", Work::Configure),
            Stage::Configured => ("login", Work::LogIn),
            Stage::LoggedIn => ("serve", Work::Serve),
            Stage::Running => ("serve", Work::Status),
            Stage::Checked if self.has_content(now) => {
                self.stage = Stage::Synced;
                ("serve", Work::Read)
            }
            Stage::Checked => ("serve", Work::Sync(Scope::Changes)),
            Stage::Synced => ("serve", Work::Read),
            Stage::Serving => ("unlock", Work::Unlock),
            Stage::Doubtful => ("unlock", Work::Collections),
            Stage::Open => {
                self.starting = false;
                if self.told != SessionState::Unlocked && head.is_some() {
                    head.iter_mut().for_each(|head| head.steps.begin("wake", now));
                    self.tell(SessionState::Unlocked);
                }
                return Ok(());
            }
        };
        self.starting = true;
        head.iter_mut().for_each(|head| head.steps.begin(step, now));
        Err(Stop::Do(work))
    }

    /// What it has was brought since the last login: nobody waits for another sync before
    /// the unlock.
    fn has_content(&self, now: Moment) -> bool {
        self.synced.is_some() || (self.current.is_some() && self.is_limited(now))
    }

    /// A piece of work of the start ended well.
    pub(super) fn started(&mut self, work: &Work, outcome: Outcome, now: Moment) {
        match (work, outcome) {
            (Work::Kill, Outcome::Done) => {}
            (Work::Clear, Outcome::Done) => self.stage = Stage::Cleared,
            (Work::Version, Outcome::Version(version)) => {
                (self.version, self.stage) = (version, Stage::Admitted);
            }
            (Work::Configure, Outcome::Done) => self.stage = Stage::Configured,
            (Work::LogIn, Outcome::Done) => {
                self.stage = Stage::LoggedIn;
                self.tell(SessionState::LoggedIn);
            }
            (Work::Serve, Outcome::Done) => self.stage = Stage::Running,
            (Work::Status, Outcome::Server(actual)) => self.compare(actual.as_deref(), now),
            (work, _) => {
                let message = format!("bw's answer to {work:?} is of no form that is known");
                self.failed(Failure::new(VaultError, message), now);
            }
        }
    }

    fn compare(&mut self, actual: Option<&str>, now: Moment) {
        let configured = self.terms.server.as_ref().and_then(Server::known_as);
        let actual = actual.map(|url| url.trim_end_matches('/'));
        if self.terms.server.is_some() && configured != actual {
            let message = "bw is set up for another server than the configured one";
            return self.failed(Failure::new(ServerMismatch, message), now);
        }
        self.stage = Stage::Checked;
    }

    /// Whether the vault is open is decided by reading, not by the answer.
    pub(super) fn unlocked(&mut self, outcome: Outcome, now: Moment) {
        match outcome {
            Outcome::Failed(failure) if failure.name == VaultTimeout => self.failed(
                Failure::new(
                    VaultError,
                    "bw does not unlock: the vault's content did not come with the login",
                ),
                now,
            ),
            Outcome::Failed(failure) if failure.name == BwCrashed => self.failed(failure, now),
            Outcome::Failed(failure) => (self.stage, self.unopened) = (Stage::Doubtful, Some(failure)),
            Outcome::TooLarge { .. } => {
                self.failed(Failure::new(LimitExceeded, "bw's answer to the unlock is over its bound"), now);
            }
            _ => self.opened(),
        }
    }

    pub(super) fn probed(&mut self, outcome: &Outcome, now: Moment) {
        match (outcome, self.unopened.take()) {
            (Outcome::Collections(_), _) | (_, None) => self.opened(),
            (_, Some(failure)) => self.failed(failure, now),
        }
    }

    fn opened(&mut self) {
        self.stage = Stage::Open;
        self.tell(SessionState::Unlocked);
    }
}
