//! One trial: this program again, in the writer's sandbox, doing one thing and
//! saying in a word how it ended. A process of its own, since what is forbidden
//! may end it.

use crate::attempt::{self, Held};
use crate::control;
use crate::place::{Owners, Place};
use colibri_pair::{Format, Order, Owner};
use colibri_sandbox::{Error, Leftovers, RIGHTS, Right, confine_with, harden, open_root, open_target};
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getppid};
use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus, Stdio};

/// How many arguments a trial is started with.
pub const ARGUMENTS: usize = 5;
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
pub fn make(owners: Owners, format: Format, sandbox: Sandbox, what: &str) -> io::Result<Outcome> {
    let place = Place::new(owners, format)?;
    let output = Command::new(std::env::current_exe()?)
        .args([what, &sandbox.word(), &format!("{}:{}", place.owner.uid, place.owner.gid)])
        .arg(format.as_str())
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

/// The other side: `what sandbox uid:gid format base`.
pub fn run(args: &[OsString]) -> ExitCode {
    match attempt_in(args) {
        Some(Ok(word)) => println!("{word}"),
        Some(Err(error)) => eprintln!("cannot begin: {}", error.line()),
        None => eprintln!("cannot begin: no such trial"),
    }
    ExitCode::SUCCESS
}

fn attempt_in(args: &[OsString]) -> Option<Result<String, Error>> {
    let [what, sandbox, owner, format, base] = args else { return None };
    let (what, sandbox, base) = (what.to_str()?, Sandbox::parse(sandbox.to_str()?)?, Path::new(base));
    let format = Format::parse(format.to_str()?)?;
    let order = Place::order(base, Owner::parse(owner.to_str()?)?, format)?;
    Some(begin(what, sandbox, &order, base))
}

/// What the writer's `main` does before it serves.
fn begin(what: &str, sandbox: Sandbox, order: &Order, base: &Path) -> Result<String, Error> {
    let parent = getppid();
    let outside = base.join("jail/beside");
    if let Sandbox::None = sandbox {
        let Some(target) = open_target(open_root(order)?, order)? else { return Ok("no target".into()) };
        return Ok(attempt::run(what, &Held { dir: &target.dir, outside, parent }));
    }
    harden(order)?;
    let Some(target) = open_target(open_root(order)?, order)? else { return Ok("no target".into()) };
    let leftovers = Leftovers::list(&target.dir, order)?;
    let dropped = match sandbox {
        Sandbox::Without(right) => RIGHTS.get(right),
        Sandbox::Whole | Sandbox::None => None,
    };
    let found = leftovers.directories();
    let keep = |right: &Right| right.1.is(order, found) && Some(right) != dropped;
    let confined = confine_with(target.dir, target.owner, order, &keep)?;
    if what == control::WORK {
        return Ok(control::work(&confined, order, leftovers));
    }
    Ok(attempt::run(what, &Held { dir: confined.dir(), outside, parent: Pid::from_raw(parent.as_raw()) }))
}
