//! The names of everything that can go wrong, the same in logs, in the
//! database, on the control socket and on the operator's screen.

use serde::{Deserialize, Serialize};

macro_rules! names {
    ($($(#[doc = $doc:literal])+ $name:ident, $retry:ident, $advice:literal;)+) => {
        /// The name of a failure.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum ErrorName { $($(#[doc = $doc])+ $name,)+ }

        impl ErrorName {
            /// All names.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The name as text.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// Whether trying again later, with nothing else done, can help.
            pub const fn retry(self) -> Retry {
                match self { $(Self::$name => Retry::$retry,)+ }
            }

            /// What the operator can do, in one line.
            pub const fn advice(self) -> &'static str {
                match self { $(Self::$name => $advice,)+ }
            }
        }
    };
}

/// Whether a failure can heal by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// It can: try again with backoff.
    Later,
    /// It can, but not sooner than a minute from now.
    Slowly,
    /// Somebody may see to it and tell nobody: try again within the hour.
    Hourly,
    /// It cannot: an operator has to act.
    Never,
}

names! {
    /// The jail root is not strictly under the base.
    TargetEscapesRoot, Never, "register the jail's real root, below COLIBRI_JAIL_ROOT_BASE and without symbolic links";
    /// No directory is at the jail's root, or not the one that was there.
    RootNotMounted, Later, "mount the jail's file system, and it is tried again by itself; a jail that was restored or made anew: `colibri accept-root NAME`; one that moved: `colibri update-tenant NAME --jail-root ROOT`, or rename-tenant; one that is gone: `colibri remove NAME --secrets-are-gone`";
    /// The file system of the jail's root does not answer.
    RootUnresponsive, Later, "see to the file system of the jail's root, and to the server behind it; it is tried again by itself";
    /// The root that the hook was given is not the registered one.
    RootMismatch, Never, "compare the jail's path with `colibri show-tenant`; if the jail has moved, `colibri update-tenant NAME --jail-root ROOT`";
    /// No such tenant.
    TenantNotFound, Never, "see `colibri list-tenants`, or register it with `colibri register-tenant`";
    /// A tenant of this name exists with other settings.
    TenantConflict, Never, "see `colibri show-tenant`; change it with `colibri update-tenant`";
    /// The tenant's state does not allow this.
    WrongState, Never, "see the tenant's status with `colibri show-tenant`";
    /// `bw` is set up for another server than the configured one.
    ServerMismatch, Hourly, "log out there yourself or correct BW_SERVER; nothing was changed";
    /// The vault refuses the machine account's credentials.
    BadCredentials, Hourly, "correct BW_CLIENTID, BW_CLIENTSECRET or BW_PASSWORD in the provider file, or the account in the vault, and `colibri reload`; it is tried again within the hour";
    /// Credentials are not set.
    CredentialsMissing, Hourly, "set BW_CLIENTID, BW_CLIENTSECRET and BW_PASSWORD in the provider file, and `colibri reload`";
    /// The credentials cannot be read anew: those of before stay.
    CredentialsUnreadable, Never, "correct the provider file as the message says, and `colibri reload`";
    /// The vault limits logins.
    RateLimited, Slowly, "wait; it is tried again by itself, at most once a minute";
    /// The vault refuses a client this old.
    ClientTooOld, Hourly, "install a newer bw that colibri was tested with; it is tried again within the hour";
    /// The vault cannot be reached.
    VaultUnreachable, Later, "check that the vault is up and that its name, port and certificate are right; it is tried again by itself";
    /// The vault's certificate is not trusted.
    TlsUntrusted, Later, "put the vault's CA certificate in NODE_EXTRA_CA_CERTS; it is tried again by itself";
    /// The vault's certificate is not valid at this time.
    TlsOutOfDate, Later, "compare this host's clock with the real time, and renew the vault's certificate if it has expired; it is tried again by itself";
    /// The vault's certificate is another server's.
    TlsWrongName, Later, "set BW_SERVER to a name that is in the vault's certificate; it is tried again by itself";
    /// The vault, or `bw`, did not answer in time.
    VaultTimeout, Later, "check the vault's load and the network; it is tried again by itself";
    /// The vault answered with an error or with something that is no answer.
    VaultError, Later, "see that BW_SERVER is the vault's address, and look at the vault server's log; it is tried again by itself";
    /// The vault stays locked.
    VaultLocked, Later, "check BW_PASSWORD; it is tried again by itself";
    /// No collection of that name.
    CollectionNotFound, Hourly, "create the collection or give the machine account access to it, or `colibri update-tenant NAME --collection COLLECTION`, of those that `colibri collections` lists; then `colibri provision NAME`; by itself it is tried within the hour, and when the vault shows other collections";
    /// More than one collection of that name.
    CollectionAmbiguous, Never, "choose one with `colibri update-tenant NAME --collection-id ID`, or --organization, or rename one of them in the vault";
    /// Another collection has the name now.
    CollectionReplaced, Later, "if it was deleted and made anew, wait: it is followed by itself, and the old file stays; `colibri update-tenant NAME --collection-id ID` does it at once";
    /// The account sees the collection but may not read its secrets, or cannot decrypt them.
    CollectionUnreadable, Later, "let the machine account view passwords in this collection; save an item that cannot be decrypted anew, or remove it; it is tried again by itself, and the old file stays";
    /// Fewer secrets than before, not confirmed yet.
    AnswerShrunken, Later, "if the secrets were removed on purpose, wait for the confirmation or run `colibri provision`; the old file stays";
    /// Two items of different names become one key.
    KeyConflict, Never, "rename one of the two items in the vault; the old file stays";
    /// A key that would take over its reader.
    ReservedKey, Never, "rename the item, or allow the key by name for this tenant";
    /// A key that the tenant expects is not in the vault.
    KeyMissing, Later, "add the item to the vault, or correct the tenant's expected keys; the old file stays";
    /// A value in the vault cannot be read for certain.
    ValueUnreadable, Later, "correct the item in the vault, as the message says; it is tried again by itself, and the old file stays";
    /// An attachment cannot be fetched.
    AttachmentUnreadable, Later, "try to open the attachment in the vault, and attach the file anew if it is lost; a vault that keeps files at another address cannot be used for them; it is tried again by itself, and the old file stays";
    /// The format cannot carry a value.
    ValueNotCarried, Never, "change the value in the vault or choose another format for this tenant; the old file stays";
    /// A bound was exceeded.
    LimitExceeded, Slowly, "make the collection or the value smaller; docs list the limits; it is tried again by itself";
    /// `bw` or Node is missing or cannot be run.
    BwUnusable, Hourly, "install bw and Node where the fetcher's user can run them; see `colibri doctor`";
    /// `bw` ended unexpectedly.
    BwCrashed, Later, "see the log; it is tried again by itself";
    /// The fetcher cannot be started or ended unexpectedly.
    FetcherFailed, Later, "see the log; check that the fetcher's user exists and can run the program";
    /// A process of the pair said what it may not say.
    ProtocolViolation, Later, "a program of the pair misbehaves: check that all were installed together";
    /// The system refused a step of the write.
    WriteFailed, Later, "see the message for the step; check space, quota, flags and mount of the jail's file system";
    /// The target is not on a memory file system.
    NotTmpfs, Never, "mount a tmpfs at the target directory, or register the tenant without --require-tmpfs";
    /// No sandbox is to be had.
    SandboxUnavailable, Hourly, "install bubblewrap (Linux), and run a kernel with Capsicum, or Landlock and seccomp; see `colibri doctor`";
    /// The whole provision took too long.
    DeadlineExceeded, Later, "it is tried again by itself; see `colibri status` and the log";
    /// A jail of the session, `bw`'s or the fetcher's, cannot be made.
    BwJailFailed, Later, "see the message, and try it by hand: jail -v -f FILE -c colibri-bw, or colibri-fetcher; it is tried again by itself";
    /// The jail cannot be started.
    JailFailed, Never, "see the message; try to start the jail by hand";
    /// The agent cannot be started.
    AgentFailed, Never, "see the agent's log and check its command; `colibri doctor` looks at its jail";
    /// What was to follow a change has failed: the file is the new one.
    ActionFailed, Never, "see the message; `colibri provision NAME` does it again, and so does the next change";
    /// The tenant has no such file.
    FileNotFound, Never, "see `colibri list-files NAME`";
    /// No such agent.
    AgentNotFound, Never, "see `colibri list-agents`";
    /// The database refuses.
    StoreFailed, Later, "check space and modes of colibrid's state directory";
    /// The request is malformed.
    BadRequest, Never, "see colibri(1), or `colibri help` and the verb";
    /// The client may not do this.
    NotAllowed, Never, "run colibri as root, or as a member of the group that may";
    /// The daemon cannot be reached.
    DaemonUnreachable, Never, "start colibrid; `colibri doctor` has its last words";
    /// The daemon is busy.
    Busy, Later, "try again in a moment";
}

impl ErrorName {
    /// Whether a provision that failed so may have put the new file in place:
    /// its writer was not heard to the end.
    pub const fn may_have_written(self) -> bool {
        matches!(
            self,
            Self::WriteFailed | Self::DeadlineExceeded | Self::ProtocolViolation | Self::RootUnresponsive
        )
    }
}

impl ErrorName {
    /// Whether the jail's root was not to be had, so that nothing in it was touched.
    pub const fn is_of_the_root(self) -> bool {
        matches!(self, Self::TargetEscapesRoot | Self::RootNotMounted | Self::RootUnresponsive)
    }
}

impl std::fmt::Display for ErrorName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for ErrorName {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        Self::ALL.iter().copied().find(|name| name.as_str() == text).ok_or(UnknownName)
    }
}

/// A text that is no name of ours.
#[derive(Debug, thiserror::Error)]
#[error("unknown error name")]
pub struct UnknownName;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_survives_as_text() {
        for name in ErrorName::ALL {
            assert_eq!(name.as_str().parse::<ErrorName>().unwrap(), *name);
            assert!(!name.advice().is_empty());
        }
    }
}
