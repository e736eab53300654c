//! `colibri report`: one page that holds what the daemon knows, and what the
//! sandbox's proof says on this host. It needs no network and runs no script.

mod chart;
mod page;

use crate::failure::Failure;
use crate::stray::{self, Stray};
use colibri_control::{Answer, Client, ClientError, Provision, Request, StatusView, TenantView};
use nix::unistd::geteuid;
use serde::Deserialize;
use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What the page shows. Times are milliseconds since 1970.
struct Report {
    now: u64,
    status: StatusView,
    tenants: Vec<TenantView>,
    /// All that is kept, newest first.
    history: Vec<Provision>,
    /// Jails that are no tenants and hold a tenant's secrets: name, what was found,
    /// what to do.
    strays: Vec<(String, String, String)>,
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
    write(file, &text).map_err(|error| Failure::Make(file.display().to_string(), error))
}

/// Puts a new file there, 0600, in place of at most an older report of our own: root
/// owns more than it wants to lose.
fn write(file: &Path, text: &str) -> io::Result<()> {
    let refused = |why: &str| Err(io::Error::other(why));
    let dir = file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let found = dir.metadata()?;
    if !ours(&found) || (found.mode() & 0o022 != 0 && found.mode() & 0o1000 == 0) {
        return refused("others can replace files in its directory: name another");
    }
    match file.symlink_metadata() {
        Ok(there) if !there.is_file() => return refused("what is there is not a file: name another"),
        Ok(there) if there.uid() != geteuid().as_raw() => {
            return refused("somebody else's file is there: name another");
        }
        Ok(there) if there.len() > 0 && !is_report(file)? => {
            return refused("the file that is there is no report: name another, or remove it");
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    // Made with O_EXCL, and renamed: nothing is written into what was there.
    let mut page = tempfile::Builder::new().prefix(".colibri-report.").tempfile_in(dir)?;
    page.write_all(text.as_bytes())?;
    page.as_file().sync_all()?;
    page.persist(file).map(drop).map_err(|error| error.error)
}

fn is_report(file: &Path) -> io::Result<bool> {
    let mut head = Vec::new();
    File::open(file)?.take(page::HEAD).read_to_end(&mut head)?;
    Ok(String::from_utf8_lossy(&head).contains(page::TITLE))
}

fn ours(found: &Metadata) -> bool {
    found.uid() == 0 || found.uid() == geteuid().as_raw()
}

fn gather(socket: &Path) -> Result<Report, Failure> {
    let mut client = Client::connect(socket)?;
    client.set_timeout(Some(Duration::from_secs(60)))?;
    let Answer::Status(status) = client.call(Request::Status {})? else { return Err(other()) };
    let Answer::Tenants(tenants) = client.call(Request::ListTenants {})? else { return Err(other()) };
    let Answer::Provisions(history) = client.call(Request::History { tenant: None, limit: 0 })? else {
        return Err(other());
    };
    let stray = |(name, stray): (String, Stray)| {
        let advice = stray.advice(&name, &tenants, Some(&mut client));
        (name, stray.found(), advice)
    };
    let strays = stray::below(&status.base, &tenants).into_iter().map(stray).collect();
    let proof = prove(&status.setup.writer);
    Ok(Report { now: crate::now(), status: *status, tenants, history, strays, proof })
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn the_page_replaces_an_older_one_and_is_written_into_none() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("report.html");
        let (one, two) = (format!("{}one", page::TITLE), format!("{}two", page::TITLE));
        fs::write(&file, "").unwrap();
        write(&file, &one).unwrap();
        let reader = fs::File::open(&file).unwrap();
        write(&file, &two).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), two);
        assert_eq!(io::read_to_string(reader).unwrap(), one);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_somebody_put_there_is_refused_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        fs::write(&victim, "kept").unwrap();
        assert!(write(&victim, "page").unwrap_err().to_string().contains("no report"));
        for (name, make) in [
            ("link", Box::new(|at: &Path| symlink(&victim, at)) as Box<dyn Fn(&Path) -> io::Result<()>>),
            ("dangling", Box::new(|at: &Path| symlink("nowhere", at))),
            ("pipe", Box::new(|at: &Path| Ok(nix::unistd::mkfifo(at, nix::sys::stat::Mode::S_IRWXU)?))),
            ("dir", Box::new(|at: &Path| fs::create_dir(at))),
        ] {
            let file = dir.path().join(name);
            make(&file).unwrap();
            assert!(write(&file, "page").unwrap_err().to_string().contains("not a file"), "{name}");
        }
        assert_eq!(fs::read_to_string(&victim).unwrap(), "kept");
        assert!(!dir.path().join("nowhere").exists());
        // The control: whoever opens the name writes into what is behind it.
        fs::write(dir.path().join("link"), "page").unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "page");
        fs::write(&victim, "kept").unwrap();
        if geteuid().is_root() {
            std::os::unix::fs::chown(&victim, Some(65534), None).unwrap();
            assert!(write(&victim, "page").unwrap_err().to_string().contains("somebody else's"));
            assert_eq!(fs::read_to_string(&victim).unwrap(), "kept");
        }
        fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
        let free = dir.path().join("free.html");
        assert!(write(&free, "page").unwrap_err().to_string().contains("directory"));
        fs::set_permissions(dir.path(), Permissions::from_mode(0o1777)).unwrap();
        write(&free, "page").unwrap();
    }
}
