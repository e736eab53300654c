//! The private directory of one run. `bw` keeps the client secret in it in
//! clear, so it is removed at the end, and a later run removes what a killed
//! one left. A lock on the directory says that its run is alive.

use std::fs::{self, DirBuilder, File};
use std::io::{Result, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const PREFIX: &str = "run-";

/// The directory; removed when dropped, or only emptied where the daemon made it.
#[derive(Debug)]
pub struct WorkDir {
    path: PathBuf,
    given: bool,
    _alive: File,
}

impl WorkDir {
    /// Removes what dead runs left below `base`, and makes a new directory.
    ///
    /// # Errors
    /// The system's.
    pub fn open(base: &Path) -> Result<Self> {
        let base = base.canonicalize()?;
        let turn = File::open(&base)?;
        turn.lock()?;
        sweep(&base)?;
        let path = base.join(format!("{PREFIX}{}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&path)?;
        let alive = File::open(&path)?;
        alive.lock()?;
        Ok(Self { path, given: false, _alive: alive })
    }

    /// Takes a directory that the daemon made for this run.
    ///
    /// # Errors
    /// The system's.
    pub fn take(path: &Path) -> Result<Self> {
        let path = path.canonicalize()?;
        let alive = File::open(&path)?;
        Ok(Self { path, given: true, _alive: alive })
    }

    /// Where it is, without symbolic links.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        let gone = if self.given { clear(&self.path) } else { fs::remove_dir_all(&self.path) };
        if let Err(error) = gone {
            tracing::error!(%error, path = %self.path.display(), "cannot remove the private directory");
        }
    }
}

/// Empties the directory, but for what makes the next login one of this device: a
/// vault takes each fresh directory for a new one.
///
/// # Errors
/// The system's.
pub fn begin(dir: &Path, device: &str) -> Result<()> {
    clear(dir)?;
    let data = serde_json::json!({ "global_applicationId_appId": device });
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(dir.join("data.json"))?;
    file.write_all(data.to_string().as_bytes())
}

/// Removes everything in a directory.
///
/// # Errors
/// The system's.
pub fn clear(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn sweep(base: &Path) -> Result<()> {
    for entry in fs::read_dir(base)? {
        let entry = entry?;
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX) && entry.file_type()?.is_dir();
        // What cannot be removed is the daemon's to remove, and no reason to stop.
        if let Err(error) = if ours { remove_dead(&entry.path()) } else { Ok(()) } {
            tracing::warn!(%error, path = %entry.path().display(), "cannot remove what an earlier run left");
        }
    }
    Ok(())
}

fn remove_dead(run: &Path) -> Result<()> {
    if File::open(run)?.try_lock().is_err() {
        return Ok(());
    }
    tracing::warn!(path = %run.display(), "removing what an earlier run left");
    fs::remove_dir_all(run)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_directory_that_was_given_is_emptied_and_no_link_in_it_is_followed() {
        let base = tempfile::tempdir().unwrap();
        let (given, outside) = (base.path().join("bw"), base.path().join("outside"));
        for dir in [&given, &outside] {
            fs::create_dir_all(dir.join("deep")).unwrap();
            fs::write(dir.join("deep/file"), "x").unwrap();
        }
        let dir = WorkDir::take(&given).unwrap();
        std::os::unix::fs::symlink(&outside, given.join("link")).unwrap();
        std::os::unix::fs::symlink(&outside, given.join("deep/link")).unwrap();
        drop(dir);
        assert_eq!(fs::read_dir(&given).unwrap().count(), 0);
        assert!(outside.join("deep/file").exists());
    }

    #[test]
    fn what_dead_runs_left_is_removed_and_what_lives_stays() {
        let base = tempfile::tempdir().unwrap();
        let (dead, alive) = (base.path().join("run-dead"), base.path().join("run-alive"));
        fs::create_dir_all(dead.join("deep")).unwrap();
        fs::create_dir(&alive).unwrap();
        fs::create_dir(base.path().join("other")).unwrap();
        let lock = File::open(&alive).unwrap();
        lock.lock().unwrap();
        let dir = WorkDir::open(base.path()).unwrap();
        assert!(!dead.exists() && alive.exists() && base.path().join("other").exists());
        assert_eq!(fs::metadata(dir.path()).unwrap().permissions().mode() & 0o777, 0o700);
        fs::write(dir.path().join("data.json"), "{}").unwrap();
        // What nobody can remove does not keep the next run from its own.
        let stuck = base.path().join("run-stuck");
        fs::create_dir_all(stuck.join("x")).unwrap();
        let closed = fs::Permissions::from_mode(0o000);
        fs::set_permissions(stuck.join("x"), closed.clone()).unwrap();
        fs::set_permissions(&stuck, closed).unwrap();
        assert!(sweep(base.path()).is_ok());
        if stuck.exists() {
            fs::set_permissions(&stuck, fs::Permissions::from_mode(0o700)).unwrap();
            fs::set_permissions(stuck.join("x"), fs::Permissions::from_mode(0o700)).unwrap();
        }
        let path = dir.path().to_owned();
        drop(dir);
        assert!(!path.exists());
    }
}
