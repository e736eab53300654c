//! What the daemon and the fetcher tell each other over the socket that is the
//! fetcher's standard input: frames of `colibri_pair`, in both directions. With
//! a `Fetch` travels a descriptor for each file: the pair's end that the fetcher writes to.

use colibri_pair::Secret;
use colibri_tenant::{ErrorName, KeyCase, Notes, OnDuplicate};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Longest frame of this socket, in bytes.
pub const MAX_WORD: usize = 384 * 1024;

/// The jail that the daemon makes for `bw` (FreeBSD), by its name in its
/// jail.conf(5).
pub const BW_JAIL: &str = "colibri-bw";
/// The same for the fetcher.
pub const FETCHER_JAIL: &str = "colibri-fetcher";

/// From the daemon.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToFetcher {
    /// The first frame, once: how to reach the vault. Where the daemon has made
    /// `bw`'s cage, the socket to its warden comes with this frame.
    Open(Box<Vault>),
    /// Fetch a collection; a descriptor for each file comes with this frame.
    Fetch(Box<Fetch>),
    /// Give the bell, whose socket comes with this frame, what it needs; where there
    /// is no login yet, or no more, the socket is closed.
    Bell,
    /// End after what is under way.
    Close,
}

/// Whether this can be a vault's URL.
///
/// # Errors
/// `BadRequest`, with the form that it must have.
pub fn check_server(url: &str) -> Result<(), Failure> {
    crate::server::Server::parse(Some(url)).map(drop)
}

/// How to reach the vault. Times are milliseconds.
#[derive(Debug, Serialize, Deserialize)]
pub struct Vault {
    /// The `bw` program, absolute.
    pub bw: PathBuf,
    /// The server's URL; `None` for Bitwarden's cloud.
    pub server: Option<String>,
    /// A PEM file with the CA of the server.
    pub ca_file: Option<PathBuf>,
    /// A directory that the fetcher's user owns, 0700; the run's private
    /// app-data directory is made below it. Where the daemon has made `bw`'s cage,
    /// it is that directory itself: `bw` can put nothing in its place.
    pub app_data_base: PathBuf,
    /// How long the session stays open after the last request; 0 ends it
    /// with the first.
    pub idle_ms: u64,
    /// Whether `bw serve` stays while the bell listens; else it rests after that time.
    pub resident: bool,
    /// The bubblewrap program that cages `bw` (Linux only); `None` looks for
    /// `bwrap` in `PATH`.
    pub bwrap: Option<PathBuf>,
    /// Run `bw` without a cage where none is to be had, instead of refusing.
    pub insecure_no_sandbox: bool,
    /// Run a `bw` that is older than those that were tested.
    pub any_bw_version: bool,
    /// When `bw serve` is replaced.
    pub bounds: Bounds,
    /// The id by which the vault knows this host as one device: a UUID.
    pub device: String,
    /// The machine account.
    pub credentials: Credentials,
}

/// How long what a session holds is good for, and what it costs at most. `bw serve` leaks 10 to 24 KB a
/// request: at `requests` or `growth` it is ended, and a new one started
/// without a new login.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Bounds {
    /// Requests to one `bw serve`.
    pub requests: u32,
    /// Memory that it may take in addition to what it held after its first
    /// request, which depends on the vault; in KiB. While requests come one after
    /// another, twice as much.
    pub growth: u64,
    /// Time until all of the vault is fetched anew, whatever it says of its
    /// last change; in milliseconds. `bw` compares the vault's clock with its
    /// own, and where that is ahead misses changes. It costs a login.
    pub whole_ms: u64,
    /// Time until all of the vault is fetched anew for whoever asks for it; in
    /// milliseconds.
    pub again_ms: u64,
    /// Least time between two times that all of the vault is fetched anew, whatever
    /// for; in milliseconds.
    pub forced_ms: u64,
    /// Time for each step of a start, which all that wait share; in milliseconds.
    pub step_ms: u64,
    /// Time for each answer of `bw serve`; in milliseconds. One that takes longer
    /// hangs, and is replaced.
    pub answer_ms: u64,
    /// Time in which nobody asks again for a list that was over its bound; in
    /// milliseconds.
    pub large_ms: u64,
    /// An answer over its bound is read to its end and forgotten, so that the next
    /// request can be asked; up to this, in bytes.
    pub skipped: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            requests: 2000,
            growth: 256 * 1024,
            whole_ms: 12 * 60 * 60 * 1000,
            again_ms: 60 * 1000,
            forced_ms: 60 * 1000,
            step_ms: 60 * 1000,
            answer_ms: 30 * 1000,
            large_ms: 60 * 1000,
            skipped: 256 * 1024 * 1024,
        }
    }
}

