//! The conversation of the operator's CLI, and of other programs, with the daemon.
//!
//! The protocol is one JSON object per line in both directions, over a unix
//! stream socket. A request is `{"v":1,"id":7,"verb":"show-tenant",…}`; its
//! answer repeats the id and holds either `ok` or `error`. After the answer to
//! `watch` come lines with `event`. `PROTOCOL.md` describes it for other programs.

mod answer;
mod client;
mod line;
mod plan;
mod request;
mod view;

pub use answer::{
    AgentState, AgentView, Answer, BellState, BellView, CollectionsView, ConfinementView, Diff, Event,
    FileDiff, FileProvision, HookResult, HookView, LackView, Outcome, ProcessKind, Provision, Reason,
    SessionView, SetupView, SpawnView, StatusView, Step,
};
pub use client::{Client, ClientError};
pub use line::{Call, Content, MAX_ANSWER, MAX_REQUEST, Malformed, Reply, VERSION};
pub use plan::{Registration, Registrations, Step as PlanStep, Unwanted, changes, plan};
pub use request::{Request, Secrets};
pub use view::{FileView, TenantView};
