//! `colibri report`: one page that holds what the daemon knows, and what the
//! sandbox's proof says on this host. It needs no network and runs no script.

mod chart;
mod page;

use crate::failure::Failure;
use colibri_control::{Answer, Client, ClientError, Provision, Request, StatusView, TenantView};
use serde::Deserialize;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What the page shows. Times are milliseconds since 1970.
struct Report {
    now: u64,
    status: StatusView,
    tenants: Vec<TenantView>,
    /// All that is kept, newest first.
    history: Vec<Provision>,
    proof: Result<Proof, String>,
}

/// What colibri-sandbox-check printed.
struct Proof {
    held: bool,
    rows: Vec<Row>,
}

/// One attempt of it.
#[derive(Debug, Deserialize)]
struct Row {
    case: String,
    attempt: String,
    expected: String,
    got: String,
    without_sandbox: Option<String>,
    held: bool,
}

/// Writes the page to `file`, which only its owner can read: it has names of
/// items from the vault.
///
/// # Errors
/// The daemon's, or that the file cannot be written.
pub fn run(socket: &Path, file: &Path) -> Result<(), Failure> {
    let report = crate::wait::with_message("gathering", || gather(socket))?;
    let text = page::render(&report);
    let made = |error| Failure::Make(file.display().to_string(), error);
    let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file);
    opened.and_then(|mut out| out.write_all(text.as_bytes())).map_err(made)
}

fn gather(socket: &Path) -> Result<Report, Failure> {
    let mut client = Client::connect(socket)?;
    client.set_timeout(Some(Duration::from_secs(60)))?;
    let Answer::Status(status) = client.call(Request::Status {})? else { return Err(other()) };
    let Answer::Tenants(tenants) = client.call(Request::ListTenants {})? else { return Err(other()) };
    let Answer::Provisions(history) = client.call(Request::History { tenant: None, limit: 0 })? else {
        return Err(other());
    };
    let proof = prove(&status.setup.writer);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = u64::try_from(now.as_millis()).unwrap_or_default();
    Ok(Report { now, status: *status, tenants, history, proof })
}

fn other() -> Failure {
    Failure::Client(ClientError::Protocol)
}

fn prove(writer: &Path) -> Result<Proof, String> {
    let program = writer.with_file_name("colibri-sandbox-check");
    let output = Command::new(&program).arg("--json").stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{}: {error}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let rows = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    Ok(Proof { held: output.status.success(), rows })
}
