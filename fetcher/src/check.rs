//! `colibri-fetcher check`: which `bw` a session would run, and what is thought
//! of it, as one JSON object for `colibri doctor`. It never runs `bw`.

use crate::program::{self, Program};
use crate::version::{self, Bundle, Verdict};
use serde::Serialize;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The first argument of this program for the check.
pub const CHECK: &str = "check";
/// The oldest Node that the tests ran on.
const NODE: u32 = 20;

/// What was found.
#[derive(Debug, Serialize)]
struct Found {
    bw: Option<PathBuf>,
    version: Option<String>,
    node: Option<PathBuf>,
    node_version: Option<String>,
    bundle: Bundle,
    verdict: Verdict,
    /// Empty when there is nothing to do.
    advice: String,
}

/// Prints what was found of the program that `COLIBRI_BW` names, or of the
/// first `bw` in PATH.
///
/// # Errors
/// When standard output is gone.
pub fn run() -> anyhow::Result<()> {
    let bw = std::env::var_os("COLIBRI_BW").map(PathBuf::from).or_else(|| program::search(OsStr::new("bw")));
    let any = std::env::var("COLIBRI_ANY_BW_VERSION").is_ok_and(|word| word == "true");
    let found = bw.map_or_else(missing, |bw| look(&bw, any));
    Ok(serde_json::to_writer(std::io::stdout(), &found)?)
}

fn missing() -> Found {
    Found {
        bw: None,
        version: None,
        node: program::search(OsStr::new("node")),
        node_version: None,
        bundle: Bundle::Unknown,
        verdict: Verdict::Missing,
        advice: version::advice(Verdict::Missing, ""),
    }
}

fn look(bw: &Path, any: bool) -> Found {
    let program = match Program::find(bw) {
        Ok(program) => program,
        Err(failure) => return Found { bw: Some(bw.to_owned()), advice: failure.message, ..missing() },
    };
    let node = program.argv.first().filter(|_| program.argv.len() > 1).cloned();
    let node_version = node.as_deref().and_then(node_version);
    let bundle = match (&program.package, &program.version) {
        (Some(package), Some(version)) => version::compare(package, version).unwrap_or(Bundle::Differs),
        _ => Bundle::Unknown,
    };
    let (verdict, advice) = judge(program.version.as_deref(), bundle, node_version.as_deref(), any);
    Found { bw: Some(bw.to_owned()), version: program.version, node, node_version, bundle, verdict, advice }
}

/// A tested version whose files are not the published ones was not tested.
fn judge(version: Option<&str>, bundle: Bundle, node: Option<&str>, any: bool) -> (Verdict, String) {
    let verdict = version::judge(version);
    let name = version.unwrap_or("of an unknown version");
    let too_old = node.and_then(major).is_some_and(|major| major < NODE);
    match (verdict, bundle) {
        (Verdict::Ok, Bundle::Differs) => (
            Verdict::Untested,
            format!(
                "the files of bw {name} are not the published ones: install it anew, and change the \
                 credentials if you did not change the files"
            ),
        ),
        (Verdict::Ok, _) if too_old => (verdict, format!("install Node {NODE} or newer")),
        (Verdict::Old, _) if any => {
            (verdict, format!("bw {name} is old, and allowed by COLIBRI_ANY_BW_VERSION"))
        }
        _ => (verdict, version::advice(verdict, name)),
    }
}

fn node_version(node: &Path) -> Option<String> {
    let output = Command::new(node).arg("--version").env_clear().stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim().trim_start_matches('v');
    (output.status.success() && major(text).is_some()).then(|| text.to_owned())
}

fn major(version: &str) -> Option<u32> {
    version.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_the_published_package_was_not_tested() {
        let judged = |version, bundle, node| judge(Some(version), bundle, Some(node), false);
        assert_eq!(judged("2026.8.0", Bundle::Match, "22.1.0"), (Verdict::Ok, String::new()));
        let (verdict, advice) = judged("2026.8.0", Bundle::Differs, "22.1.0");
        assert!(verdict == Verdict::Untested && advice.contains("not the published ones"), "{advice}");
        assert!(judged("2026.8.0", Bundle::Match, "18.0.0").1.contains("Node 20"));
        assert_eq!(judged("2026.4.0", Bundle::Unknown, "22.1.0").0, Verdict::KnownBad);
        assert!(judge(Some("2026.1.0"), Bundle::Unknown, None, true).1.contains("allowed"));
        assert_eq!(judge(None, Bundle::Unknown, None, false).0, Verdict::Untested);
    }

    #[test]
    fn what_is_not_there_is_missing() {
        let found = look(Path::new("/nonexistent/bw"), false);
        assert!(found.verdict == Verdict::Missing && found.advice.contains("/nonexistent/bw"));
        assert_eq!(serde_json::to_value(&found).unwrap()["verdict"], "missing");
    }
}
