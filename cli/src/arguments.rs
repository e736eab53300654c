//! The command line: verbs and options, and the requests they become.

use crate::failure::{EXIT_STATUS, Failure};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use colibri_control::{Request, Secrets};
use colibri_tenant::{
    AgentNetwork, CollectionName, FileMode, FilePath, Format, JailName, KeyCase, Notes, OnChange,
    OnDuplicate, Settings, TenantId,
};
use nix::unistd::User;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  colibri doctor
  colibri register-tenant web01 /usr/local/bastille/jails/web01/root
  colibri provision web01
  colibri spawn-agent --jail-name web01 --jail-root /jails/web01/root -- /bin/sh /agent.sh
  colibri list-tenants
  colibri history web01";

const INIT: &str = "\
Run as root. What is there already stays as it is.

Examples:
  colibri init --dry-run
  colibri init";

const DOCTOR: &str = "\
As root it sees all; as another user what that user may see. The vault is asked
as the fetcher's user, and logged in to at most once, by the daemon.

Examples:
  colibri doctor
  colibri doctor --json

Exit status:
  0  nothing failed; there may be warnings
  1  at least one check failed";

const RELOAD: &str = "\
A provider file that cannot be taken is told here, and the credentials stay as they
were. Other settings count from the next start. SIGHUP to colibrid does the same.

Examples:
  colibri reload && colibri provision --all";

