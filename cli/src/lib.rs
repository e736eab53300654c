//! colibri: what an operator says to colibrid. It never takes or sees a
//! credential, and no answer holds a secret.

mod apply;
mod arguments;
mod completions;
mod doctor;
mod failure;
mod init;
mod jail_conf;
mod remove;
mod report;
mod screen;
mod stray;
mod wait;

use arguments::{Arguments, Asked, Shell, Verb};
use clap::{CommandFactory, Parser};
use colibri_control::{Answer, Client, ClientError, HookResult, Provision, Request, SpawnView};
use colibri_tenant::{ErrorName, Fault, JailName, Status, TenantId};
use failure::{Failure, Work};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

/// What the daemon answers without the vault it answers within this, if it answers.
const AT_ONCE: Duration = Duration::from_secs(10);

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
        Verb::Apply { file, yes, prune } => apply::run(&apply::Asked { file, yes, prune }, &socket, json),
        Verb::JailConf { jail_name, file, write } => {
            jail_conf::run(jail_conf::Asked { jail: jail_name, file, write }, &socket)
        }
        Verb::Export => apply::export(&socket, json),
        Verb::Remove { tenants, all: _, yes, secrets_are_gone } => {
            let plan = remove::Plan { tenants, yes, secrets: arguments::secrets(secrets_are_gone) };
            plan.run(&socket, json)
        }
        Verb::Report { html } => report::run(&socket, &html),
        Verb::Completions { shell } => completions(shell),
    }
}

fn ask(asked: Asked, socket: &Path, json: bool) -> Result<(), Failure> {
    let patience = asked.patience();
    let watching = matches!(asked, Asked::Watch);
    let names = !json && matches!(asked, Asked::ListTenants { names: true });
    let request = asked.into_request()?;
    let mut client = connect(socket)?;
    let patience = match &request {
        Request::Hook { jail, .. } => Some(hooked(&mut client, jail)?),
        _ => patience,
    };
    client.set_timeout(patience)?;
    let answer = wait::with_progress(&request, || client.call(request.clone()))?;
    if watching {
        return watch(&mut client, json);
    }
    if let (true, Answer::Tenants(tenants)) = (names, &answer) {
        return print(&screen::names(tenants));
    }
    show(&request, &answer, json)?;
    no_tenant(&request, &answer, &mut client);
    missing_root(&request, json);
    follows(&request, &answer, json);
    judge(&request, answer)
}

/// How long the hook waits, on which a jail's start hangs: for the tenant's deadline, by
/// which the daemon answers, and not for a daemon that answers nothing at all.
///
/// # Errors
/// What happened to the connection.
fn hooked(client: &mut Client, jail: &JailName) -> Result<Duration, ClientError> {
    client.set_timeout(Some(AT_ONCE))?;
    match client.call(Request::ShowTenant { tenant: jail.clone() }) {
        Ok(Answer::Tenant(tenant)) => {
            let deadline = tenant.settings.deadline.unwrap_or_default();
            Ok(AT_ONCE + Duration::from_secs(deadline.into()))
        }
        Ok(_) => Err(ClientError::Protocol),
        // Nobody has to wait for what is not brought.
        Err(error) if error.is_refusal() => Ok(AT_ONCE),
        Err(error) => Err(error),
    }
}

/// An agent that fails as soon as it starts, such as a program that is not there.
fn ended_at_once(spawned: SpawnView) -> Result<(), Failure> {
    let agent = spawned.agent;
    let how = match (agent.exit_code, agent.signal) {
        (Some(0) | None, None) => return Ok(()),
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
    };
    let words = spawned.last_words.map(|words| format!("; its log ends: {words}")).unwrap_or_default();
    let message = format!("the agent of {} ended at once with {how}{words}", agent.jail);
    Err(Failure::Client(ClientError::Refused(Fault::new(ErrorName::AgentFailed, message))))
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
    print(&completions::script(shell, &mut command()))
}

fn watch(client: &mut Client, json: bool) -> Result<(), Failure> {
    loop {
        let event = client.next_event()?;
        let line = if json { serde_json::to_string(&event)? } else { screen::event(&event, now()) };
        print(&format!("{line}\n"))?;
    }
}

/// Milliseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or_default()
}

/// That the file changes by an update, and when, is not seen in the settings.
fn follows(request: &Request, answer: &Answer, json: bool) {
    let (Request::UpdateTenant { .. }, Answer::Tenant(tenant), false) = (request, answer, json) else {
        return;
    };
    let name = &tenant.tenant;
    if tenant.status == Status::Active {
        eprintln!(
            "colibri: note: its secrets are brought anew now, by these settings; see `colibri history {name}`"
        );
    } else if tenant.last_error.is_some() {
        eprintln!(
            "colibri: note: the error is from before this change; `colibri provision {name}` tries it now"
        );
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

/// A jail whose name is no tenant starts without secrets, or with those of the jail
/// that it was cloned from or was before. Said in JSON's case, too: nobody else does.
fn no_tenant(request: &Request, answer: &Answer, client: &mut Client) {
    let (Request::Hook { jail, root } | Request::SpawnAgent { jail, root, .. }) = request else { return };
    if screen::hook(answer).is_none_or(|hook| hook.result != HookResult::NoTenant) {
        return;
    }
    // Without the tenants there is less to be said, but the warning all the same.
    let tenants = match client.call(Request::ListTenants {}) {
        Ok(Answer::Tenants(tenants)) => tenants,
        _ => Vec::new(),
    };
    let stray = stray::in_root(root, &tenants).map(|stray| {
        let advice = stray.advice(jail.as_str(), &tenants, Some(client));
        (stray, advice)
    });
    screen::no_tenant(jail, stray.as_ref());
}

fn show(request: &Request, answer: &Answer, json: bool) -> Result<(), Failure> {
    if json {
        return print(&format!("{}\n", serde_json::to_string_pretty(answer)?));
    }
    let table = screen::answer(answer);
    match (request, answer) {
        (Request::History { .. }, Answer::Provisions(history)) => print(&(table + &screen::reasons(history))),
        // What is known without the vault is no news of it.
        (Request::KnownCollections {}, _) => print(&table),
        _ => {
            screen::warnings(answer);
            print(&table)
        }
    }
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
    let provisions = match (request, answer) {
        (Request::Provision { .. }, Answer::Provisions(provisions)) => provisions,
        (_, Answer::Spawned(spawned)) => return ended_at_once(*spawned),
        _ => return Ok(()),
    };
    let of = provisions.len();
    let failed: Vec<_> = provisions.into_iter().filter(Provision::has_failed).collect();
    match failed.as_slice() {
        [one] if of == 1 => {
            Err(Failure::Provision { tenant: one.tenant.clone(), fault: one.error.clone().map(Box::new) })
        }
        _ => Work::Provision.all(of, failed.into_iter().map(fault).collect()),
    }
}

fn fault(provision: Provision) -> (TenantId, Fault) {
    let unknown = || Fault::new(ErrorName::ProtocolViolation, "no reason is known");
    (provision.tenant, provision.error.unwrap_or_else(unknown))
}
