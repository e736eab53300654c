//! `colibri-bell`: standard input is the socket with its orders, standard output what
//! it says, standard error the log.

use std::process::ExitCode;

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).without_time().init();
    match colibri_bell::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::warn!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
