//! Words to a running `colibri-test-vault`: one line of JSON each way over a
//! unix socket, so that a shell script can do what a test does by [`Vault`].

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::{Fault, Fixture, LoginLimit, Route, Times, Transport, UserKeyId, Vault};

/// What can be said.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// [`Vault::fault`].
    Fault {
        /// Where.
        route: Route,
        /// What.
        fault: Fault,
        /// How often.
        #[serde(default)]
        times: Times,
    },
    /// [`Vault::heal_all`].
    Heal,
    /// [`Vault::transport`].
    Transport(Transport),
    /// [`Vault::limit_logins`]; `null` lifts the limit.
    LimitLogins(Option<Limit>),
    /// [`Vault::token_lifetime`] in seconds.
    TokenLifetime(u64),
    /// [`Vault::expire_tokens`].
    ExpireTokens,
    /// [`Vault::user_key_id`].
    UserKeyId(UserKeyId),
    /// Reads the fixture's file again.
    Reload,
    /// Answers [`Vault::count`] of every route, and `logins`.
    Counts,
}

/// A [`LoginLimit`] in seconds.
#[derive(Debug, Serialize, Deserialize)]
pub struct Limit {
    burst: u32,
    seconds: u64,
}

type Reply = std::result::Result<BTreeMap<String, u64>, String>;

/// Makes the socket, in place of one that was left behind.
///
/// # Errors
/// When it cannot be made.
pub fn listen(socket: &Path) -> Result<UnixListener> {
    let _ = std::fs::remove_file(socket);
    UnixListener::bind(socket).with_context(|| format!("making {}", socket.display()))
}

/// Serves commands until the process ends.
pub fn serve(listener: &UnixListener, vault: &Vault, fixture: &Path) {
    for stream in listener.incoming() {
        if let Err(error) = stream.map_err(Into::into).and_then(|stream| answer(vault, fixture, &stream)) {
            eprintln!("colibri-test-vault: {error:#}");
        }
    }
}

fn answer(vault: &Vault, fixture: &Path, mut stream: &UnixStream) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    let done = serde_json::from_str(&line).map_err(Into::into).and_then(|word| obey(vault, fixture, word));
    let reply: Reply = done.map_err(|error| format!("{error:#}"));
    writeln!(stream, "{}", serde_json::to_string(&reply)?)?;
    Ok(())
}

fn obey(vault: &Vault, fixture: &Path, command: Command) -> Result<BTreeMap<String, u64>> {
    match command {
        Command::Fault { route, fault, times } => vault.fault(route, fault, times),
        Command::Heal => vault.heal_all(),
        Command::Transport(transport) => vault.transport(transport),
        Command::LimitLogins(limit) => vault.limit_logins(limit.map(LoginLimit::from)),
        Command::TokenLifetime(seconds) => vault.token_lifetime(Duration::from_secs(seconds)),
        Command::ExpireTokens => vault.expire_tokens(),
        Command::UserKeyId(answer) => vault.user_key_id(answer),
        Command::Reload => {
            let fresh = Fixture::load(fixture)?;
            vault.edit(|content| *content = fresh)?;
        }
        Command::Counts => return counts(vault),
    }
    Ok(BTreeMap::new())
}

fn counts(vault: &Vault) -> Result<BTreeMap<String, u64>> {
    let mut counts = BTreeMap::from([("logins".to_owned(), vault.logins())]);
    for route in Route::ALL {
        let name = serde_json::to_value(route)?;
        counts.insert(name.as_str().unwrap_or_default().to_owned(), vault.count(route));
    }
    Ok(counts)
}

impl From<Limit> for LoginLimit {
    fn from(limit: Limit) -> Self {
        Self { burst: limit.burst, period: Duration::from_secs(limit.seconds) }
    }
}

/// Says one command, in JSON, to the vault of that socket.
///
/// # Errors
/// When nobody listens, or what the vault says against it.
pub fn tell(socket: &Path, command: &str) -> Result<BTreeMap<String, u64>> {
    let mut stream = UnixStream::connect(socket).context("connecting to the vault")?;
    stream.write_all(format!("{}\n", command.replace('\n', " ")).as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    match serde_json::from_str::<Reply>(&line).context("reading the vault's reply")? {
        Ok(counts) => Ok(counts),
        Err(why) => bail!(why),
    }
}
