//! Fault injection, exhaustive: for every system call of a successful run, the
//! run again with SIGKILL in its place, and with each error that it can return.
//! strace learns the calls, kills, and injects errors before confinement; the
//! seccomp filter ends a process whose call strace skips, so that afterwards a
//! tracer spoils the call's descriptor and puts the error in its result.

#![cfg(target_os = "linux")]

use anyhow::{Context, Result, ensure};
use colibri_pair::{Format, Report, Verb};
use colibri_proofs::{Jail, Outcome, frames, other_owner, run, writer};
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

#[cfg(target_arch = "x86_64")]
#[path = "faults/tracer.rs"]
mod tracer;

const OLD: &str = "old";
const NEW: &str = "new";
/// What these calls can return of what is injected; the manual pages and the
/// file systems' sources. Others can return none of them.
const ERRORS: &[(&str, &[&str])] = &[
    ("read", &["EIO", "EINTR"]),
    ("write", &["EIO", "ENOSPC", "EINTR", "EDQUOT"]),
    ("openat", &["EIO", "ENOSPC", "EINTR", "EDQUOT"]),
    ("newfstatat", &["EIO", "EINTR"]),
    ("fstat", &["EIO"]),
    ("fchmod", &["EIO", "ENOSPC", "EDQUOT"]),
    ("fchown", &["EIO", "ENOSPC", "EINTR", "EDQUOT"]),
    ("fsync", &["EIO", "ENOSPC", "EINTR", "EDQUOT"]),
    ("mkdirat", &["EIO", "ENOSPC", "EINTR", "EDQUOT"]),
    ("renameat", &["EIO", "ENOSPC", "EINTR", "EDQUOT"]),
    ("unlinkat", &["EIO", "ENOSPC", "EINTR", "EDQUOT"]),
    ("getdents64", &["EIO", "EINTR"]),
    ("symlinkat", &["EIO", "ENOSPC", "EINTR", "EDQUOT"]),
    ("readlinkat", &["EIO"]),
    ("fstatfs", &["EIO", "EINTR"]),
    ("close", &["EIO", "ENOSPC", "EINTR", "EDQUOT"]),
];

/// What a run finds and shall do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    First,
    Replace,
    LeftOver,
    Same,
    Remove,
    FirstTree,
    ReplaceTree,
    RemoveTree,
}

/// One call of the successful run.
#[derive(Clone, Debug)]
struct Call {
    name: String,
    /// Which of its name, from 1.
    nth: usize,
    confined: bool,
    /// Whether the writer's own code runs, not yet the loader's.
    ours: bool,
}

impl Case {
    const ALL: [Self; 8] = [
        Self::First,
        Self::Replace,
        Self::LeftOver,
        Self::Same,
        Self::Remove,
        Self::FirstTree,
        Self::ReplaceTree,
        Self::RemoveTree,
    ];

    fn verb(self) -> Verb {
        if matches!(self, Self::Remove | Self::RemoveTree) { Verb::Remove } else { Verb::Put }
    }

    fn format(self) -> Format {
        match self {
            Self::FirstTree | Self::ReplaceTree | Self::RemoveTree => Format::Dir,
            _ => Format::Env,
        }
    }

    /// A jail just before the run.
    fn jail(self) -> Result<Jail> {
        let mut jail = Jail::new("etc/colibri", other_owner())?;
        jail.format = self.format();
        fs::write(jail.outside().join("sentinel"), "outside")?;
        if !matches!(self, Self::First | Self::FirstTree) {
            fs::create_dir_all(jail.dir())?;
            put(&jail, if self == Self::Same { NEW } else { OLD })?;
        }
        if self == Self::LeftOver {
            fs::write(jail.dir().join(".colibri-0123456789abcdef.tmp"), "K=lef")?;
        }
        Ok(jail)
    }
}

fn sent(value: &str) -> Result<Vec<u8>> {
    frames(&[("K", value)])
}

fn put(jail: &Jail, value: &str) -> Result<()> {
    let outcome = run(writer(&jail.order(Verb::Put)?)?, &sent(value)?)?;
    ensure!(outcome.done(), "a run without faults failed: {outcome:?}");
    Ok(())
}

