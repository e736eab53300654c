//! `colibrid`: hardens itself, moves the credentials out of sight, and serves.
//! Its exit status tells whoever starts it whether starting again can help.

use clap::Parser;
use colibri_daemon::credentials::Account;
use colibri_daemon::settings::{Config, LogFormat, Settings, Shared};
use colibri_daemon::store::StoreError;
use colibri_daemon::{Daemon, credentials, notify};
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use nix::sys::stat::{Mode, umask};
use std::path::Path;
use std::process::ExitCode;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

/// Each request that waits for the vault holds two descriptors.
const DESCRIPTORS: rlim_t = 65536;

/// Largest core file. On Linux 0 does not bind the program that core_pattern
/// pipes to, and 1 does.
const CORE: rlim_t = if cfg!(target_os = "linux") { 1 } else { 0 };
/// sysexits.h, EX_CONFIG: only an operator can help, so nobody starts it again.
const UNFIT: u8 = 78;

fn main() -> ExitCode {
    let settings = match Settings::try_parse() {
        Ok(settings) => settings,
        Err(error) => match Settings::wrong(&error) {
            Some(wrong) => return ended(UNFIT, &wrong),
            None => error.exit(),
        },
    };
    log(settings.log_format);
    match run(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err((status, error)) => ended(status, &format!("{error:#}")),
    }
}

fn ended(status: u8, said: &str) -> ExitCode {
    eprintln!("colibrid: {said}");
    notify::last_words(said);
    ExitCode::from(status)
}

/// What the system refused may be otherwise in a moment, and a setting may not.
fn status(error: &anyhow::Error) -> u8 {
    let by_system = error.chain().any(|cause| cause.is::<std::io::Error>() || cause.is::<nix::Error>());
    if by_system { 1 } else { UNFIT }
}

fn run(settings: Settings) -> Result<(), (u8, anyhow::Error)> {
    let check = settings.check;
    let unfit = |error| (UNFIT, error);
    harden().map_err(|error| (1, error))?;
    let account = credentials::take(settings.provider.as_deref().map(Path::new)).map_err(unfit)?;
    if account.credentials.is_none() {
        tracing::warn!("no credentials are set: every provision will fail until they are");
    }
    settings.check().map_err(unfit)?;
    let config = Config::new(settings).map_err(|error| (status(&error), error))?;
    config.has_programs().map_err(unfit)?;
    if check {
        return Ok(());
    }
    serve(config, account).map_err(|error| (if is_for_an_operator(&error) { UNFIT } else { 1 }, error))
}

/// Whether what the daemon found at its start stays so until somebody mends it.
fn is_for_an_operator(error: &anyhow::Error) -> bool {
    error.is::<Shared>() || error.downcast_ref().is_some_and(StoreError::is_for_an_operator)
}

fn serve(config: Config, account: Account) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let served = runtime.block_on(async { Daemon::start(config, account).await?.serve().await });
    // A client's thread may still use it; both end with the process.
    std::mem::forget(runtime);
    served
}

/// No core file, nobody looks into this process, and every file it makes is
/// its own until it says otherwise.
fn harden() -> anyhow::Result<()> {
    umask(Mode::from_bits_truncate(0o077));
    shut_out();
    if let Err(error) = setrlimit(Resource::RLIMIT_CORE, CORE, CORE) {
        tracing::warn!("cannot limit core files to {CORE} bytes: {error}; set the hard limit to {CORE}");
    }
    forbid_tracing()?;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(DESCRIPTORS).max(soft), hard)?;
    Ok(())
}

/// What the caller left open reaches no child.
#[cfg(target_os = "linux")]
fn shut_out() {
    close_fds::set_fds_cloexec(3, &[]);
}

/// The same; nothing is open yet but that.
#[cfg(target_os = "freebsd")]
fn shut_out() {
    colibri_freebsd::close_inherited();
}

#[cfg(target_os = "linux")]
fn forbid_tracing() -> nix::Result<()> {
    nix::sys::prctl::set_dumpable(false)
}

#[cfg(target_os = "freebsd")]
fn forbid_tracing() -> nix::Result<()> {
    colibri_freebsd::hide()
}

fn log(format: LogFormat) {
    let wanted = std::env::var("COLIBRI_LOG").unwrap_or_else(|_| "info".into());
    // A word that is no level would be taken for a part of the program, and all others
    // be silent.
    let known = wanted.contains('=') || wanted.parse::<LevelFilter>().is_ok();
    let filter = EnvFilter::new(if known { &wanted } else { "info" });
    let log =
        tracing_subscriber::fmt().with_env_filter(filter).with_target(false).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.with_ansi(false).init(),
        LogFormat::Json => log.json().with_span_list(false).init(),
    }
    if !known {
        tracing::warn!("COLIBRI_LOG is not error, warn, info or debug: info is taken");
    }
}