const APPLY: &str = "\
The file has a table for each tenant, or for each pattern of names, with the
settings of register-tenant by their long names; those of [defaults] hold for all.
${name} is the tenant's name.

  [defaults]
  root = \"/usr/local/bastille/jails/${name}/root\"
  refresh = \"15m\"

  [tenant.\"web*\"]            # each directory of such a name that has a root
  on-change = \"command:/usr/sbin/service nginx restart\"

  [tenant.db01]
  collection = \"databases\"
  expect = [\"PGPASSWORD\"]

Without --yes nothing is changed, and without --prune no tenant and no further file is
removed. Another setting that the file does not name goes back to its default. A tenant
whose name a pattern matches is not removed because its directory is not there.

Examples:
  colibri apply tenants.toml
  colibri apply tenants.toml --yes
  colibri apply tenants.toml --prune --yes";

const ADD_FILE: &str = "\
The tenant's first file is what register-tenant makes; this is for what services want
beside it. A directory that is missing is made, root's and 0755. An item that a raw file
takes by its name is no key of the other files.

Examples:
  colibri add-file web01 usr/local/etc/nginx/tls.key --item 'TLS key' --format raw --owner 0:80 --mode 0440
  colibri add-file web01 usr/local/etc/app.json --format json --only 'APP_*' --owner 1001:1001
  colibri add-file db01 usr/local/etc/token --format raw --only API_TOKEN --on-change action:app-restart";

const JAIL_CONF: &str = "\
The line has $name and $path, which jail(8) fills in: it stays right when the jail is
renamed or moved. A line of an earlier day is replaced; others of exec.created stay.

Examples:
  colibri jail-conf web01
  colibri jail-conf web01 --write
  colibri jail-conf web01 --write --file /etc/jail.conf";

const COLLECTIONS: &str = "\
The vault is logged in to at most once, by the daemon. A name that would change how
a terminal shows it is shown with U+FFFD in place of what does.

Examples:
  colibri collections
  colibri collections --json | jq -r '.collections.names[]'";

const REMOVE: &str = "\
Examples:
  colibri remove web01 web02
  colibri remove --all
  colibri remove --all --yes";

const REPORT: &str = "\
The page needs no network. It holds names of tenants and items, and no values.

Examples:
  colibri report --html /root/colibri.html";

const COMPLETIONS: &str = "\
Examples:
  colibri completions bash > /usr/share/bash-completion/completions/colibri
  colibri completions zsh > /usr/local/share/zsh/site-functions/_colibri
  colibri completions fish > /usr/share/fish/vendor_completions.d/colibri.fish";

/// The shells that have completions.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Shell {
    /// bash
    Bash,
    /// zsh
    Zsh,
    /// fish
    Fish,
}

/// Secrets from a vault collection into the jail of the same name.
#[derive(Debug, Parser)]
#[command(name = "colibri", version, about, after_help = format!("{EXAMPLES}\n\n{EXIT_STATUS}"))]
pub struct Arguments {
    /// The daemon's control socket
    #[arg(
        long,
        global = true,
        env = "COLIBRI_SOCKET",
        default_value = "/var/run/colibri/control/colibrid.sock"
    )]
    pub socket: PathBuf,
    /// Answer in JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do
    #[command(subcommand)]
    pub verb: Verb,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    #[command(flatten)]
    Asked(Asked),
    /// Make the provider file, the fetcher's user and the directories
    #[command(after_help = INIT)]
    Init {
        /// Below this directory instead of /; makes no user
        #[arg(long, value_name = "DIR", default_value = "/", hide_default_value = true)]
        prefix: PathBuf,
        /// Only say what would be made
        #[arg(long)]
        dry_run: bool,
    },
    /// Look at all that a provision needs, and say how to mend it
    #[command(after_help = DOCTOR)]
    Doctor {
        /// The file with settings and credentials, looked at from outside [default: where init makes it]
        #[arg(long, value_name = "FILE", default_value = crate::init::PROVIDER, hide_default_value = true)]
        provider: PathBuf,
    },
    /// Make the tenants what a file says, after showing what that would change
    #[command(after_help = APPLY)]
    Apply {
        /// The file, TOML; `-` for standard input
        file: PathBuf,
        /// Change it, and not only show what would change
        #[arg(long)]
        yes: bool,
        /// Also remove the tenants that the file does not name
        #[arg(long)]
        prune: bool,
    },
    /// Print the hook's line for a jail's jail.conf or template, or put it there (FreeBSD)
    #[command(after_help = JAIL_CONF)]
    JailConf {
        /// The jail
        jail_name: String,
        /// Its jail.conf(5) [default: bastille's or AppJail's beside its root, or one in jail.conf.d, or
        /// /etc/jail.conf]
        #[arg(long)]
        file: Option<PathBuf>,
        /// Put the line into the jail's block, if jail(8), or appjail-config(1), reads it there
        #[arg(long)]
        write: bool,
    },
    /// Print the tenants as a file that apply reads
    #[command(after_help = "Examples:\n  colibri export > /root/tenants.toml")]
    Export,
    /// Stop tenants' agents, unlink their files and forget them, history and all
    #[command(after_help = REMOVE)]
    #[command(group = clap::ArgGroup::new("whom").required(true))]
    Remove {
        /// The tenants
        #[arg(group = "whom")]
        tenants: Vec<String>,
        /// All tenants; without --yes they are only named
        #[arg(long, group = "whom")]
        all: bool,
        /// Remove all, not only name them
        #[arg(long, requires = "all")]
        yes: bool,
        /// Go on when what was written cannot be found: it is gone, with the jail
        #[arg(long)]
        secrets_are_gone: bool,
    },
    /// Write a page that shows tenants, provisions and the sandbox proof
    #[command(after_help = REPORT)]
    Report {
        /// The file, which only its owner can read then
        #[arg(long, value_name = "FILE")]
        html: PathBuf,
    },
    /// Print the completions of a shell
    #[command(after_help = COMPLETIONS)]
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// The verbs that the daemon answers.
#[derive(Debug, Subcommand)]
pub enum Asked {
    /// Register a tenant: a jail, and the collection that has its name
    #[command(
        after_help = "Examples:\n  colibri register-tenant web01 /usr/local/bastille/jails/web01/root\n  colibri register-tenant db01 /jails/db01/root databases --refresh 15m --on-change signal:HUP\n  colibri register-tenant www /jails/www/root --owner 80:80 --format dotenv"
    )]
    RegisterTenant {
        /// The tenant: the jail's name
        tenant: String,
        /// The jail's root directory, below the base
        jail_root: PathBuf,
        /// The collection, if it has another name than the jail
        collection: Option<String>,
        #[command(flatten)]
        options: Box<Options>,
    },
    /// Change a tenant's settings; what is not named stays
    #[command(
        after_help = "Examples:\n  colibri update-tenant web01 --refresh 15m --expect API_TOKEN\n  colibri update-tenant web01 --fields=false\n  colibri update-tenant web01 --only 'DB_*' --dry-run"
    )]
    UpdateTenant {
        /// The tenant
        tenant: String,
        /// The jail's new root directory
        #[arg(long)]
        jail_root: Option<PathBuf>,
        /// Go on when what was written before cannot be found: it is gone
        #[arg(long)]
        secrets_are_gone: bool,
        /// Change nothing, and name the keys that would be added, removed or changed
        #[arg(long, conflicts_with_all = ["jail_root", "secrets_are_gone"])]
        dry_run: bool,
        #[command(flatten)]
        options: Box<Options>,
    },
    /// Give a tenant one more file, of its own path, owner, mode and format
    #[command(after_help = ADD_FILE)]
    AddFile {
        /// The tenant
        tenant: String,
        /// The file, as DIR/FILE below the jail root
        file: String,
        /// Change nothing, and name the keys that would be added
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        options: Box<FileOptions>,
    },
    /// List the files that a tenant has beside its first
    #[command(after_help = "Examples:\n  colibri list-files web01")]
    ListFiles {
        /// The tenant
        tenant: String,
    },
    /// Change a file's settings; what is not named stays
    #[command(
        after_help = "Examples:\n  colibri update-file web01 usr/local/etc/nginx/tls.key --mode 0400\n  colibri update-file web01 usr/local/etc/app.env --only 'DB_*' --dry-run"
    )]
    UpdateFile {
        /// The tenant
        tenant: String,
        /// The file, as list-files names it
        file: String,
        /// Change nothing, and name the keys that would be added, removed or changed
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        options: Box<FileOptions>,
    },
    /// Unlink a file and forget it
    #[command(after_help = "Examples:\n  colibri remove-file web01 usr/local/etc/nginx/tls.key")]
    RemoveFile {
        /// The tenant
        tenant: String,
        /// The file, as list-files names it
        file: String,
        /// Go on when it cannot be found: it is gone, with the jail
        #[arg(long)]
        secrets_are_gone: bool,
    },
    /// Take the directory at a tenant's root for its jail, restored or made anew
    #[command(after_help = "Examples:\n  colibri accept-root web01")]
    AcceptRoot {
        /// The tenant
        tenant: String,
    },
    /// Show one tenant
    ShowTenant {
        /// The tenant
        tenant: String,
    },
    /// List all tenants
    ListTenants {
        /// Only their names, a line each
        #[arg(long)]
        names: bool,
    },
    /// Forget a tenant that has no secrets in its jail
    UnregisterTenant {
        /// The tenant
        tenant: String,
        /// Go on when what was written cannot be found: it is gone
        #[arg(long)]
        secrets_are_gone: bool,
    },
    /// Give a tenant the new name of its jail; history, file and collection stay
    #[command(
        after_help = "Examples:\n  colibri rename-tenant web01 web02 --jail-root /usr/local/bastille/jails/web02/root"
    )]
    RenameTenant {
        /// The tenant
        tenant: String,
        /// Its jail's new name
        new_name: String,
        /// The jail's root directory, if it has moved with the name
        #[arg(long)]
        jail_root: Option<PathBuf>,
        /// Go on when what was written at another root cannot be found: it is gone
        #[arg(long)]
        secrets_are_gone: bool,
    },
    /// Bring a tenant's secrets into its jail now
    #[command(after_help = "Examples:\n  colibri provision web01\n  colibri provision --all")]
    #[command(group = clap::ArgGroup::new("which").required(true))]
    Provision {
        /// The tenant
        #[arg(group = "which")]
        tenant: Option<String>,
        /// All tenants
        #[arg(long, group = "which")]
        all: bool,
        /// Change nothing, and name the keys that would be added, removed or changed
        #[arg(long, conflicts_with = "all")]
        dry_run: bool,
    },
    /// What a jail manager calls before a jail's services start
    #[command(after_help = "Examples:\n  colibri hook web01 /usr/local/bastille/jails/web01/root || true")]
    Hook {
        /// The jail's name
        jail_name: String,
        /// The jail's root directory
        jail_root: PathBuf,
    },
    /// Start a jail if needed, bring its secrets, then start an agent in it
    #[command(
        after_help = "Examples:\n  colibri spawn-agent --jail-name web01 --jail-root /jails/web01/root -- /bin/sh /agent.sh"
    )]
    SpawnAgent {
        /// The jail's name
        #[arg(long)]
        jail_name: String,
        /// The jail's root directory
        #[arg(long)]
        jail_root: PathBuf,
        /// The agent's program and its arguments
        #[arg(required = true, last = true)]
        command: Vec<String>,
    },
    /// List agents
    ListAgents,
    /// Stop a jail's agent
    #[command(after_help = "Examples:\n  colibri stop-agent web01 --remove-secrets")]
    StopAgent {
        /// The jail's name
        jail_name: String,
        /// Also unlink the file with its secrets
        #[arg(long)]
        remove_secrets: bool,
    },
    /// Stop a tenant's agent, unlink its file, and keep its history as destroyed
    #[command(
        after_help = "Examples:\n  colibri destroy-tenant web01\n  colibri destroy-tenant web01 --secrets-are-gone"
    )]
    DestroyTenant {
        /// The tenant
        tenant: String,
        /// Go on when what was written cannot be found: it is gone, with the jail
        #[arg(long)]
        secrets_are_gone: bool,
    },
    /// Name the collections that the machine account sees in the vault
    #[command(after_help = COLLECTIONS)]
    Collections {
        /// Without asking the vault: those that were seen last, and the tenants' own
        #[arg(long)]
        known: bool,
    },
    /// Name the keys that a provision would add, remove or change
    #[command(after_help = "Examples:\n  colibri diff web01")]
    Diff {
        /// The tenant
        tenant: String,
    },
    /// What was tried when, and what came of it
    #[command(after_help = "Examples:\n  colibri history\n  colibri history web01 --limit 5 --json")]
    History {
        /// The tenant; without one, all
        tenant: Option<String>,
        /// At most so many, the newest; 0 for all
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// The daemon, its vault session and its tenants at a glance
    Status,
    /// Read credentials and CA anew, and try again what failed by them
    #[command(after_help = RELOAD)]
    Reload,
    /// Follow events until interrupted
    #[command(after_help = "Examples:\n  colibri watch --json | jq .provision.outcome")]
    Watch,
}

