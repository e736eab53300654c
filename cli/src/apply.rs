//! `colibri apply` and `export`: tenants as one file. What would change is shown
//! first, and nothing is changed without `--yes`, nor removed without `--prune`.

mod file;
mod hidden;

use self::file::{File, FileError, Wanted};
use crate::failure::{Failure, Work};
use colibri_control::{
    Answer, Client, ClientError, PlanStep as Step, Registrations, Request, Secrets, Unwanted, plan,
};
use colibri_tenant::{Fault, TenantId, plain};
use std::fmt::Write;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Far more than ten thousand tenants take.
const MAX_FILE: u64 = 16 * 1024 * 1024;

/// What was asked for.
pub struct Asked {
    /// The file; `-` is standard input.
    pub file: PathBuf,
    /// Whether it is to be changed.
    pub yes: bool,
    /// Whether what the file does not name is to be removed.
    pub prune: bool,
}

/// What the daemon has, and what the file asks for.
struct Both {
    base: PathBuf,
    wanted: Wanted,
    actual: Registrations,
}

/// Shows the plan, and carries it out if that was asked for.
///
/// # Errors
/// The file's, the daemon's, or that steps failed.
pub fn run(asked: &Asked, socket: &Path, json: bool) -> Result<(), Failure> {
    let wrong = |error: FileError| {
        Failure::File(format!("{}: {}", asked.file.display(), error.to_string().trim_end()))
    };
    let text = read(&asked.file)
        .map_err(|error| Failure::File(format!("cannot read {}: {error}", asked.file.display())))?;
    let mut wanted = File::parse(&text).map_err(wrong)?.wanted(names).map_err(wrong)?;
    let mut client = crate::connect(socket)?;
    let base = base(&mut client)?;
    wanted.tenants.values_mut().for_each(|one| one.root = below(&base, &one.root));
    let both = Both { base, wanted, actual: registrations(&mut client)? };
    let steps = both.steps(asked.prune)?;
    if !json {
        crate::print(&both.shown(&steps, asked))?;
    }
    let failed = if asked.yes { carry_out(&mut client, &steps)? } else { Vec::new() };
    if json {
        let told = serde_json::json!({ "plan": steps, "applied": asked.yes });
        crate::print(&format!("{}\n", serde_json::to_string_pretty(&told)?))?;
    }
    if asked.yes && !json {
        crate::print(&format!("{} changed\n", steps.len() - failed.len()))?;
    }
    Work::Apply.all(steps.len(), failed)
}

/// Prints the file that asks for what is there.
///
/// # Errors
/// The daemon's.
pub fn export(socket: &Path, json: bool) -> Result<(), Failure> {
    let mut client = crate::connect(socket)?;
    let tenants = registrations(&mut client)?;
    if json {
        let told = serde_json::json!({ "registrations": tenants });
        return crate::print(&format!("{}\n", serde_json::to_string_pretty(&told)?));
    }
    let text = file::text(&tenants).map_err(|error| Failure::Output(std::io::Error::other(error)))?;
    crate::print(&format!("# The tenants of this host, as `colibri apply` reads them.\n\n{text}"))
}

impl Both {
    fn steps(&self, prune: bool) -> Result<Vec<Step>, Failure> {
        let empty = self.wanted.patterns.iter().find(|(_, found)| *found == 0);
        if let Some((pattern, _)) = empty.filter(|_| prune) {
            return Err(Failure::Usage(format!(
                "--prune: nothing matches [tenant.\"{pattern}\"], as if its directory were not mounted; \
                 remove tenants with `colibri remove`"
            )));
        }
        let unwanted = if prune { Unwanted::Goes } else { Unwanted::Stays };
        let mut steps = plan(&self.wanted.tenants, &self.actual, unwanted);
        // A directory that is not there may only not be mounted.
        steps.retain(|step| match step {
            Step::Remove { tenant } => !self.wanted.is_of_a_pattern(tenant),
            Step::Update { .. } | Step::Register { .. } => true,
        });
        Ok(steps)
    }

