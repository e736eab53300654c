//! Files and directories: owner, mode, and that they are where they should be.

use super::program::FetcherUser;
use super::{Finding, target};
use crate::screen::has_nothing;
use colibri_control::{Client, ClientError, Request, SetupView, TenantView};
use colibri_tenant::{ErrorName, ROOT_INSIDE_IS_ROOT, Status, keeps_others_out};
use std::fs::Metadata;
use std::io::{Error, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const LOOK: &str = "run colibri doctor as root";

/// The file with settings and credentials, from outside.
pub fn provider(file: &Path, has_credentials: bool) -> Finding {
    let name = "provider file";
    let shown = file.display();
    let real = match file.canonicalize() {
        Ok(real) => real,
        Err(error) if error.kind() == ErrorKind::NotFound && has_credentials => {
            return Finding::ok(
                name,
                format!("none at {shown}; colibrid has its credentials from elsewhere"),
            );
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let mend = "run `colibri init` as root, fill it in, and restart colibrid";
            return Finding::failure(name, format!("{shown} is not there"), mend);
        }
        Err(error) => return Finding::warning(name, format!("{shown}: {error}"), LOOK),
    };
    // As colibrid judges it: a link may lead to it, and nobody else may replace it.
    if let Some(finding) = real.ancestors().skip(1).find_map(|dir| replaceable(name, dir)) {
        return finding;
    }
    match real.metadata() {
        Ok(found) if found.mode() & 0o077 != 0 => {
            let mend = format!("chmod 600 {shown}, and change the credentials: others could read them");
            Finding::failure(name, format!("{shown} has mode {:04o}", found.mode() & 0o7777), mend)
        }
        Ok(found) if !ours(&found) => Finding::failure(
            name,
            format!("{shown} is user {}'s", found.uid()),
            format!("chown root {shown}"),
        ),
        Ok(_) => Finding::ok(name, format!("{shown}, for its owner alone")),
        Err(error) => Finding::warning(name, format!("{shown}: {error}"), LOOK),
    }
}

/// A directory in which others can put another file in the provider file's place.
fn replaceable(name: &str, dir: &Path) -> Option<Finding> {
    let found = dir.metadata().ok()?;
    let safe = ours(&found) && (found.mode() & 0o1000 != 0 || found.mode() & 0o022 == 0);
    let shown = dir.display();
    (!safe).then(|| {
        let found = format!(
            "others can replace it: {shown} is user {}'s, mode {:04o}",
            found.uid(),
            found.mode() & 0o7777
        );
        Finding::failure(name, found, format!("chown root {shown} && chmod go-w {shown}"))
    })
}

/// What the daemon uses.
pub fn all(setup: &SetupView, base: &Path, user: &FetcherUser) -> Vec<Finding> {
    let mut findings = vec![
        look("base directory", base, |found| {
            shape(base, found, found.is_dir(), 0o022, "a directory", "go-w")?;
            if ROOT_INSIDE_IS_ROOT { closed(base) } else { Ok(()) }
        }),
        look("database", &setup.database, |found| {
            shape(&setup.database, found, found.is_file(), 0o077, "a file", "600")
        }),
        socket("control socket", &setup.socket, setup.group.is_some()),
    ];
    if let Some(path) = &setup.observe_socket {
        findings.push(socket("observers' socket", path, true));
    }
    findings.extend(session(setup, user));
    if let Some(file) = &setup.ca_file {
        findings.push(ca_file(file, user));
    }
    findings.extend(setup.database.parent().and_then(|dir| target::room_of("state directory", dir)));
    findings.extend(target::room_of("agents' logs", &setup.log_dir));
    let figures = setup.metrics_file.as_deref().and_then(Path::parent);
    findings.extend(figures.and_then(|dir| target::room_of("metrics", dir)));
    findings
}

/// The daemon makes both modes; somebody else would have changed them.
fn socket(name: &str, path: &Path, has_group: bool) -> Finding {
    let (forbidden, mode) = if has_group { (0o007, "660") } else { (0o077, "600") };
    look(name, path, |found| shape(path, found, true, forbidden, "", mode))
}

fn look(name: &str, path: &Path, judge: impl FnOnce(&Metadata) -> Result<(), (String, String)>) -> Finding {
    let shown = path.display();
    match std::fs::metadata(path) {
        Ok(found) => match judge(&found) {
            Ok(()) => Finding::ok(name, format!("{shown}, {:04o}", found.mode() & 0o7777)),
            Err((found, mend)) => Finding::failure(name, found, mend),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Finding::failure(name, format!("{shown} is not there"), "restart colibrid, and see its log")
        }
        Err(error) => unseen(name, path, &error),
    }
}

/// Whether users of the host are kept out of the jails' roots, by the base or a directory
/// above it: what root in a jail makes setuid there is root's on the host.
fn closed(base: &Path) -> Result<(), (String, String)> {
    let closes = |dir: &Path| {
        let found = dir.metadata();
        found.is_ok_and(|found| ours(&found) && keeps_others_out(found.gid(), found.mode()))
    };
    if base.ancestors().any(closes) {
        return Ok(());
    }
    let shown = base.display();
    let found = format!("others can pass through {shown}, and a setuid program in a jail makes them root");
    Err((found, format!("chmod 700 {shown}")))
}

fn unseen(name: &str, path: &Path, error: &Error) -> Finding {
    Finding::warning(name, format!("{}: {error}", path.display()), LOOK)
}

fn shape(
    path: &Path,
    found: &Metadata,
    is_it: bool,
    forbidden: u32,
    kind: &str,
    mode: &str,
) -> Result<(), (String, String)> {
    let shown = path.display();
    if !is_it {
        return Err((format!("{shown} is not {kind}"), format!("move it away and make {kind} there")));
    }
    if !ours(found) {
        return Err((format!("{shown} is user {}'s", found.uid()), format!("chown root {shown}")));
    }
    if found.mode() & forbidden != 0 {
        let mend = format!("chmod {mode} {shown}");
        return Err((format!("{shown} has mode {:04o}", found.mode() & 0o7777), mend));
    }
    Ok(())
}

/// With a jail for `bw` colibrid makes another directory in this one for each session,
/// and lets others pass to it; without one it is the fetcher's itself.
fn session(setup: &SetupView, user: &FetcherUser) -> Vec<Finding> {
    let (name, dir) = ("session directory", &setup.session_dir);
    let owned = |path: &Path, found: &Metadata| {
        let right = user.uid().is_none_or(|uid| uid == found.uid()) && found.mode() & 0o077 == 0;
        if right { Ok(()) } else { Err(anew(path, found)) }
    };
    if setup.bw_jail.is_none() {
        return vec![look(name, dir, |found| owned(dir, found))];
    }
    let passed = |found: &Metadata| {
        let right = ours(found) && found.mode() & 0o777 == 0o711;
        if right { Ok(()) } else { Err(anew(dir, found)) }
    };
    let own = dir.join("bw");
    let mut findings = vec![look(name, dir, passed)];
    if own.symlink_metadata().is_ok() {
        findings.push(look("session of bw", &own, |found| owned(&own, found)));
    }
    findings
}

fn anew(dir: &Path, found: &Metadata) -> (String, String) {
    let seen = format!("{} is user {}'s, mode {:04o}", dir.display(), found.uid(), found.mode() & 0o7777);
    (seen, "restart colibrid, which makes it anew".into())
}

/// By this a certificate is known.
const PEM: &[u8] = b"CERTIFICATE-----";

fn ca_file(file: &Path, user: &FetcherUser) -> Finding {
    let (name, shown) = ("CA file", file.display());
    if user.can("-r", file) {
        let text = if file.is_file() { std::fs::read(file).unwrap_or_default() } else { Vec::new() };
        if text.windows(PEM.len()).any(|part| part == PEM) {
            return Finding::ok(name, shown.to_string());
        }
        let mend =
            format!("put the CA's certificate, as PEM, at {shown}: openssl x509 -in FILE -out {shown}");
        return Finding::failure(name, format!("{shown} has no certificate in PEM"), mend);
    }
    let mend = format!("put the CA's certificate at {shown}, readable for {}, and so its path", user.name());
    Finding::failure(name, format!("{} cannot read {shown}", user.name()), mend)
}

/// Root's, or of the user that asks, as in a trial without root.
fn ours(found: &Metadata) -> bool {
    found.uid() == 0 || found.uid() == nix::unistd::geteuid().as_raw()
}

/// Whether a failure leaves the jail without secrets, or with others than the vault
/// has; else it goes on with those that it had.
fn lacks(tenant: &TenantView, name: ErrorName) -> bool {
    let other = matches!(name, ErrorName::AnswerShrunken | ErrorName::KeyMissing | ErrorName::KeyConflict);
    other || tenant.keys.is_empty()
}

/// What the newest attempt says of items, the first of them.
fn skipped(tenant: &TenantView) -> String {
    match tenant.warnings.as_slice() {
        [] => String::new(),
        [one] => format!("; {one}"),
        [first, more @ ..] => format!("; {first}; and {} more", more.len()),
    }
}

/// A tenant's root, as the daemon looks at it without hanging there, and what is
/// wrong with the tenant. A destroyed one has none.
pub fn tenant(daemon: &mut Client, tenant: &TenantView) -> Option<Finding> {
    if tenant.status == Status::Destroyed {
        return None;
    }
    let name = format!("tenant {}", tenant.tenant);
    Some(match daemon.call(Request::CheckRoot { tenant: tenant.tenant.clone() }) {
        Ok(_) => match &tenant.last_error {
            Some(fault) if lacks(tenant, fault.name) => Finding::fault(&name, fault),
            Some(fault) => Finding::warning(&name, fault.to_string(), fault.advice.clone()),
            None if has_nothing(tenant) => {
                let mend =
                    format!("see which items were skipped, and why: colibri show-tenant {}", tenant.tenant);
                Finding::failure(
                    &name,
                    format!("it was provisioned, and has no keys{}", skipped(tenant)),
                    mend,
                )
            }
            None if tenant.status == Status::Provisioned => {
                let mend = format!("`colibri provision {}`, or start its jail with the hook", tenant.tenant);
                Finding::warning(&name, "registered, and never asked for its secrets", mend)
            }
            None => {
                let found = format!("{}, {}{}", tenant.root.display(), tenant.status, skipped(tenant));
                Finding::ok(&name, found)
            }
        },
        Err(ClientError::Refused(fault)) if fault.name == ErrorName::NotAllowed => {
            Finding::warning(&name, "its root was not looked at: you may not", fault.advice)
        }
        Err(ClientError::Refused(fault)) => Finding::fault(&name, &fault),
        Err(error) => Finding::failure(&name, crate::failure::asked(&error), "see colibrid's log"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{Permissions, create_dir, set_permissions};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_base_that_others_can_pass_is_told_with_its_mend() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("jails");
        create_dir(&base).unwrap();
        let set = |path: &Path, mode| set_permissions(path, Permissions::from_mode(mode)).unwrap();
        set(dir.path(), 0o755);
        for (mode, is_closed) in [(0o755, false), (0o711, false), (0o700, true)] {
            set(&base, mode);
            assert_eq!(closed(&base).is_ok(), is_closed, "{mode:o}");
        }
        set(&base, 0o755);
        assert_eq!(closed(&base).unwrap_err().1, format!("chmod 700 {}", base.display()));
        set(dir.path(), 0o700);
        assert!(closed(&base).is_ok(), "closed above");
    }
}
