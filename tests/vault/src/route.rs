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
    /// `GET /api/ciphers/ITEM/attachment/FILE`: where the file is.
    Attachment,
    /// `GET /attachments/ITEM/FILE?token=…`: the file, for whoever has the address.
    File,
    /// `GET /notifications/hub?access_token=…`: the bell.
    Hub,
    /// Anything else.
    Other,
}

impl Route {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Token,
        Self::Config,
        Self::Sync,
        Self::RevisionDate,
        Self::UserKeyId,
        Self::Attachment,
        Self::File,
        Self::Hub,
        Self::Other,
    ];

    pub(crate) fn of(method: &Method, path: &str) -> Self {
        match (method.as_str(), path) {
            ("GET", path) if file_of("/api/ciphers/", "/attachment/", path).is_some() => Self::Attachment,
            ("GET", path) if file_of("/attachments/", "/", path).is_some() => Self::File,
            ("POST", "/identity/connect/token") => Self::Token,
            ("GET", "/api/config") => Self::Config,
            ("GET", "/notifications/hub") => Self::Hub,
            ("GET", "/api/sync") => Self::Sync,
            ("GET", "/api/accounts/revision-date") => Self::RevisionDate,
            ("POST", "/api/accounts/key-management/user-key-id") => Self::UserKeyId,
            _ => Self::Other,
        }
    }
}

/// The item and the file of a path that begins so, with that between the two.
pub(crate) fn file_of<'a>(start: &str, between: &str, path: &'a str) -> Option<(&'a str, &'a str)> {
    let (item, file) = path.strip_prefix(start)?.split_once(between)?;
    (!item.contains('/') && !file.contains('/')).then_some((item, file))
}
