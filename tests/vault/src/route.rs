//! The requests that `bw` makes, by what they are for.

use hyper::Method;
use serde::{Deserialize, Serialize};

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Route {
    /// `POST /identity/connect/token`: a login.
    Token,
    /// `GET /api/config`.
    Config,
    /// `GET /api/sync`: the whole vault.
    Sync,
    /// `GET /api/accounts/revision-date`: has anything changed?
    RevisionDate,
    /// `POST /api/accounts/key-management/user-key-id`, from 2026.9.0 on.
    UserKeyId,
    /// Anything else.
    Other,
}

impl Route {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Token, Self::Config, Self::Sync, Self::RevisionDate, Self::UserKeyId, Self::Other];

    pub(crate) fn of(method: &Method, path: &str) -> Self {
        match (method.as_str(), path) {
            ("POST", "/identity/connect/token") => Self::Token,
            ("GET", "/api/config") => Self::Config,
            ("GET", "/api/sync") => Self::Sync,
            ("GET", "/api/accounts/revision-date") => Self::RevisionDate,
            ("POST", "/api/accounts/key-management/user-key-id") => Self::UserKeyId,
            _ => Self::Other,
        }
    }
}
