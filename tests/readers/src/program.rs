//! Readers that are programs of their own: each is started once for many files,
//! with an empty environment, and prints what it found, NUL-separated.

use crate::Pairs;
use anyhow::{Context, Result, bail, ensure};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The variables that a shell prints: each file in a subshell, so that one ends
/// nothing but itself.
const SOURCE: &str = r#"for file; do (set -a; . "./$file"; exec env -0); printf '\0'; done"#;

/// Where `scripts/readers` puts what the tests pin.
pub(crate) fn installed() -> PathBuf {
    colibri_test_host::tree().join("target/readers")
}

/// A command in `dir` that knows only where programs are and that text is UTF-8.
pub(crate) fn command(program: impl AsRef<OsStr>, dir: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("LC_ALL", "C.UTF-8").current_dir(dir).stdin(Stdio::null());
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
}

/// What the command printed.
pub(crate) fn output(command: &mut Command) -> Result<Output> {
    let program = command.get_program().to_string_lossy().into_owned();
    command.output().with_context(|| format!("cannot start {program}: run `make readers`"))
}

/// What a shell reads whatever the locale: rc(8) runs in C, a login in UTF-8.
pub(crate) fn shell(shell: &[&str], dir: &Path, files: &[String]) -> Result<Vec<Pairs>> {
    let mut found = source(shell, "C", dir, files)?;
    for (one, other) in found.iter_mut().zip(source(shell, "C.UTF-8", dir, files)?) {
        one.retain(|key, value| other.get(key) == Some(value));
    }
    Ok(found)
}

fn source(shell: &[&str], locale: &str, dir: &Path, files: &[String]) -> Result<Vec<Pairs>> {
    let [program, options @ ..] = shell else { bail!("no shell named") };
    let mut command = command(program, dir);
    command.env("LC_ALL", locale).args(options);
    printed(command.args(["-c", SOURCE, "sh"]).args(files))
}

pub(crate) fn python(reader: &str, dir: &Path, files: &[String]) -> Result<Vec<Pairs>> {
    let modules = modules("python")?;
    let mut command = command("python3", dir);
    printed(command.args(["-c", include_str!("read.py"), reader]).arg(modules).args(files))
}

pub(crate) fn node(reader: &str, dir: &Path, files: &[String]) -> Result<Vec<Pairs>> {
    let modules = modules("npm")?;
    let mut command = command("node", dir);
    printed(command.args(["-e", include_str!("read.cjs"), "--", reader]).arg(modules).args(files))
}

/// `node --env-file` takes one file at its start.
pub(crate) fn node_env_file(dir: &Path, files: &[String]) -> Result<Vec<Pairs>> {
    let mut found = Vec::new();
    for file in files {
        let mut command = command("node", dir);
        command.arg(format!("--env-file={file}"));
        command.args(["-e", include_str!("read.cjs"), "--", "started", "", file]);
        found.append(&mut printed(&mut command)?);
    }
    Ok(found)
}

fn modules(name: &str) -> Result<PathBuf> {
    let modules = installed().join(name);
    ensure!(modules.is_dir(), "{} is not there: run `make readers`", modules.display());
    Ok(modules)
}

fn printed(command: &mut Command) -> Result<Vec<Pairs>> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = output(command)?;
    let complaints = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{program}: {}: is a reader missing? run `make readers`: {complaints}",
        output.status
    );
    records(&output.stdout).with_context(|| program)
}

/// Takes apart what was printed: a NUL after each pair, one more after each file.
fn records(mut printed: &[u8]) -> Result<Vec<Pairs>> {
    let mut found = Vec::new();
    let mut pairs = Pairs::new();
    while let Some(end) = printed.iter().position(|&byte| byte == 0) {
        let record = &printed[..end];
        printed = &printed[end + 1..];
        if record.is_empty() {
            found.push(std::mem::take(&mut pairs));
        } else if let Some(equals) = record.iter().position(|&byte| byte == b'=') {
            pairs.insert(String::from_utf8(record[..equals].to_vec())?, record[equals + 1..].to_vec());
        }
    }
    ensure!(printed.is_empty() && pairs.is_empty(), "the answer has no end");
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_apart_by_file() {
        let found = records(b"A=1\0B=x=\n\0\0\0C=\0\0").unwrap();
        assert_eq!(found.len(), 3);
        assert_eq!(found[0]["B"], b"x=\n");
        assert!(found[1].is_empty());
        assert!(found[2]["C"].is_empty());
        assert!(records(b"A=1\0").is_err());
        assert!(records(b"A=1").is_err());
    }

    #[test]
    fn a_reader_that_is_missing_names_the_way_to_get_it() {
        let error = shell(&["no-such-shell"], Path::new("/"), &[]).unwrap_err();
        assert!(error.to_string().contains("make readers"), "{error}");
    }
}
