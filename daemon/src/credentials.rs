//! The machine account's credentials: read, and moved out of the place where
//! `/proc/PID/environ` would show them; read again when their files have changed. The
//! daemon starts itself anew with the settings of the provider file in its environment,
//! without credentials there, and hands those to itself through a pipe.

use crate::provider::{self, Values};
use crate::settings::{PROVIDER, Settings};
use crate::stamp::Stamp;
use anyhow::{Context, bail};
use clap::CommandFactory;
use colibri_pair::Secret;
use colibri_session::Credentials;
use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use zeroize::Zeroizing;

const NAMES: [&str; 3] = ["BW_CLIENTID", "BW_CLIENTSECRET", "BW_PASSWORD"];
/// Set for the new start: the credentials wait on standard input.
const ON_STDIN: &str = "COLIBRI_CREDENTIALS_ON_STDIN";
/// What a pipe takes at once on every system, so that nobody need read yet.
const MAX: usize = 8 * 1024;

/// The credentials as they were read last.
#[derive(Debug)]
pub struct Account {
    /// None, where none are set.
    pub credentials: Option<Credentials>,
    /// Where the operator says that the provider file is.
    provider: Option<PathBuf>,
    /// Which the environment had, in the order of `NAMES`: nobody can read those again.
    fixed: [bool; 3],
    /// The files that they came from, or would.
    files: Vec<(PathBuf, Stamp)>,
}

/// What was found, in the order of `NAMES`, and where.
#[derive(Default, Serialize, Deserialize)]
struct Found {
    secrets: [Option<Secret>; 3],
    fixed: [bool; 3],
    files: Vec<(PathBuf, Stamp)>,
}

/// Takes the credentials out of the provider file, the environment, the files
/// that `BW_…_FILE` names, or systemd's credentials directory. With a setting in
/// the provider file, or a credential in the environment, it does not return: the
/// program starts anew in this process.
///
/// # Errors
/// A file that cannot be read or is not in its form, credentials out of all
/// proportion, or a set of which a part is missing.
pub fn take(provider: Option<&Path>) -> anyhow::Result<Account> {
    if std::env::var_os(ON_STDIN).is_some() {
        return Account::new(inherited()?, provider);
    }
    let (found, mut told) = look(provider)?;
    told.retain(|name, _| {
        let set = std::env::var_os(name).is_some();
        if set {
            tracing::info!("{name} is taken from the environment, not from the provider file");
        }
        !set
    });
    if told.is_empty() && !NAMES.iter().any(|name| std::env::var_os(name).is_some()) {
        return Account::new(found, provider);
    }
    start_anew(&found, &told)
}

impl Account {
    fn new(found: Found, provider: Option<&Path>) -> anyhow::Result<Self> {
        let credentials = complete(found.secrets)?;
        Ok(Self { credentials, provider: provider.map(Into::into), fixed: found.fixed, files: found.files })
    }

    /// Whether a file that they came from has changed since.
    pub fn is_stale(&self) -> bool {
        self.files.iter().any(|(file, stamp)| Stamp::of(file) != *stamp)
    }

    /// Reads them again; gives whether they are others now.
    ///
    /// # Errors
    /// As [`take`], and that there are none any more: those of before stay.
    pub fn reload(&mut self) -> anyhow::Result<bool> {
        // What cannot be taken is told once, and again when it has changed.
        self.files.iter_mut().for_each(|(file, stamp)| *stamp = Stamp::of(file));
        let (mut found, told) = look(self.provider.as_deref())?;
        let before = self.credentials.as_ref().map(|it| [&it.client_id, &it.client_secret, &it.password]);
        for (at, place) in found.secrets.iter_mut().enumerate().filter(|(at, _)| self.fixed[*at]) {
            *place = before.map(|all| Secret::new(all[at].expose().to_owned()));
        }
        let credentials = complete(found.secrets)?;
        if credentials.is_none() && self.credentials.is_some() {
            bail!("there are none any more");
        }
        for name in told.iter().filter(|(name, value)| is_news(name, value)).map(|(name, _)| name) {
            tracing::warn!("{name} stays what colibrid started with: only credentials are read again");
        }
        let changed = credentials != self.credentials;
        (self.credentials, self.files) = (credentials, found.files);
        Ok(changed)
    }
}

/// Whether this process runs with another value.
fn is_news(name: &str, value: &Secret) -> bool {
    std::env::var_os(name).is_none_or(|own| own != value.expose())
}

fn look(provider: Option<&Path>) -> anyhow::Result<(Found, Values)> {
    let (mut found, mut told) = (Found::default(), Values::new());
    if let Some(file) = provider_file(provider) {
        found.files.push((file.to_owned(), Stamp::of(file)));
        // The host's own may come later.
        if provider.is_some() || file.exists() {
            told = provider::read(file, is_setting)
                .with_context(|| format!("cannot take the provider file {}", file.display()))?;
        }
    }
    for (at, name) in NAMES.iter().enumerate() {
        found.fixed[at] = std::env::var_os(name).is_some();
        found.secrets[at] = find(name, &mut told, &mut found.files)?;
    }
    for name in NAMES {
        told.remove(&file_variable(name));
    }
    Ok((found, told))
}

fn provider_file(provider: Option<&Path>) -> Option<&Path> {
    match provider {
        Some(file) => Some(file).filter(|file| !file.as_os_str().is_empty()),
        // The host's own is root's.
        None => Some(Path::new(PROVIDER)).filter(|_| geteuid().is_root()),
    }
}

fn file_variable(name: &str) -> String {
    format!("{name}_FILE")
}

