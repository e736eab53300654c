//! What the daemon answers. There is no value of a secret in it, because the
//! daemon has none. Times are milliseconds, points in time since 1970.

use crate::{FileView, Registrations, TenantView};
use colibri_tenant::{Fault, FilePath, JailName, Status, TenantId, words};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The content of `ok`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// It was done, and there is nothing to say about it.
    Done,
    /// Events follow.
    Watching,
    /// One tenant.
    Tenant(Box<TenantView>),
    /// Tenants.
    Tenants(Vec<TenantView>),
    /// Further files.
    Files(Vec<FileView>),
    /// Tenants as they were registered, those that were destroyed left out.
    Registrations(Registrations),
    /// Provisions.
    Provisions(Vec<Provision>),
    /// What the hook did.
    Hook(Box<HookView>),
    /// What `spawn-agent` did.
    Spawned(Box<SpawnView>),
    /// One agent.
    Agent(Box<AgentView>),
    /// Agents.
    Agents(Vec<AgentView>),
    /// Vault and file compared.
    Diff(Box<Diff>),
    /// The daemon's own state.
    Status(Box<StatusView>),
    /// Collections.
    Collections(CollectionsView),
}

/// The collections that the account sees, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CollectionsView {
    /// Sorted, each as one plain line; two collections may bear one name.
    pub names: Vec<String>,
    /// How many more there are than one answer holds.
    pub more: u32,
}

words! {
    /// What started a provision.
    Reason {
        /// A jail started.
        Hook = "hook",
        /// An operator asked.
        Operator = "operator",
        /// The refresh interval is over.
        Refresh = "refresh",
        /// An earlier one failed.
        Retry = "retry",
    }
}

words! {
    /// How a provision ended.
    Outcome {
        /// A new file is in place.
        Written = "written",
        /// The file was right already.
        Unchanged = "unchanged",
        /// The file was unlinked.
        Removed = "removed",
        /// There was no file to unlink.
        Absent = "absent",
        /// Nothing was changed.
        Failed = "failed",
    }
}

/// One provision, from the history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Provision {
    /// Its number.
    pub number: u64,
    /// Whose.
    pub tenant: TenantId,
    /// What started it.
    pub reason: Reason,
    /// When it started.
    pub at: u64,
    /// How long it took.
    pub ms: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it failed, or what failed after it.
    pub error: Option<Fault>,
    /// How many keys the file has; 0 unless written or unchanged.
    pub keys: u32,
    /// Each step's time, in order.
    pub steps: Vec<Step>,
    /// What was skipped and why, and what is doubtful; names, no values.
    pub warnings: Vec<String>,
    /// How it ended for the tenant's further files; what is above is the first's. The
    /// first fault of any is in `error`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileProvision>,
}

impl Provision {
    /// Whether a file did not get what it was to get.
    pub fn has_failed(&self) -> bool {
        self.outcome == Outcome::Failed || self.files.iter().any(|file| file.outcome == Outcome::Failed)
    }
}

/// How a provision ended for one further file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FileProvision {
    /// Which.
    pub file: FilePath,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Fault>,
    /// How many keys it has; 0 unless written or unchanged.
    pub keys: u32,
}

/// One step of a provision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Its name.
    pub name: String,
    /// How long it took.
    pub ms: u64,
}

words! {
    /// What the hook found.
    HookResult {
        /// No such tenant: nothing to do.
        NoTenant = "no-tenant",
        /// Registered with another root: nothing was done.
        RootMismatch = "root-mismatch",
        /// The tenant was destroyed: nothing was done.
        Destroyed = "destroyed",
        /// The secrets are in the jail.
        Provisioned = "provisioned",
        /// They are not, or not the newest; see the warning.
        Failed = "failed",
    }
}

/// What the hook did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HookView {
    /// What it found.
    pub result: HookResult,
    /// What the operator should know.
    pub warning: Option<Fault>,
    /// The provision, if it is over.
    pub provision: Option<Provision>,
}

/// What `spawn-agent` did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpawnView {
    /// The agent.
    pub agent: AgentView,
    /// What the hook did before it.
    pub hook: HookView,
    /// The last line of its log, if it ended at once.
    #[serde(default, rename = "last-words", skip_serializing_if = "Option::is_none")]
    pub last_words: Option<String>,
}

