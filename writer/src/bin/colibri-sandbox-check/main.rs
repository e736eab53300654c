//! colibri-sandbox-check: enters the writer's own sandbox on this host and
//! tries what it must forbid, each attempt in a process of its own. It prints a
//! table, or with `--json` an object a line, and ends with a failure at the
//! first row that is not as expected. `docs/proofs.md` says how to read it.

mod attempt;
mod control;
mod place;
mod rows;
mod trial;

use colibri_pair::Format;
use rows::{Rows, Style};
use std::io;
use std::process::ExitCode;
use trial::Sandbox;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    if args.len() == trial::ARGUMENTS {
        return trial::run(&args);
    }
    let (mut style, mut sandbox) = (Style::Table, Sandbox::Whole);
    for arg in &args {
        match arg.to_str() {
            Some("--json") => style = Style::Json,
            // Tries the check itself: it has to fail.
            Some("--without-sandbox") => sandbox = Sandbox::None,
            _ => {
                eprintln!("usage: colibri-sandbox-check [--json] [--without-sandbox]");
                return ExitCode::from(2);
            }
        }
    }
    disinherit();
    match check(sandbox, Rows::new(style)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("colibri-sandbox-check: cannot try: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The writer refuses to start with more than three descriptors, and a shell
/// may have left some.
fn disinherit() {
    for descriptor in 3..1024 {
        let _ = nix::unistd::close(descriptor);
    }
}

/// Whether everything was as expected; it stops where something was not.
fn check(sandbox: Sandbox, mut rows: Rows) -> io::Result<bool> {
    for (owners, what) in place::owners() {
        rows.case(what)?;
        let held = attempt::table(owners, sandbox, &mut rows)?
            && [Format::Env, Format::Dir].iter().try_fold(true, |held, format| {
                Ok::<_, io::Error>(held && control::table(owners, *format, &mut rows)?)
            })?;
        if !held {
            rows.end("FAILED: the last row is not as expected")?;
            return Ok(false);
        }
    }
    rows.end("all as expected").map(|()| true)
}
