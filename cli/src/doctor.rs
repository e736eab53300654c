//! `colibri doctor`: looks at everything that a provision needs, and says how to
//! mend what is not right. It reads no credential: whether the vault takes them
//! it asks the daemon, and files that hold them are looked at from outside.

mod agent;
#[cfg_attr(target_os = "freebsd", path = "doctor/bwjail.rs")]
#[cfg_attr(not(target_os = "freebsd"), path = "doctor/bubblewrap.rs")]
mod cage;
mod log;
mod place;
mod program;
mod target;
mod vault;

use crate::failure::Failure;
use crate::{screen, stray};
use colibri_control::{
    Answer, Client, ClientError, ConfinementView, ProcessKind, Request, SetupView, TenantView,
};
use colibri_tenant::{ErrorName, Fault};
use serde::Serialize;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, but not as it should, or it could not be seen.
    Warning,
    /// It keeps secrets from coming, or from being safe.
    Failure,
}

/// One line of the screen, and how to mend it.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: String,
    /// How it ended.
    pub verdict: Verdict,
    /// What was seen.
    pub found: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl Finding {
    fn ok(check: &str, found: impl Into<String>) -> Self {
        Self { check: check.into(), verdict: Verdict::Ok, found: found.into(), mend: None }
    }

    fn warning(check: &str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        let (found, mend) = (found.into(), Some(mend.into()));
        Self { check: check.into(), verdict: Verdict::Warning, found, mend }
    }

    fn failure(check: &str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { verdict: Verdict::Failure, ..Self::warning(check, found, mend) }
    }

    fn fault(check: &str, fault: &Fault) -> Self {
        Self::failure(check, fault.to_string(), fault.advice.clone())
    }
}

/// What the daemon tells of the host, or what its defaults are.
struct Host {
    setup: SetupView,
    base: PathBuf,
    user: String,
    tenants: Vec<TenantView>,
    daemon: Option<Client>,
}

/// Looks at everything and shows it.
///
/// # Errors
/// `Unwell` when a check failed.
pub fn run(socket: &Path, provider: &Path, json: bool) -> Result<(), Failure> {
    let mut findings = crate::wait::with_message("looking", || examine(socket, provider));
    // What is wrong comes first.
    findings.sort_by_key(|finding| match finding.verdict {
        Verdict::Failure => 0,
        Verdict::Warning => 1,
        Verdict::Ok => 2,
    });
    let failed = findings.iter().filter(|finding| finding.verdict == Verdict::Failure).count();
    let text = if json {
        format!("{}\n", serde_json::to_string_pretty(&serde_json::json!({ "checks": findings }))?)
    } else {
        screen::findings(&findings)
    };
    crate::print(&text)?;
    if failed == 0 { Ok(()) } else { Err(Failure::Unwell { failed, of: findings.len() }) }
}

fn examine(socket: &Path, provider: &Path) -> Vec<Finding> {
    let (mut findings, mut host) = daemon(socket);
    let user = program::FetcherUser::find(&host.user);
    findings.push(place::provider(provider, host.setup.credentials));
    findings.push(user.finding());
    let bw = program::bw(&host.setup, &user, &mut findings);
    findings.extend(cage::finding(&host.setup, &user));
    findings.extend(cage::agents(&host.setup));
    findings.push(program::sandbox(&host.setup.writer));
    if let Some(daemon) = &mut host.daemon {
        let reached = vault::reach(&host.setup, &user, bw.as_deref(), &mut findings);
        findings.push(vault::credentials(daemon, host.setup.credentials, reached));
        findings.extend(place::all(&host.setup, &host.base, &user));
        for tenant in &host.tenants {
            let root = place::tenant(daemon, tenant);
            // Into a root that is not what it was, nobody is sent.
            if root.as_ref().is_some_and(|finding| finding.verdict != Verdict::Failure) {
                findings.extend(agent::finding(&host.setup, &host.base, tenant));
                findings.extend(target::finding(tenant));
                findings.extend(agent::owner(&host.setup, &host.base, tenant));
            }
            findings.extend(root);
        }
        findings.extend(strays(&host.base, &host.tenants, daemon));
    }
    findings
}

