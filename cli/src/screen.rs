//! Answers as an operator reads them: aligned tables as jls(8) and kubectl
//! print them, colour only on a terminal that wants it.

use crate::doctor::{Finding, Verdict};
use crate::stray::Stray;
use colibri_control::{
    AgentState, AgentView, Answer, CollectionsView, Diff, Event, FileDiff, FileView, HookView, Outcome,
    Provision, StatusView, TenantView,
};
use colibri_tenant::{
    AgentNetwork, FileSettings, JailName, KeyCase, Notes, OnChange, OnDuplicate, Settings, Status, plain,
};
use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table, presets};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::io::{IsTerminal, stderr, stdout};
use time::OffsetDateTime;
use time::macros::format_description;

/// Warnings go to standard error, so that standard output stays a table.
pub fn warnings(answer: &Answer) {
    let provisions: Vec<&Provision> = match answer {
        Answer::Tenants(tenants) => return empty(tenants),
        Answer::Diff(diff) => {
            return diff.warnings.iter().for_each(|line| warn(&format!("{}: {line}", diff.tenant)));
        }
        // Of many, those that have no secrets.
        Answer::Collections(seen) => return unseen(seen),
        Answer::Provisions(all) => all.iter().filter(|one| all.len() == 1 || one.keys == 0).collect(),
        _ => hook(answer).and_then(|hook| hook.provision.as_ref()).into_iter().collect(),
    };
    for provision in provisions {
        for warning in &provision.warnings {
            warn(&format!("{}: {warning}", provision.tenant));
        }
        no_keys(provision);
    }
    if let Some(hook) = hook(answer) {
        soft_failure(hook);
    }
}

/// What the hook did, where that was asked for.
pub fn hook(answer: &Answer) -> Option<&HookView> {
    match answer {
        Answer::Hook(hook) => Some(hook),
        Answer::Spawned(spawned) => Some(&spawned.hook),
        _ => None,
    }
}

/// The newest of each tenant, where the list begins with the newest of all.
pub fn newest(provisions: &[Provision]) -> impl Iterator<Item = &Provision> {
    let mut seen = BTreeSet::new();
    provisions.iter().filter(move |provision| seen.insert(provision.tenant.as_str()))
}

fn no_keys(provision: &Provision) {
    if provision.keys == 0 && matches!(provision.outcome, Outcome::Written | Outcome::Unchanged) {
        warn(&format!("{}: no item became a key, so its file holds no secrets", provision.tenant));
    }
}

/// What a list of collections does not show.
fn unseen(seen: &CollectionsView) {
    if seen.names.is_empty() && seen.more == 0 {
        warn("the machine account sees no collection: give it access to one in the vault");
    }
    if seen.more > 0 {
        warn(&format!("{} more have no place in the list, or too long a name", seen.more));
    }
}

/// Tenants that were provisioned and have nothing of it.
fn empty(tenants: &[TenantView]) {
    for tenant in tenants.iter().filter(|tenant| has_nothing(tenant)) {
        let name = &tenant.tenant;
        warn(&format!("{name} is {} and has no keys: see `colibri show-tenant {name}`", tenant.status));
    }
}

/// Whether its file holds no secrets, though a provision came to its end.
pub fn has_nothing(tenant: &TenantView) -> bool {
    tenant.status == Status::Active && tenant.keys.is_empty() && tenant.last_error.is_none()
}

fn soft_failure(hook: &HookView) {
    let failed = hook.provision.as_ref().and_then(|provision| provision.error.as_ref());
    if let Some(fault) = hook.warning.as_ref().or(failed) {
        warn(&fault.to_string());
        eprintln!("  {}", plain(&fault.advice));
    }
}

/// A jail that starts, and no tenant has its name; what to do where its root holds a
/// file of ours.
pub fn no_tenant(jail: &JailName, stray: Option<&(Stray, String)>) {
    warn(&format!("no tenant has the name of the jail {jail}: no secrets were brought"));
    if let Some((stray, advice)) = stray {
        warn(&format!("{jail}: {}", stray.found()));
        eprintln!("  {}", plain(advice));
    }
}

fn warn(text: &str) {
    let text = plain(text);
    let colour = stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    if colour {
        eprintln!("\u{1b}[33mwarning:\u{1b}[0m {text}");
    } else {
        eprintln!("warning: {text}");
    }
}

