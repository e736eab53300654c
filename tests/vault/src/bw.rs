//! Where the real `bw` is that the tests run.

use std::path::PathBuf;

use anyhow::{Result, ensure};

/// The version that the tests run unless `COLIBRI_BW` names a program.
pub const VERSION: &str = "2026.8.0";

/// The `bw` of the variable `COLIBRI_BW`, else the one that `make bw` installs.
///
/// # Errors
/// When it is not there; the message says what to do.
pub fn find() -> Result<PathBuf> {
    match std::env::var_os("COLIBRI_BW") {
        Some(path) => check(PathBuf::from(path)),
        None => installed(VERSION),
    }
}

/// That version of `bw`, as `make bw` installs it.
///
/// # Errors
/// When it is not there; the message says what to do.
pub fn installed(version: &str) -> Result<PathBuf> {
    let target = colibri_test_host::tree().join("target/bw");
    check(target.join(version).join("node_modules/.bin/bw"))
}

fn check(path: PathBuf) -> Result<PathBuf> {
    ensure!(path.is_file(), "no bw at {}: run make bw", path.display());
    Ok(path)
}
