//! Which versions of `bw` are run, and what the files of a tested one are: a
//! bundle of 2026.4.0 on npm was malware.

use colibri_session::Failure;
use colibri_tenant::ErrorName::BwUnusable;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::{fmt, fs};

/// Versions that pass all tests, oldest first, each with the fingerprint of its
/// npm package. `scripts/bw` installs them by the integrity hash in
/// `tests/bw/VERSION/package-lock.json`, and a test takes the fingerprint anew.
const TESTED: [(&str, &str); 2] = [
    ("2026.8.0", "7d4bec8086a677508ade598e5bf93efd12dcff88ce0243a8d1bc8bcaa0554f65"),
    ("2026.9.0", "a52d7245fb749c51cb1a29fcf8fcf9d84eaff2ce976b830fb6ead3e7696a83ac"),
];
/// Versions that are never run, and why.
const KNOWN_BAD: [(&str, &str); 3] = [
    ("2026.4.0", "was published on npm with malware in it"),
    ("2026.2.0", "ends in a TypeError at login"),
    ("2024.6.1", "refuses the right master password"),
];

/// What is thought of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It is one of those that were tested.
    Ok,
    /// Older than all of those.
    Old,
    /// Newer, or one that does not say what it is.
    Untested,
    /// Never to be run.
    KnownBad,
    /// There is no `bw`, or no interpreter for it.
    Missing,
}

/// Whether the installed package is the published one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bundle {
    /// File by file.
    Match,
    /// At least one file is another.
    Differs,
    /// No fingerprint of this version is known, or it is no npm package.
    Unknown,
}

/// What is thought of `version`, as `bw` or its package says it.
pub fn judge(version: Option<&str>) -> Verdict {
    let Some(version) = version else { return Verdict::Untested };
    if known_bad(version).is_some() {
        return Verdict::KnownBad;
    }
    if TESTED.iter().any(|(tested, _)| *tested == version) {
        return Verdict::Ok;
    }
    match (number(version), TESTED.first().and_then(|(oldest, _)| number(oldest))) {
        (Some(it), Some(oldest)) if it < oldest => Verdict::Old,
        _ => Verdict::Untested,
    }
}

/// Refuses a version that is known to be bad, and one that is too old unless
/// `any` is allowed.
///
/// # Errors
/// `BwUnusable`.
pub fn admit(version: &str, any: bool) -> std::result::Result<(), Failure> {
    let verdict = judge(Some(version));
    match verdict {
        Verdict::KnownBad => {}
        Verdict::Old if !any => {}
        Verdict::Ok => return Ok(()),
        Verdict::Old | Verdict::Untested | Verdict::Missing => {
            tracing::warn!(version = %version.escape_debug(), "this bw was not tested");
            return Ok(());
        }
    }
    Err(Failure::new(BwUnusable, advice(verdict, version)))
}

/// What an operator can do about it; empty when there is nothing to do.
pub fn advice(verdict: Verdict, version: &str) -> String {
    let tested: Vec<_> = TESTED.iter().map(|(version, _)| *version).collect();
    let (oldest, tested) = (tested.first().copied().unwrap_or_default(), tested.join(" and "));
    match verdict {
        Verdict::Ok => String::new(),
        Verdict::Old => format!(
            "bw {version} is older than {oldest}, the oldest that was tested: update it, or set \
             COLIBRI_ANY_BW_VERSION=true"
        ),
        Verdict::Untested => format!("bw {version} was not tested; {tested} were"),
        Verdict::KnownBad => {
            let why = known_bad(version).unwrap_or_default();
            format!("bw {version} {why}: install {tested}")
        }
        Verdict::Missing => format!("install bw: npm install -g @bitwarden/cli@{oldest}"),
    }
}

/// Compares the npm package in `dir` with the published one of that version.
///
/// # Errors
/// What cannot be read.
pub fn compare(dir: &Path, version: &str) -> Result<Bundle> {
    let Some((_, known)) = TESTED.iter().find(|(tested, _)| *tested == version) else {
        return Ok(Bundle::Unknown);
    };
    Ok(if fingerprint(dir)? == *known { Bundle::Match } else { Bundle::Differs })
}

