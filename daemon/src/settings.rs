//! Settings from flags and environment, and what becomes of them once the
//! system was asked: absolute programs, a canonical base, a user to drop to.

#[cfg_attr(target_os = "freebsd", path = "settings/freebsd.rs")]
#[cfg_attr(not(target_os = "freebsd"), path = "settings/linux.rs")]
mod place;

pub use place::PROVIDER;

use crate::agent::cgroup::Memory;
use crate::agent::claim::Claim;
use crate::agent::users::{AgentUsers, Users};
use crate::cage::{self, Cage};
use crate::clock::millis;
use crate::provider::ours;
use crate::server::SOCKET;
use anyhow::{Context, anyhow, bail, ensure};
use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory, Parser, ValueEnum};
use colibri_control::SetupView;
use colibri_pair::Owner;
use colibri_session::check_server;
use colibri_tenant::{ROOT_INSIDE_IS_ROOT, keeps_others_out};
use nix::unistd::{Group, User, getegid, geteuid};
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object each.
    Json,
}

/// Brings secrets from a vault into jails.
#[derive(Clone, Debug, Parser)]
#[command(name = "colibrid", version, about)]
pub struct Settings {
    /// The file with settings and credentials; root's daemon reads
    /// /etc/colibri/provider.env, on FreeBSD /usr/local/etc/colibri/provider.env,
    /// if there is one.
    #[arg(long, env = "COLIBRI_PROVIDER", value_name = "FILE")]
    pub provider: Option<OsString>,
    /// Look at settings and credentials, and start nothing.
    #[arg(long)]
    pub check: bool,
    /// All jail roots lie strictly under this directory: /srv/jails, on FreeBSD
    /// /usr/local/bastille/jails.
    #[arg(long, env = "COLIBRI_JAIL_ROOT_BASE", default_value = place::BASE, hide_default_value = true)]
    pub jail_root_base: PathBuf,
    /// The tenants database lies here: /var/lib/colibri, on FreeBSD /var/db/colibri.
    #[arg(long, env = "COLIBRI_STATE_DIR", default_value = place::STATE, hide_default_value = true)]
    pub state_dir: PathBuf,
    /// Sockets and the session's private files lie here: /run/colibri, on FreeBSD
    /// /var/run/colibri.
    #[arg(long, env = "COLIBRI_RUN_DIR", default_value = place::RUN, hide_default_value = true)]
    pub run_dir: PathBuf,
    /// The agents' logs lie here.
    #[arg(long, env = "COLIBRI_LOG_DIR", default_value = "/var/log/colibri")]
    pub log_dir: PathBuf,
    /// The unprivileged user that the fetcher and bw run as, if the daemon is root.
    #[arg(long, env = "COLIBRI_FETCHER_USER", default_value = "_colibri")]
    pub fetcher_user: String,
    /// Where colibri-writer, colibri-fetcher, colibri-bell and colibri-shim are.
    #[arg(long, env = "COLIBRI_LIBEXEC")]
    pub libexec: Option<PathBuf>,
    /// The Bitwarden command line.
    #[arg(long, env = "COLIBRI_BW")]
    pub bw: Option<PathBuf>,
    /// Run a bw that is older than those that were tested.
    #[arg(long, env = "COLIBRI_ANY_BW_VERSION")]
    pub any_bw_version: bool,
    /// The bubblewrap program (Linux).
    #[arg(long, env = "COLIBRI_BWRAP", default_value = "bwrap")]
    pub bwrap: PathBuf,
    /// A jail.conf(5) with the jail that bw runs in (FreeBSD).
    #[arg(long, env = "COLIBRI_BW_JAIL", value_name = "FILE")]
    pub bw_jail: Option<PathBuf>,
    /// A jail.conf(5) with the jail that the fetcher runs in (FreeBSD).
    #[arg(long, env = "COLIBRI_FETCHER_JAIL", value_name = "FILE")]
    pub fetcher_jail: Option<PathBuf>,
    /// The vault's URL; without it, Bitwarden's cloud.
    #[arg(long, env = "BW_SERVER")]
    pub server: Option<String>,
    /// A PEM file with the CA of the vault's certificate.
    #[arg(long, env = "NODE_EXTRA_CA_CERTS")]
    pub ca_file: Option<PathBuf>,
    /// How long the vault session stays open without work; twice COLIBRI_POLL at least
    /// while changes are looked for. While the bell listens it is bw serve that ends then,
    /// and the session stays.
    #[arg(long, env = "COLIBRI_SESSION_IDLE", default_value = "60s", value_parser = duration)]
    pub session_idle: Duration,
    /// How often the vault is asked whose secrets have changed, one question for all
    /// tenants with a longer --refresh, for which the session stays open; while the bell
    /// listens, when it rings and every 15 minutes. 0 for never, and no bell: then each
    /// asks by itself.
    #[arg(long, env = "COLIBRI_POLL", value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub poll: Duration,
    /// Keep bw serve, 200 MB, while the bell listens: a change arrives two seconds sooner.
    #[arg(long, env = "COLIBRI_BW_RESIDENT")]
    pub bw_resident: bool,
    /// Do not listen at the vault for changes, but ask again and again.
    #[arg(long, env = "COLIBRI_NO_BELL")]
    pub no_bell: bool,
    /// How long a provision may take, and an agent waits for it.
    #[arg(long, env = "COLIBRI_DEADLINE", default_value = "30s", value_parser = lasting)]
    pub deadline: Duration,
    /// A group that may use the control socket.
    #[arg(long, env = "COLIBRI_GROUP")]
    pub group: Option<String>,
    /// A group that may look, on a socket of its own, and change nothing.
    #[arg(long, env = "COLIBRI_OBSERVERS")]
    pub observers: Option<String>,
    /// The users that agents are on the host, FIRST-LAST, each jail its own
    /// (Linux, as root) [default: 1900000000-1900999999].
    #[arg(long, env = "COLIBRI_AGENT_USERS", value_name = "RANGE")]
    pub agent_users: Option<AgentUsers>,
    /// Most memory of one agent: 512M, 2G, or a part of the host's (Linux, with
    /// control groups).
    #[arg(long, env = "COLIBRI_AGENT_MEMORY", default_value = "25%")]
    pub agent_memory: Memory,
    /// A control group that is colibrid's alone, if not the unit's (Linux).
    #[arg(long, env = "COLIBRI_CGROUP", value_name = "DIR")]
    pub cgroup: Option<PathBuf>,
    /// Most processes and threads of one agent.
    #[arg(long, env = "COLIBRI_AGENT_PROCESSES", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(8..))]
    pub agent_processes: u32,
    /// Programs that a tenant may name to be run on the host when its secrets have
    /// changed, NAME TENANT ROOT: /etc/colibri/actions, on FreeBSD
    /// /usr/local/etc/colibri/actions.
    #[arg(long, env = "COLIBRI_ACTIONS", value_name = "DIR", default_value = place::ACTIONS, hide_default_value = true)]
    pub actions: PathBuf,
    /// Least time between what is done for two tenants whose secrets have changed, so
    /// that not all services restart at once; 0 for none.
    #[arg(long, env = "COLIBRI_STAGGER", value_name = "TIME", default_value = "1s", value_parser = duration)]
    pub stagger: Duration,
    /// How log lines are written: text or json.
    #[arg(long, env = "COLIBRI_LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,
    /// A file with figures for Prometheus, written anew again and again.
    #[arg(long, env = "COLIBRI_METRICS_FILE")]
    pub metrics_file: Option<PathBuf>,
    /// Go on where no sandbox is to be had; only outside root, for development.
    #[arg(long)]
    pub insecure_no_sandbox: bool,
}

