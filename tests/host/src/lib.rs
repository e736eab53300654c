//! What a test finds on its host: the tree and the programs, below cargo's
//! directories or where `run-tests` has unpacked them and says so in the
//! environment; and the processes that run.

#[cfg(target_os = "linux")]
pub mod hung;
#[cfg(target_os = "linux")]
pub mod namespace;
pub mod process;

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{Error, ErrorKind, Result, Write};
use std::panic::Location;
use std::path::{Path, PathBuf};

/// The tree's top, when it is not where the test was built.
const ROOT: &str = "COLIBRI_TEST_ROOT";
/// The directory of the built programs, when it is not beside the running test.
const PROGRAMS: &str = "COLIBRI_TEST_BIN";

/// Says that the running test, or a part of it, is not run here: a line on standard
/// error itself, which the test harness does not keep back as it does `eprintln!`.
/// `make test` and `run-tests` count these lines, list them, and fail for a reason
/// that `tests/skips` does not accept of this user on this system.
#[track_caller]
pub fn skip(why: impl Display) {
    let thread = std::thread::current();
    // With one thread the harness runs all tests in its first one.
    let name = thread.name().filter(|name| *name != "main");
    let name = name.map_or_else(|| Location::caller().to_string().replace(':', " "), ToOwned::to_owned);
    // Its own line, also after a name that the harness has printed already.
    let line = format!("\nskipped: {name}: {why}\n");
    // Where nobody reads, nobody is told.
    let _told = std::io::stderr().write_all(line.as_bytes());
}

/// The tree's top.
pub fn tree() -> PathBuf {
    tree_or(std::env::var_os(ROOT))
}

fn tree_or(told: Option<OsString>) -> PathBuf {
    told.map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."), PathBuf::from)
}

/// A program of this workspace, as built.
///
/// # Errors
/// When it was not built.
pub fn program(name: &str) -> Result<PathBuf> {
    let path = programs(std::env::var_os(PROGRAMS))?.join(name);
    if path.exists() {
        return Ok(path);
    }
    let advice = format!("{} is not built: cargo build --workspace", path.display());
    Err(Error::new(ErrorKind::NotFound, advice))
}

/// cargo puts a test into its profile's `deps`, and programs beside that.
fn programs(told: Option<OsString>) -> Result<PathBuf> {
    if let Some(told) = told {
        return Ok(told.into());
    }
    let test = std::env::current_exe()?;
    let profile = test.ancestors().skip(1).find(|dir| !dir.ends_with("deps"));
    profile.map(Into::into).ok_or_else(|| ErrorKind::NotFound.into())
}

/// A directory of the build's own, on a disk where the build is on one.
///
/// # Errors
/// When it cannot be made, as by a user who did not build.
pub fn scratch() -> Result<PathBuf> {
    let dir = programs(std::env::var_os(PROGRAMS))?.join("scratch");
    std::fs::create_dir_all(&dir)?;
    Ok(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_environment_says_stands_before_where_the_test_was_built() {
        assert_eq!(tree_or(Some("/else".into())), Path::new("/else"));
        assert_eq!(programs(Some("/else/bin".into())).unwrap(), Path::new("/else/bin"));
        assert!(!programs(None).unwrap().ends_with("deps"));
    }

    #[test]
    fn a_program_that_is_not_there_has_its_advice() {
        let error = program("no-such-program").unwrap_err();
        assert!(error.to_string().contains("cargo build"), "{error}");
    }
}
