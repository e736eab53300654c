//! colibri: what an operator says to colibrid. It never takes or sees a
//! credential, and no answer holds a secret.

mod arguments;
mod doctor;
mod failure;
mod init;
mod report;
mod screen;
mod wait;

use arguments::{Arguments, Asked, Shell, Verb};
use clap::{CommandFactory, Parser};
use colibri_control::{Answer, Client, ClientError, Outcome, Request};
use failure::Failure;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// Runs the program on its arguments.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let json = arguments.json;
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(json),
    }
}

/// The command line as clap knows it, for the manual.
pub fn command() -> clap::Command {
    Arguments::command()
}

fn run(arguments: Arguments) -> Result<(), Failure> {
    let (socket, json) = (arguments.socket, arguments.json);
    match arguments.verb {
        Verb::Asked(asked) => ask(asked, &socket, json),
        Verb::Init { prefix, dry_run } => prepare(&init::Plan { prefix, dry_run }, json),
        Verb::Doctor { provider } => doctor::run(&socket, &provider, json),
        Verb::Report { html } => report::run(&socket, &html),
        Verb::Completions { shell } => completions(shell),
    }
}

fn ask(asked: Asked, socket: &Path, json: bool) -> Result<(), Failure> {
    let patience = asked.patience();
    let watching = matches!(asked, Asked::Watch);
    let request = asked.into_request()?;
    let mut client = connect(socket)?;
    client.set_timeout(patience)?;
    let answer = wait::with_progress(&request, || client.call(request.clone()))?;
    if watching {
        return watch(&mut client, json);
    }
    show(&answer, json)?;
    missing_root(&request, json);
    judge(&request, answer)
}

/// An observer may not go to the one socket, and has another beside it.
fn connect(socket: &Path) -> Result<Client, ClientError> {
    let denied = |error: &ClientError| match error {
        ClientError::Unreachable(_, error) => error.kind() == std::io::ErrorKind::PermissionDenied,
        _ => false,
    };
    let refused = match Client::connect(socket) {
        Err(error) if denied(&error) => error,
        other => return other,
    };
    let beside = || Some(socket.parent()?.parent()?.join("observe").join(socket.file_name()?));
    beside().and_then(|socket| Client::connect(&socket).ok()).ok_or(refused)
}

fn prepare(plan: &init::Plan, json: bool) -> Result<(), Failure> {
    let (steps, next) = (plan.run()?, plan.next());
    if json {
        let both = serde_json::json!({ "steps": steps, "next": next });
        return print(&format!("{}\n", serde_json::to_string_pretty(&both)?));
    }
    print(&init::screen(&steps, &next))
}

fn completions(shell: Shell) -> Result<(), Failure> {
    let shell = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command(), "colibri", &mut text);
    print(&String::from_utf8_lossy(&text))
}

fn watch(client: &mut Client, json: bool) -> Result<(), Failure> {
    loop {
        let event = client.next_event()?;
        let line = if json { serde_json::to_string(&event)? } else { screen::event(&event) };
        print(&format!("{line}\n"))?;
    }
}

/// A tenant may be registered before its jail is made, and by a slip of the hand.
fn missing_root(request: &Request, json: bool) {
    let root = match request {
        Request::RegisterTenant { root, .. } | Request::UpdateTenant { root: Some(root), .. } => root,
        _ => return,
    };
    if !json && root.symlink_metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
        eprintln!("colibri: note: {} is not there yet", root.display());
    }
}

fn show(answer: &Answer, json: bool) -> Result<(), Failure> {
    if json {
        return print(&format!("{}\n", serde_json::to_string_pretty(answer)?));
    }
    screen::warnings(answer);
    print(&screen::answer(answer))
}

/// A reader that has seen enough, such as head(1), is no failure.
fn print(text: &str) -> Result<(), Failure> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

/// What was asked for and did not come about is a failure, though the daemon
/// answered. The hook and spawn-agent fail soft.
fn judge(request: &Request, answer: Answer) -> Result<(), Failure> {
    let (Request::Provision { .. }, Answer::Provisions(provisions)) = (request, answer) else {
        return Ok(());
    };
    let failed = |outcome: Outcome| outcome == Outcome::Failed;
    match provisions.into_iter().find(|provision| failed(provision.outcome)) {
        Some(provision) => {
            Err(Failure::Provision { tenant: provision.tenant, fault: provision.error.map(Box::new) })
        }
        None => Ok(()),
    }
}