impl Settings {
    /// What is wrong with a setting of the environment or of the provider file, in one
    /// line; nothing where it is an argument that is wrong.
    pub fn wrong(error: &clap::Error) -> Option<String> {
        let text = |kind| match error.get(kind)? {
            ContextValue::String(text) => Some(text.clone()),
            ContextValue::Strings(words) => Some(words.join(", ")),
            _ => None,
        };
        let shown = text(ContextKind::InvalidArg)?;
        let flag = shown.split([' ', '=']).next()?.to_owned();
        let long = flag.strip_prefix("--")?;
        let command = Self::command();
        let argument = command.get_arguments().find(|one| one.get_long() == Some(long))?;
        let name = argument.get_env()?.to_str()?.to_owned();
        let is_flag =
            |word: OsString| word.to_str().is_some_and(|word| word.split('=').next() == Some(&flag));
        if std::env::var_os(&name).is_none() || std::env::args_os().any(is_flag) {
            return None;
        }
        let why = match std::error::Error::source(error) {
            Some(why) => why.to_string(),
            None => format!("not one of {}", text(ContextKind::ValidValue)?),
        };
        // Without the value: it may be a credential that stands at the wrong name.
        let value = text(ContextKind::InvalidValue)?;
        let shown = value.len() > 4 && why.contains(&value);
        let why = if shown { "it is not of the form that colibrid(8) tells" } else { &why };
        Some(format!("the value of {name} is refused: {why}"))
    }

