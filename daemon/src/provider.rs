//! The provider file: settings and the machine account's credentials, one
//! `NAME=value` a line. Nothing else reads it, and no message has a value of it.

use anyhow::{Context, bail, ensure};
use colibri_pair::Secret;
use nix::unistd::geteuid;
use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Far more than all settings take.
const MAX: usize = 64 * 1024;
/// What may stand in a value without quotes: as a shell reads it, too.
const BARE: &[u8] = b"_./:=@%+,-";

/// What is wrong with a line. It has no word of the line: a part of a password
/// may be taken for a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Wrong {
    #[error("it is not NAME=value")]
    NoAssignment,
    #[error("colibrid has no setting of this name; colibrid(8) names them all")]
    Unknown,
    #[error("a line before sets the same name")]
    Twice,
    #[error("a single quote is not closed on its line")]
    Open,
    #[error("something stands behind the closing quote; a single quote within a value is written '\\''")]
    Behind,
    #[error("this value needs single quotes: NAME='value', a single quote within it written '\\''")]
    Quotes,
    #[error("it has a control character, such as the carriage return of a file from Windows")]
    Control,
}

/// The names that were set, with their values; an empty value sets nothing.
pub type Values = BTreeMap<String, Secret>;

/// Reads the file, if it and the directories above it are nobody else's.
///
/// # Errors
/// What is wrong with the file, or the number of the first line that is wrong.
pub fn read(file: &Path, known: impl Fn(&str) -> bool) -> anyhow::Result<Values> {
    let file = settled(file)?;
    // Opening a pipe would wait for its writer.
    ensure!(file.is_file(), "it is not a file");
    let opened = File::open(&file).context("cannot open it")?;
    let found = opened.metadata()?;
    ensure!(ours(&found), "it is user {}'s: chown root {}", found.uid(), file.display());
    if found.mode() & 0o077 != 0 {
        let (mode, shown) = (found.mode() & 0o7777, file.display());
        bail!(
            "it has mode {mode:04o}: chmod 600 {shown}, and change the credentials, which others could read"
        );
    }
    let mut text = Zeroizing::new(Vec::with_capacity(MAX + 1));
    opened.take(MAX as u64 + 1).read_to_end(&mut text)?;
    ensure!(text.len() <= MAX, "it is longer than {MAX} bytes");
    parse(std::str::from_utf8(&text).context("it is not UTF-8")?, known)
}

/// Where it really is, if nobody else may put another in its place.
///
/// # Errors
/// Which directory above is somebody else's to write.
pub fn settled(file: &Path) -> anyhow::Result<PathBuf> {
    let file = file.canonicalize().context("cannot find it")?;
    file.ancestors().skip(1).try_for_each(safe_above)?;
    Ok(file)
}

/// Whoever may write to a directory above puts another file in place of this.
fn safe_above(dir: &Path) -> anyhow::Result<()> {
    let found = dir.metadata().with_context(|| format!("cannot look at {}", dir.display()))?;
    let sticky = found.mode() & 0o1000 != 0;
    let safe = ours(&found) && (sticky || found.mode() & 0o022 == 0);
    ensure!(safe, "others can replace it, since {} is not root's alone to write", dir.display());
    Ok(())
}

/// Whether it is root's, or this process's.
pub fn ours(found: &Metadata) -> bool {
    found.uid() == 0 || found.uid() == geteuid().as_raw()
}

fn parse(text: &str, known: impl Fn(&str) -> bool) -> anyhow::Result<Values> {
    let mut values = Values::new();
    let mut names = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let at = || format!("line {number}");
        let line = line.trim_matches([' ', '\t']);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (line, exported) = line.strip_prefix("export ").map_or((line, false), |line| (line, true));
        let (name, value) = assignment(line.trim_start()).with_context(at)?;
        if !known(name) {
            return Err(Wrong::Unknown).with_context(at);
        }
        if names.contains(&name) {
            return Err(Wrong::Twice).with_context(at);
        }
        if exported {
            tracing::warn!(
                "line {number} of the provider file begins with export: if a unit ever read it with \
                 EnvironmentFile=, the line stands in the journal, value and all; share/doc/colibri/runbook.md, \
                 A password in a journal"
            );
        }
        names.push(name);
        if !value.expose().is_empty() {
            values.insert(name.to_owned(), value);
        }
    }
    Ok(values)
}

fn assignment(line: &str) -> Result<(&str, Secret), Wrong> {
    if line.chars().any(char::is_control) {
        return Err(Wrong::Control);
    }
    let (name, value) = line.split_once('=').ok_or(Wrong::NoAssignment)?;
    let letter = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    if name.is_empty() || !name.bytes().all(letter) {
        return Err(Wrong::NoAssignment);
    }
    if let Some(quoted) = value.strip_prefix('\'') {
        return Ok((name, unquote(quoted)?));
    }
    if value.bytes().all(|byte| byte.is_ascii_alphanumeric() || BARE.contains(&byte)) {
        return Ok((name, Secret::new(value.to_owned())));
    }
    Err(Wrong::Quotes)
}