/// One answer, each line ended.
pub fn answer(answer: &Answer) -> String {
    match answer {
        Answer::Done | Answer::Watching => String::new(),
        Answer::Tenant(tenant) => one_tenant(tenant),
        Answer::Tenants(tenants) => tenant_table(tenants),
        Answer::Files(files) => file_table(files),
        // They are asked for by `apply` and `export` only.
        Answer::Registrations(_) => String::new(),
        Answer::Provisions(provisions) => provision_table(provisions),
        Answer::Hook(hook) => hook.provision.as_ref().map(provision_line).unwrap_or_default(),
        Answer::Spawned(spawned) => format!(
            "{}agent of {} {}, process {}, log {}\n",
            spawned.hook.provision.as_ref().map(provision_line).unwrap_or_default(),
            spawned.agent.jail,
            if spawned.agent.state == AgentState::Running { "started" } else { spawned.agent.state.as_str() },
            spawned.agent.pid,
            spawned.agent.log.display()
        ),
        Answer::Agent(agent) => agent_table(std::slice::from_ref(agent)),
        Answer::Agents(agents) => agent_table(agents),
        Answer::Diff(diff) => difference(diff),
        Answer::Collections(seen) => {
            seen.names.iter().fold(String::new(), |text, name| text + &plain(name) + "\n")
        }
        Answer::Status(status) => status_lines(status),
    }
}

/// One event as a line without its end, with the time at which it was told.
pub fn event(event: &Event, at: u64) -> String {
    format!("{}  {}", moment(at), told(event))
}

fn told(event: &Event) -> String {
    match event {
        Event::Started { tenant, reason } => format!("{tenant}: provision begins ({reason})"),
        Event::Provision(provision) => provision_line(provision).trim_end().into(),
        Event::Tenant { tenant, status: Some(status) } => format!("{tenant}: {status}"),
        Event::Tenant { tenant, status: None } => format!("{tenant}: unregistered"),
        Event::Agent(agent) => format!("{}: agent {}", agent.jail, agent.state),
        Event::Session(state) => format!("vault session: {state}"),
        Event::Missed(count) => format!("{count} events missed"),
    }
}

/// Doctor's lines, each mend below what it mends.
pub fn findings(findings: &[Finding]) -> String {
    let colour = stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let width = findings.iter().map(|finding| finding.check.len()).max().unwrap_or_default();
    findings.iter().fold(String::new(), |mut text, finding| {
        let (word, code) = match finding.verdict {
            Verdict::Ok => ("ok", 32),
            Verdict::Warning => ("warning", 33),
            Verdict::Failure => ("failure", 31),
        };
        let verdict = if colour { format!("\u{1b}[{code}m{word:<9}\u{1b}[0m") } else { format!("{word:<9}") };
        let _ = writeln!(text, "{verdict}{:<width$}  {}", finding.check, plain(&finding.found));
        if let Some(mend) = &finding.mend {
            let _ = writeln!(text, "{:<9}{:<width$}  {}", "", "", plain(mend));
        }
        text
    })
}

fn table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    if std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) || !stdout().is_terminal() {
        table.force_no_tty();
    }
    table.set_header(head.iter().map(|title| Cell::new(title).add_attribute(Attribute::Bold)));
    table
}

/// The table's lines, without the blanks that pad the last column.
fn lines(mut table: Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().fold(String::new(), |mut text, line| {
        text.push_str(line.trim_end());
        text.push('\n');
        text
    })
}

/// The tenants' names only.
pub fn names(tenants: &[TenantView]) -> String {
    tenants.iter().fold(String::new(), |text, tenant| text + tenant.tenant.as_str() + "\n")
}

fn tenant_table(tenants: &[TenantView]) -> String {
    let mut table = table(&["TENANT", "STATUS", "KEYS", "LAST SUCCESS", "ERROR", "ROOT"]);
    for tenant in tenants {
        let error = tenant.last_error.as_ref().map_or("-", |fault| fault.name.as_str());
        table.add_row([
            Cell::new(&tenant.tenant),
            Cell::new(tenant.status).fg(status_colour(tenant.status)),
            Cell::new(tenant.keys.len()).fg(if has_nothing(tenant) { Color::Red } else { Color::Reset }),
            Cell::new(tenant.last_success.map_or_else(|| "never".into(), moment)),
            Cell::new(error).fg(if tenant.last_error.is_some() { Color::Red } else { Color::Reset }),
            Cell::new(plain(&tenant.root.to_string_lossy())),
        ]);
    }
    lines(table)
}