    /// Checks what no other time or host makes right.
    ///
    /// # Errors
    /// The first that is wrong.
    pub fn check(&self) -> anyhow::Result<()> {
        if self.insecure_no_sandbox && geteuid().is_root() {
            bail!("--insecure-no-sandbox is for development and refused as root");
        }
        if let Some(url) = &self.server {
            // Without the value: there may be a password in it.
            check_server(url).map_err(|failure| anyhow!("BW_SERVER is refused: {failure}"))?;
        }
        let base = &self.jail_root_base;
        let named = |what: &str| format!("COLIBRI_JAIL_ROOT_BASE is {}: {what}", base.display());
        ensure!(base.is_absolute(), named("name it from / on"));
        // What is not there may be mounted later.
        ensure!(!base.exists() || base.is_dir(), named("that is not a directory"));
        let all = base.canonicalize().is_ok_and(|base| base == Path::new("/"));
        ensure!(!all, named("name a directory that holds jails and nothing else"));
        for dir in [self.control_dir(), self.observe_dir()] {
            let socket = dir.join(SOCKET);
            let fits = SocketAddr::from_pathname(&socket).is_ok();
            ensure!(fits, "{} is too long for a socket: shorten COLIBRI_RUN_DIR", socket.display());
        }
        Ok(())
    }

    /// The directory of the control socket.
    pub fn control_dir(&self) -> PathBuf {
        self.run_dir.join("control")
    }

    /// The directory of the observers' socket.
    pub fn observe_dir(&self) -> PathBuf {
        self.run_dir.join("observe")
    }
}

/// A directory that is not the daemon's alone.
#[derive(Debug, thiserror::Error)]
#[error("{} belongs to others too: name a directory for colibrid alone, or chown and chmod go-w it", .0.display())]
pub struct Shared(pub PathBuf);

/// The user that the fetcher runs as.
#[derive(Clone, Debug)]
pub enum FetcherUser {
    /// The daemon's own: it has nothing to drop.
    Same,
    /// Another one.
    Other(Owner),
}

/// Settings that were checked against the system.
#[derive(Clone, Debug)]
pub struct Config {
    /// As given.
    pub settings: Settings,
    /// The base, canonical.
    pub base: PathBuf,
    /// The writer program.
    pub writer: PathBuf,
    /// The fetcher program.
    pub fetcher: PathBuf,
    /// The bell program.
    pub bell: PathBuf,
    /// The program that starts agents and keeps their logs.
    pub shim: PathBuf,
    /// The group that agents need to go through the base directory, if not all
    /// users may.
    pub base_group: Option<u32>,
    /// Whether agents have users of their own.
    pub agent_users: Users,
    /// What keeps other daemons from those.
    pub agent_claim: Claim,
    /// The fetcher's user.
    pub fetcher_user: FetcherUser,
    /// The `bw` program.
    pub bw: PathBuf,
    /// The bubblewrap program.
    pub bwrap: PathBuf,
    /// The jail that `bw` runs in, where the fetcher cannot make its cage.
    pub cage: Option<Cage>,
    /// The jail that the fetcher runs in, where the system can confine it no other way.
    pub fetcher_cage: Option<Cage>,
    /// Where programs are looked for.
    pub path: String,
    /// The owner of files where the tenant names none.
    pub owner: Owner,
    /// The group of the control socket, if not the daemon's alone.
    pub group: Option<u32>,
    /// The group of the observers' socket, if there is one.
    pub observers: Option<u32>,
}

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const WRITER: &str = "colibri-writer";

