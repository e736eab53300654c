//! One writer process: its order in its arguments, the pair's socket as its
//! standard input, its report on its standard output, nothing else.

use crate::child;
use crate::leaving::Leaving;
use colibri_pair::{Failure, MAX_REPORT, Order, Report};
use colibri_tenant::{ErrorName, Fault, JailName};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;
use tokio::process::{Child, ChildStdout};
use tokio::time::{Instant, sleep_until};

/// That it is ready, what came of it, and that this could not be said.
const MAX_REPORTS: usize = 3;

/// A writer's failure, and how far it had come.
#[derive(Debug)]
pub struct Failed {
    /// What the writer says, or what became of it.
    pub fault: Fault,
    /// How far it had come.
    pub reached: Reached,
}

/// How far a writer came that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    /// It never had the target directory ready, so it read no pair and wrote nothing.
    Nothing,
    /// It was ready, or nobody knows: the new file may be in place.
    Unknown,
}

impl Failed {
    fn unknown(fault: Fault) -> Self {
        Self { fault, reached: Reached::Unknown }
    }

    fn nothing(fault: Fault) -> Self {
        Self { fault, reached: Reached::Nothing }
    }
}

impl From<Failed> for Fault {
    fn from(failed: Failed) -> Self {
        failed.fault
    }
}

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
    ) -> Result<Report, Failed> {
        self.run_while(order, stdin, sleep_until(deadline)).await
    }

    /// The same for as long as there is patience.
    ///
    /// # Errors
    /// As [`Run::run`].
    pub async fn run_while(
        &self,
        order: &Order,
        stdin: Option<OwnedFd>,
        patience: impl Future<Output = ()>,
    ) -> Result<Report, Failed> {
        self.leaving.none(self.jail).map_err(Failed::unknown)?;
        let mut writer = start(self.program, order, stdin).map_err(Failed::nothing)?;
        let ended = tokio::select! {
            report = finish(&mut writer) => Some(report),
            () = patience => None,
        };
        match ended {
            Some(report) => report,
            None => {
                self.leaving.kill(self.jail, writer).await.map_err(Failed::unknown)?;
                let late = fault(ErrorName::DeadlineExceeded, "the writer was not done at the deadline");
                Err(Failed::unknown(late))
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

async fn finish(writer: &mut Child) -> Result<Report, Failed> {
    let reports = match writer.stdout.take() {
        Some(pipe) => reports(pipe).await,
        None => Vec::new(),
    };
    let status = writer.wait().await;
    judge(reports, &status.map_or_else(|error| error.to_string(), |status| status.to_string()))
}

/// A failure that is the first word of a writer came before it was ready.
fn judge(mut reports: Vec<Report>, status: &str) -> Result<Report, Failed> {
    match (reports.pop(), reports.is_empty()) {
        (Some(Report::Failed { kind, message }), true) => Err(Failed::nothing(fault(name(kind), &message))),
        (Some(Report::Failed { kind, message }), false) => Err(Failed::unknown(fault(name(kind), &message))),
        (Some(Report::Ready) | None, _) => {
            let message = format!("the writer ended without a report: {status}");
            Err(Failed::unknown(fault(ErrorName::WriteFailed, &message)))
        }
        (Some(report), _) => Ok(report),
    }
}

/// What the writer says in order; nothing, if it is not to be read.
async fn reports(mut from: ChildStdout) -> Vec<Report> {
    let mut all = Vec::new();
    loop {
        match colibri_session::recv_from(&mut from, MAX_REPORT).await {
            Ok(Some(report)) if all.len() < MAX_REPORTS => all.push(report),
            Ok(None) => return all,
            Ok(Some(_)) | Err(_) => return Vec::new(),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(kind: Failure) -> Report {
        Report::Failed { kind, message: "why".into() }
    }

    #[test]
    fn a_writer_that_failed_before_it_was_ready_wrote_nothing() {
        let reached = |reports| judge(reports, "exit status: 1").map_err(|failed| failed.reached);
        for kind in [Failure::WriteFailed, Failure::ProtocolViolation, Failure::TargetEscapesRoot] {
            assert_eq!(reached(vec![failed(kind)]), Err(Reached::Nothing), "{kind:?}");
            assert_eq!(reached(vec![Report::Ready, failed(kind)]), Err(Reached::Unknown), "{kind:?}");
        }
        for unheard in [vec![], vec![Report::Ready]] {
            assert_eq!(reached(unheard), Err(Reached::Unknown));
        }
        assert_eq!(reached(vec![Report::Ready, Report::Removed]), Ok(Report::Removed));
    }
}