/// The machine account's credentials.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// `BW_CLIENTID`.
    pub client_id: Secret,
    /// `BW_CLIENTSECRET`.
    pub client_secret: Secret,
    /// `BW_PASSWORD`.
    pub password: Secret,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetch {
    /// Names the request in all answers.
    pub id: u64,
    /// The collection's name, compared exactly.
    pub collection: String,
    /// The collection's id as found the first time.
    pub pinned: Option<String>,
    /// The collection's id as the operator chose it: then its name says nothing.
    pub chosen: Option<String>,
    /// The name or id of the organization that it has to be of.
    pub organization: Option<String>,
    /// What the vault is asked for first.
    pub sync: Sync,
    /// How many keys the tenant's file holds now; 0 for none.
    pub known_keys: u32,
    /// Their names; `None` if they are not known for certain. What cannot be read
    /// does not count as removed.
    pub held: Option<Vec<String>>,
    /// How many keys an earlier request, some time ago, saw where there had been
    /// many more: so many are believed now.
    pub shrunken_to: Option<u32>,
    /// How items become pairs.
    pub rules: Rules,
    /// The tenant's further files, whose descriptors follow the first's in this order.
    pub further: Vec<FileFetch>,
    /// Time from the frame's arrival until the answer must be out.
    pub deadline_ms: u64,
    /// What is asked for.
    pub want: Want,
}

/// What is asked for one further file; as for the first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFetch {
    /// How many keys it holds now.
    pub known_keys: u32,
    /// Their names, if they are known for certain.
    pub held: Option<Vec<String>>,
    /// How many keys are believed, though there had been many more.
    pub shrunken_to: Option<u32>,
    /// How items become its pairs.
    pub rules: Rules,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Want {
    /// The collection's pairs.
    #[default]
    Pairs,
    /// The names of all collections that the account sees; nothing else of the
    /// request counts, and its socket stays unused.
    Names,
    /// Which states all collections are in; the same holds.
    States,
}

/// Half of a SHA-256 of what `bw` has stored of a collection, without contents: who may
/// write to the vault cannot find two states of one.
pub type Fingerprint = [u8; 16];

/// The states of collections, within the bound of a frame.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct States {
    /// Collections' ids and what tells their states apart.
    pub shown: Vec<(String, Fingerprint)>,
    /// How many more there are.
    pub more: u32,
}

/// What the vault is asked for before a request is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sync {
    /// What has changed, by the date that the vault tells.
    #[default]
    Changes,
    /// Everything, unless that was fetched a moment ago: a vault that was restored
    /// from a backup tells an older date, and `bw` takes that for no change.
    Everything,
}

/// How items become pairs, per tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// Accept lower case and change it to upper case.
    pub key_case: KeyCase,
    /// Two items of the same name.
    pub on_duplicate: OnDuplicate,
    /// How notes are read.
    pub notes: Notes,
    /// Also take custom fields, user names, URIs, TOTP seeds and a login's notes.
    pub fields: bool,
    /// Also take attachments that are text.
    pub attachments: bool,
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
    /// The one item whose value is all that is taken, whatever its name.
    pub item: Option<String>,
    /// Items that become no keys, because a further file is their value.
    pub taken: Vec<String>,
    /// The file's format, as `colibri_pair::Format` spells it: to warn of
    /// values that not every reader of the format reads alike.
    pub format: String,
}

