//! One writer process: its order in its arguments, the pair's socket as its
//! standard input, its report on its standard output, nothing else.

use crate::leaving::Leaving;
use crate::{child, frame};
use colibri_control::{ErrorName, Fault, JailName};
use colibri_ipc::{Failure, MAX_REPORT, Report};
use colibri_order::Order;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;
use tokio::process::{Child, ChildStdout};
use tokio::time::{Instant, timeout_at};

/// A writer about to be run for a jail.
#[derive(Debug)]
pub struct Run<'a> {
    /// The program.
    pub program: &'a Path,
    /// The jail.
    pub jail: &'a JailName,
    /// Where one goes that does not end.
    pub leaving: &'a Leaving,
}

impl Run<'_> {
    /// Runs it to its end, or to the deadline: then it is killed, and left behind
    /// if it cannot be.
    ///
    /// # Errors
    /// What the writer says, or what became of it.
    pub async fn run(
        &self,
        order: &Order,
        stdin: Option<OwnedFd>,
        deadline: Instant,
    ) -> Result<Report, Fault> {
        self.leaving.none(self.jail)?;
        let mut writer = start(self.program, order, stdin)?;
        match timeout_at(deadline, finish(&mut writer)).await {
            Ok(report) => report,
            Err(_) => {
                self.leaving.kill(self.jail, writer).await?;
                Err(fault(ErrorName::DeadlineExceeded, "the writer was not done at the deadline"))
            }
        }
    }
}

fn start(program: &Path, order: &Order, stdin: Option<OwnedFd>) -> Result<Child, Fault> {
    let mut command = child::command(program);
    command.env_clear().args(order.to_args()).process_group(0);
    command.stdin(stdin.map_or_else(Stdio::null, Stdio::from));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    // The child alone holds the pair's end when this returns: its end is the fetcher's.
    let mut writer = command
        .spawn()
        .map_err(|error| fault(ErrorName::WriteFailed, &format!("cannot start the writer: {error}")))?;
    if let Some(stderr) = writer.stderr.take() {
        child::log("writer", writer.id(), stderr);
    }
    Ok(writer)
}

async fn finish(writer: &mut Child) -> Result<Report, Fault> {
    let last = match writer.stdout.take() {
        Some(reports) => last_report(reports).await,
        None => None,
    };
    let status = writer.wait().await.map_err(|error| fault(ErrorName::WriteFailed, &error.to_string()))?;
    match last {
        Some(Report::Failed { kind, message }) => Err(fault(name(kind), &message)),
        Some(Report::Ready) | None => {
            Err(fault(ErrorName::WriteFailed, &format!("the writer ended without a report: {status}")))
        }
        Some(report) => Ok(report),
    }
}

async fn last_report(mut from: ChildStdout) -> Option<Report> {
    let mut last = None;
    while let Ok(Some(bytes)) = frame::recv(&mut from, MAX_REPORT).await {
        match colibri_ipc::decode(&bytes) {
            Ok(report) => last = Some(report),
            Err(_) => return None,
        }
    }
    last
}

const fn name(kind: Failure) -> ErrorName {
    match kind {
        Failure::TargetEscapesRoot => ErrorName::TargetEscapesRoot,
        Failure::RootNotMounted => ErrorName::RootNotMounted,
        Failure::ProtocolViolation => ErrorName::ProtocolViolation,
        Failure::LimitExceeded => ErrorName::LimitExceeded,
        Failure::ReservedKey => ErrorName::ReservedKey,
        Failure::ValueNotCarried => ErrorName::ValueNotCarried,
        Failure::NotTmpfs => ErrorName::NotTmpfs,
        Failure::WriteFailed => ErrorName::WriteFailed,
        Failure::SandboxUnavailable => ErrorName::SandboxUnavailable,
    }
}

fn fault(name: ErrorName, message: &str) -> Fault {
    Fault::new(name, message)
}