/// A tenant's settings.
#[derive(Debug, Args)]
pub struct Options {
    /// The collection, if it has another name than the jail
    #[arg(long = "collection", id = "collection_option", value_name = "NAME")]
    collection: Option<String>,
    /// The target directory below the jail root [default: usr/local/etc/colibri]
    #[arg(long, value_name = "REL")]
    dir: Option<PathBuf>,
    /// The file in it [default: env]
    #[arg(long, value_name = "NAME")]
    file: Option<String>,
    /// The file's owner, in numbers; for agents on Linux, who they are inside
    #[arg(long, value_name = "UID:GID", value_parser = owner)]
    owner: Option<String>,
    /// The file's format
    #[arg(long, value_parser = one_of::<Format>(formats(Format::Raw)))]
    format: Option<Format>,
    /// What to do with lower case in an item's name
    #[arg(long, value_parser = one_of::<KeyCase>(KeyCase::ALL.iter().map(|one| one.as_str())))]
    key_case: Option<KeyCase>,
    /// Whose reading of escapes and variables in a note counts
    #[arg(long, value_parser = one_of::<Notes>(Notes::ALL.iter().map(|one| one.as_str())))]
    notes: Option<Notes>,
    /// Two items of one name: the last counts, or they are rejected
    #[arg(long, value_parser = one_of::<OnDuplicate>(OnDuplicate::ALL.iter().map(|one| one.as_str())))]
    on_duplicate: Option<OnDuplicate>,
    /// The network of its agents: the host's, or none but a loopback
    #[arg(long, value_parser = one_of::<AgentNetwork>(AgentNetwork::ALL.iter().map(|one| one.as_str())))]
    agent_network: Option<AgentNetwork>,
    /// The collection's id, which then counts instead of its name; '' for the name again
    #[arg(long, value_name = "ID")]
    collection_id: Option<String>,
    /// The name or id of the collection's organization, where several have one of its name; '' for any
    #[arg(long, value_name = "NAME")]
    organization: Option<String>,
    /// Also take attachments that are text
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    attachments: Option<bool>,
    /// Also take custom fields, user names, URIs, TOTP seeds and a login's notes
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    fields: Option<bool>,
    /// Refuse a target that is not on a memory file system
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    require_tmpfs: Option<bool>,
    /// Keep up: its last look is at most 90s, 15m, 2h or 1d old; 0 for never
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    refresh: Option<u32>,
    /// Longest time that an agent waits for its secrets
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    deadline: Option<u32>,
    /// When the secrets have changed: none, restart-agent, signal:HUP, command:PROGRAM
    /// ARGUMENTS in the jail, or action:NAME, the host operator's program of that name
    #[arg(long, value_name = "ACTION", value_parser = action)]
    on_change: Option<OnChange>,
    /// Allow these reserved keys, such as PATH; '' for none
    #[arg(long, value_name = "KEY", value_delimiter = ',')]
    allow: Option<Vec<String>>,
    /// Fail when one of these keys is missing; '' for none
    #[arg(long, value_name = "KEY", value_delimiter = ',')]
    expect: Option<Vec<String>>,
    /// Put this in front of each key
    #[arg(long)]
    prefix: Option<String>,
    /// Take only keys that match one of these globs; '' for all
    #[arg(long, value_name = "GLOB", value_delimiter = ',')]
    only: Option<Vec<String>>,
    /// Write a key under another name; '' for none
    #[arg(long, value_name = "OLD=NEW", value_delimiter = ',')]
    rename: Option<Vec<String>>,
}

