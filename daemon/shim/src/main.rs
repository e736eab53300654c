//! colibri-shim: what stands between colibrid and an agent, in both ways. `run`
//! waits for colibrid's word, gives up root, bounds itself and becomes the
//! agent's command line; `log` is where an agent's output goes, and outlives the
//! daemon as the agent does. It reads no
//! environment, and no file but what the kernel says of it.

mod log;
mod run;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let verb = words.next();
    let ended = match verb.as_ref().and_then(|verb| verb.to_str()) {
        Some("run") => run::run(words),
        Some("log") => log::run(words),
        _ => Err("usage: colibri-shim run USER GROUP PROCESSES PROGRAM [WORD ...] | log USER".into()),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("colibri-shim: {error}");
            ExitCode::FAILURE
        }
    }
}
