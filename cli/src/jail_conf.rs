//! `colibri jail-conf`: the hook's line for a jail.conf(5) or an AppJail template,
//! printed, or put where it belongs and read back by jail(8) or appjail-config(1).

mod edit;
mod held;
mod template;

use self::edit::{Edit, edit};
use self::held::Held;
use crate::arguments::id;
use crate::failure::Failure;
use colibri_control::{Answer, ClientError, Request};
use colibri_tenant::TenantId;
use std::io::{Error, Result};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where files of single jails are, and the one of all.
const DIRS: [&str; 2] = ["/etc/jail.conf.d", "/usr/local/etc/jail.conf.d"];
const ALL: &str = "/etc/jail.conf";
/// Where AppJail has its file, in the jail's directory.
const TEMPLATE: &str = "conf/template.conf";
/// The file beside a root of this name, bastille's and AppJail's.
const BESIDE: [(&str, &str); 2] = [("root", "jail.conf"), ("jail", TEMPLATE)];

/// Where this program is, if that is no path for a shell.
const USUAL: &str = "/usr/local/bin/colibri";

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
    let beside = match asked.file {
        Some(_) => None,
        None => known(socket, &jail)?.as_ref().and_then(beside).filter(|file| is_file(file)),
    };
    let is_beside = beside.is_some();
    let file = beside.or(asked.file).or_else(|| place(&jail));
    if !asked.write {
        return crate::print(&shown(&jail, file.as_deref()));
    }
    let Some(file) = file else {
        let message = format!("no jail.conf of {jail} was found: name it with --file");
        return Err(Failure::Usage(message));
    };
    let failed = |error| Failure::Change(file.display().to_string(), error);
    let open = if is_beside { Held::open } else { Held::open_linked };
    let held = open(&file).map_err(failed)?;
    let text = held.text().map_err(failed)?;
    let grammar = Grammar::of(&file);
    let line = grammar.line();
    let edited = match grammar {
        Grammar::JailConf => {
            edit(&text, jail.as_str(), &line).map_err(|error| failed(Error::other(error)))?
        }
        Grammar::Template => template::edit(&text, &line),
    };
    let read = |file: &Path| read_back(grammar, file, jail.as_str());
    match edited {
        Edit::Stays => {
            read(&file).map_err(failed)?;
            crate::print(&format!("{}: the line is there\n", file.display()))
        }
        Edit::Changed(new) => {
            held.put(&new, read).map_err(failed)?;
            crate::print(&format!("{}: written; it counts from the jail's next start\n", file.display()))
        }
    }
}

impl Grammar {
    fn of(file: &Path) -> Self {
        if file.ends_with(TEMPLATE) { Self::Template } else { Self::JailConf }
    }

    /// With this program's own path, wherever it is installed.
    fn line(self) -> String {
        let own = std::env::current_exe().ok().filter(|own| is_plain(own));
        let program = own.map_or_else(|| USUAL.to_owned(), |own| own.display().to_string());
        match self {
            Self::JailConf => edit::line(&program),
            Self::Template => template::line(&program),
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

/// Where a tenant's root is, and the base that it is below.
struct Known {
    base: PathBuf,
    root: PathBuf,
}

/// A jail without a tenant, or a daemon that does not run, has none that is known.
fn known(socket: &Path, jail: &TenantId) -> std::result::Result<Option<Known>, Failure> {
    let Ok(mut client) = crate::connect(socket) else { return Ok(None) };
    let root = match client.call(Request::ShowTenant { tenant: jail.clone() }) {
        Ok(Answer::Tenant(tenant)) => tenant.root,
        Ok(_) => return Err(ClientError::Protocol.into()),
        Err(_) => return Ok(None),
    };
    match client.call(Request::Status {}) {
        Ok(Answer::Status(status)) => Ok(Some(Known { base: status.base, root })),
        Ok(_) => Err(ClientError::Protocol.into()),
        Err(_) => Ok(None),
    }
}

/// bastille(8) and AppJail have a file beside the jail's root, in a directory that is
/// directly below the base: any deeper one may be in another jail.
fn beside(known: &Known) -> Option<PathBuf> {
    let below: Vec<_> = known.root.strip_prefix(&known.base).ok()?.iter().collect();
    let [name, root] = below.as_slice() else { return None };
    let (_, file) = BESIDE.iter().find(|(own, _)| root == own)?;
    Some(known.base.join(name).join(file))
}

fn place(jail: &TenantId) -> Option<PathBuf> {
    let own = DIRS.iter().map(|dir| Path::new(dir).join(format!("{jail}.conf")));
    own.chain([ALL.into()]).find(|file| is_file(file))
}

fn is_file(file: &Path) -> bool {
    file.symlink_metadata().is_ok_and(|found| found.is_file())
}

/// Whether a shell takes the path for one word, and jail.conf(5) for nothing else.
fn is_plain(path: &Path) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-".contains(byte);
    path.to_str().is_some_and(|path| path.as_bytes().iter().all(plain))
}

fn shown(jail: &TenantId, file: Option<&Path>) -> String {
    let place = file.map_or_else(
        || "its jail.conf(5)".into(),
        |file| format!("{}; `colibri jail-conf {jail} --write` puts it there", file.display()),
    );
    let line = file.map_or(Grammar::JailConf, Grammar::of).line();
    format!("# for the block of {jail} in {place}\n{line}\n")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_beside_a_root_is_one_of_a_layout_directly_below_the_base() {
        let found = |root: &str| beside(&Known { base: "/jails".into(), root: root.into() });
        assert_eq!(found("/jails/web/root"), Some("/jails/web/jail.conf".into()));
        assert_eq!(found("/jails/web/jail"), Some("/jails/web/conf/template.conf".into()));
        // In another jail's root, of the base itself, or of a layout that is none.
        for root in [
            "/jails/outer/root/jails/web/root",
            "/jails/outer/root",
            "/jails/conf",
            "/jails/web",
            "/jails/web/fs",
            "/elsewhere/web/root",
        ] {
            let expected = (root == "/jails/outer/root").then(|| PathBuf::from("/jails/outer/jail.conf"));
            assert_eq!(found(root), expected, "{root}");
        }
    }

    #[test]
    fn only_a_path_that_needs_no_quoting_is_put_into_the_line() {
        assert!(is_plain(Path::new("/opt/c/bin/colibri")));
        for path in ["/a b/colibri", "/a$b/colibri", "/a;b", "/a\"b", "/é"] {
            assert!(!is_plain(Path::new(path)), "{path}");
        }
    }
}