/// The settings of one further file.
#[derive(Debug, Args)]
pub struct FileOptions {
    /// Its owner, in numbers [default: the first file's]
    #[arg(long, value_name = "UID:GID", value_parser = owner)]
    owner: Option<String>,
    /// Who may read it: its owner, or its group too [default: 0600]
    #[arg(long, value_parser = one_of::<FileMode>(FileMode::ALL.iter().map(|one| one.as_str())))]
    mode: Option<FileMode>,
    /// Its format; raw is one value and nothing else [default: env]
    #[arg(long, value_parser = one_of::<Format>(formats(Format::Dir)))]
    format: Option<Format>,
    /// The item whose password, note or private key a raw file is; no other file has it
    /// then; '' for none
    #[arg(long, value_name = "NAME")]
    item: Option<String>,
    /// Take only keys that match one of these globs, a raw file just one key; '' for all
    #[arg(long, value_name = "GLOB", value_delimiter = ',')]
    only: Option<Vec<String>>,
    /// Fail when one of these keys is missing; '' for none
    #[arg(long, value_name = "KEY", value_delimiter = ',')]
    expect: Option<Vec<String>>,
    /// When it has changed, as for a tenant; '' for what the tenant's other files do
    #[arg(long, value_name = "ACTION", value_parser = own_action)]
    on_change: Option<String>,
}