fn file_table(files: &[FileView]) -> String {
    let mut table = table(&["FILE", "FORMAT", "MODE", "OWNER", "KEYS", "LAST SUCCESS", "ERROR"]);
    for file in files {
        let error = match (&file.last_error, file.removal_due) {
            (_, true) => "still to be removed",
            (Some(fault), false) => fault.name.as_str(),
            (None, false) => "-",
        };
        table.add_row([
            Cell::new(plain(file.file.as_str())),
            Cell::new(file.settings.format),
            Cell::new(file.settings.mode),
            Cell::new(file.settings.owner.as_deref().unwrap_or("-")),
            Cell::new(file.keys.len()),
            Cell::new(file.last_success.map_or_else(|| "never".into(), moment)),
            Cell::new(error).fg(if error == "-" { Color::Reset } else { Color::Red }),
        ]);
    }
    lines(table)
}

/// What it is made of, and what follows its change.
fn file_line(file: &FileView) -> String {
    let FileSettings { owner, mode, format, item, only, expect, on_change: own } = &file.settings;
    if file.removal_due {
        return format!("{}: still to be removed", file.file);
    }
    let mut line = format!("{}: {format} {mode} {}", file.file, owner.as_deref().unwrap_or_default());
    let parts = [
        item.as_ref().map(|name| format!("item {name:?}")),
        (!only.is_empty()).then(|| format!("only {}", only.join(" "))),
        (!expect.is_empty()).then(|| format!("expect {}", expect.join(" "))),
        own.as_ref().map(|action| match action {
            OnChange::None => "on change nothing".into(),
            action => format!("on change {}", on_change(action)),
        }),
        file.last_error.as_ref().map(|fault| fault.name.to_string()),
    ];
    parts.into_iter().flatten().for_each(|part| line.extend([", ", &part]));
    line
}

const fn status_colour(status: Status) -> Color {
    match status {
        Status::Active => Color::Green,
        Status::Provisioned => Color::Yellow,
        Status::Stopped | Status::Destroyed => Color::Grey,
    }
}

fn provision_table(provisions: &[Provision]) -> String {
    let mut table = table(&["WHEN", "TENANT", "REASON", "OUTCOME", "KEYS", "TIME", "WARNINGS", "ERROR"]);
    for provision in provisions {
        let failed = provision.has_failed();
        table.add_row([
            Cell::new(moment(provision.at)),
            Cell::new(&provision.tenant),
            Cell::new(provision.reason),
            Cell::new(provision.outcome).fg(if failed { Color::Red } else { Color::Green }),
            Cell::new(provision.keys),
            Cell::new(duration(provision.ms)),
            Cell::new(provision.warnings.len()),
            Cell::new(provision.error.as_ref().map_or("-", |fault| fault.name.as_str())),
        ]);
    }
    lines(table)
}

/// Why each tenant's newest attempt failed, what to do, and what it skipped, below
/// the table that has room for the name only.
pub fn reasons(provisions: &[Provision]) -> String {
    newest(provisions).fold(String::new(), |mut text, attempt| {
        if let Some(fault) = &attempt.error {
            let _ = writeln!(
                text,
                "{}: {}\n  {}",
                attempt.tenant,
                plain(&fault.to_string()),
                plain(&fault.advice)
            );
        }
        for file in &attempt.files {
            let error = file.error.as_ref().map(|fault| format!(", {}", fault.name)).unwrap_or_default();
            let _ = writeln!(text, "{}: {}: {}{error}", attempt.tenant, file.file, file.outcome);
        }
        for warning in &attempt.warnings {
            let _ = writeln!(text, "{}: {}", attempt.tenant, plain(warning));
        }
        text
    })
}

fn provision_line(provision: &Provision) -> String {
    let error = provision.error.as_ref().map(|fault| format!(", {}", fault.name)).unwrap_or_default();
    let files = provision.files.iter().map(|file| format!("  {}: {}\n", file.file, file.outcome));
    let files: String = files.collect();
    format!(
        "{}: {}, {}, {}{error}\n{files}",
        provision.tenant,
        provision.outcome,
        number(provision.keys, "key"),
        duration(provision.ms)
    )
}

