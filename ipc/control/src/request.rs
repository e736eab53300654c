//! What a client can ask. Each verb either observes or changes; a client of
//! the observing group may only observe.

use colibri_tenant::{FilePath, FileSettings, JailName, Settings, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::PathBuf;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Answers with the tenant. The same twice is harmless.
    RegisterTenant {
        /// Its name, which is its jail's.
        tenant: TenantId,
        /// Its jail's root.
        root: PathBuf,
        /// What differs from the defaults.
        #[serde(default)]
        settings: Box<Settings>,
    },
    /// Answers with the tenant.
    UpdateTenant {
        /// Which.
        tenant: TenantId,
        /// The jail's new root, if it moved.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        root: Option<PathBuf>,
        /// A merge patch over its settings.
        #[serde(default)]
        changes: Map<String, Value>,
        /// What was written before is gone, where it cannot be found.
        #[serde(default, skip_serializing_if = "Secrets::are_there")]
        secrets: Secrets,
        /// Change nothing: answers with what a provision would change then.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        dry_run: bool,
    },
    /// Answers with a tenant's further files, by path; the first is its own.
    ListFiles {
        /// Whose.
        tenant: TenantId,
    },
    /// Gives a tenant one more file. Answers with the tenant. The same twice is harmless.
    AddFile {
        /// Whose.
        tenant: TenantId,
        /// Its path below the jail's root.
        file: FilePath,
        /// What differs from the defaults.
        #[serde(default)]
        settings: Box<FileSettings>,
        /// Change nothing: answers with what a provision would change then.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        dry_run: bool,
    },
    /// Changes a further file's settings. Answers with the tenant.
    UpdateFile {
        /// Whose.
        tenant: TenantId,
        /// Which.
        file: FilePath,
        /// A merge patch over its settings.
        #[serde(default)]
        changes: Map<String, Value>,
        /// Change nothing: answers with what a provision would change then.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        dry_run: bool,
    },
    /// Unlinks a further file and forgets it. Answers with the tenant. One that cannot
    /// be unlinked now stays to be removed.
    RemoveFile {
        /// Whose.
        tenant: TenantId,
        /// Which.
        file: FilePath,
        /// What was written is gone, where it cannot be found.
        #[serde(default, skip_serializing_if = "Secrets::are_there")]
        secrets: Secrets,
    },
    /// Takes the directory at a tenant's root for its jail, which was restored, moved
    /// or made anew. Answers with the tenant.
    AcceptRoot {
        /// Which.
        tenant: TenantId,
    },
    /// Looks whether a tenant's root is there and is the one that its secrets are
    /// in. Answers `done`.
    CheckRoot {
        /// Which.
        tenant: TenantId,
    },
    /// Answers with the tenant.
    ShowTenant {
        /// Which.
        tenant: TenantId,
    },
    /// Answers with all tenants, by name.
    ListTenants {},
    /// Answers with all tenants that are not destroyed, as they were registered.
    ListRegistrations {},
    /// Forgets a tenant that has no secrets in its jail. Answers `done`.
    UnregisterTenant {
        /// Which.
        tenant: TenantId,
        /// What was written is gone, where it cannot be found.
        #[serde(default, skip_serializing_if = "Secrets::are_there")]
        secrets: Secrets,
    },
    /// What `destroy-tenant` and `unregister-tenant` do, whichever is due: stops the
    /// agent, unlinks the file, forgets the tenant. Answers `done`.
    RemoveTenant {
        /// Which.
        tenant: TenantId,
        /// What was written is gone, where it cannot be found.
        #[serde(default, skip_serializing_if = "Secrets::are_there")]
        secrets: Secrets,
    },
    /// Gives a tenant the name that its jail has now. Its history, its file, its
    /// collection and its agents' user stay its own. Answers with the tenant.
    RenameTenant {
        /// Which.
        tenant: TenantId,
        /// Its new name.
        to: TenantId,
        /// The jail's new root, if it moved.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        root: Option<PathBuf>,
        /// What was written at another root is gone, where it cannot be found.
        #[serde(default, skip_serializing_if = "Secrets::are_there")]
        secrets: Secrets,
    },
    /// Provisions now and answers with the provisions when they are over.
    Provision {
        /// Which; without it, all that are provisioned or active.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tenant: Option<TenantId>,
    },
    /// A jail is about to start its services. Answers when its secrets are
    /// there, or when it need not wait for them any longer; never an error
    /// because of secrets.
    Hook {
        /// The jail.
        jail: JailName,
        /// Its root.
        root: PathBuf,
    },
    /// Starts the jail if it does not run, runs the hook, starts the agent.
    SpawnAgent {
        /// The jail.
        jail: JailName,
        /// Its root.
        root: PathBuf,
        /// Program and arguments, looked up inside the jail.
        command: Vec<String>,
    },
    /// Answers with all agents, by jail.
    ListAgents {},
    /// TERM, then KILL after a grace time; the tenant becomes `stopped`.
    /// Answers with the agent, or `done` for a jail whose agent is not ours.
    StopAgent {
        /// Its jail.
        jail: JailName,
        /// Unlink the file too.
        #[serde(default)]
        remove_secrets: bool,
    },
    /// Stops the agent if one runs, unlinks the file, and keeps the row.
    /// Answers with the tenant.
    DestroyTenant {
        /// Which.
        tenant: TenantId,
        /// What was written is gone, where it cannot be found.
        #[serde(default, skip_serializing_if = "Secrets::are_there")]
        secrets: Secrets,
    },
    /// Compares the vault with the file, by names of keys.
    Diff {
        /// Which.
        tenant: TenantId,
    },
    /// Answers with the newest provisions, newest first.
    History {
        /// Which; without it, all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tenant: Option<TenantId>,
        /// At most this many; 0 for as many as there are.
        #[serde(default)]
        limit: u32,
    },
    /// Answers with the daemon's own state.
    Status {},
    /// Asks the vault whether it takes the credentials: at most one login.
    /// Answers with the status, or with the error of the session.
    CheckVault {},
    /// Asks the vault which collections the account sees: at most one login.
    Collections {},
    /// Answers with the collections that were seen last since the daemon started, and
    /// those that tenants have, without asking the vault.
    KnownCollections {},
    /// Reads credentials and CA anew, and tries again what failed by them. Answers
    /// `done`; with an error, those of before stay.
    Reload {},
    /// Answers `watching`, then sends events until the client hangs up.
    Watch {},
}

