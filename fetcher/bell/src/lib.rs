//! `colibri-bell`: listens at the vault for changes and rings. It has one connection
//! to the vault, an access token, and nothing else: no key, no credential, no
//! file, no way to make another connection.

mod confine;
pub mod hub;
mod listen;

pub use confine::confine;

use anyhow::{Context as _, Result, bail};
use colibri_session::{FromBell, MAX_TO_BELL, ToBell, Wire};
use std::io::stdin;
use std::os::fd::AsFd as _;
use tokio::net::TcpStream;

/// Serves until the vault, the fetcher or the daemon ends it.
///
/// # Errors
/// Whatever ended it.
pub fn run() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let input = stdin().as_fd().try_clone_to_owned()?;
    // Before a byte is read.
    confine().context("cannot confine the bell")?;
    runtime.block_on(async { serve(Wire::new(input)?).await })
}

async fn serve(wire: Wire) -> Result<()> {
    let mut inbox = wire.inbox::<ToBell>(MAX_TO_BELL);
    let trust = match inbox.recv().await {
        Some((ToBell::Trust(trust), _)) => trust,
        Some(_) => bail!("the first frame does not say whom to trust"),
        None => return Ok(()),
    };
    let tls = listen::tls(trust.as_deref())?;
    let (order, connection) = match inbox.recv().await {
        Some((ToBell::Listen(order), fds)) => (order, fds.into_iter().next()),
        Some(_) => bail!("the second frame does not say where to listen"),
        None => return Ok(()),
    };
    let connection = std::net::TcpStream::from(connection.context("no connection came with the order")?);
    connection.set_nonblocking(true)?;
    let listening = listen::listen(TcpStream::from_std(connection)?, &order, tls, say);
    tokio::select! {
        ended = listening => ended,
        // Whoever gave the order is gone, or wants an end.
        _ = inbox.recv() => Ok(()),
    }
}

/// Never waits: who has not read the last ring knows of this one.
fn say(word: FromBell) -> Result<()> {
    match rustix::io::write(std::io::stdout(), &[word.byte()]) {
        Err(rustix::io::Errno::AGAIN) => Ok(()),
        written => written.map(drop).context("nobody hears the bell"),
    }
}