/// Jails below the base that are no tenants and have a file of a tenant's.
fn strays(base: &Path, tenants: &[TenantView], daemon: &mut Client) -> Vec<Finding> {
    let finding = |(name, stray): (String, stray::Stray)| {
        let advice = stray.advice(&name, tenants, Some(&mut *daemon));
        Finding::failure(&format!("jail {name}"), format!("no tenant, and {}", stray.found()), advice)
    };
    stray::below(base, tenants).into_iter().map(finding).collect()
}

fn daemon(socket: &Path) -> (Vec<Finding>, Host) {
    match ask(socket) {
        Ok((status, tenants, client)) => {
            let own = env!("CARGO_PKG_VERSION");
            let found = format!("colibrid {}, process {}", status.version, status.pid);
            let mut findings = vec![if status.version == own {
                Finding::ok("daemon", found)
            } else {
                Finding::warning(
                    "daemon",
                    format!("{found}; this is colibri {own}"),
                    "restart colibrid, so that all is of one version",
                )
            }];
            if !status.sandbox {
                let mend = "start colibrid without --insecure-no-sandbox";
                findings.push(Finding::failure("sandbox", "colibrid works without one", mend));
            }
            findings.extend(status.confinement.iter().filter_map(confinement));
            let (base, user) = (status.base, status.fetcher_user);
            (findings, Host { setup: status.setup, base, user, tenants, daemon: Some(client) })
        }
        Err(error) => (vec![unheard(&error)], without_daemon()),
    }
}

/// What a process lacks; `bw`'s cage is looked at by itself.
fn confinement(view: &ConfinementView) -> Option<Finding> {
    let name = format!("{}'s confinement", view.process);
    match view.lacks.first() {
        _ if view.process == ProcessKind::Bw => None,
        Some(lack) => Some(Finding::warning(&name, format!("without {}", lack.what), lack.advice.clone())),
        None => Some(Finding::ok(&name, view.holds.join(", "))),
    }
}

type Told = (colibri_control::StatusView, Vec<TenantView>, Client);

fn ask(socket: &Path) -> Result<Told, ClientError> {
    let mut client = Client::connect(socket)?;
    client.set_timeout(Some(Duration::from_secs(120)))?;
    let Answer::Status(status) = client.call(Request::Status {})? else { return Err(ClientError::Protocol) };
    let Answer::Tenants(tenants) = client.call(Request::ListTenants {})? else {
        return Err(ClientError::Protocol);
    };
    Ok((*status, tenants, client))
}

fn unheard(error: &ClientError) -> Finding {
    let mend = match error {
        ClientError::Unreachable(_, error) if error.kind() == ErrorKind::PermissionDenied => {
            ErrorName::NotAllowed.advice()
        }
        ClientError::Protocol => "install colibri and colibrid together, and restart colibrid",
        _ => "start colibrid, or name its socket with --socket; what only it knows was not looked at",
    };
    let asked = crate::failure::asked(error);
    let gone =
        matches!(error, ClientError::Unreachable(_, cause) if cause.kind() != ErrorKind::PermissionDenied);
    match gone.then(log::last_words).flatten() {
        Some(words) => Finding::failure("daemon", format!("{asked}; its last words: {words}"), mend),
        None => Finding::failure("daemon", asked, mend),
    }
}

/// What holds where the daemon was told nothing else.
fn without_daemon() -> Host {
    let path = std::env::var("PATH").unwrap_or_default();
    let found =
        |name: &str| std::env::split_paths(&path).map(|dir| dir.join(name)).find(|program| program.is_file());
    let libexec = program::libexec();
    let setup = SetupView {
        writer: libexec.join("colibri-writer"),
        fetcher: libexec.join("colibri-fetcher"),
        bw: found("bw").unwrap_or_else(|| PathBuf::from("/usr/local/bin/bw")),
        node: found("node"),
        bwrap: found("bwrap").unwrap_or_else(|| PathBuf::from("/usr/bin/bwrap")),
        path,
        ..SetupView::default()
    };
    Host { setup, base: PathBuf::new(), user: "_colibri".into(), tenants: Vec::new(), daemon: None }
}