/// A process of the vault session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// The fetcher, which holds the credentials.
    Fetcher,
    /// What looks up the vault's name for it.
    Resolver,
    /// `bw`, and the warden that starts it.
    Bw,
}

/// What confines one of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// Which.
    pub process: Part,
    /// The system's mechanisms that hold.
    pub by: Vec<String>,
    /// What this system does not enforce of it.
    pub lacking: Vec<String>,
}

/// From the fetcher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromFetcher {
    /// What confines the session's processes, as they say of themselves: one
    /// that was hostile from its start can say anything, so this is for an operator
    /// whose kernel is old, and nothing is decided by it.
    Confined(Vec<Confinement>),
    /// The session's state changed.
    State(SessionState),
    /// Something costs a login at the vault, or did: a login, a sync of everything, or one
    /// that brought changes, before which `bw` renews its token.
    Login,
    /// The request's pairs are ready to flow: start its writer.
    Ready {
        /// The request.
        id: u64,
    },
    /// The request is over. Whether a file was written, the writer says.
    Done(Box<Done>),
}

/// The vault session's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SessionState {
    /// No login.
    LoggedOut,
    /// Logged in; `bw serve` not up yet.
    LoggedIn,
    /// `bw serve` is up, the vault locked.
    Serving,
    /// Ready for requests.
    Unlocked,
    /// No request under way.
    Idle,
    /// Logged in, without a `bw serve`, while the bell listens.
    Resting,
    /// Over.
    Closed,
}

/// The end of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The request.
    pub id: u64,
    /// What came of it.
    pub outcome: Result<Fetched, Failure>,
    /// One line for each item or line that was skipped, and for each
    /// doubtful thing; names, never values. Bounded in number and length.
    pub warnings: Vec<String>,
    /// How long each step took, in milliseconds.
    pub steps: Vec<(String, u64)>,
}

/// Pairs were sent and committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetched {
    /// The collection's id, to be pinned.
    pub collection_id: String,
    /// Whether the vault was asked for changes.
    pub age: Age,
    /// The keys of the first file, sorted.
    pub keys: Vec<String>,
    /// Why the first file got nothing, where another one did.
    pub failed: Option<Failure>,
    /// What came of the further files, in their order.
    pub further: Vec<FileFetched>,
    /// The `bw` version.
    pub bw_version: String,
    /// What was asked for with [`Want::Names`].
    pub names: Option<Names>,
    /// Another number where the account sees other collections than before.
    pub seen: u64,
    /// What tells the state apart that the pairs are from; `None` where that is not known.
    pub fingerprint: Option<Fingerprint>,
    /// What was asked for with [`Want::States`].
    pub states: Option<States>,
}

/// What came of one further file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFetched {
    /// Its keys, sorted; or why it got nothing.
    pub outcome: Result<Vec<String>, Failure>,
    /// As in [`Done`].
    pub warnings: Vec<String>,
}

/// Names of collections, sorted, within the bound of a frame.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// The names; two collections may bear the same.
    pub shown: Vec<String>,
    /// How many more there are.
    pub more: u32,
}

/// How new what was sent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Age {
    /// The vault was asked for changes.
    Current,
    /// The vault limits logins: this is what it held when it was last asked.
    Stale,
}

/// Why no pairs were committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Its name.
    pub name: ErrorName,
    /// One line, without any value or credential.
    pub message: String,
    /// With `AnswerShrunken`, how many keys there are now.
    pub shrunken_to: Option<u32>,
    /// What was found before it failed; it travels with [`Done`].
    #[serde(skip)]
    pub warnings: Vec<String>,
}

impl Failure {
    /// A failure of that name.
    pub fn new(name: ErrorName, message: impl Into<String>) -> Self {
        Self { name, message: message.into(), shrunken_to: None, warnings: Vec::new() }
    }
}
