//! What an operator sets for a tenant.

use crate::{CollectionName, FilePath, FileSettings};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// An enum of which each variant has a word, on the command line and in JSON.
#[macro_export]
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$case_doc:meta])+ $case:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum $name { $($(#[$case_doc])+ #[serde(rename = $word)] $case,)+ }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$case,)+];

            /// Its word.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$case => $word,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::UnknownWord;

            fn from_str(text: &str) -> Result<Self, $crate::UnknownWord> {
                Self::ALL.iter().copied().find(|word| word.as_str() == text).ok_or_else(|| {
                    $crate::UnknownWord(Self::ALL.iter().map(|word| word.as_str()).collect::<Vec<_>>().join(", "))
                })
            }
        }
    };
}

/// A text that is none of these words.
#[derive(Debug, thiserror::Error)]
#[error("not one of {0}")]
pub struct UnknownWord(pub String);

words! {
    /// Where a tenant is in its life.
    Status {
        /// Registered; no secrets were written yet.
        Provisioned = "provisioned",
        /// Its secrets are in the jail.
        Active = "active",
        /// Its agent was stopped.
        Stopped = "stopped",
        /// Its secrets were removed; the row is kept for the record.
        Destroyed = "destroyed",
    }
}

words! {
    /// How the file is written.
    #[derive(Default)]
    Format {
        /// Read alike by POSIX sh and systemd's `EnvironmentFile=`.
        #[default]
        Env = "env",
        /// What all dotenv libraries read alike.
        Dotenv = "dotenv",
        /// `--env-file` of docker and podman.
        Docker = "docker",
        /// One JSON object.
        Json = "json",
        /// A directory with a file per key.
        Dir = "dir",
        /// One value and nothing else; of further files only.
        Raw = "raw",
    }
}

words! {
    /// What to do with lower case in an item's name.
    #[derive(Default)]
    KeyCase {
        /// It is no key.
        #[default]
        Strict = "strict",
        /// It becomes upper case.
        Upper = "upper",
        /// It is kept.
        Keep = "keep",
    }
}

words! {
    /// Whose reading of escapes and variables in a note counts.
    #[derive(Default)]
    Notes {
        /// That of sh; variables stay as they are.
        #[default]
        Sh = "sh",
        /// That of the dotenv libraries.
        Dotenv = "dotenv",
    }
}

words! {
    /// What to do with two items of one name.
    #[derive(Default)]
    OnDuplicate {
        /// The later in the order of item ids wins.
        #[default]
        Last = "last",
        /// Refuse.
        Reject = "reject",
    }
}

words! {
    /// What network an agent has, where colibrid starts it.
    #[derive(Default)]
    AgentNetwork {
        /// The host's.
        #[default]
        Host = "host",
        /// Its own, with nothing but a loopback.
        None = "none",
    }
}

/// What to do, once, when the file's content has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnChange {
    /// Nothing.
    #[default]
    None,
    /// Stop the agent and start it again.
    RestartAgent,
    /// Send the agent a signal, named without `SIG`: `HUP`.
    Signal(String),
    /// Run a command inside the jail.
    Command(Vec<String>),
    /// Run a program of the operator's on the host, by its name in their directory.
    Action(String),
}

/// A tenant's settings. What is left out has its default; an update is a merge
/// patch (RFC 7396) over them, in which `null` means the default again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// The collection's name; by default the tenant's.
    pub collection: Option<CollectionName>,
    /// The target directory below the jail root; by default
    /// `usr/local/etc/colibri`.
    pub dir: Option<PathBuf>,
    /// The file in it; by default `env`.
    pub file: Option<String>,
    /// `UID:GID`; by default the daemon's own.
    pub owner: Option<String>,
    /// How the file is written.
    pub format: Format,
    /// What to do with lower case in an item's name.
    pub key_case: KeyCase,
    /// What to do with two items of one name.
    pub on_duplicate: OnDuplicate,
    /// Whose reading of escapes and variables in a note counts.
    pub notes: Notes,
    /// The collection's id, which then counts instead of its name.
    pub collection_id: Option<String>,
    /// The name or id of the organization that the collection is of.
    pub organization: Option<String>,
    /// Also take custom fields, user names, URIs, TOTP seeds and a login's notes.
    pub fields: bool,
    /// Also take attachments that are text.
    pub attachments: bool,
    /// Refuse a target that is not on a memory file system.
    pub require_tmpfs: bool,
    /// How old the tenant's last look for changes in the vault may be, in seconds; 0 where
    /// nobody looks.
    pub refresh: u32,
    /// Seconds that one provision may take, and that its agent waits at most;
    /// `null` for the daemon's own.
    pub deadline: Option<u32>,
    /// What to do when the content has changed.
    pub on_change: OnChange,
    /// Reserved keys that are allowed.
    pub allow: Vec<String>,
    /// Keys that must be there.
    pub expect: Vec<String>,
    /// Put in front of each key.
    pub prefix: String,
    /// Globs; with any, only keys that match one are taken.
    pub only: Vec<String>,
    /// Old name to new name, after the prefix.
    pub rename: Vec<(String, String)>,
    /// What network its agents have.
    pub agent_network: AgentNetwork,
    /// The files that it has beside the first, by their paths below the jail's root.
    pub files: BTreeMap<FilePath, FileSettings>,
}

impl Settings {
    /// Whether others mean the same collection.
    pub fn same_collection(&self, other: &Self) -> bool {
        self.collection == other.collection
            && self.organization == other.organization
            && self.collection_id == other.collection_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_left_out_have_their_defaults_and_unknown_ones_are_refused() {
        assert_eq!(serde_json::from_str::<Settings>("{}").unwrap(), Settings::default());
        assert!(serde_json::from_str::<Settings>(r#"{"require_tmpfs":true}"#).is_err());
    }

    #[test]
    fn actions_read_as_an_operator_would_write_them() {
        let action = |text: &str| serde_json::from_str::<OnChange>(text).unwrap();
        assert_eq!(action(r#""restart-agent""#), OnChange::RestartAgent);
        assert_eq!(action(r#"{"signal":"HUP"}"#), OnChange::Signal("HUP".into()));
        assert_eq!(action(r#"{"command":["true"]}"#), OnChange::Command(vec!["true".into()]));
        assert_eq!(action(r#"{"action":"nginx"}"#), OnChange::Action("nginx".into()));
    }
}
