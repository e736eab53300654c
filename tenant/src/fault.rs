//! A failure as it is recorded and shown: its name, what happened, and what to do.

use crate::{ErrorName, FilePath, plain};
use serde::{Deserialize, Serialize};

/// The content of `error`, and what is wrong with a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{name}: {message}")]
pub struct Fault {
    /// The name of the failure.
    pub name: ErrorName,
    /// What happened, in one line.
    pub message: String,
    /// What the operator can do, in one line.
    pub advice: String,
}

impl Fault {
    /// The same, as that of one of a tenant's further files.
    #[must_use]
    pub fn of_file(&self, file: &FilePath) -> Self {
        Self { message: format!("{file}: {}", self.message), ..self.clone() }
    }

    /// A failure with its usual advice, and its message as one plain line: parts
    /// of it may come from a vault, or from the fetcher.
    pub fn new(name: ErrorName, message: impl AsRef<str>) -> Self {
        let message = plain(message.as_ref());
        let advice = cause(name, &message, CAUSES).unwrap_or_else(|| name.advice());
        Self { name, advice: advice.into(), message }
    }

    /// The same of a removal, where naming another directory would not help: it begins
    /// with this removal.
    #[must_use]
    pub fn of_removal(self) -> Self {
        match cause(self.name, &self.message, REMOVALS) {
            Some(advice) => Self { advice: advice.into(), ..self },
            None => self,
        }
    }

    /// Whether what was written cannot be found, so that an operator may say that it is
    /// gone.
    pub fn is_out_of_reach(&self) -> bool {
        let link = self.name == ErrorName::WriteFailed && self.message.contains(LINK);
        link || self.name.is_of_the_root()
    }
}

/// What the writer says of a directory that is a link, or none.
const LINK: &str = "without following a link";

/// What to do about a step of the write, by what the system said of it.
const CAUSES: &[(&str, &str)] = &[
    (
        LINK,
        "a directory on the way to the target is a symbolic link, as usr/local is in some thin jails, or no \
         directory; none is followed: `colibri update-tenant NAME --dir REL` names one without, such as \
         etc/colibri; it is tried again by itself",
    ),
    (
        "read-only file system",
        "the jail's file system is mounted read-only: mount it read-write, or name a directory on another \
         with `colibri update-tenant NAME --dir REL`; it is tried again by itself",
    ),
    ("no space left", "the jail's file system is full: make room; it is tried again by itself"),
    (
        "quota exceeded",
        "the quota of the file's owner, or of the jail's file system, is used up: raise it, or make room; it \
         is tried again by itself",
    ),
    (
        "rename the temporary file over the file",
        "what is in the file's place is a directory, or has flags, or its directory has, that keep it from \
         being replaced (ls -lo on FreeBSD, lsattr on Linux): move it away, or clear them; it is tried again by \
         itself",
    ),
    (
        "it in the jail",
        "do in the jail what the message says, and see who wrote there; it is tried again by itself",
    ),
    ("start the writer", "install all of colibri anew, and restart colibrid; it is tried again by itself"),
];

/// What to do about a removal.
const REMOVALS: &[(&str, &str)] = &[
    (
        LINK,
        "a directory on the way to what was written is a symbolic link now, or no directory, and none is \
         followed: put the directory back, or remove the file yourself, wherever it is now, and say so with \
         --secrets-are-gone",
    ),
    (
        "read-only file system",
        "what was written is on a file system that is mounted read-only now: mount it read-write until it is \
         removed",
    ),
];

/// What an old Node does to `bw` is an error that nobody knows by name.
const UNNAMED: (&str, &str) = (
    "no name of its own",
    "`colibri doctor` looks at bw and at Node, which fail so where they are too old; if both are well, look at \
     the vault server's log; it is tried again by itself",
);

/// The advice for the cause, where the system told one.
fn cause(name: ErrorName, message: &str, causes: &[(&str, &'static str)]) -> Option<&'static str> {
    if name == ErrorName::VaultError && message.contains(UNNAMED.0) {
        return Some(UNNAMED.1);
    }
    let message = message.to_lowercase();
    let causes = causes.iter().filter(|_| name == ErrorName::WriteFailed);
    causes.into_iter().find(|(word, _)| message.contains(word)).map(|(_, advice)| *advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advice_for_a_failed_write_hangs_on_its_cause() {
        for (said, part) in [
            ("cannot make the target directory: Read-only file system", "mounted read-only"),
            ("cannot write the temporary file: No space left on device", "is full"),
            ("cannot create the temporary file: Disc quota exceeded", "quota"),
            ("cannot open the target directory without following a link: Not a directory", "--dir REL"),
            ("cannot rename the temporary file over the file: Operation not permitted", "move it away"),
            ("the target directory is writable by others: chmod go-w it in the jail", "who wrote there"),
            ("cannot start the writer: No such file or directory", "install all of colibri"),
            ("cannot sync the temporary file: I/O error", "see the message"),
        ] {
            let fault = Fault::new(ErrorName::WriteFailed, said);
            assert!(fault.advice.contains(part), "{said}: {}", fault.advice);
        }
        for (said, part) in [
            (
                "cannot open the target directory without following a link: Not a directory",
                "--secrets-are-gone",
            ),
            ("cannot remove the file: Read-only file system", "until it is removed"),
        ] {
            let fault = Fault::new(ErrorName::WriteFailed, said).of_removal();
            assert!(fault.advice.contains(part) && !fault.advice.contains("--dir"), "{}", fault.advice);
            assert_eq!(fault.is_out_of_reach(), said.contains("link"));
        }
        let unnamed = "the vault, or bw, answered with an error that has no name of its own";
        assert!(Fault::new(ErrorName::VaultError, unnamed).advice.contains("looks at bw and at Node"));
        let other = Fault::new(ErrorName::StoreFailed, "No space left on device");
        assert_eq!(other.advice, ErrorName::StoreFailed.advice());
    }
}
