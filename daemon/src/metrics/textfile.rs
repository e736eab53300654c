//! The file that node_exporter's textfile collector reads: always whole, for
//! everybody to read, written again when something has happened.

use super::{Metrics, Moment};
use crate::service::Service;
use anyhow::Context;
use std::fs::{OpenOptions, Permissions, remove_file, rename};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Written so often at least: the file's age tells whether the daemon lives.
const PERIOD: Duration = Duration::from_secs(60);
/// What happens within this makes one new file.
const SETTLE: Duration = Duration::from_secs(2);

/// Keeps the file up for ever.
pub async fn keep(service: Service, metrics: Metrics, file: PathBuf) {
    let mut well = true;
    loop {
        let mut watcher = service.events.watch();
        let written = write(&service, &metrics, &file).await;
        if let (true, Err(error)) = (well, &written) {
            tracing::warn!("cannot write the metrics: {error:#}");
        }
        well = written.is_ok();
        let _happened = timeout(PERIOD, watcher.next()).await;
        sleep(SETTLE).await;
    }
}

async fn write(service: &Service, metrics: &Metrics, file: &Path) -> anyhow::Result<()> {
    let (tenants, agents) = service.store.with(|db| Ok((db.tenants()?, db.agents()?))).await?;
    let session = service.session.status();
    let moment = Moment {
        started: service.started,
        sandbox: !service.config.settings.insecure_no_sandbox,
        confinement: crate::confinement::now(&service.config, &session.confined),
        tenants,
        agents: agents.into_iter().map(|agent| agent.view.state).collect(),
        session,
        under_way: service.provisioner.busy().await.len(),
    };
    let (text, file) = (metrics.text(&moment)?, file.to_owned());
    tokio::task::spawn_blocking(move || replace(&file, &text)).await?
}

/// The directory may be another user's: what is in the way there is removed,
/// and no link is followed.
fn replace(file: &Path, text: &str) -> anyhow::Result<()> {
    let name = file.file_name().context("the file has no name")?.to_string_lossy().into_owned();
    let new = file.with_file_name(format!(".{name}.new"));
    let made = || match remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new),
    };
    let mut made = made().with_context(|| format!("cannot make {}", new.display()))?;
    made.write_all(text.as_bytes())?;
    made.set_permissions(Permissions::from_mode(0o644))?;
    rename(&new, file).with_context(|| format!("cannot replace {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, symlink};

    #[test]
    fn the_file_is_for_everybody_and_no_link_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (file, other) = (dir.path().join("c.prom"), dir.path().join("other"));
        std::fs::write(&other, "mine").unwrap();
        symlink(&other, dir.path().join(".c.prom.new")).unwrap();
        symlink(&other, &file).unwrap();
        replace(&file, "a 1\n").unwrap();
        assert_eq!(std::fs::read_to_string(&other).unwrap(), "mine");
        let meta = std::fs::symlink_metadata(&file).unwrap();
        assert_eq!((meta.is_file(), meta.mode() & 0o7777), (true, 0o644));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
        assert!(replace(&dir.path().join("none/c.prom"), "").is_err());
    }
}