    /// The plan as an operator reads it.
    fn shown(&self, steps: &[Step], asked: &Asked) -> String {
        let mut text = String::new();
        for step in steps {
            let line = match step {
                Step::Remove { tenant } => format!("- {tenant}: remove, with its file"),
                Step::Update { tenant, root, changes } => {
                    let root = root.iter().map(|root| format!("root = {root:?}{}", self.doubt(root)));
                    let changes = changes.iter().map(|(name, value)| changed(name, value));
                    format!("~ {tenant}: {}", root.chain(changes).collect::<Vec<_>>().join(", "))
                }
                Step::Register { tenant, registration } => {
                    let root = &registration.root;
                    format!("+ {tenant}: register at {}{}", root.display(), self.doubt(root))
                }
            };
            let _ = writeln!(text, "{}", plain(&line));
        }
        for (tenant, why) in self.left_alone(steps) {
            let _ = writeln!(text, "? {tenant}: {why}");
        }
        for (pattern, _) in self.wanted.patterns.iter().filter(|(_, found)| *found == 0) {
            let line = format!("? [tenant.\"{pattern}\"]: no directory of such a name has a root in it");
            let _ = writeln!(text, "{}", plain(&line));
        }
        let right = self.wanted.tenants.len() - steps.iter().filter(|step| !is_removal(step)).count();
        let _ = writeln!(text, "{right} as the file says, {} to change", steps.len());
        if !asked.yes && !steps.is_empty() {
            text.push_str("nothing was changed: add --yes to change it\n");
        }
        text
    }

    /// What will be refused, or may be a slip of the hand, as far as it is seen here.
    fn doubt(&self, root: &Path) -> String {
        if !root.starts_with(&self.base) || root == self.base {
            return format!(" (refused: it is not below {})", self.base.display());
        }
        let gone = root.symlink_metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
        if gone { " (it is not there yet)".into() } else { String::new() }
    }

    /// Tenants that the file does not ask for and that stay, and why.
    fn left_alone(&self, steps: &[Step]) -> Vec<(&TenantId, &'static str)> {
        let goes = |id: &TenantId| steps.iter().any(|step| is_removal(step) && step.tenant() == id);
        let unnamed = self.actual.keys().filter(|id| !self.wanted.tenants.contains_key(id) && !goes(id));
        let why = |id: &TenantId| match self.wanted.is_of_a_pattern(id) {
            true => "stays: a pattern is for it, and its directory is not there",
            false => "stays: the file does not name it; --prune would remove it",
        };
        unnamed.map(|id| (id, why(id))).collect()
    }
}

fn changed(name: &str, value: &serde_json::Value) -> String {
    if value.is_null() { format!("{name} as by default") } else { format!("{name} = {value}") }
}

const fn is_removal(step: &Step) -> bool {
    matches!(step, Step::Remove { .. })
}

fn carry_out(client: &mut Client, steps: &[Step]) -> Result<Vec<(TenantId, Fault)>, Failure> {
    let mut failed = Vec::new();
    for step in steps {
        match client.call(request(step.clone())) {
            Ok(_) => {}
            Err(ClientError::Refused(fault)) => failed.push((step.tenant().clone(), fault)),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(failed)
}

fn request(step: Step) -> Request {
    match step {
        Step::Remove { tenant } => Request::RemoveTenant { tenant, secrets: Secrets::There },
        Step::Update { tenant, root, changes } => {
            Request::UpdateTenant { tenant, root, changes, secrets: Secrets::There, dry_run: false }
        }
        Step::Register { tenant, registration } => Request::RegisterTenant {
            tenant,
            root: registration.root,
            settings: Box::new(registration.settings),
        },
    }
}

fn base(client: &mut Client) -> Result<PathBuf, Failure> {
    match client.call(Request::Status {})? {
        Answer::Status(status) => Ok(status.base),
        _ => Err(ClientError::Protocol.into()),
    }
}

fn registrations(client: &mut Client) -> Result<Registrations, Failure> {
    match client.call(Request::ListRegistrations {})? {
        Answer::Registrations(all) => Ok(all),
        _ => Err(ClientError::Protocol.into()),
    }
}

/// A root below another spelling of the base, as the daemon has it.
fn below(base: &Path, root: &Path) -> PathBuf {
    let is_base = |above: &&Path| above.canonicalize().is_ok_and(|found| found == base);
    let above = root.ancestors().skip(1).find(is_base);
    above.and_then(|above| root.strip_prefix(above).ok()).map_or_else(|| root.into(), |rest| base.join(rest))
}

fn names(dir: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        // A name that is not UTF-8 is no jail's.
        names.extend(entry?.file_name().into_string());
    }
    Ok(names)
}

fn read(file: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    match file.to_str() {
        Some("-") => std::io::stdin().take(MAX_FILE + 1).read_to_string(&mut text)?,
        _ => std::fs::File::open(file)?.take(MAX_FILE + 1).read_to_string(&mut text)?,
    };
    match text.len() as u64 > MAX_FILE {
        true => Err(std::io::Error::other(format!("it is longer than {MAX_FILE} bytes"))),
        false => Ok(text),
    }
}