impl Config {
    /// Checks the settings.
    ///
    /// # Errors
    /// The first that does not fit the system, with what was looked for.
    pub fn new(settings: Settings) -> anyhow::Result<Self> {
        settings.check()?;
        let (uid, gid) = (geteuid(), getegid());
        let base = settings.jail_root_base.canonicalize().with_context(|| {
            let base = settings.jail_root_base.display();
            format!("cannot find {base}: make it, or name another in COLIBRI_JAIL_ROOT_BASE")
        })?;
        let libexec = match &settings.libexec {
            Some(dir) => dir.clone(),
            None => find_libexec(&std::env::current_exe().context("cannot find my own program")?),
        };
        if settings.fetcher_jail.is_some() && settings.bw_jail.is_none() {
            bail!(
                "COLIBRI_FETCHER_JAIL needs COLIBRI_BW_JAIL: bw would run in the fetcher's jail, and have its network"
            );
        }
        let admitted = |setting: &str, file: &Path| -> anyhow::Result<PathBuf> {
            let file = absolute(file)?;
            cage::admit(setting, &file)?;
            Ok(file)
        };
        let jail =
            |setting, file: &Option<PathBuf>| file.as_deref().map(|file| admitted(setting, file)).transpose();
        let bw_jail = jail("COLIBRI_BW_JAIL", &settings.bw_jail)?;
        let fetcher_jail = jail("COLIBRI_FETCHER_JAIL", &settings.fetcher_jail)?;
        let path = std::env::var("PATH").unwrap_or_else(|_| PATH.into());
        let bw = settings.bw.clone().unwrap_or_else(|| {
            find(Path::new("bw"), &path).unwrap_or_else(|| PathBuf::from("/usr/local/bin/bw"))
        });
        let group_id = group("COLIBRI_GROUP", settings.group.as_deref())?;
        if ROOT_INSIDE_IS_ROOT && uid.is_root() {
            closed(&base, settings.group.as_deref())?;
        }
        Ok(Self {
            base_group: through(&base)?,
            agent_users: Users::find(settings.agent_users)?,
            agent_claim: Claim::default(),
            base,
            shim: absolute(&libexec.join("colibri-shim"))?,
            writer: absolute(&libexec.join(WRITER))?,
            fetcher: absolute(&libexec.join("colibri-fetcher"))?,
            bell: absolute(&libexec.join("colibri-bell"))?,
            fetcher_user: if uid.is_root() { user(&settings.fetcher_user)? } else { FetcherUser::Same },
            bw: absolute(&bw)?,
            bwrap: find(&settings.bwrap, &path).unwrap_or_else(|| settings.bwrap.clone()),
            cage: bw_jail.map(|file| Cage::bw(file, &settings)),
            fetcher_cage: fetcher_jail.map(|file| Cage::fetcher(file, &settings)),
            path,
            owner: Owner { uid: uid.as_raw(), gid: gid.as_raw() },
            group: group_id,
            observers: group("COLIBRI_OBSERVERS", settings.observers.as_deref())?,
            settings,
        })
    }

    /// Checks that the programs are there which bring secrets and start agents.
    ///
    /// # Errors
    /// The first that is not.
    pub fn has_programs(&self) -> anyhow::Result<()> {
        for program in [&self.writer, &self.fetcher, &self.bell, &self.shim] {
            let shown = program.display();
            ensure!(
                program.is_file(),
                "there is no {shown}: install all of colibri, or name its directory in COLIBRI_LIBEXEC"
            );
        }
        Ok(())
    }