words! {
    /// Whether an agent runs.
    AgentState {
        /// It runs.
        Running = "running",
        /// It ended by itself.
        Exited = "exited",
        /// It was stopped by an operator.
        Stopped = "stopped",
        /// It ended while no daemon was there to see how.
        Lost = "lost",
    }
}

/// One agent: the newest of its jail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AgentView {
    /// Its jail.
    pub jail: JailName,
    /// The jail's root.
    pub root: PathBuf,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Whether it runs.
    pub state: AgentState,
    /// Its process as the host sees it.
    pub pid: u32,
    /// When it was started.
    pub started: u64,
    /// When it ended.
    pub ended: Option<u64>,
    /// Its exit code.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Where its output goes.
    pub log: PathBuf,
}

/// Vault and file compared, by names of keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Diff {
    /// Whose.
    pub tenant: TenantId,
    /// In the vault only.
    pub added: Vec<String>,
    /// In the file only.
    pub removed: Vec<String>,
    /// In both, with another value.
    pub changed: Vec<String>,
    /// In both, the same.
    pub same: u32,
    /// Whether a provision would leave the file as it is: its owner, its mode
    /// and the way it is written agree too.
    #[serde(default)]
    pub intact: bool,
    /// What settings that are only tried would change of the file itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub file: Vec<String>,
    /// What would be skipped and why, and what is doubtful; names, no values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The same of the tenant's further files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileDiff>,
}

/// A further file compared; as in [`Diff`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FileDiff {
    /// Which.
    pub file: FilePath,
    /// In the vault only.
    pub added: Vec<String>,
    /// In the file only.
    pub removed: Vec<String>,
    /// In both, with another value.
    pub changed: Vec<String>,
    /// In both, the same.
    pub same: u32,
    /// Whether a provision would leave it as it is.
    pub intact: bool,
    /// Why it cannot be compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Fault>,
}

impl Diff {
    /// That of a tenant of which nothing is known yet.
    pub fn of(tenant: TenantId) -> Self {
        let (added, removed, changed) = (Vec::new(), Vec::new(), Vec::new());
        let (file, warnings) = (Vec::new(), Vec::new());
        Self { tenant, added, removed, changed, same: 0, intact: false, file, warnings, files: Vec::new() }
    }
}

words! {
    /// The vault session.
    SessionView {
        /// No fetcher runs.
        None = "none",
        /// It has not logged in yet.
        LoggedOut = "logged-out",
        /// Logged in.
        LoggedIn = "logged-in",
        /// `bw serve` runs, the vault is locked.
        Serving = "serving",
        /// At work.
        Unlocked = "unlocked",
        /// Open, without work.
        Idle = "idle",
        /// Logged in, without a `bw serve`, while the bell listens.
        Resting = "resting",
        /// Ending.
        Closed = "closed",
    }
}

words! {
    /// What tells the daemon of changes at the vault.
    BellState {
        /// No session is open.
        Off = "off",
        /// It tells of changes.
        Listening = "listening",
        /// The vault has none, or it cannot be reached.
        Unreachable = "unreachable",
        /// The vault does not take the session's token: it is renewed with the next login.
        TokenRefused = "token-refused",
    }
}

/// The bell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct BellView {
    /// Its state.
    pub state: BellState,
    /// When it rang last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_ring: Option<u64>,
}

impl Default for BellView {
    fn default() -> Self {
        Self { state: BellState::Off, last_ring: None }
    }
}

