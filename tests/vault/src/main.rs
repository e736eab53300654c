//! The vault as a program, for the demo and for shell scripts.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
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
    write_credentials(&vault, &arguments.dir.join("provider.env"))?;
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

fn write_credentials(vault: &Vault, path: &Path) -> Result<()> {
    let credentials = vault.credentials()?;
    let text = format!(
        "BW_SERVER={}\nBW_CLIENTID={}\nBW_CLIENTSECRET={}\nBW_PASSWORD={}\nNODE_EXTRA_CA_CERTS={}\n",
        vault.url(),
        credentials.client_id,
        credentials.client_secret,
        quoted(&credentials.password),
        vault.ca_file().display()
    );
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes()).with_context(|| format!("writing {}", path.display()))
}

/// For a shell and for systemd alike.
fn quoted(value: &str) -> String {
    format!(
        "\"{}\"",
        value.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$").replace('`', "\\`")
    )
}
