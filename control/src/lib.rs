//! The words between the operator's CLI and the daemon, and the names of
//! failures that every process but the writer shares.
//!
//! The protocol is one JSON object per line in both directions, over a unix
//! stream socket. A request is `{"v":1,"id":7,"verb":"show-tenant",…}`; its
//! answer repeats the id and holds either `ok` or `error`. After the answer to
//! `watch` come lines with `event`. `PROTOCOL.md` describes it for other programs.

mod answer;
mod client;
mod error;
mod line;
mod name;
mod plain;
mod plan;
mod request;
mod tenant;

pub use answer::{
    AgentState, AgentView, Answer, CollectionsView, ConfinementView, Diff, Event, Fault, HookResult,
    HookView, LackView, Outcome, ProcessKind, Provision, Reason, SessionView, SetupView, SpawnView,
    StatusView, Step,
};
pub use client::{Client, ClientError};
pub use error::{ErrorName, Retry, UnknownName};
pub use line::{Call, Content, MAX_ANSWER, MAX_REQUEST, Malformed, Reply, VERSION};
pub use name::{CollectionName, JailName, NameError, TenantId};
pub use plain::plain;
pub use plan::{Registration, Registrations, Step as PlanStep, Unwanted, changes, plan};
pub use request::{Request, Secrets};
pub use tenant::{
    AgentNetwork, Format, KeyCase, Notes, OnChange, OnDuplicate, Settings, Status, TenantView, UnknownWord,
};
