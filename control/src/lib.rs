//! The words between the operator's CLI and the daemon, and the names of
//! failures that every process but the writer shares.

mod error;

pub use error::{ErrorName, Retry, UnknownName};
