//! The machine account's credentials: read once, and moved out of the place
//! where `/proc/PID/environ` would show them. The daemon starts itself anew with
//! a clean environment and hands them to itself through a pipe.

use anyhow::{Context, bail};
use colibri_fetcher::words::Credentials;
use colibri_ipc::Secret;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use zeroize::Zeroizing;

const NAMES: [&str; 3] = ["BW_CLIENTID", "BW_CLIENTSECRET", "BW_PASSWORD"];
/// Set for the new start: the credentials wait on standard input.
const ON_STDIN: &str = "COLIBRI_CREDENTIALS_ON_STDIN";
/// What a pipe takes at once on every system, so that nobody need read yet.
const MAX: usize = 8 * 1024;

/// What was found, in the order of `NAMES`.
#[derive(Serialize, Deserialize)]
struct Found([Option<Secret>; 3]);

/// Takes the credentials out of the environment, the files that `BW_…_FILE`
/// names, or systemd's credentials directory. With any of them in the
/// environment it does not return: the program starts anew in this process.
///
/// # Errors
/// A file that cannot be read, credentials out of all proportion, or a set of
/// which a part is missing.
pub fn take() -> anyhow::Result<Option<Credentials>> {
    if std::env::var_os(ON_STDIN).is_some() {
        return complete(inherited()?);
    }
    let found = Found([find(NAMES[0])?, find(NAMES[1])?, find(NAMES[2])?]);
    if NAMES.iter().any(|name| std::env::var_os(name).is_some()) {
        return start_anew(&found);
    }
    complete(found)
}

fn find(name: &str) -> anyhow::Result<Option<Secret>> {
    if let Ok(text) = std::env::var(name) {
        return Ok(Some(Secret::new(text)));
    }
    let named = std::env::var_os(format!("{name}_FILE")).map(PathBuf::from);
    let provided = std::env::var_os("CREDENTIALS_DIRECTORY").map(|dir| PathBuf::from(dir).join(name));
    match named.or_else(|| provided.filter(|file| file.exists())) {
        Some(file) => {
            read(&file).with_context(|| format!("cannot read {name} from {}", file.display())).map(Some)
        }
        None => Ok(None),
    }
}

fn read(file: &std::path::Path) -> anyhow::Result<Secret> {
    let mut text = Zeroizing::new(String::with_capacity(MAX + 1));
    std::fs::File::open(file)?.take(MAX as u64 + 1).read_to_string(&mut text)?;
    if text.len() > MAX {
        bail!("it is longer than {MAX} bytes");
    }
    Ok(Secret::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}

fn start_anew(found: &Found) -> anyhow::Result<Option<Credentials>> {
    let bytes = colibri_ipc::encode(found)?;
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
    Err(command.env(ON_STDIN, "1").exec()).context("cannot start anew without the credentials")
}

fn inherited() -> anyhow::Result<Found> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX));
    std::io::stdin().lock().take(MAX as u64).read_to_end(&mut bytes).context("cannot read standard input")?;
    colibri_ipc::decode(&bytes).context("standard input has no credentials")
}

fn complete(found: Found) -> anyhow::Result<Option<Credentials>> {
    match found.0 {
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
        let error = complete(Found([secret("id"), None, secret("pass")])).unwrap_err().to_string();
        assert_eq!(error, "BW_CLIENTSECRET must be set too");
        assert!(complete(Found([None, None, None])).unwrap().is_none());
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
