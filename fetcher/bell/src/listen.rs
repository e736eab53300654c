//! One connection to the hub, from TLS to its end.

use crate::hub::{HELLO, PING, Rings, WELCOME, tells_of_change};
use anyhow::{Context as _, Result, bail};
use colibri_session::{FromBell, Listen};
use futures_util::{SinkExt as _, StreamExt as _};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::time::{sleep_until, timeout};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::tungstenite::http::{StatusCode, Uri};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

/// Longest time from the connection until the hub's welcome.
const GREETING: Duration = Duration::from_secs(30);
/// A hub that says nothing at all for so long is gone: it pings every 15 s.
const SILENCE: Duration = Duration::from_secs(60);
/// How often the hub is told that somebody is here; some end a connection after 30 s.
const HERE: Duration = Duration::from_secs(15);
/// Longest message, in bytes; a change's has some 300.
const MAX_MESSAGE: usize = 64 * 1024;
/// Messages in a second that are read at once. A hub that sends more waits.
const MANY: u32 = 1000;

type Hub = WebSocketStream<TlsStream<TcpStream>>;

/// Trusts the public CAs and those of `trust`, in PEM.
///
/// # Errors
/// When `trust` is no certificate.
pub fn tls(trust: Option<&str>) -> Result<TlsConnector> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for certificate in CertificateDer::pem_slice_iter(trust.unwrap_or_default().as_bytes()) {
        let certificate = certificate.ok().context("the CA file is not in PEM")?;
        roots.add(certificate).context("the CA file holds what is no CA")?;
    }
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// Listens until the hub ends it, and tells `say`.
///
/// # Errors
/// Whatever ended it. No message holds anything of the token or of the hub's words.
pub async fn listen(
    connection: TcpStream,
    order: &Listen,
    tls: TlsConnector,
    say: impl Fn(FromBell) -> Result<()>,
) -> Result<()> {
    let mut hub = match timeout(GREETING, greet(connection, order, tls)).await {
        Err(_) => bail!("the vault's hub does not answer within {} s", GREETING.as_secs()),
        Ok(Ok(hub)) => hub,
        Ok(Err(error)) => {
            if error.is::<Refused>() {
                say(FromBell::TokenRefused)?;
            }
            return Err(error);
        }
    };
    say(FromBell::Listening)?;
    follow(&mut hub, say).await
}

/// The vault does not take the token.
#[derive(Debug)]
struct Refused;

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the vault's hub refuses the access token")
    }
}

impl std::error::Error for Refused {}

async fn greet(connection: TcpStream, order: &Listen, tls: TlsConnector) -> Result<Hub> {
    let name = ServerName::try_from(order.host.clone()).context("the vault's name is none")?;
    let stream = tls.connect(name, connection).await.context("TLS with the vault's hub")?;
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE))
        .max_write_buffer_size(MAX_MESSAGE)
        .write_buffer_size(0)
        .read_buffer_size(16 * 1024);
    let asked = client_async_with_config(uri(order)?, stream, Some(config)).await;
    let (mut hub, _) = asked.map_err(|error| refusal(&error))?;
    hub.send(Message::text(HELLO)).await.context("greeting the vault's hub")?;
    let welcome = hub.next().await.context("the vault's hub closed instead of a welcome")??;
    if welcome.into_data() != WELCOME {
        bail!("the vault's hub speaks another protocol");
    }
    Ok(hub)
}

/// Without the words of an error that may hold the token's address, or the hub's page.
fn refusal(error: &tungstenite::Error) -> anyhow::Error {
    match error {
        tungstenite::Error::Http(answer) => match answer.status() {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Refused.into(),
            status => anyhow::anyhow!("the vault has no hub: it answers with status {}", status.as_u16()),
        },
        tungstenite::Error::Io(error) => anyhow::anyhow!("the vault's hub: {}", error.kind()),
        _ => anyhow::anyhow!("the vault's hub does not speak WebSocket"),
    }
}

fn uri(order: &Listen) -> Result<Uri> {
    // The token is a JSON Web Token: letters, digits, `-`, `_` and dots.
    let token = order.token.expose();
    if !token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
        bail!("the access token is none");
    }
    let host = if order.host.contains(':') { format!("[{}]", order.host) } else { order.host.clone() };
    let text = format!("wss://{host}:{}{}/hub?access_token={token}", order.port, order.path);
    // The error holds nothing of the address.
    text.parse().ok().context("the vault's address is none")
}

async fn follow(hub: &mut Hub, say: impl Fn(FromBell) -> Result<()>) -> Result<()> {
    let (mut rings, mut read) = (Rings::default(), Read::default());
    let mut here = tokio::time::interval(HERE);
    let mut heard = tokio::time::Instant::now();
    loop {
        let due = rings.due(Instant::now());
        let ring = async {
            match due {
                Some(due) => sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = ring => {
                say(FromBell::Rung)?;
                rings.passed(Instant::now());
            }
            _ = here.tick() => hub.send(Message::binary(PING.to_vec())).await.context("the hub is gone")?,
            () = sleep_until(heard + SILENCE) => bail!("the vault's hub is silent"),
            message = hub.next() => {
                let message = message.context("the vault's hub closed the connection")?;
                match message.map_err(|error| refusal(&error))? {
                    Message::Close(_) => bail!("the vault's hub closed the connection"),
                    Message::Binary(bytes) if tells_of_change(&bytes) => rings.rung(),
                    _ => {}
                }
                heard = tokio::time::Instant::now();
                if let Some(pause) = read.one(Instant::now()) {
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }
}

/// Counts messages, so that a flood costs little.
#[derive(Debug, Default)]
struct Read {
    since: Option<Instant>,
    count: u32,
}

impl Read {
    /// One was read: how long to wait until the next, when there were too many.
    fn one(&mut self, now: Instant) -> Option<Duration> {
        const SECOND: Duration = Duration::from_secs(1);
        let gone = self.since.map_or(SECOND, |since| now.duration_since(since));
        if gone >= SECOND {
            *self = Self { since: Some(now), count: 0 };
        }
        self.count += 1;
        (self.count >= MANY).then(|| SECOND.saturating_sub(gone))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_waits_for_the_next_second() {
        let (mut read, start) = (Read::default(), Instant::now());
        assert!((1..MANY).all(|_| read.one(start).is_none()));
        assert!(read.one(start).is_some());
        assert!(read.one(start + Duration::from_secs(1)).is_none());
    }
}