/// Whether the provider file may set it: all that flags can, the credentials and
/// their files, the log, and where programs are found.
fn is_setting(name: &str) -> bool {
    let credential = name.strip_suffix("_FILE").unwrap_or(name);
    NAMES.contains(&credential)
        || ["COLIBRI_LOG", "PATH"].contains(&name)
        || name != "COLIBRI_PROVIDER"
            && Settings::command()
                .get_arguments()
                .any(|argument| argument.get_env().is_some_and(|env| env == name))
}

/// A credential is taken out of what the file told, the rest of which goes on.
fn find(name: &str, told: &mut Values, files: &mut Vec<(PathBuf, Stamp)>) -> anyhow::Result<Option<Secret>> {
    let secret = told.remove(name);
    if let Ok(text) = std::env::var(name) {
        if secret.is_some() {
            tracing::info!("{name} is taken from the environment, not from the provider file");
        }
        return Ok(Some(Secret::new(text)));
    }
    if secret.is_some() {
        return Ok(secret);
    }
    let variable = file_variable(name);
    let in_file = told.get(&variable).map(|path| PathBuf::from(path.expose()));
    let named = std::env::var_os(variable).map(PathBuf::from).or(in_file);
    let provided = std::env::var_os("CREDENTIALS_DIRECTORY").map(|dir| PathBuf::from(dir).join(name));
    match named.or_else(|| provided.filter(|file| file.exists())) {
        Some(file) => {
            files.push((file.clone(), Stamp::of(&file)));
            read(&file).with_context(|| cannot_read(name, &file)).map(Some)
        }
        None => Ok(None),
    }
}

fn cannot_read(name: &str, file: &Path) -> String {
    let hidden = ["/root", "/home", "/run/user"].iter().any(|dir| file.starts_with(dir));
    let advice = if hidden { "; the unit's ProtectHome= hides it: keep it in /etc/colibri" } else { "" };
    if file.is_relative() {
        // Somebody may have put the credential itself there.
        return format!("cannot read {name}: {name}_FILE has to name a file by its absolute path");
    }
    format!("cannot read {name} from {}{advice}", file.display())
}

fn read(file: &Path) -> anyhow::Result<Secret> {
    let mut text = Zeroizing::new(String::with_capacity(MAX + 1));
    std::fs::File::open(file)?.take(MAX as u64 + 1).read_to_string(&mut text)?;
    if text.len() > MAX {
        bail!("it is longer than {MAX} bytes");
    }
    Ok(Secret::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}

fn start_anew(found: &Found, told: &Values) -> anyhow::Result<Account> {
    let bytes = colibri_pair::encode(found)?;
    if bytes.len() > MAX {
        bail!("the credentials are longer than {MAX} bytes");
    }
    let (stdin, mut pipe) = std::io::pipe().context("cannot make a pipe")?;
    pipe.write_all(&bytes).context("cannot fill a pipe")?;
    drop(pipe);
    let mut args = std::env::args_os();
    let mut command = Command::new(std::env::current_exe().context("cannot find my own program")?);
    command.arg0(args.next().unwrap_or_else(|| OsString::from("colibrid"))).args(args).stdin(stdin);
    NAMES.iter().for_each(|name| {
        command.env_remove(name);
    });
    command.envs(told.iter().map(|(name, value)| (name, value.expose())));
    Err(command.env(ON_STDIN, "1").exec()).context("cannot start anew without the credentials")
}

fn inherited() -> anyhow::Result<Found> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX));
    std::io::stdin().lock().take(MAX as u64).read_to_end(&mut bytes).context("cannot read standard input")?;
    colibri_pair::decode(&bytes).context("standard input has no credentials")
}

fn complete(found: [Option<Secret>; 3]) -> anyhow::Result<Option<Credentials>> {
    // Each login and unlock with it would fail, and be tried again for ever.
    let empty = |found: &&Option<Secret>| found.as_ref().is_some_and(|secret| secret.expose().is_empty());
    if let Some((name, _)) = NAMES.iter().zip(&found).find(|(_, found)| empty(found)) {
        bail!("{name} is set and empty");
    }
    match found {
        [Some(client_id), Some(client_secret), Some(password)] => {
            Ok(Some(Credentials { client_id, client_secret, password }))
        }
        [None, None, None] => Ok(None),
        found => {
            let missing = NAMES.iter().zip(&found).filter(|(_, found)| found.is_none());
            let missing: Vec<_> = missing.map(|(name, _)| *name).collect();
            bail!("{} must be set too", missing.join(" and "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Option<Secret> {
        Some(Secret::new(text.into()))
    }

    #[test]
    fn a_part_of_the_credentials_is_an_error_that_names_the_rest() {
        let error = complete([secret("id"), None, secret("pass")]).unwrap_err().to_string();
        assert_eq!(error, "BW_CLIENTSECRET must be set too");
        assert!(complete([None, None, None]).unwrap().is_none());
        for (found, name) in [
            ([secret(""), secret("s"), secret("p")], "BW_CLIENTID"),
            ([secret("user.x"), secret("s"), secret("")], "BW_PASSWORD"),
        ] {
            let error = complete(found).unwrap_err().to_string();
            assert_eq!(error, format!("{name} is set and empty"));
        }
    }

    #[test]
    fn the_newline_at_the_end_of_a_file_is_not_part_of_the_secret() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("p"), " it's \n").unwrap();
        assert_eq!(read(&dir.path().join("p")).unwrap().expose(), " it's ");
        std::fs::write(dir.path().join("p"), "x".repeat(MAX + 1)).unwrap();
        assert!(read(&dir.path().join("p")).is_err());
    }
}