/// The value in the file; `None` without a file, an error for anything else
/// than a whole file of 0600 and the right owner.
fn found(jail: &Jail) -> Result<Option<String>> {
    if fs::symlink_metadata(jail.file()).is_err() {
        return Ok(None);
    }
    let text = if jail.format == Format::Dir {
        owned(jail, &jail.dir().join(fs::read_link(jail.file())?), 0o040_700)?;
        ensure!(names(&jail.file())? == ["K"], "not a whole directory");
        owned(jail, &jail.file().join("K"), 0o100_600)?;
        fs::read_to_string(jail.file().join("K"))?
    } else {
        owned(jail, &jail.file(), 0o100_600)?;
        let text = fs::read_to_string(jail.file())?;
        let line = text.strip_prefix("# Written by colibri from the vault. Edits are lost.\nK=");
        line.and_then(|line| line.strip_suffix('\n')).context("not a whole file")?.to_owned()
    };
    ensure!([OLD, NEW].contains(&&*text), "another content");
    Ok(Some(text))
}

fn owned(jail: &Jail, path: &Path, mode: u32) -> Result<()> {
    let state = fs::symlink_metadata(path)?;
    ensure!(state.mode() == mode, "mode {:o}", state.mode());
    ensure!((state.uid(), state.gid()) == (jail.owner.uid, jail.owner.gid), "wrong owner");
    Ok(())
}

fn names(dir: &Path) -> Result<Vec<OsString>> {
    fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name())).collect()
}

/// Everything that must hold after a run, whatever happened in it.
fn holds(case: Case, jail: &Jail, outcome: &Outcome, killed: bool, call: &Call) -> Result<()> {
    let value = found(jail)?;
    let before = match case {
        Case::First | Case::FirstTree => None,
        Case::Same => Some(NEW),
        _ => Some(OLD),
    };
    let after = if case.verb() == Verb::Remove { None } else { Some(NEW) };
    let value = value.as_deref();
    ensure!(value == before || value == after, "neither as before nor as ordered: {value:?}");
    if outcome.done() {
        ensure!(value == after, "success, and not as ordered");
    }
    let told = |report: &Report| matches!(report, Report::Written { .. } | Report::Removed);
    if outcome.reports.iter().any(told) {
        ensure!(value == after, "reported, and not as ordered");
    }
    if killed {
        ensure!(outcome.killed(), "was not killed: {outcome:?}");
    } else {
        ensure!(!outcome.killed(), "ended by a signal: {outcome:?}");
        let named = outcome.log.starts_with("writer: cannot ") && outcome.log.lines().count() == 1
            || outcome.log.starts_with("writer: the fetcher ended")
            || outcome.log.is_empty() && call.name == "write";
        ensure!(outcome.done() || named || !call.ours, "no step is named: {outcome:?}");
    }
    ensure!(names(&jail.outside())? == ["sentinel"], "something new outside");
    ensure!(fs::read_to_string(jail.outside().join("sentinel"))? == "outside", "changed outside");
    ensure!(
        names(jail.top())?.len() == 2 && names(&jail.top().join("base/jail"))?.len() == 1,
        "something new"
    );
    put(jail, NEW)?;
    let mut left = names(&jail.dir())?;
    left.retain(|name| name != "env");
    // What the name leads to, and what readers may still be in.
    let trees = left.iter().all(|name| names(&jail.dir().join(name)).is_ok_and(|names| names == ["K"]));
    let few = left.len() <= if case.format() == Format::Dir { 3 } else { 0 };
    ensure!(trees && few, "the next run left something: {left:?}");
    ensure!(found(jail)?.as_deref() == Some(NEW), "the next run did not write");
    Ok(())
}

fn strace(jail: &Jail, case: Case, log: &Path, inject: Option<String>) -> Result<Outcome> {
    let order = writer(&jail.order(case.verb())?)?;
    let mut command = Command::new("strace");
    command.args(["-qq", "-e", "signal=none", "-o"]).arg(log);
    command.args(inject.iter().flat_map(|inject| ["-e", inject]));
    command.arg(order.get_program()).args(order.get_args());
    run(command, &sent(NEW)?)
}

