//! A sign of life with the elapsed time while the daemon works, on a terminal.

use colibri_control::Request;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, stderr};
use std::time::Duration;

/// Runs `work`; on a terminal it shows what is waited for and since when.
pub fn with_progress<T>(request: &Request, work: impl FnOnce() -> T) -> T {
    let doing = match request {
        Request::Provision { tenant: Some(tenant) } => format!("provisioning {tenant}"),
        Request::Provision { tenant: None } => "provisioning all tenants".into(),
        Request::SpawnAgent { jail, .. } => format!("starting {jail}"),
        Request::StopAgent { jail, .. } => format!("stopping {jail}"),
        Request::DestroyTenant { tenant, .. } => format!("destroying {tenant}"),
        Request::Collections {} => "asking the vault".into(),
        Request::Diff { tenant }
        | Request::AddFile { tenant, dry_run: true, .. }
        | Request::UpdateFile { tenant, dry_run: true, .. } => format!("comparing {tenant}"),
        Request::RemoveFile { file, .. } => format!("removing {file}"),
        _ => return work(),
    };
    with_message(&doing, work)
}

/// The same with words of one's own.
pub fn with_message<T>(doing: &str, work: impl FnOnce() -> T) -> T {
    if !stderr().is_terminal() {
        return work();
    }
    let bar = ProgressBar::new_spinner().with_message(doing.to_owned());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(120));
    let done = work();
    bar.finish_and_clear();
    done
}