    /// The tenants database.
    pub fn database(&self) -> PathBuf {
        self.settings.state_dir.join("tenants.db")
    }

    /// Where the sessions' private directories are.
    pub fn session_dir(&self) -> PathBuf {
        self.settings.run_dir.join("session")
    }

    /// The directory that the fetcher's user gets: below it the fetcher makes one for
    /// each session. With a jail for `bw` it is itself the one that is mounted there:
    /// what `bw` could put in the place of a directory below it the fetcher would follow.
    pub fn private_dir(&self) -> PathBuf {
        match self.cage {
            Some(_) => self.session_dir().join("bw"),
            None => self.session_dir(),
        }
    }

    /// All of it that an operator may look at. What it says of credentials is
    /// for the caller to fill in.
    pub fn view(&self) -> SetupView {
        let settings = &self.settings;
        SetupView {
            socket: settings.control_dir().join(SOCKET),
            observe_socket: self.observers.map(|_| settings.observe_dir().join(SOCKET)),
            group: settings.group.clone(),
            observers: settings.observers.clone(),
            database: self.database(),
            session_dir: self.session_dir(),
            log_dir: settings.log_dir.clone(),
            writer: self.writer.clone(),
            fetcher: self.fetcher.clone(),
            bw: self.bw.clone(),
            node: find(Path::new("node"), &self.path),
            bwrap: self.bwrap.clone(),
            bw_jail: self.cage.as_ref().map(|cage| cage.file.clone()),
            fetcher_jail: self.fetcher_cage.as_ref().map(|cage| cage.file.clone()),
            path: self.path.clone(),
            server: settings.server.clone(),
            ca_file: settings.ca_file.clone(),
            credentials: false,
            session_idle: millis(settings.session_idle),
            deadline: millis(settings.deadline),
            metrics_file: settings.metrics_file.clone(),
        }
    }

    /// The name of the user that the fetcher runs as.
    pub fn fetcher_user_name(&self) -> String {
        match self.fetcher_user {
            FetcherUser::Other(_) => self.settings.fetcher_user.clone(),
            FetcherUser::Same => User::from_uid(geteuid())
                .ok()
                .flatten()
                .map_or_else(|| geteuid().to_string(), |user| user.name),
        }
    }
}

/// `../libexec/colibri` beside the program's directory if the writer is there,
/// else the program's own directory, as in a build tree.
fn find_libexec(program: &Path) -> PathBuf {
    let own = program.parent().unwrap_or(Path::new("/"));
    let installed = own.join("../libexec/colibri");
    if installed.join(WRITER).exists() { installed } else { own.into() }
}

fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| format!("cannot make {} absolute", path.display()))
}

