//! What a vault that accepts and never answers costs those who start one jail after
//! another: one deadline in all.

use colibri_control::Provision;
use colibri_tenant::ErrorName;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Steps of a provision in which the vault, or what stands for it, answers nobody: the
/// others are about one tenant's collection.
const SHARED: [&str; 6] = ["wait", "login", "serve", "unlock", "wake", "sync"];

/// Since when the vault has answered nobody.
#[derive(Debug, Default)]
pub(crate) struct Silence(Mutex<Option<Heard>>);

#[derive(Clone, Copy, Debug)]
struct Heard {
    first: Instant,
    last: Instant,
}

impl Silence {
    /// An attempt ended: the vault answered it, or did not until its deadline.
    pub(crate) fn ended(&self, provision: &Provision, now: Instant) {
        let shared = provision.steps.iter().rev().find(|step| step.name != "write");
        let shared = shared.is_some_and(|step| SHARED.contains(&step.name.as_str()));
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &provision.error {
            None => *heard = None,
            Some(fault) if fault.name == ErrorName::VaultTimeout && shared => {
                let first = heard.map_or(now, |heard| heard.first);
                *heard = Some(Heard { first, last: now });
            }
            Some(_) => {}
        }
    }

    /// How long a jail without secrets may still wait for them; `None` while nothing
    /// says that the vault is silent. What was seen long ago says nothing.
    pub(crate) fn room(&self, deadline: Duration, now: Instant) -> Option<Duration> {
        let heard = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let heard = heard.filter(|heard| now.saturating_duration_since(heard.last) < deadline * 2)?;
        Some((heard.first + deadline).saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use colibri_control::{Outcome, Reason, Step};
    use colibri_tenant::Fault;

    const DEADLINE: Duration = Duration::from_secs(30);

    fn ended(error: Option<ErrorName>, step: &str) -> Provision {
        Provision {
            number: 1,
            tenant: "web".parse().unwrap(),
            reason: Reason::Hook,
            at: 0,
            ms: 1,
            outcome: Outcome::Failed,
            error: error.map(|name| Fault::new(name, "")),
            keys: 0,
            steps: vec![Step { name: step.into(), ms: 1 }],
            warnings: Vec::new(),
            files: Vec::new(),
        }
    }

    #[test]
    fn all_share_the_deadline_that_begins_with_the_first_who_waited_in_vain() {
        let (silence, start) = (Silence::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(silence.room(DEADLINE, start), None);
        silence.ended(&ended(Some(ErrorName::VaultTimeout), "login"), start);
        assert_eq!(silence.room(DEADLINE, after(10)), Some(Duration::from_secs(20)));
        silence.ended(&ended(Some(ErrorName::VaultTimeout), "wait"), after(40));
        assert_eq!(silence.room(DEADLINE, after(90)), Some(Duration::ZERO));
        assert_eq!(silence.room(DEADLINE, after(100)), None, "nobody has asked for long");
        silence.ended(&ended(None, "send"), after(41));
        assert_eq!(silence.room(DEADLINE, after(42)), None, "it answers");
    }

    #[test]
    fn what_one_tenant_waits_for_in_vain_is_no_silence() {
        let silence = Silence::default();
        for (name, step) in [(ErrorName::VaultTimeout, "items"), (ErrorName::VaultUnreachable, "login")] {
            silence.ended(&ended(Some(name), step), Instant::now());
            assert_eq!(silence.room(DEADLINE, Instant::now()), None, "{name} {step}");
        }
    }
}
