//! colibri-sandbox-check: enters the writer's own sandbox on this host and
//! tries what it must forbid, each attempt in a process of its own. It prints a
//! table and ends with a failure at the first row that is not as expected.
//! `docs/proofs.md` says how to read it.

mod attempt;
mod control;
mod place;
mod trial;

use std::io;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    if !args.is_empty() {
        return trial::run(&args);
    }
    match check() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("colibri-sandbox-check: cannot try: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether everything was as expected; it stops where something was not.
fn check() -> io::Result<bool> {
    let mut rows = 0;
    for (owners, what) in place::owners() {
        println!("\nThe writer as it runs for {what}");
        if !attempt::table(owners, &mut rows)? || !control::table(owners, &mut rows)? {
            println!("FAILED: the last row is not as expected");
            return Ok(false);
        }
    }
    println!("\n{rows} rows, all as expected");
    Ok(true)
}
