//! What a vault's items mean, and what is done next to get them: decisions alone,
//! without a clock, a file, a process or the network.

pub mod access;
pub mod answer;
mod answer_check;
mod bare;
mod block;
mod choice;
pub mod classify;
#[cfg(test)]
mod corpus;
mod everything;
mod files;
mod item;
mod naming;
mod note;
pub mod pairs;
mod parts;
pub mod session;
#[cfg(all(test, target_os = "linux"))]
mod shell;
pub mod stored;
mod warnings;
mod word;
