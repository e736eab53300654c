//! A tenant as the daemon shows it.

use colibri_tenant::{Fault, FilePath, FileSettings, Settings, Status, TenantId};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A tenant as the daemon shows it. Times are milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TenantView {
    /// Its name.
    pub tenant: TenantId,
    /// Its jail's root, canonical.
    pub root: PathBuf,
    /// Where it is in its life.
    pub status: Status,
    /// Its settings; the optional ones are filled in with what is in force.
    pub settings: Settings,
    /// The collection's id that was found first, and that counts from then on.
    pub collection_id: Option<String>,
    /// The names of the keys in the file, as of the last success.
    pub keys: Vec<String>,
    /// When it was registered.
    pub registered: u64,
    /// When a provision last succeeded.
    pub last_success: Option<u64>,
    /// What is wrong since then, if anything.
    pub last_error: Option<Fault>,
    /// When it is tried or refreshed next.
    pub next_try: Option<u64>,
    /// Its file shall go, and could not be removed yet.
    #[serde(default)]
    pub removal_due: bool,
    /// A provision is under way.
    pub busy: bool,
    /// Whom the host knows its agents as, and whose the file is, once it had an
    /// agent (Linux, a daemon of root's); inside they are the owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_uid: Option<u32>,
    /// What the newest attempt skipped and why, and what it found doubtful; of
    /// one tenant that is asked for alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Its further files, by path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileView>,
}

/// One of a tenant's further files as the daemon shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FileView {
    /// Its path below the jail's root, which is its name.
    pub file: FilePath,
    /// Its settings; the owner is filled in.
    pub settings: FileSettings,
    /// The names of the keys in it, as of the last success.
    pub keys: Vec<String>,
    /// When it was last written or found right.
    pub last_success: Option<u64>,
    /// What is wrong with it since then.
    pub last_error: Option<Fault>,
    /// It shall go, and could not be removed yet.
    pub removal_due: bool,
}
