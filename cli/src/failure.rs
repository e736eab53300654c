//! How colibri fails: one line that says what happened, one that says what to
//! do, and an exit status that a script can rely on.

use colibri_control::ClientError;
use colibri_tenant::{ErrorName, Fault, TenantId, plain};
use std::process::ExitCode;

/// The exit statuses, for `--help` and the manual.
pub const EXIT_STATUS: &str = "\
Exit status:
  0  done
  1  refused or failed; the message names the error
  2  wrong usage
  3  the daemon cannot be reached, or has gone
  4  no such tenant or agent
  5  a provision failed; the old file, if any, stays";

/// What is done with several tenants, one after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// `provision --all`.
    Provision,
    /// `remove`.
    Remove,
    /// `apply`.
    Apply,
}

impl Work {
    /// What became of those that it succeeded with.
    const fn done(self) -> &'static str {
        match self {
            Self::Provision => "provisioned",
            Self::Remove => "removed",
            Self::Apply => "made what the file says",
        }
    }

    /// A failure, if there are those that it failed with, of so many.
    ///
    /// # Errors
    /// `Several`.
    pub fn all(self, of: usize, failed: Vec<(TenantId, Fault)>) -> Result<(), Failure> {
        if failed.is_empty() { Ok(()) } else { Err(Failure::Several { work: self, failed, of }) }
    }
}

/// Why colibri ends with another status than 0.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The daemon could not be asked, or refused.
    #[error("{}", asked(.0))]
    Client(#[from] ClientError),
    /// The daemon tried, and the tenant has not got its secrets.
    #[error("{tenant} was not provisioned: {}", reason(fault.as_deref()))]
    Provision {
        /// Who.
        tenant: TenantId,
        /// Why, if the daemon says.
        fault: Option<Box<Fault>>,
    },
    /// The daemon tried several, and some of them failed.
    #[error("{} of {of} tenants were not {}", failed.len(), work.done())]
    Several {
        /// What was done with them.
        work: Work,
        /// Who, and why.
        failed: Vec<(TenantId, Fault)>,
        /// How many were tried.
        of: usize,
    },
    /// An argument that only the daemon's rules forbid.
    #[error("{0}")]
    Usage(String),
    /// The file of `apply` cannot be read, or asks for what cannot be.
    #[error("{0}")]
    File(String),
    /// Doctor found something.
    #[error("{failed} of {of} checks failed")]
    Unwell {
        /// Checks that failed.
        failed: usize,
        /// All checks.
        of: usize,
    },
    /// Init makes a user and what is root's.
    #[error("init has to be run as root")]
    NotRoot,
    /// Init could not make something.
    #[error("cannot make {0}: {1}")]
    Make(String, std::io::Error),
    /// A file of others does not get our line.
    #[error("cannot change {0}: {1}")]
    Change(String, std::io::Error),
    /// Standard output cannot be written.
    #[error("cannot write the answer: {0}")]
    Output(#[from] std::io::Error),
    /// The answer cannot be written as JSON.
    #[error("cannot write the answer as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl Failure {
    /// Prints it, and gives the exit status.
    pub fn tell(&self, json: bool) -> ExitCode {
        let advice = self.advice();
        if json {
            let name = self.name().map(ErrorName::as_str);
            let mut error = serde_json::json!({ "name": name, "message": self.message(), "advice": advice });
            if let Self::Several { failed, .. } = self {
                error["failed"] = failed.iter().map(|(tenant, fault)| failed_one(tenant, fault)).collect();
            }
            eprintln!("{}", serde_json::json!({ "error": error }));
        } else {
            eprintln!("colibri: {self}");
            if let Self::Several { failed, .. } = self {
                eprint!("{}", by_advice(failed));
            }
            if let Some(advice) = advice {
                eprintln!("  {}", plain(&advice));
            }
        }
        ExitCode::from(self.status())
    }

    fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Client(ClientError::Refused(fault)) => Some(fault),
            Self::Provision { fault, .. } => fault.as_deref(),
            _ => None,
        }
    }

    /// What happened, without the name, which has a field of its own.
    fn message(&self) -> String {
        match self {
            Self::Client(ClientError::Refused(fault)) => fault.message.clone(),
            Self::Provision { tenant, fault: Some(fault) } => {
                format!("{tenant} was not provisioned: {}", fault.message)
            }
            _ => self.to_string(),
        }
    }

    fn name(&self) -> Option<ErrorName> {
        match self {
            Self::Client(ClientError::Unreachable(..) | ClientError::Closed | ClientError::Broken(_)) => {
                Some(ErrorName::DaemonUnreachable)
            }
            _ => self.fault().map(|fault| fault.name),
        }
    }

    fn advice(&self) -> Option<String> {
        match (self, self.fault()) {
            (_, Some(fault)) => Some(fault.advice.clone()),
            (Self::Client(ClientError::Unreachable(_, error)), _) => Some(match error.kind() {
                std::io::ErrorKind::PermissionDenied => ErrorName::NotAllowed.advice().into(),
                _ => "start colibrid (`colibri doctor` has its last words), or name its socket with --socket or \
                      COLIBRI_SOCKET"
                    .into(),
            }),
            (Self::Client(ClientError::Closed | ClientError::Broken(_)), _) => {
                Some("see whether colibrid still runs, and its log".into())
            }
            (Self::NotRoot, _) => Some("see what it would make with `colibri init --dry-run`".into()),
            (Self::Usage(_), _) => Some("see `colibri help`".into()),
            (Self::Change(..), _) => {
                Some("`colibri jail-conf NAME` prints the line, to be put there by hand".into())
            }
            (Self::File(_), _) => Some("see `colibri help apply`".into()),
            (Self::Client(ClientError::Protocol), _) => {
                Some("name colibrid's own socket, and install colibri and colibrid together".into())
            }
            _ => None,
        }
    }

    fn status(&self) -> u8 {
        match (self, self.name()) {
            (Self::Usage(_) | Self::File(_), _) => 2,
            (_, Some(ErrorName::DaemonUnreachable)) => 3,
            (_, Some(ErrorName::TenantNotFound | ErrorName::AgentNotFound)) => 4,
            (Self::Provision { .. } | Self::Several { work: Work::Provision, .. }, _) => 5,
            _ => 1,
        }
    }
}

/// What happened to the connection, with its cause.
pub fn asked(error: &ClientError) -> String {
    match error {
        ClientError::Unreachable(_, source) | ClientError::Broken(source) => format!("{error}: {source}"),
        _ => error.to_string(),
    }
}

fn failed_one(tenant: &TenantId, fault: &Fault) -> serde_json::Value {
    serde_json::json!({
        "tenant": tenant, "name": fault.name, "message": fault.message, "advice": fault.advice,
    })
}

/// Who failed and why, those with the same advice together, and it once below them.
fn by_advice(failed: &[(TenantId, Fault)]) -> String {
    let mut groups: Vec<(&str, Vec<String>)> = Vec::new();
    for (tenant, fault) in failed {
        let line = plain(&format!("{tenant}: {fault}"));
        match groups.iter_mut().find(|(advice, _)| *advice == fault.advice) {
            Some((_, lines)) => lines.push(line),
            None => groups.push((&fault.advice, vec![line])),
        }
    }
    groups.iter().fold(String::new(), |text, (advice, lines)| {
        format!("{text}  {}\n    {advice}\n", lines.join("\n  "))
    })
}

fn reason(fault: Option<&Fault>) -> String {
    fault.map_or_else(|| "no reason is known".into(), ToString::to_string)
}