fn find(program: &Path, path: &str) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return absolute(program).ok();
    }
    std::env::split_paths(path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

fn user(name: &str) -> anyhow::Result<FetcherUser> {
    let user = User::from_name(name).with_context(|| format!("cannot look up the user {name}"))?;
    let Some(user) = user else {
        bail!("there is no user {name} for the fetcher: create it, or name another in COLIBRI_FETCHER_USER");
    };
    if user.uid.is_root() {
        bail!("the fetcher may not run as root: name another user in COLIBRI_FETCHER_USER");
    }
    Ok(FetcherUser::Other(Owner { uid: user.uid.as_raw(), gid: user.gid.as_raw() }))
}

fn group(setting: &str, name: Option<&str>) -> anyhow::Result<Option<u32>> {
    let Some(name) = name else { return Ok(None) };
    let group = Group::from_name(name).with_context(|| format!("cannot look up the group {name}"))?;
    let Some(group) = group else {
        bail!("there is no group {name}: create it, or name another in {setting}");
    };
    Ok(Some(group.gid.as_raw()))
}

/// Whether others of the host reach the jails' roots, where root in one could leave
/// them a setuid program: whoever may start agents in jails would be the host's root.
fn closed(base: &Path, group: Option<&str>) -> anyhow::Result<()> {
    let closes = |dir: &Path| {
        let found = dir.metadata();
        found.is_ok_and(|found| ours(&found) && keeps_others_out(found.gid(), found.mode()))
    };
    if base.ancestors().any(closes) {
        return Ok(());
    }
    let base = base.display();
    let open = format!("others can pass through {base}, and a setuid program in a jail is root's for them");
    match group {
        None => tracing::warn!("{open}: chmod 700 {base}"),
        Some(group) => bail!("{open}, so COLIBRI_GROUP={group} would be root: chmod 700 {base}"),
    }
    Ok(())
}

/// The group of a directory that its group may go through and others may not.
fn through(base: &Path) -> anyhow::Result<Option<u32>> {
    let found = base.metadata().with_context(|| format!("cannot look at {}", base.display()))?;
    Ok((found.mode() & 0o011 == 0o010 && found.gid() != 0).then(|| found.gid()))
}

/// Reads `90`, `90s`, `15m` or `2h`.
fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.char_indices().last() {
        Some((end, 's')) => (&text[..end], 1),
        Some((end, 'm')) => (&text[..end], 60),
        Some((end, 'h')) => (&text[..end], 3600),
        _ => (text, 1),
    };
    let seconds = number.parse::<u32>().map_err(|_| "not a time such as 90s, 15m or 2h".to_owned())?;
    Ok(Duration::from_secs(u64::from(seconds) * unit))
}

/// The same, and some time at least.
fn lasting(text: &str) -> Result<Duration, String> {
    let time = duration(text)?;
    if time.is_zero() { Err("nothing is done in no time".into()) } else { Ok(time) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_are_consistent() {
        Settings::command().debug_assert();
    }

    #[test]
    fn the_fetchers_jail_is_refused_without_that_of_bw() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().to_str().unwrap();
        let words = ["colibrid", "--jail-root-base", base, "--fetcher-jail", "/etc/fetcher-jail.conf"];
        let error = Config::new(Settings::parse_from(words)).unwrap_err().to_string();
        assert!(error.contains("needs COLIBRI_BW_JAIL"), "{error}");
    }

    #[test]
    fn no_group_starts_agents_below_a_base_that_others_can_pass() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("jails");
        std::fs::create_dir(&base).unwrap();
        let set = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        for (above, own, is_closed) in
            [(0o755, 0o755, false), (0o755, 0o711, false), (0o755, 0o700, true), (0o700, 0o755, true)]
        {
            set(dir.path(), above);
            set(&base, own);
            let found = closed(&base, Some("web"));
            assert_eq!(found.is_ok(), is_closed, "{above:o} {own:o}: {found:?}");
            assert!(closed(&base, None).is_ok());
        }
        set(dir.path(), 0o755);
        set(&base, 0o755);
        let said = closed(&base, Some("web")).unwrap_err();
        assert!(said.to_string().contains("chmod 700"), "{said}");
        assert!(said.downcast_ref::<std::io::Error>().is_none(), "a restart does not mend it");
    }

    #[test]
    fn times_are_read_with_their_unit() {
        for (text, seconds) in [("0", 0), ("90", 90), ("90s", 90), ("15m", 900), ("2h", 7200)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "s", "-1", "1d", "1.5m", "99999999999"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn programs_are_found_beside_the_daemon_or_in_libexec() {
        let dir = tempfile::tempdir().unwrap();
        let daemon = dir.path().join("sbin/colibrid");
        assert_eq!(find_libexec(&daemon), dir.path().join("sbin"));
        std::fs::create_dir_all(dir.path().join("sbin")).unwrap();
        std::fs::create_dir_all(dir.path().join("libexec/colibri")).unwrap();
        std::fs::write(dir.path().join("libexec/colibri/colibri-writer"), "").unwrap();
        assert_eq!(find_libexec(&daemon), dir.path().join("sbin/../libexec/colibri"));
    }
}