/// What the operator says of the secrets that were written, should they not be
/// found to be removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Secrets {
    /// They are somewhere: the removal stays to be done.
    #[default]
    There,
    /// They are gone, with the jail.
    Gone,
}

impl Secrets {
    /// Whether nothing was said of them.
    pub const fn are_there(&self) -> bool {
        matches!(self, Self::There)
    }
}

impl Request {
    /// Whether this changes nothing.
    pub const fn observes(&self) -> bool {
        match self {
            Self::ShowTenant { .. }
            | Self::ListTenants {}
            | Self::ListFiles { .. }
            | Self::ListRegistrations {}
            | Self::ListAgents {}
            | Self::History { .. }
            | Self::Status {}
            | Self::Watch {} => true,
            Self::RegisterTenant { .. }
            | Self::UpdateTenant { .. }
            | Self::AddFile { .. }
            | Self::UpdateFile { .. }
            | Self::RemoveFile { .. }
            | Self::UnregisterTenant { .. }
            | Self::RemoveTenant { .. }
            | Self::RenameTenant { .. }
            | Self::Provision { .. }
            | Self::Hook { .. }
            | Self::SpawnAgent { .. }
            | Self::StopAgent { .. }
            | Self::CheckVault {}
            // They name what no tenant has.
            | Self::Collections {}
            | Self::KnownCollections {}
            | Self::AcceptRoot { .. }
            | Self::Reload {}
            // It starts a writer, which only looks.
            | Self::CheckRoot { .. }
            // It may log in, and it starts a writer.
            | Self::Diff { .. }
            | Self::DestroyTenant { .. } => false,
        }
    }
}