/// The daemon's own state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StatusView {
    /// Its version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// When it started.
    pub started: u64,
    /// The canonical directory that all jail roots lie under.
    pub base: PathBuf,
    /// `false` with `--insecure-no-sandbox`.
    pub sandbox: bool,
    /// The vault session.
    pub session: SessionView,
    /// The fetcher's process.
    pub fetcher: Option<u32>,
    /// The user it runs as.
    pub fetcher_user: String,
    /// The `bw` version, once known.
    pub bw_version: Option<String>,
    /// The id by which the vault knows this host as one device.
    #[serde(default)]
    pub device: Option<String>,
    /// Logins at the vault today, in UTC: a login, a fetch of all of the vault, or one of
    /// changes, before which `bw` renews its token.
    #[serde(default)]
    pub logins_today: Option<u32>,
    /// What tells of changes at the vault.
    #[serde(default)]
    pub bell: BellView,
    /// The session's last failure, if nothing has succeeded since.
    pub session_error: Option<Fault>,
    /// Tenants by status.
    pub provisioned: u32,
    /// Tenants by status.
    pub active: u32,
    /// Tenants by status.
    pub stopped: u32,
    /// Tenants by status.
    pub destroyed: u32,
    /// Tenants whose last provision failed.
    pub failing: u32,
    /// Provisions under way or waiting.
    pub under_way: u32,
    /// Agents that run.
    pub agents: u32,
    /// Tenants that are tried again by themselves, because something failed.
    #[serde(default)]
    pub retrying: u32,
    /// What of an agent has no bound on this host, a line each.
    #[serde(default)]
    pub unbounded: Vec<String>,
    /// Tenants whose root was not there, or another directory, when it was looked at last.
    #[serde(default)]
    pub not_mounted: u32,
    /// Tenants whose file shall go and could not be removed yet.
    #[serde(default)]
    pub removals_due: u32,
    /// What confines each kind of process.
    #[serde(default)]
    pub confinement: Vec<ConfinementView>,
    /// What the daemon was set up with.
    #[serde(default)]
    pub setup: SetupView,
}

words! {
    /// A kind of process that handles secrets.
    ProcessKind {
        /// Writes the file.
        Writer = "writer",
        /// Asks the vault.
        Fetcher = "fetcher",
        /// The Bitwarden command line.
        Bw = "bw",
        /// What runs in a jail and reads the file.
        Agent = "agent",
    }
}

/// What confines a kind of process on this host, as it is set up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ConfinementView {
    /// Which.
    pub process: ProcessKind,
    /// What holds it, in a few words each.
    pub holds: Vec<String>,
    /// What it could not have, or was not given.
    pub lacks: Vec<LackView>,
}

/// Something that would confine a process and is not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LackView {
    /// What, and what follows from it.
    pub what: String,
    /// How to have it.
    pub advice: String,
}

/// What the daemon was set up with: where things are, and no credential.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct SetupView {
    /// The control socket.
    pub socket: PathBuf,
    /// The observers' socket, if there is one.
    pub observe_socket: Option<PathBuf>,
    /// The group that may use the control socket.
    pub group: Option<String>,
    /// The group that may look.
    pub observers: Option<String>,
    /// The tenants database.
    pub database: PathBuf,
    /// The sessions' private directory, the fetcher's user's.
    pub session_dir: PathBuf,
    /// The agents' logs.
    pub log_dir: PathBuf,
    /// The writer program.
    pub writer: PathBuf,
    /// The fetcher program.
    pub fetcher: PathBuf,
    /// The `bw` program.
    pub bw: PathBuf,
    /// The `node` that `bw` would find, if any.
    pub node: Option<PathBuf>,
    /// The bubblewrap program (Linux).
    pub bwrap: PathBuf,
    /// The jail.conf(5) with the jail that `bw` runs in, if any (FreeBSD).
    pub bw_jail: Option<PathBuf>,
    /// The same for the fetcher.
    pub fetcher_jail: Option<PathBuf>,
    /// `PATH`, in which the fetcher looks for programs.
    pub path: String,
    /// The vault's URL; nothing for Bitwarden's cloud.
    pub server: Option<String>,
    /// The PEM file with the CA of the vault's certificate.
    pub ca_file: Option<PathBuf>,
    /// Whether the daemon was given credentials.
    pub credentials: bool,
    /// How long the vault session stays open without work.
    pub session_idle: u64,
    /// How long a provision may take where the tenant does not say.
    pub deadline: u64,
    /// The Prometheus textfile, if one is written.
    pub metrics_file: Option<PathBuf>,
}

/// What `watch` shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// A provision began.
    Started {
        /// Whose.
        tenant: TenantId,
        /// What started it.
        reason: Reason,
    },
    /// A provision is over.
    Provision(Box<Provision>),
    /// A tenant's status changed.
    Tenant {
        /// Which.
        tenant: TenantId,
        /// The new status; nothing when it was unregistered.
        status: Option<Status>,
    },
    /// An agent started or ended.
    Agent(Box<AgentView>),
    /// The vault session's state changed.
    Session(SessionView),
    /// The client was too slow: this many events were left out.
    Missed(u64),
}
