//! What went wrong, by kind, with the step and the system's word for it.

use colibri_pair::{Failure, Report};
use nix::errno::Errno;
use std::borrow::Cow;

/// A failed step. Its text holds no byte of the fetcher's but checked keys.
#[derive(Debug, thiserror::Error)]
#[error("{step}")]
pub struct Error {
    kind: Failure,
    step: Cow<'static, str>,
    source: Option<Errno>,
}

impl Error {
    /// A failure of that kind in that step.
    pub fn new(kind: Failure, step: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, step: step.into(), source: None }
    }

    /// There is no sandbox, so nothing may be read.
    pub(crate) const fn refused(step: &'static str) -> Self {
        Self { kind: Failure::SandboxUnavailable, step: Cow::Borrowed(step), source: None }
    }

    /// Makes an error of what the system said to a step of the write.
    pub fn write(step: &'static str) -> impl Fn(Errno) -> Self {
        Self::system(Failure::WriteFailed, step)
    }

    /// Makes an error of what the system said.
    pub fn system(kind: Failure, step: &'static str) -> impl Fn(Errno) -> Self {
        move |errno| Self { kind, step: step.into(), source: Some(errno) }
    }

    /// The kind of the failure.
    pub const fn kind(&self) -> Failure {
        self.kind
    }

    /// One line: the step, and the system's words if it spoke.
    pub fn line(&self) -> String {
        self.source.map_or_else(|| self.step.to_string(), |errno| format!("{}: {}", self.step, errno.desc()))
    }

    /// The daemon's view of it.
    pub fn report(&self) -> Report {
        Report::Failed { kind: self.kind, message: self.line() }
    }
}