impl FileOptions {
    /// Only what was named, as the protocol spells it.
    fn changes(self) -> Result<Map<String, Value>, Failure> {
        let own = |text: String| match text.as_str() {
            "" => Ok(Value::Null),
            text => action(text).map(|action| json!(action)).map_err(Failure::Usage),
        };
        let named = [
            ("owner", self.owner.map(|owner| json!(owner))),
            ("mode", self.mode.map(|mode| json!(mode))),
            ("format", self.format.map(|format| json!(format))),
            ("item", self.item.map(some_text)),
            ("only", self.only.map(|globs| json!(some(globs)))),
            ("expect", self.expect.map(|keys| json!(some(keys)))),
            ("on-change", self.on_change.map(own).transpose()?),
        ];
        Ok(named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect())
    }
}

/// All formats but one that the verb cannot give.
fn formats(but: Format) -> impl Iterator<Item = &'static str> {
    Format::ALL.iter().filter(move |one| **one != but).map(|one| one.as_str())
}

fn own_action(text: &str) -> Result<String, String> {
    if !text.is_empty() {
        action(text)?;
    }
    Ok(text.to_owned())
}

impl Asked {
    /// How long to wait for the daemon: it gives up by its own deadlines
    /// first, unless it has died.
    pub const fn patience(&self) -> Option<Duration> {
        match self {
            Self::Watch | Self::Provision { all: true, .. } => None,
            _ => Some(Duration::from_secs(600)),
        }
    }

    /// The request of this verb.
    ///
    /// # Errors
    /// `Usage`, for names and paths that cannot be.
    pub fn into_request(self) -> Result<Request, Failure> {
        Ok(match self {
            Self::RegisterTenant { tenant, jail_root, collection, options } => Request::RegisterTenant {
                tenant: id(tenant)?,
                root: absolute(&jail_root)?,
                settings: Box::new(options.settings(collection)?),
            },
            Self::UpdateTenant { tenant, jail_root, secrets_are_gone, dry_run, options } => {
                Request::UpdateTenant {
                    dry_run,
                    tenant: id(tenant)?,
                    root: jail_root.as_deref().map(absolute).transpose()?,
                    changes: options.changes()?,
                    secrets: secrets(secrets_are_gone),
                }
            }
            Self::AddFile { tenant, file, dry_run, options } => Request::AddFile {
                tenant: id(tenant)?,
                file: file_path(file)?,
                settings: Box::new(serde_json::from_value(Value::Object(options.changes()?))?),
                dry_run,
            },
            Self::ListFiles { tenant } => Request::ListFiles { tenant: id(tenant)? },
            Self::UpdateFile { tenant, file, dry_run, options } => Request::UpdateFile {
                tenant: id(tenant)?,
                file: file_path(file)?,
                changes: options.changes()?,
                dry_run,
            },
            Self::RemoveFile { tenant, file, secrets_are_gone } => Request::RemoveFile {
                tenant: id(tenant)?,
                file: file_path(file)?,
                secrets: secrets(secrets_are_gone),
            },
            Self::AcceptRoot { tenant } => Request::AcceptRoot { tenant: id(tenant)? },
            Self::ShowTenant { tenant } => Request::ShowTenant { tenant: id(tenant)? },
            Self::ListTenants { .. } => Request::ListTenants {},
            Self::UnregisterTenant { tenant, secrets_are_gone } => {
                Request::UnregisterTenant { tenant: id(tenant)?, secrets: secrets(secrets_are_gone) }
            }
            Self::RenameTenant { tenant, new_name, jail_root, secrets_are_gone } => Request::RenameTenant {
                tenant: id(tenant)?,
                to: id(new_name)?,
                root: jail_root.as_deref().map(absolute).transpose()?,
                secrets: secrets(secrets_are_gone),
            },
            Self::Provision { tenant: Some(tenant), dry_run: true, .. } => {
                Request::Diff { tenant: id(tenant)? }
            }
            Self::Provision { tenant, .. } => Request::Provision { tenant: tenant.map(id).transpose()? },
            Self::Hook { jail_name, jail_root } => {
                Request::Hook { jail: jail(jail_name)?, root: absolute(&jail_root)? }
            }
            Self::SpawnAgent { jail_name, jail_root, command } => {
                Request::SpawnAgent { jail: jail(jail_name)?, root: absolute(&jail_root)?, command }
            }
            Self::ListAgents => Request::ListAgents {},
            Self::StopAgent { jail_name, remove_secrets } => {
                Request::StopAgent { jail: jail(jail_name)?, remove_secrets }
            }
            Self::DestroyTenant { tenant, secrets_are_gone } => {
                Request::DestroyTenant { tenant: id(tenant)?, secrets: secrets(secrets_are_gone) }
            }
            Self::Collections { known: false } => Request::Collections {},
            Self::Collections { known: true } => Request::KnownCollections {},
            Self::Diff { tenant } => Request::Diff { tenant: id(tenant)? },
            Self::History { tenant, limit } => {
                Request::History { tenant: tenant.map(id).transpose()?, limit }
            }
            Self::Status => Request::Status {},
            Self::Reload => Request::Reload {},
            Self::Watch => Request::Watch {},
        })
    }
}

