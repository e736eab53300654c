//! One trial: this program again, in the writer's sandbox, doing one thing and
//! saying in a word how it ended. A process of its own, since what is forbidden
//! may end it.

use crate::attempt::{self, Held};
use crate::control;
use crate::place::{Owners, Place};
use colibri_order::Owner;
use colibri_writer::Error;
use colibri_writer::harden::harden;
use colibri_writer::sandbox::{RIGHTS, confine_with};
use colibri_writer::target::{clean, open_target, temporary};
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getppid};
use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus, Stdio};

/// How many arguments a trial is started with.
pub const ARGUMENTS: usize = 4;
/// The word for a trial that ended without saying how.
pub const SILENT: &str = "ended";

/// How much of the sandbox stands around a trial.
#[derive(Clone, Copy, Debug)]
pub enum Sandbox {
    /// All of it.
    Whole,
    /// All, and one of the rights taken away.
    Without(usize),
    /// Nothing: to show that it is the sandbox that stops an attempt.
    None,
}

impl Sandbox {
    fn word(self) -> String {
        match self {
            Self::Whole => "whole".into(),
            Self::Without(right) => right.to_string(),
            Self::None => "none".into(),
        }
    }

    fn parse(word: &str) -> Option<Self> {
        match word {
            "whole" => Some(Self::Whole),
            "none" => Some(Self::None),
            right => right.parse().ok().map(Self::Without),
        }
    }
}

/// What one trial came to.
#[derive(Debug)]
pub struct Outcome {
    /// `done`, an error's name, or the signal that ended it.
    pub word: String,
    /// Whether what nothing may touch is as it was.
    pub untouched: bool,
}

/// Makes a fresh place, and one trial in it.
pub fn make(owners: Owners, sandbox: Sandbox, what: &str) -> io::Result<Outcome> {
    let place = Place::new(owners)?;
    let output = Command::new(std::env::current_exe()?)
        .args([what, &sandbox.word(), &format!("{}:{}", place.owner.uid, place.owner.gid)])
        .arg(place.base())
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let log = String::from_utf8_lossy(&output.stderr);
    // Why a trial could not even begin.
    log.lines().filter(|line| line.starts_with("cannot begin")).for_each(|line| eprintln!("{line}"));
    Ok(Outcome { word: ending(output.status, said), untouched: place.untouched() })
}

fn ending(status: ExitStatus, said: String) -> String {
    match status.signal() {
        Some(signal) => Signal::try_from(signal).map_or_else(|_| signal.to_string(), |name| name.to_string()),
        None if said.is_empty() => SILENT.into(),
        None => said,
    }
}

/// The other side: `what sandbox uid:gid base`.
pub fn run(args: &[OsString]) -> ExitCode {
    let [what, sandbox, owner, base] = args else {
        return ExitCode::FAILURE;
    };
    match attempt_in(what.to_str(), sandbox.to_str(), owner.to_str(), Path::new(base)) {
        Some(Ok(word)) => println!("{word}"),
        Some(Err(error)) => eprintln!("cannot begin: {}", error.line()),
        None => eprintln!("cannot begin: no such trial"),
    }
    ExitCode::SUCCESS
}

fn attempt_in(
    what: Option<&str>,
    sandbox: Option<&str>,
    owner: Option<&str>,
    base: &Path,
) -> Option<Result<String, Error>> {
    let (what, sandbox) = (what?, Sandbox::parse(sandbox?)?);
    let order = Place::order(base, Owner::parse(owner?)?)?;
    Some(begin(what, sandbox, &order, base))
}

/// What the writer's `main` does before it serves.
fn begin(what: &str, sandbox: Sandbox, order: &colibri_order::Order, base: &Path) -> Result<String, Error> {
    let parent = getppid();
    let outside = base.join("jail/beside");
    if let Sandbox::None = sandbox {
        let Some(target) = open_target(order)? else { return Ok("no target".into()) };
        return Ok(attempt::run(what, &Held { dir: &target.dir, outside, parent }));
    }
    harden(order.seconds)?;
    let Some(target) = open_target(order)? else { return Ok("no target".into()) };
    clean(&target.dir)?;
    let temporary = temporary();
    let dropped = match sandbox {
        Sandbox::Without(right) => RIGHTS.get(right),
        Sandbox::Whole | Sandbox::None => None,
    };
    let confined = confine_with(target, order, &|right| Some(right) != dropped)?;
    if what == control::WORK {
        return Ok(control::work(&confined, order, &temporary));
    }
    Ok(attempt::run(what, &Held { dir: confined.dir(), outside, parent: Pid::from_raw(parent.as_raw()) }))
}
