//! Misbehaviour on demand: what is wrong with the answer to a request.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::route::Route;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// The right answer, this many milliseconds later.
    Delay(u64),
    /// The request is read and never answered.
    Hang,
    /// The request is read and the connection closed.
    Close,
    /// The right answer, cut off half-way through its body.
    CutBody,
    /// Status 200, announced as JSON: bytes that are no text at all.
    Garbled,
    /// Status 200 and a page, as from a portal or a proxy in between.
    Html,
    /// The first half of the right answer, as if it were all.
    TruncatedJson,
    /// That status and a proxy's page.
    Status(u16),
    /// A body of this many bytes: JSON whose one string takes its time.
    HugeBody(u64),
    /// 401, as for an expired access token.
    Unauthorized,
    /// 429 as Vaultwarden answers when a login is one too many.
    RateLimited,
    /// 429 as Bitwarden's cloud answers.
    SlowDown,
    /// 400 as Bitwarden's cloud answers a `bw` that is too old.
    UpdateRequired,
    /// The right answer with only its first items.
    KeepCiphers(usize),
    /// The right answer with only its first collections.
    KeepCollections(usize),
}

/// How often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Times {
    /// Until it is healed.
    #[default]
    Always,
    /// For the next so many requests; then it has healed.
    Next(u32),
}

impl Fault {
    /// What is answered in place of the right answer, which is then not even
    /// made: a login refused so is no login.
    pub(crate) fn instead(self) -> Option<Answer> {
        match self {
            Self::Garbled => Some(Answer::json_bytes(200, GARBAGE.repeat(16))),
            Self::Html => Some(Answer::html(200, "Welcome to the guest network")),
            Self::Status(status) => Some(Answer::html(status, "The upstream server is not available")),
            Self::HugeBody(size) => Some(Answer::huge(size)),
            Self::Unauthorized => Some(Answer::unauthorized()),
            Self::RateLimited => Some(Answer::too_many_logins()),
            Self::SlowDown => Some(Answer::json(429, &slow_down())),
            Self::UpdateRequired => Some(Answer::json(400, &update_required())),
            Self::Delay(_) | Self::Hang | Self::Close | Self::CutBody | Self::TruncatedJson => None,
            Self::KeepCiphers(_) | Self::KeepCollections(_) => None,
        }
    }

    /// The right answer, made wrong.
    pub(crate) fn spoil(self, right: Answer) -> Answer {
        match self {
            Self::CutBody => right.cut(),
            Self::TruncatedJson => right.halved(),
            Self::KeepCiphers(count) => keep(right, "ciphers", count),
            Self::KeepCollections(count) => keep(right, "collections", count),
            _ => right,
        }
    }
}

const GARBAGE: &[u8] = &[0xff, 0x00, 0xfe, 0x1f, 0x8b, b'{', 0xc3, 0x28];

fn slow_down() -> Value {
    json!({
        "message": "Slow down! Too many requests. Try again in 1m.", "validationErrors": null,
        "exceptionMessage": null, "exceptionStackTrace": null, "innerExceptionMessage": null,
        "object": "error",
    })
}

fn update_required() -> Value {
    let message = "Please update your app to continue using Bitwarden";
    json!({
        "error": "invalid_client_version", "error_description": message,
        "ErrorModel": { "Message": message, "Object": "error" },
    })
}

fn keep(right: Answer, list: &str, count: usize) -> Answer {
    let Ok(mut value) = serde_json::from_slice::<Value>(right.body()) else { return right };
    if let Some(list) = value.get_mut(list).and_then(Value::as_array_mut) {
        list.truncate(count);
    }
    Answer::json(200, &value)
}

/// The faults in force.
#[derive(Default)]
pub(crate) struct Faults(HashMap<Route, (Fault, Times)>);

impl Faults {
    pub(crate) fn set(&mut self, route: Route, fault: Fault, times: Times) {
        self.0.insert(route, (fault, times));
    }

    pub(crate) fn heal(&mut self, route: Route) {
        self.0.remove(&route);
    }

    pub(crate) fn heal_all(&mut self) {
        self.0.clear();
    }

    /// The fault that befalls a request on that route now.
    pub(crate) fn befall(&mut self, route: Route) -> Option<Fault> {
        let (fault, times) = self.0.get_mut(&route)?;
        let fault = *fault;
        match times {
            Times::Always => {}
            Times::Next(0) => {
                self.heal(route);
                return None;
            }
            Times::Next(left) => *left -= 1,
        }
        Some(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_heals_after_so_many_requests() {
        let mut faults = Faults::default();
        faults.set(Route::Sync, Fault::Hang, Times::Next(2));
        assert_eq!(faults.befall(Route::Token), None);
        let seen: Vec<_> = (0..3).map(|_| faults.befall(Route::Sync)).collect();
        assert_eq!(seen, [Some(Fault::Hang), Some(Fault::Hang), None]);
    }

    #[test]
    fn a_shrunken_answer_keeps_the_rest() {
        let right = Answer::json(200, &json!({ "ciphers": [1, 2], "sends": [3] }));
        let wrong = Fault::KeepCiphers(1).spoil(right);
        assert_eq!(wrong.body(), br#"{"ciphers":[1],"sends":[3]}"#);
    }
}