impl Options {
    fn settings(self, collection: Option<String>) -> Result<Settings, Failure> {
        if collection.is_some() && self.collection.is_some() {
            return Err(Failure::Usage("the collection is named twice".into()));
        }
        let mut changes = self.changes()?;
        if let Some(name) = collection {
            changes.insert("collection".into(), json!(collection_name(name)?));
        }
        Ok(serde_json::from_value(Value::Object(changes))?)
    }

    /// Only what was named, as the protocol's `settings` spell it.
    fn changes(self) -> Result<Map<String, Value>, Failure> {
        let rename = self.rename.map(|names| some(names).iter().map(|name| renaming(name)).collect());
        let rename = rename.transpose().map_err(Failure::Usage)?;
        let collection = self.collection.map(collection_name).transpose()?;
        let named = [
            ("collection", collection.map(|name| json!(name))),
            ("dir", self.dir.map(|dir| json!(dir))),
            ("file", self.file.map(|file| json!(file))),
            ("owner", self.owner.map(|owner| json!(owner))),
            ("format", self.format.map(|format| json!(format))),
            ("key-case", self.key_case.map(|case| json!(case))),
            ("notes", self.notes.map(|notes| json!(notes))),
            ("on-duplicate", self.on_duplicate.map(|duplicate| json!(duplicate))),
            ("agent-network", self.agent_network.map(|network| json!(network))),
            ("collection-id", self.collection_id.map(some_text)),
            ("organization", self.organization.map(some_text)),
            ("attachments", self.attachments.map(|attachments| json!(attachments))),
            ("fields", self.fields.map(|fields| json!(fields))),
            ("require-tmpfs", self.require_tmpfs.map(|required| json!(required))),
            ("refresh", self.refresh.map(|refresh| json!(refresh))),
            ("deadline", self.deadline.map(|deadline| json!(deadline))),
            ("on-change", self.on_change.map(|action| json!(action))),
            ("allow", self.allow.map(|keys| json!(some(keys)))),
            ("expect", self.expect.map(|keys| json!(some(keys)))),
            ("prefix", self.prefix.map(|prefix| json!(prefix))),
            ("only", self.only.map(|globs| json!(some(globs)))),
            ("rename", rename.map(|names: Vec<_>| json!(names))),
        ];
        Ok(named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect())
    }
}

/// An empty word brings the default back.
fn some_text(text: String) -> Value {
    if text.is_empty() { Value::Null } else { json!(text) }
}

pub const fn secrets(gone: bool) -> Secrets {
    if gone { Secrets::Gone } else { Secrets::There }
}

/// The tenant of that name.
///
/// # Errors
/// `Usage`, if none can have it.
pub fn id(name: String) -> Result<TenantId, Failure> {
    TenantId::try_from(name.clone())
        .map_err(|error| Failure::Usage(format!("{name:?} is no tenant: {error}")))
}

fn file_path(path: String) -> Result<FilePath, Failure> {
    FilePath::try_from(path.clone())
        .map_err(|error| Failure::Usage(format!("{path:?} is no further file: {error}")))
}

fn jail(name: String) -> Result<JailName, Failure> {
    JailName::try_from(name.clone())
        .map_err(|error| Failure::Usage(format!("{name:?} is no jail name: {error}")))
}

fn collection_name(name: String) -> Result<CollectionName, Failure> {
    CollectionName::try_from(name).map_err(|error| Failure::Usage(format!("no collection name: {error}")))
}

/// The daemon stands elsewhere, so a path is made absolute here; links in it
/// are the daemon's to judge.
fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))
}