/// `1 key`, `2 keys`.
fn number(count: u32, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// As `--refresh` takes it: the largest unit that leaves no rest.
pub fn interval(seconds: u32) -> String {
    let whole =
        [(86_400, 'd'), (3_600, 'h'), (60, 'm')].into_iter().find(|(unit, _)| seconds.is_multiple_of(*unit));
    match whole {
        _ if seconds == 0 => "never".into(),
        Some((unit, letter)) => format!("{}{letter}", seconds / unit),
        None => format!("{seconds}s"),
    }
}

fn agent_table(agents: &[AgentView]) -> String {
    let mut table = table(&["JAIL", "STATE", "PID", "STARTED", "EXIT", "COMMAND"]);
    for agent in agents {
        let exit = match (agent.exit_code, agent.signal) {
            (Some(code), _) => code.to_string(),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "-".into(),
        };
        let running = agent.state == AgentState::Running;
        table.add_row([
            Cell::new(&agent.jail),
            Cell::new(agent.state).fg(if running { Color::Green } else { Color::Grey }),
            Cell::new(agent.pid),
            Cell::new(moment(agent.started)),
            Cell::new(exit),
            Cell::new(plain(&agent.command.join(" "))),
        ]);
    }
    lines(table)
}

fn one_tenant(tenant: &TenantView) -> String {
    let settings = &tenant.settings;
    let collection =
        settings.collection.as_ref().map_or_else(|| tenant.tenant.to_string(), ToString::to_string);
    let mut lines = vec![
        ("tenant", tenant.tenant.to_string()),
        ("status", tenant.status.to_string()),
        ("root", tenant.root.display().to_string()),
        ("collection", collection),
        ("collection id", tenant.collection_id.clone().unwrap_or_default()),
    ];
    lines.extend(target_lines(settings));
    lines.push(("host's user", tenant.agent_uid.map(|uid| uid.to_string()).unwrap_or_default()));
    lines.extend(mapping_lines(settings));
    lines.extend([
        ("keys", tenant.keys.join(" ")),
        ("registered", moment(tenant.registered)),
        ("last success", tenant.last_success.map_or_else(|| "never".into(), moment)),
        ("next try", tenant.next_try.map(moment).unwrap_or_default()),
    ]);
    for (number, file) in tenant.files.iter().enumerate() {
        lines.push((if number == 0 { "more files" } else { "" }, file_line(file)));
    }
    if tenant.removal_due {
        lines.push(("removal", "the file is still to be removed".into()));
    }
    if let Some(fault) = &tenant.last_error {
        lines.extend([("error", fault.to_string()), ("", fault.advice.clone())]);
    }
    if has_nothing(tenant) {
        lines.push(("no keys", "no item became a key, so its file holds no secrets".into()));
    }
    for (number, warning) in tenant.warnings.iter().enumerate() {
        lines.push((if number == 0 { "last attempt" } else { "" }, warning.clone()));
    }
    let shown = lines.iter().filter(|(_, value)| !value.is_empty());
    shown.fold(String::new(), |text, (name, value)| format!("{text}{name:<14}{}\n", plain(value)))
}

/// Where the file lies, how it is written, and what happens around it.
fn target_lines(settings: &Settings) -> Vec<(&'static str, String)> {
    let file = match (&settings.dir, &settings.file) {
        (Some(dir), Some(file)) => dir.join(file).display().to_string(),
        _ => String::new(),
    };
    vec![
        ("file", file),
        ("owner", settings.owner.clone().unwrap_or_default()),
        ("network", yes(settings.agent_network == AgentNetwork::None, "none")),
        ("format", settings.format.to_string()),
        ("tmpfs", yes(settings.require_tmpfs, "required")),
        ("refresh", interval(settings.refresh)),
        ("deadline", settings.deadline.map(interval).unwrap_or_default()),
        ("on change", on_change(&settings.on_change)),
    ]
}

/// How items become keys, as far as it is not the default.
fn mapping_lines(settings: &Settings) -> Vec<(&'static str, String)> {
    let renamed: Vec<_> = settings.rename.iter().map(|(old, new)| format!("{old}={new}")).collect();
    vec![
        ("key case", yes(settings.key_case != KeyCase::Strict, settings.key_case.as_str())),
        ("notes", yes(settings.notes == Notes::Dotenv, "dotenv")),
        ("on duplicate", yes(settings.on_duplicate == OnDuplicate::Reject, "reject")),
        ("organization", settings.organization.clone().unwrap_or_default()),
        ("by its id", settings.collection_id.clone().unwrap_or_default()),
        ("fields", yes(settings.fields, "taken too")),
        ("attachments", yes(settings.attachments, "taken too")),
        ("prefix", settings.prefix.clone()),
        ("only", settings.only.join(" ")),
        ("rename", renamed.join(" ")),
        ("allow", settings.allow.join(" ")),
        ("expect", settings.expect.join(" ")),
    ]
}

fn yes(is: bool, word: &str) -> String {
    if is { word.into() } else { String::new() }
}

pub fn on_change(action: &OnChange) -> String {
    match action {
        OnChange::None => String::new(),
        OnChange::RestartAgent => "restart-agent".into(),
        OnChange::Signal(name) => format!("signal:{name}"),
        OnChange::Action(name) => format!("action:{name}"),
        // As it can be given again.
        OnChange::Command(words) => {
            let joined = shlex::try_join(words.iter().map(String::as_str));
            format!("command:{}", joined.unwrap_or_else(|_| words.join(" ")))
        }
    }
}

fn difference(diff: &Diff) -> String {
    let mut text = String::new();
    for (sign, keys) in [('+', &diff.added), ('-', &diff.removed), ('~', &diff.changed)] {
        for key in keys {
            let _ = writeln!(text, "{sign} {key}");
        }
    }
    let _ = writeln!(text, "{} the same", diff.same);
    for line in &diff.file {
        let _ = writeln!(text, "the file: {}", plain(line));
    }
    if text.lines().count() == 1 && !diff.intact {
        text.push_str("a provision would write the file anew: its owner, mode or spelling differs\n");
    }
    diff.files.iter().fold(text, |text, file| text + &file_difference(file))
}

fn file_difference(diff: &FileDiff) -> String {
    let mut text = format!("{}:\n", diff.file);
    for (sign, keys) in [('+', &diff.added), ('-', &diff.removed), ('~', &diff.changed)] {
        for key in keys {
            let _ = writeln!(text, "  {sign} {key}");
        }
    }
    let differs = !(diff.added.is_empty() && diff.removed.is_empty() && diff.changed.is_empty());
    let last = match &diff.error {
        Some(fault) => plain(&fault.to_string()),
        None if differs || diff.intact => format!("{} the same", diff.same),
        None => "a provision would write it anew: its owner, mode or spelling differs".into(),
    };
    text + "  " + &last + "\n"
}

fn status_lines(status: &StatusView) -> String {
    let mut text = String::new();
    let fetcher = status.fetcher.map_or_else(|| "none".into(), |pid| format!("process {pid}"));
    let sandbox = if status.sandbox { "on" } else { "OFF: started with --insecure-no-sandbox" };
    let _ = writeln!(
        text,
        "colibrid      {}, process {}, since {}",
        status.version,
        status.pid,
        moment(status.started)
    );
    let _ = writeln!(text, "base          {}", status.base.display());
    let _ = writeln!(text, "sandbox       {sandbox}");
    for process in &status.confinement {
        let _ = writeln!(text, "{:<14}{}", process.process, plain(&process.holds.join(", ")));
        for lack in &process.lacks {
            let _ = writeln!(text, "{:<14}without {}", "", plain(&lack.what));
        }
    }
    let _ =
        writeln!(text, "vault session {}, fetcher {fetcher}, user {}", status.session, status.fetcher_user);
    let _ = writeln!(text, "bw            {}", status.bw_version.as_deref().unwrap_or("not asked yet"));
    if let Some(device) = &status.device {
        let _ = writeln!(text, "device        {} at the vault", plain(device));
    }
    if let Some(logins) = status.logins_today {
        let _ = writeln!(text, "logins        {logins} today");
    }
    let rang = status.bell.last_ring.map(|at| format!(", rang last at {}", moment(at))).unwrap_or_default();
    let _ = writeln!(text, "bell          {}{rang}", status.bell.state);
    let _ = writeln!(
        text,
        "tenants       {} active, {} provisioned, {} stopped, {} destroyed; {} failing, {} under way",
        status.active, status.provisioned, status.stopped, status.destroyed, status.failing, status.under_way
    );
    if status.not_mounted + status.removals_due > 0 {
        let (roots, files) = (status.not_mounted, status.removals_due);
        let _ = writeln!(
            text,
            "roots         {roots} not mounted, or another; {files} files still to be removed"
        );
    }
    let _ = writeln!(text, "agents        {} running", status.agents);
    for line in &status.unbounded {
        let _ = writeln!(text, "              {}", plain(line));
    }
    if let Some(fault) = &status.session_error {
        let (said, advice) = (plain(&fault.to_string()), plain(&fault.advice));
        let _ = writeln!(text, "error         {said}\n              {advice}");
    }
    text
}

/// A point in time, given in milliseconds since 1970, in UTC.
pub fn moment(ms: u64) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]Z");
    let seconds = i64::try_from(ms / 1000).unwrap_or_default();
    let moment = OffsetDateTime::from_unix_timestamp(seconds).ok();
    moment.and_then(|moment| moment.format(&format).ok()).unwrap_or_else(|| "?".into())
}

fn duration(ms: u64) -> String {
    if ms < 1000 { format!("{ms} ms") } else { format!("{}.{} s", ms / 1000, ms % 1000 / 100) }
}
