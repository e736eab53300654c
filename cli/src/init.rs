//! `colibri init`: the file for settings and credentials as a template, the
//! fetcher's user and the directories. What is there already stays as it is, and
//! no credential passes through here.

#[cfg_attr(target_os = "freebsd", path = "init/freebsd.rs")]
#[cfg_attr(not(target_os = "freebsd"), path = "init/linux.rs")]
mod platform;

pub use platform::PROVIDER;

use crate::failure::Failure;
use colibri_tenant::keeps_others_out;
use nix::unistd::{User, geteuid};
use serde::Serialize;
use std::fs::{DirBuilder, OpenOptions, Permissions, set_permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The user that the fetcher and `bw` run as.
pub const USER: &str = "_colibri";
const TEMPLATE: &str = include_str!("init/provider.env");

/// What is done, and what was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deed {
    /// It was made.
    Made,
    /// It was there, and stays as it is.
    There,
    /// It was there, open to others, and is no more.
    Closed,
    /// It was there, and is open to others: this is a dry run.
    Open,
    /// It is not there, and this is a dry run or one below a prefix.
    Missing,
}

/// One thing that a host needs.
#[derive(Debug, Serialize)]
pub struct Step {
    /// A path, or a user.
    pub what: String,
    /// What was done.
    pub deed: Deed,
}

/// Whether to make what is missing, and where.
#[derive(Debug)]
pub struct Plan {
    /// Everything lies below it; `/` is the host itself.
    pub prefix: PathBuf,
    /// Only say what would be made.
    pub dry_run: bool,
}

impl Plan {
    /// Makes what is missing.
    ///
    /// # Errors
    /// What the system refused; what was made before stays.
    pub fn run(&self) -> Result<Vec<Step>, Failure> {
        if !self.dry_run && self.is_host() && !geteuid().is_root() {
            return Err(Failure::NotRoot);
        }
        let mut steps = vec![self.user()?];
        for (dir, mode) in platform::DIRS {
            steps.push(self.step(dir, |path| make_dir(path, *mode))?);
        }
        for dir in platform::CLOSED {
            let step = self.step(dir, |path| make_dir(path, 0o700))?;
            steps.push(self.close(dir, step)?);
        }
        steps.push(self.step(PROVIDER, |path| make_file(path, 0o600, TEMPLATE))?);
        for file in platform::LOGS {
            steps.push(self.step(file, |path| make_file(path, 0o600, ""))?);
        }
        for (file, text) in platform::FILES {
            steps.push(self.step(file, |path| make_file(path, 0o644, text))?);
        }
        Ok(steps)
    }

    fn is_host(&self) -> bool {
        self.prefix == Path::new("/")
    }

    fn user(&self) -> Result<Step, Failure> {
        let what = format!("user {USER}");
        let made = |error| Failure::Make(what.clone(), error);
        let there = User::from_name(USER).map_err(|error| made(error.into()))?.is_some();
        let deed = match there {
            true => Deed::There,
            false if self.dry_run || !self.is_host() => Deed::Missing,
            false => {
                let mut words = platform::ADD_USER.iter();
                let mut command = Command::new(words.next().copied().unwrap_or_default());
                let status = command.args(words).stdin(Stdio::null()).status().map_err(made)?;
                if !status.success() {
                    return Err(made(io::Error::other(status.to_string())));
                }
                Deed::Made
            }
        };
        Ok(Step { what, deed })
    }

    /// Takes the way through a directory that was there from others. What else its mode
    /// says is its owner's choice.
    fn close(&self, dir: &str, step: Step) -> Result<Step, Failure> {
        let path = self.prefix.join(dir.trim_start_matches('/'));
        let Ok(found) = path.metadata() else { return Ok(step) };
        let closed = |dir: &Path| dir.metadata().is_ok_and(|it| keeps_others_out(it.gid(), it.mode()));
        if path.ancestors().take_while(|dir| dir.starts_with(&self.prefix)).any(closed) {
            return Ok(step);
        }
        if self.dry_run {
            return Ok(Step { deed: Deed::Open, ..step });
        }
        let left = found.mode() & 0o7766;
        set_permissions(&path, Permissions::from_mode(left))
            .map_err(|error| Failure::Make(step.what.clone(), error))?;
        Ok(Step { deed: Deed::Closed, ..step })
    }

    fn step(&self, path: &str, make: impl FnOnce(&Path) -> io::Result<()>) -> Result<Step, Failure> {
        let path = self.prefix.join(path.trim_start_matches('/'));
        let what = path.display().to_string();
        let deed = match path.symlink_metadata() {
            Ok(_) => Deed::There,
            Err(_) if self.dry_run => Deed::Missing,
            Err(_) => match make(&path) {
                Ok(()) => Deed::Made,
                // Made by somebody else meanwhile: theirs stays.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => Deed::There,
                Err(error) => return Err(Failure::Make(what, error)),
            },
        };
        Ok(Step { what, deed })
    }

    /// What to do next, a line each.
    pub fn next(&self) -> Vec<String> {
        let provider = self.prefix.join(PROVIDER.trim_start_matches('/'));
        let mut lines = vec![format!("write the machine account's credentials into {}", provider.display())];
        lines.extend(platform::START.iter().map(ToString::to_string));
        lines.push("colibri doctor".into());
        lines
    }
}

fn make_dir(path: &Path, mode: u32) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
    }
    DirBuilder::new().mode(mode).create(path)?;
    // The umask may have taken from it.
    set_permissions(path, Permissions::from_mode(mode))
}

/// The mode is the file's from birth.
fn make_file(path: &Path, mode: u32, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// The screen.
pub fn screen(steps: &[Step], next: &[String]) -> String {
    let line = |step: &Step| {
        let deed = match step.deed {
            Deed::Made => "made",
            Deed::There => "there",
            Deed::Closed => "closed",
            Deed::Open => "open",
            Deed::Missing => "missing",
        };
        format!("{deed:<9}{}\n", step.what)
    };
    let mut text: String = steps.iter().map(line).collect();
    text.push_str("\nNext:\n");
    next.iter().for_each(|line| text.push_str(&format!("  {line}\n")));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_sets_nothing_until_it_is_filled_in() {
        assert!(TEMPLATE.lines().all(|line| line.is_empty() || line.starts_with('#')));
        for name in ["BW_SERVER", "BW_CLIENTID", "BW_CLIENTSECRET", "BW_PASSWORD"] {
            assert!(TEMPLATE.contains(&format!("\n#{name}=")), "{name}");
        }
    }
}