/// One of a setting's words, which completions then know.
fn one_of<T>(words: impl Iterator<Item = &'static str>) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static> + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(words).try_map(|word| word.parse())
}

/// Numbers: whom a name means in a jail, only the jail knows.
fn owner(text: &str) -> Result<String, String> {
    let numbers = text
        .split_once(':')
        .filter(|(uid, gid)| [uid, gid].iter().all(|number| number.parse::<u32>().is_ok()));
    if numbers.is_some() {
        return Ok(text.to_owned());
    }
    let name = text.split(':').next().unwrap_or_default();
    if name.parse::<u64>().is_ok() {
        return Err("not UID:GID in numbers, such as 80:80".into());
    }
    let here = User::from_name(name).ok().flatten();
    let here = here.map(|user| format!(": {name} is {}:{} here", user.uid, user.gid)).unwrap_or_default();
    Err(format!("not UID:GID in numbers; `id {name}` in the jail says them{here}"))
}

/// A span of time as `--refresh` takes it, in seconds.
///
/// # Errors
/// The form that it must have.
pub fn seconds(text: &str) -> Result<u32, String> {
    let (number, unit) = match text.find(|c: char| !c.is_ascii_digit()) {
        Some(at) => text.split_at(at),
        None => (text, "s"),
    };
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err("not a time such as 90s, 15m, 2h or 1d".into()),
    };
    let number: u32 = number.parse().map_err(|_| "not a time such as 90s, 15m, 2h or 1d")?;
    number.checked_mul(unit).ok_or_else(|| "too long".into())
}

/// An action as `--on-change` takes it.
///
/// # Errors
/// The form that it must have.
pub fn action(text: &str) -> Result<OnChange, String> {
    match text.split_once(':') {
        None if text == "none" => Ok(OnChange::None),
        None if text == "restart-agent" => Ok(OnChange::RestartAgent),
        Some(("signal", name)) if !name.is_empty() => Ok(OnChange::Signal(name.into())),
        Some(("action", name)) if !name.is_empty() => Ok(OnChange::Action(name.into())),
        Some(("command", words)) if !words.trim().is_empty() => command(words),
        _ => Err("not none, restart-agent, signal:NAME, command:PROGRAM ARGUMENTS or action:NAME".into()),
    }
}

/// Words as a shell takes them; nothing in them is evaluated.
fn command(text: &str) -> Result<OnChange, String> {
    match shlex::split(text) {
        Some(words) if !words.is_empty() => Ok(OnChange::Command(words)),
        Some(_) => Err("the command is empty".into()),
        None => Err("the command has a quote that is not closed, or ends with a backslash".into()),
    }
}

/// An empty word is how a list is emptied.
fn some(mut words: Vec<String>) -> Vec<String> {
    words.retain(|word| !word.is_empty());
    words
}

