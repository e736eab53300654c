//! colibri: what an operator says to colibrid. It never takes or sees a
//! credential, and no answer holds a secret.

mod arguments;
mod failure;
mod screen;
mod wait;

use arguments::{Arguments, Verb};
use clap::Parser;
use colibri_control::{Answer, Client, Outcome, Request};
use failure::Failure;
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let json = arguments.json;
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(json),
    }
}

fn run(arguments: Arguments) -> Result<(), Failure> {
    let patience = arguments.verb.patience();
    let watching = matches!(arguments.verb, Verb::Watch);
    let request = arguments.verb.into_request()?;
    let mut client = Client::connect(&arguments.socket)?;
    client.set_timeout(patience)?;
    let answer = wait::with_progress(&request, || client.call(request.clone()))?;
    if watching {
        return watch(&mut client, arguments.json);
    }
    show(&answer, arguments.json)?;
    judge(&request, answer)
}

fn watch(client: &mut Client, json: bool) -> Result<(), Failure> {
    loop {
        let event = client.next_event()?;
        let line = if json { serde_json::to_string(&event)? } else { screen::event(&event) };
        print(&format!("{line}\n"))?;
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
