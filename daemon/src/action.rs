//! What is done on the host itself when a tenant's secrets have changed: a program of
//! the operator's, by its name in a directory that is theirs alone. A tenant chooses
//! the name, and hands it nothing but the tenant's own name and root.

use crate::child;
use crate::jail::with_common_mask;
use crate::provider::{ours, settled};
use crate::settings::Config;
use anyhow::{Context, bail, ensure};
use colibri_tenant::TenantId;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::net::unix::pipe::Receiver;
use tokio::time::timeout;

/// Longest name.
const MAX: usize = 64;
/// How long one may take: it may wait for a service's end and start.
const TIME: Duration = Duration::from_secs(120);

/// The program of that name.
///
/// # Errors
/// That there is none, or that somebody else could change what it does.
pub fn find(dir: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    let named = (1..=MAX).contains(&name.len()) && name.bytes().all(letter) && !name.starts_with('-');
    ensure!(named, "the name of an action has letters, digits, _ and - only");
    let none = || format!("no action {name} in {}", dir.display());
    let dir = settled(dir).with_context(none)?;
    // A link's own directory counts, too.
    ours_alone(&dir)?;
    let program = settled(&dir.join(name)).with_context(none)?;
    ours_alone(&program)?;
    let found = program.metadata()?;
    ensure!(found.is_file() && found.mode() & 0o111 != 0, "{} is no program", program.display());
    Ok(program)
}

fn ours_alone(path: &Path) -> anyhow::Result<()> {
    let found = path.metadata()?;
    ensure!(ours(&found) && found.mode() & 0o022 == 0, "{} is not root's alone to write", path.display());
    Ok(())
}

/// Runs it to its end. What it prints is in the daemon's log.
///
/// # Errors
/// How it failed.
pub async fn run(config: &Config, name: &str, tenant: &TenantId, root: &Path) -> anyhow::Result<()> {
    let program = find(&config.settings.actions, name)?;
    let (output, pipe) = std::io::pipe()?;
    let mut command = child::command(&program);
    command.arg(tenant.as_str()).arg(root).env("PATH", &config.path);
    command.env("COLIBRI_TENANT", tenant.as_str()).env("COLIBRI_ROOT", root);
    command.stdin(Stdio::null()).stdout(pipe.try_clone()?).stderr(pipe).process_group(0);
    let mut child = with_common_mask(|| command.spawn()).context("cannot start it")?;
    // It holds the pipe's other end, which is at its end with the program.
    drop(command);
    child::log("action", child.id(), Receiver::from_owned_fd(output.into())?);
    let group = child.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw);
    match timeout(TIME, child.wait()).await {
        Ok(status) => {
            let status = status?;
            ensure!(status.success(), "{status}; what it printed is in colibrid's log");
            Ok(())
        }
        Err(_) => {
            let _gone = group.map(|group| killpg(group, Signal::SIGKILL));
            bail!("it did not end within {TIME:?}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn only_a_program_in_the_operators_directory_is_an_action() {
        let base = tempfile::tempdir().unwrap();
        let (dir, other) = (base.path().join("actions"), base.path().join("other"));
        fs::create_dir(&dir).unwrap();
        mode(&dir, 0o755);
        for file in [dir.join("nginx"), other.clone(), dir.join("note.txt")] {
            fs::write(&file, "#!/bin/sh\n").unwrap();
            mode(&file, 0o755);
        }
        assert_eq!(find(&dir, "nginx").unwrap(), dir.canonicalize().unwrap().join("nginx"));
        std::os::unix::fs::symlink(&other, dir.join("link")).unwrap();
        assert_eq!(find(&dir, "link").unwrap(), other.canonicalize().unwrap());
        fs::create_dir(dir.join("sub")).unwrap();
        for name in
            ["", ".", "..", "../other", "note.txt", "a/b", "-x", "a b", "a\n", "nothing", "sub", "\u{e9}"]
        {
            assert!(find(&dir, name).is_err(), "{name:?}");
        }
        assert!(find(&dir, &"x".repeat(MAX + 1)).is_err());
        mode(&dir.join("nginx"), 0o644);
        assert!(find(&dir, "nginx").is_err(), "no program");
        for bits in [0o775, 0o757] {
            mode(&dir.join("nginx"), bits);
            assert!(find(&dir, "nginx").is_err(), "{bits:o}");
        }
        mode(&dir.join("nginx"), 0o755);
        for bits in [0o775, 0o757, 0o1777] {
            mode(&dir, bits);
            assert!(find(&dir, "nginx").is_err(), "the directory: {bits:o}");
        }
        mode(&dir, 0o755);
        mode(base.path(), 0o777);
        assert!(find(&dir, "nginx").is_err(), "the one above");
    }
}
