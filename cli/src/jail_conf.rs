//! `colibri jail-conf`: the hook's line for a jail.conf(5) or an AppJail template,
//! printed, or put where it belongs and read back by jail(8) or appjail-config(1).

mod edit;
mod template;

use self::edit::{Edit, edit};
use crate::arguments::id;
use crate::failure::Failure;
use colibri_control::{Answer, ClientError, Request, TenantView};
use colibri_tenant::TenantId;
use std::io::{Error, Result, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where files of single jails are, and the one of all.
const DIRS: [&str; 2] = ["/etc/jail.conf.d", "/usr/local/etc/jail.conf.d"];
const ALL: &str = "/etc/jail.conf";
/// Where AppJail has its file, in the jail's directory.
const TEMPLATE: &str = "conf/template.conf";

/// What a jail's file is written in.
#[derive(Clone, Copy)]
enum Grammar {
    /// That of jail.conf(5).
    JailConf,
    /// That of AppJail, which has its file beside the jail's root.
    Template,
}

/// What was asked for.
pub struct Asked {
    /// The jail.
    pub jail: String,
    /// The file, if it is not found by itself.
    pub file: Option<PathBuf>,
    /// Whether the line is to be written.
    pub write: bool,
}

/// Prints the line and where it belongs, or writes it.
///
/// # Errors
/// The daemon's; that there is no file, or no place in it; what jail(8) says of it.
pub fn run(asked: Asked, socket: &Path) -> std::result::Result<(), Failure> {
    let jail = id(asked.jail)?;
    let file = match asked.file {
        Some(file) => Some(file),
        None => root(socket, &jail)?.and_then(|root| place(&root, &jail)),
    };
    if !asked.write {
        return crate::print(&shown(&jail, file.as_deref()));
    }
    let Some(file) = file else {
        let message = format!("no jail.conf of {jail} was found: name it with --file");
        return Err(Failure::Usage(message));
    };
    let failed = |error| Failure::Change(file.display().to_string(), error);
    let text = std::fs::read_to_string(&file).map_err(failed)?;
    let edited = match Grammar::of(&file) {
        Grammar::JailConf => edit(&text, jail.as_str()).map_err(|error| failed(Error::other(error)))?,
        Grammar::Template => template::edit(&text),
    };
    match edited {
        Edit::Stays => {
            read_back(Grammar::of(&file), &file, jail.as_str()).map_err(failed)?;
            crate::print(&format!("{}: the line is there\n", file.display()))
        }
        Edit::Changed(new) => {
            put(&file, &new, jail.as_str()).map_err(failed)?;
            crate::print(&format!("{}: written; it counts from the jail's next start\n", file.display()))
        }
    }
}

impl Grammar {
    fn of(file: &Path) -> Self {
        if file.ends_with(TEMPLATE) { Self::Template } else { Self::JailConf }
    }

    const fn line(self) -> &'static str {
        match self {
            Self::JailConf => edit::LINE,
            Self::Template => template::LINE,
        }
    }

    /// What shows how the file is read, and starts nothing.
    fn reader(self, file: &Path, jail: &str) -> Command {
        let program = |name: &str, usual: &str| std::env::var_os(name).unwrap_or_else(|| usual.into());
        match self {
            // With -e jail(8) lists jails.
            Self::JailConf => {
                let mut command = Command::new(program("COLIBRI_JAIL", "/usr/sbin/jail"));
                command.args(["-e", "\n", "-f"]).arg(file);
                command
            }
            Self::Template => {
                let usual = "/usr/local/bin/appjail-config";
                let mut command = Command::new(program("COLIBRI_APPJAIL_CONFIG", usual));
                command.args(["jailConf", "-n", jail, "-t"]).arg(file);
                command
            }
        }
    }
}

/// A jail without a tenant, or a daemon that does not run, has none that is known.
fn root(socket: &Path, jail: &TenantId) -> std::result::Result<Option<PathBuf>, Failure> {
    let Ok(mut client) = crate::connect(socket) else { return Ok(None) };
    match client.call(Request::ShowTenant { tenant: jail.clone() }) {
        Ok(Answer::Tenant(tenant)) => {
            let TenantView { root, .. } = *tenant;
            Ok(Some(root))
        }
        Ok(_) => Err(ClientError::Protocol.into()),
        Err(_) => Ok(None),
    }
}

/// bastille(8) and AppJail have a file beside the jail's root.
fn place(root: &Path, jail: &TenantId) -> Option<PathBuf> {
    let beside = root.parent().map(|dir| [dir.join("jail.conf"), dir.join(TEMPLATE)]);
    let own = DIRS.iter().map(|dir| Path::new(dir).join(format!("{jail}.conf")));
    beside.into_iter().flatten().chain(own).chain([ALL.into()]).find(|file| file.is_file())
}

fn shown(jail: &TenantId, file: Option<&Path>) -> String {
    let place = file.map_or_else(
        || "its jail.conf(5)".into(),
        |file| format!("{}; `colibri jail-conf {jail} --write` puts it there", file.display()),
    );
    let line = file.map_or(Grammar::JailConf, Grammar::of).line();
    format!("# for the block of {jail} in {place}\n{line}\n")
}

/// The new file takes the old one's place only if its reader reads the line out of it.
fn put(file: &Path, text: &str, jail: &str) -> Result<()> {
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let there = file.symlink_metadata()?;
    if !there.is_file() {
        return Err(Error::other("it is no file"));
    }
    let mut new = tempfile::Builder::new().prefix(".colibri-jail-conf.").tempfile_in(dir)?;
    new.write_all(text.as_bytes())?;
    let (uid, gid) = (there.uid(), there.gid());
    fchown(new.as_file(), Some(uid), Some(gid))?;
    new.as_file().set_permissions(PermissionsExt::from_mode(there.mode() & 0o7777))?;
    new.as_file().sync_all()?;
    read_back(Grammar::of(file), new.path(), jail)?;
    new.persist(file).map(drop).map_err(|error| error.error)
}

/// What jail(8) or appjail-config(1) makes of the file.
fn read_back(grammar: Grammar, file: &Path, jail: &str) -> Result<()> {
    let mut reader = grammar.reader(file, jail);
    let program = reader.get_program().to_string_lossy().into_owned();
    let output = reader.stdin(Stdio::null()).output();
    let output = output.map_err(|error| Error::other(format!("{program} cannot be asked: {error}")))?;
    let said = String::from_utf8_lossy(&output.stdout);
    if output.status.success() && said.contains(jail) && said.contains("colibri hook") {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&output.stderr);
    let why = why.lines().next().unwrap_or("the line is not in what it read");
    Err(Error::other(format!("nothing was changed, since {program} does not read it: {why}")))
}