/// A renaming as `--rename` takes it.
///
/// # Errors
/// The form that it must have.
pub fn renaming(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((old, new)) if !old.is_empty() && !new.is_empty() => Ok((old.into(), new.into())),
        _ => Err(format!("--rename {text:?} is not OLD=NEW")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn request(line: &[&str]) -> Result<Request, Failure> {
        let words = std::iter::once("colibri").chain(line.iter().copied());
        let Verb::Asked(asked) = Arguments::try_parse_from(words).unwrap().verb else { panic!() };
        asked.into_request()
    }

    #[test]
    fn a_command_keeps_its_words_and_is_shown_as_it_can_be_given_again() {
        let words = |text: &str| match action(text) {
            Ok(OnChange::Command(words)) => words,
            other => panic!("{text}: {other:?}"),
        };
        for (text, expected) in [
            ("command:/bin/true", vec!["/bin/true"]),
            ("command: sh -c 'kill -HUP 1; echo \"a  b\"' ", vec!["sh", "-c", "kill -HUP 1; echo \"a  b\""]),
            (
                r#"command:a "b c" d\ e '' $(id) `id` ; x"#,
                vec!["a", "b c", "d e", "", "$(id)", "`id`", ";", "x"],
            ),
        ] {
            assert_eq!(words(text), expected, "{text}");
            let shown = crate::screen::on_change(&OnChange::Command(words(text)));
            assert_eq!(words(&shown), expected, "{shown}");
        }
        for text in ["command:", "command: ", "command:'a", "command:a \"b", "command:a\\", "command:#a"] {
            assert!(action(text).is_err(), "{text}");
        }
        assert_eq!(action("action:nginx"), Ok(OnChange::Action("nginx".into())));
        assert!(action("action:").is_err());
    }

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_option_reaches_the_settings() {
        let line = [
            "register-tenant",
            "web01",
            "/j/web01/root",
            "web",
            "--dir",
            "run/x",
            "--file",
            "f",
            "--owner",
            "5:6",
            "--format",
            "json",
            "--key-case",
            "upper",
            "--on-duplicate",
            "reject",
            "--fields",
            "--require-tmpfs",
            "--refresh",
            "15m",
            "--deadline",
            "10s",
            "--on-change",
            "signal:HUP",
            "--notes",
            "dotenv",
            "--allow",
            "PATH",
            "--expect",
            "A,B",
            "--prefix",
            "P_",
            "--only",
            "A*",
            "--rename",
            "A=B",
            "--agent-network",
            "none",
        ];
        let Request::RegisterTenant { settings, .. } = request(&line).unwrap() else { panic!() };
        let expected = Settings {
            collection_id: None,
            organization: None,
            attachments: false,
            collection: Some("web".to_owned().try_into().unwrap()),
            dir: Some("run/x".into()),
            file: Some("f".into()),
            owner: Some("5:6".into()),
            format: Format::Json,
            key_case: KeyCase::Upper,
            notes: Notes::Dotenv,
            on_duplicate: OnDuplicate::Reject,
            fields: true,
            require_tmpfs: true,
            refresh: 900,
            deadline: Some(10),
            on_change: OnChange::Signal("HUP".into()),
            allow: vec!["PATH".into()],
            expect: vec!["A".into(), "B".into()],
            prefix: "P_".into(),
            only: vec!["A*".into()],
            rename: vec![("A".into(), "B".into())],
            agent_network: AgentNetwork::None,
            files: std::collections::BTreeMap::new(),
        };
        assert_eq!(*settings, expected);
    }

    #[test]
    fn every_option_of_a_file_reaches_its_settings() {
        let line = "add-file web01 etc/x.key --owner 0:80 --mode 0440 --format raw --item TLS --only A,B \
                    --expect C --on-change signal:HUP --dry-run";
        let line: Vec<_> = line.split(' ').filter(|word| !word.is_empty()).collect();
        let Request::AddFile { file, settings, dry_run: true, .. } = request(&line).unwrap() else {
            panic!()
        };
        let expected = colibri_tenant::FileSettings {
            owner: Some("0:80".into()),
            mode: FileMode::GroupRead,
            format: Format::Raw,
            item: Some("TLS".into()),
            only: vec!["A".into(), "B".into()],
            expect: vec!["C".into()],
            on_change: Some(OnChange::Signal("HUP".into())),
        };
        assert_eq!((file.as_str(), *settings), ("etc/x.key", expected));
        let line = ["update-file", "web01", "etc/x", "--item", "", "--only", "", "--on-change", ""];
        let Request::UpdateFile { changes, .. } = request(&line).unwrap() else { panic!() };
        assert_eq!(Value::Object(changes), json!({ "item": null, "only": [], "on-change": null }));
        for path in ["env", "/etc/x", "etc/../x", "etc//x"] {
            assert!(matches!(request(&["add-file", "web01", path]), Err(Failure::Usage(_))), "{path}");
        }
    }

    #[test]
    fn an_update_holds_only_what_was_named() {
        let Request::UpdateTenant { changes, .. } =
            request(&["update-tenant", "a", "--fields=false"]).unwrap()
        else {
            panic!()
        };
        assert_eq!(Value::Object(changes), json!({ "fields": false }));
    }

    #[test]
    fn an_empty_word_empties_a_list() {
        let line = ["update-tenant", "a", "--expect", "", "--allow", "", "--only", "", "--rename", ""];
        let Request::UpdateTenant { changes, .. } = request(&line).unwrap() else { panic!() };
        assert_eq!(Value::Object(changes), json!({ "expect": [], "allow": [], "only": [], "rename": [] }));
        let line = ["update-tenant", "a", "--collection-id", "", "--organization", "o"];
        let Request::UpdateTenant { changes, .. } = request(&line).unwrap() else { panic!() };
        assert_eq!(Value::Object(changes), json!({ "collection-id": null, "organization": "o" }));
        assert!(matches!(request(&["update-tenant", "a", "--rename", "A"]), Err(Failure::Usage(_))));
    }

    #[test]
    fn an_owner_by_name_is_told_in_numbers() {
        assert_eq!(owner("80:80"), Ok("80:80".into()));
        assert!(owner("root").unwrap_err().ends_with(": root is 0:0 here"));
        for text in ["80", "80:", "80:www", "80:99999999999", "99999999999:80"] {
            assert_eq!(owner(text).unwrap_err(), "not UID:GID in numbers, such as 80:80", "{text}");
        }
        assert!(owner("no-such-user:80").unwrap_err().ends_with("in the jail says them"));
    }

    #[test]
    fn names_that_jail_would_refuse_are_refused_here() {
        assert!(matches!(request(&["show-tenant", "a b"]), Err(Failure::Usage(_))));
    }
}
