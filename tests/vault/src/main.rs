//! The vault as a program, for the demo and for shell scripts.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser;
use colibri_test_vault::{Fixture, Options, Vault, admin};

/// A vault server for tests. It runs until its standard input is closed.
#[derive(Parser)]
struct Arguments {
    /// The TOML file that says what is in it
    #[arg(long, required_unless_present = "tell")]
    fixture: Option<PathBuf>,
    /// Where ca.pem, provider.env and admin.sock go
    #[arg(long)]
    dir: PathBuf,
    /// The port on 127.0.0.1; any free one when 0
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Say this command to the vault that runs in the directory, and end
    #[arg(long, value_name = "JSON")]
    tell: Option<String>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("colibri-test-vault: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let socket = arguments.dir.join("admin.sock");
    if let Some(command) = &arguments.tell {
        let counts = admin::tell(&socket, command)?;
        counts.iter().for_each(|(name, count)| println!("{name} {count}"));
        return Ok(());
    }
    let fixture = arguments.fixture.as_deref().context("no fixture")?;
    let options = Options { dir: arguments.dir.clone(), port: arguments.port };
    let vault = Vault::start_with(Fixture::load(fixture)?, &options)?;
    vault.write_credentials(&arguments.dir.join("provider.env"))?;
    let listener = admin::listen(&socket)?;
    println!("ready {}", vault.url());
    std::io::stdout().flush()?;
    std::thread::scope(|threads| {
        threads.spawn(|| admin::serve(&listener, &vault, fixture));
        let ended = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = std::fs::remove_file(&socket);
        // The admin thread has no end of its own.
        std::process::exit(i32::from(ended.is_err()));
    })
}
