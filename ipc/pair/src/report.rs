//! What the writer tells the daemon. Texts in it are the writer's own: nothing
//! that the fetcher sent is in them but keys that passed the check.

use crate::EnvKey;
use serde::{Deserialize, Serialize};

/// Longest report, in bytes: every key of two full files.
pub const MAX_REPORT: usize = 512 * 1024;

/// One frame from the writer to the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// Confined, and waiting for pairs.
    Ready,
    /// A new file is in place and durable.
    Written {
        /// Variables in it.
        keys: u32,
    },
    /// The file held just this already; nothing was written.
    Unchanged {
        /// Variables in it.
        keys: u32,
    },
    /// How a put would change the file; nothing was written.
    Compared {
        /// Keys in which the two differ.
        differences: Vec<(Change, EnvKey)>,
        /// Keys in which they agree.
        same: u32,
        /// A put would answer `Unchanged`: mode, owner and the rest agree too.
        intact: bool,
    },
    /// What the jail root is; nothing was changed.
    Looked {
        /// Its file system's number, which holds while that is mounted.
        device: u64,
        /// Its number in that file system.
        inode: u64,
        /// When it was made, in nanoseconds since 1970, where the file system knows.
        born: Option<u128>,
        /// The file system's own id (Linux), or what was mounted (FreeBSD).
        file_system: String,
        /// Whether nothing is in it.
        empty: bool,
    },
    /// The file was unlinked.
    Removed,
    /// There was nothing to unlink, or no directory to compare with.
    Absent,
    /// Nothing was changed, and why.
    Failed {
        /// The kind, by which the daemon decides about a retry.
        kind: Failure,
        /// One line: what the writer was doing, and the system's words.
        message: String,
    },
}

/// What a put would do to a key of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Only the vault has it.
    Added,
    /// Only the file has it.
    Removed,
    /// The file has another value.
    Changed,
}

/// What kind of failure ended the writer's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// The jail root is not where the order says, or not a directory.
    TargetEscapesRoot,
    /// No directory is there, or another than the order says.
    RootNotMounted,
    /// The fetcher said what it may not say.
    ProtocolViolation,
    /// The fetcher sent more than a bound allows.
    LimitExceeded,
    /// A key that would take over its reader, and is not allowed by name.
    ReservedKey,
    /// The format cannot carry a value; the message names the key.
    ValueNotCarried,
    /// The target is not on a memory file system, and has to be.
    NotTmpfs,
    /// The system refused a step of the write.
    WriteFailed,
    /// No sandbox is to be had here.
    SandboxUnavailable,
}
