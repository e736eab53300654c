//! What a vault's items mean, and what is done next to get them: decisions alone,
//! without a clock, a file, a process or the network.

pub mod answer;
mod bare;
mod block;
pub mod classify;
#[cfg(test)]
mod corpus;
pub mod everything;
pub mod item;
mod naming;
mod note;
pub mod pairs;
#[cfg(all(test, target_os = "linux"))]
mod shell;
pub mod warnings;
mod word;

pub use bare::is_invisible;