/// The calls of a successful run, in their order.
fn learn(case: Case) -> Result<Vec<Call>> {
    let jail = case.jail()?;
    let log = jail.top().join("outside/log");
    let outcome = strace(&jail, case, &log, None)?;
    ensure!(outcome.done(), "the run to learn from failed: {outcome:?}");
    let (mut count, mut confined, mut ours) = (HashMap::new(), false, false);
    let mut calls = Vec::new();
    for line in fs::read_to_string(log)?.lines() {
        let Some((name, arguments)) = line.split_once('(') else { continue };
        ours |= arguments.contains("/proc/self/fd");
        let nth = count.entry(name.to_owned()).and_modify(|nth| *nth += 1).or_insert(1);
        // Before its end, nothing of the writer is there.
        if name == "execve" {
            continue;
        }
        calls.push(Call { name: name.to_owned(), nth: *nth, confined, ours });
        confined |=
            name == "seccomp" && arguments.contains("SECCOMP_SET_MODE_FILTER") && line.ends_with("= 0");
    }
    ensure!(calls.iter().any(|call| call.confined), "the writer did not confine itself");
    Ok(calls)
}

/// One fault in one run; what did not hold.
fn attempt(case: Case, call: &Call, fault: &str) -> Result<bool> {
    let jail = case.jail()?;
    let log = tempfile::NamedTempFile::new()?;
    let killed = fault == "SIGKILL";
    let outcome = if call.confined && !killed {
        #[cfg(not(target_arch = "x86_64"))]
        return Ok(false);
        #[cfg(target_arch = "x86_64")]
        tracer::run(&writer(&jail.order(case.verb())?)?, &sent(NEW)?, &call.name, call.nth, fault)?
    } else {
        let how = if killed { "signal=KILL".to_owned() } else { format!("error={fault}") };
        strace(&jail, case, log.path(), Some(format!("inject={}:{how}:when={}", call.name, call.nth)))?
    };
    holds(case, &jail, &outcome, killed, call)?;
    Ok(true)
}

/// What could not be made cannot be opened either, and that is not the cause.
#[test]
fn the_first_thing_that_the_system_said_is_told() -> Result<()> {
    let log = tempfile::NamedTempFile::new()?;
    for (errno, words) in [
        ("EROFS", "Read-only file system"),
        ("ENOSPC", "No space left on device"),
        ("EDQUOT", "Quota exceeded"),
        ("EACCES", "Permission denied"),
    ] {
        let jail = Case::First.jail()?;
        let outcome = strace(&jail, Case::First, log.path(), Some(format!("inject=mkdirat:error={errno}")))?;
        let message = format!("cannot make the target directory: {words}");
        let expected = Report::Failed { kind: colibri_pair::Failure::WriteFailed, message };
        ensure!(outcome.reports.last() == Some(&expected), "{errno}: {outcome:?}");
    }
    Ok(())
}

fn plan() -> Result<Vec<(Case, Call, &'static str)>> {
    let mut plan = Vec::new();
    for case in Case::ALL {
        for call in learn(case)? {
            let errors =
                ERRORS.iter().find(|(name, _)| *name == call.name).map_or(&[][..], |(_, errors)| errors);
            plan.extend(["SIGKILL"].iter().chain(errors).map(|fault| (case, call.clone(), *fault)));
        }
    }
    Ok(plan)
}

#[test]
fn after_any_fault_in_any_call_the_file_is_whole() {
    if Command::new("strace").arg("-V").output().is_err() {
        colibri_test_host::skip("strace is not installed");
        return;
    }
    let all = plan().unwrap();
    // Every so many, unless all are asked for; a prime, so that all calls of a
    // repeating order come.
    let step = if std::env::var_os("COLIBRI_FULL").is_some() { 1 } else { 11 };
    let chosen: Vec<_> = all.iter().step_by(step).collect();
    let (next, made) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        let mut broken = Vec::new();
        while let Some((case, call, fault)) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
            match attempt(*case, call, fault) {
                Ok(made_it) => _ = made.fetch_add(usize::from(made_it), Ordering::Relaxed),
                Err(error) => broken.push(format!("{case:?} {} {} {fault}: {error}", call.name, call.nth)),
            }
        }
        broken
    };
    let broken: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let held = made.into_inner();
    println!("faults: {} known, {} tried, {} held", all.len(), held + broken.len(), held);
    assert!(held > 100, "only {held} runs");
    assert!(broken.is_empty(), "{} did not hold:\n{}", broken.len(), broken.join("\n"));
}