/// SHA-256 over `HASH  PATH` lines, sorted, of all that Node or npm runs or
/// reads of a package: `package.json` and what is below `build`. Source maps
/// and type declarations are left out, as installations leave them out.
///
/// # Errors
/// What cannot be read; a link, since the published package has none.
pub fn fingerprint(dir: &Path) -> Result<String> {
    let mut files = vec![dir.join("package.json")];
    let mut dirs = vec![dir.join("build")];
    while let Some(below) = dirs.pop() {
        for entry in fs::read_dir(below)? {
            let entry = entry?;
            match entry.file_type()? {
                kind if kind.is_dir() => dirs.push(entry.path()),
                kind if kind.is_file() => files.push(entry.path()),
                _ => return Err(Error::new(ErrorKind::InvalidData, "something that is no file in it")),
            }
        }
    }
    let runs = |path: &PathBuf| !path.extension().is_some_and(|kind| kind == "map" || kind == "ts");
    let mut lines = Vec::new();
    for file in files.into_iter().filter(runs) {
        let name = file.strip_prefix(dir).map_err(Error::other)?.display().to_string();
        lines.push(format!("{}  {name}\n", Hex(&Sha256::digest(fs::read(&file)?))));
    }
    lines.sort();
    Ok(Hex(&Sha256::digest(lines.concat())).to_string())
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(to, "{byte:02x}"))
    }
}

fn known_bad(version: &str) -> Option<&'static str> {
    KNOWN_BAD.iter().find(|(bad, _)| *bad == version).map(|(_, why)| *why)
}

/// Year, month and number.
fn number(version: &str) -> Option<[u32; 3]> {
    let parts: Option<Vec<u32>> = version.split('.').map(|part| part.parse().ok()).collect();
    parts?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_tested_newer_older_or_bad() {
        for (version, verdict) in [
            ("2026.8.0", Verdict::Ok),
            ("2026.9.0", Verdict::Ok),
            ("2026.8.1", Verdict::Untested),
            ("2027.1.0", Verdict::Untested),
            ("2026.10.0", Verdict::Untested),
            ("2026.7.9", Verdict::Old),
            ("2025.12.0", Verdict::Old),
            ("1.22.1", Verdict::Old),
            ("2026.4.0", Verdict::KnownBad),
            ("2026.8.0-beta", Verdict::Untested),
            ("", Verdict::Untested),
        ] {
            assert_eq!(judge(Some(version)), verdict, "{version}");
        }
        assert_eq!(judge(None), Verdict::Untested);
    }

    #[test]
    fn an_old_version_runs_only_when_told_so_and_a_bad_one_never() {
        assert_eq!(admit("2026.7.0", false).unwrap_err().name, BwUnusable);
        assert!(admit("2026.7.0", true).is_ok() && admit("2026.9.1", false).is_ok());
        for any in [false, true] {
            assert!(admit("2026.4.0", any).unwrap_err().message.contains("malware"));
        }
    }

    #[test]
    fn the_pinned_packages_are_those_that_npm_installs() {
        for (version, known) in TESTED {
            let installed = colibri_test_host::tree().join("target/bw").join(version);
            let package = installed.join("node_modules/@bitwarden/cli");
            assert!(package.exists(), "{} is missing: run scripts/bw", package.display());
            assert_eq!(fingerprint(&package).unwrap(), known, "{version}");
        }
    }

    #[test]
    fn a_changed_added_or_linked_file_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let build = dir.path().join("build");
        fs::create_dir(&build).unwrap();
        fs::write(dir.path().join("package.json"), "{}").unwrap();
        fs::write(build.join("bw.js"), "1").unwrap();
        let sound = fingerprint(dir.path()).unwrap();
        fs::write(build.join("bw.js.map"), "left out").unwrap();
        assert_eq!(fingerprint(dir.path()).unwrap(), sound);
        fs::write(build.join("bw1.js"), "new").unwrap();
        assert_ne!(fingerprint(dir.path()).unwrap(), sound);
        fs::remove_file(build.join("bw1.js")).unwrap();
        fs::write(dir.path().join("package.json"), r#"{"scripts":{}}"#).unwrap();
        assert_ne!(fingerprint(dir.path()).unwrap(), sound);
        assert_eq!(compare(dir.path(), "2026.8.0").unwrap(), Bundle::Differs);
        assert_eq!(compare(dir.path(), "2026.7.0").unwrap(), Bundle::Unknown);
        std::os::unix::fs::symlink("bw.js", build.join("link.js")).unwrap();
        assert!(fingerprint(dir.path()).is_err());
    }
}