/// What follows the opening quote, up to the closing one at the end.
fn unquote(quoted: &str) -> Result<Secret, Wrong> {
    let mut value = String::with_capacity(quoted.len());
    let mut rest = quoted;
    loop {
        let (part, after) = rest.split_once('\'').ok_or(Wrong::Open)?;
        value.push_str(part);
        match after.strip_prefix("\\''") {
            Some(next) => {
                value.push('\'');
                rest = next;
            }
            None if after.is_empty() => return Ok(Secret::new(value)),
            None => return Err(Wrong::Behind),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    fn read_text(text: &str) -> anyhow::Result<Vec<(String, String)>> {
        let values = parse(text, |name| name.starts_with("BW_"))?;
        Ok(values.into_iter().map(|(name, value)| (name, value.expose().to_owned())).collect())
    }

    #[test]
    fn a_value_is_bare_or_in_single_quotes() {
        for (line, value) in [
            ("BW_A=https://vault.example.org:8443/x", "https://vault.example.org:8443/x"),
            ("BW_A='a b $(id) `id` \" # \\ é'", "a b $(id) `id` \" # \\ é"),
            (r"BW_A='it'\''s'", "it's"),
            (r"BW_A=''\'''", "'"),
            ("  export BW_A=x  ", "x"),
            ("\tBW_A='x'\t", "x"),
        ] {
            assert_eq!(read_text(line).unwrap(), [("BW_A".to_owned(), value.to_owned())], "{line}");
        }
        for line in ["", "# BW_A=x", "  #", "BW_A=", "BW_A=''"] {
            assert!(read_text(line).unwrap().is_empty(), "{line}");
        }
    }

    /// sh reads the same, so that a file made for it needs no change.
    #[test]
    fn a_shell_reads_every_value_alike() {
        for value in ["plain", "a b", "it's", "'", "$(id)`id`\"\\#", "a''b", "=@%+,-"] {
            let line = format!("BW_A='{}'", value.replace('\'', "'\\''"));
            assert_eq!(read_text(&line).unwrap()[0].1, value);
            let script = format!("{line}\nprintf %s \"$BW_A\"");
            let output = std::process::Command::new("/bin/sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), value);
        }
    }

    #[test]
    fn a_wrong_line_is_named_by_its_number_and_never_shown() {
        for (line, wrong) in [
            ("hunter2", Wrong::NoAssignment),
            ("hunter2=x", Wrong::NoAssignment),
            ("BW_A =hunter2", Wrong::NoAssignment),
            ("=hunter2", Wrong::NoAssignment),
            ("export", Wrong::NoAssignment),
            ("HUNTER2=hunter2", Wrong::Unknown),
            ("BW_A='hunter2", Wrong::Open),
            ("BW_A='hunter2' # mine", Wrong::Behind),
            ("BW_A='hunter2'x", Wrong::Behind),
            ("BW_A= hunter2", Wrong::Quotes),
            ("BW_A=\"hunter2\"", Wrong::Quotes),
            ("BW_A=hunter2$x", Wrong::Quotes),
            ("BW_A=hunter2#x", Wrong::Quotes),
            ("BW_A='hunter2'\u{1}", Wrong::Control),
            ("BW_B=y", Wrong::Twice),
        ] {
            let error = read_text(&format!("\n# a comment\nBW_B=x\n{line}\n")).unwrap_err();
            assert_eq!(error.downcast_ref::<Wrong>(), Some(&wrong), "{line}");
            let said = format!("{error:#} {error:?}");
            assert!(said.starts_with("line 4: "), "{said}");
            assert!(!said.to_lowercase().contains("hunter"), "{said}");
        }
        let windows = read_text("BW_A=x\r\nBW_B=y\r\n");
        assert!(windows.is_ok(), "lines() takes the carriage return away");
        assert!(read_text("BW_A=x\r").is_err());
    }

    #[test]
    fn a_file_that_others_can_read_or_replace_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("provider.env");
        fs::write(&file, "BW_A=x\n").unwrap();
        let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        let read = |file: &Path| read(file, |_| true).map_err(|error| format!("{error:#}"));
        mode(&file, 0o600);
        assert_eq!(read(&file).unwrap()["BW_A"].expose(), "x");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("provider.env", &link).unwrap();
        assert!(read(&link).is_ok());
        for bits in [0o640, 0o604, 0o620] {
            mode(&file, bits);
            assert!(read(&file).unwrap_err().contains("chmod 600"));
        }
        mode(&file, 0o400);
        for bits in [0o777, 0o770] {
            mode(dir.path(), bits);
            assert!(read(&file).unwrap_err().contains("others can replace it"));
        }
        mode(dir.path(), 0o755);
        assert!(read(dir.path()).unwrap_err().contains("not a file"));
        assert!(read(&dir.path().join("nothing")).unwrap_err().contains("cannot find it"));
        fs::write(dir.path().join("long"), "#".repeat(MAX + 1)).unwrap();
        mode(&dir.path().join("long"), 0o600);
        assert!(read(&dir.path().join("long")).unwrap_err().contains("longer"));
    }
}
