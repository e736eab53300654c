//! The only way out of `bw`'s cage: CONNECT to the configured vault, nothing
//! else. TLS passes through untouched.

use crate::resolver::Resolver;
use colibri_session::Server;
use hyper::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use std::collections::BTreeSet;
use std::future::poll_fn;
use std::io::{Error, ErrorKind, Result};
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tower_service::Service;

/// Longest head of a request, in bytes.
const MAX_HEAD: usize = 4096;
/// Most connections at a time.
const MAX_CONNECTIONS: usize = 32;
/// Most different lines of what was refused.
const MOST: usize = 60;
/// Longest time to reach the vault.
const DIAL: Duration = Duration::from_secs(10);

/// Why the vault could not be dialled, if it could not. `bw` sees only that
/// its proxy answered with an error.
pub type Trouble = Arc<Mutex<Option<String>>>;

/// What was asked for and refused.
type Refused = Arc<Mutex<BTreeSet<String>>>;

/// Relays until the runtime ends.
///
/// # Errors
/// The system's, when the listener cannot be used.
pub fn open(listener: TcpListener, server: Server, resolver: Resolver) -> Result<Trouble> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let trouble = Trouble::default();
    let seen = trouble.clone();
    let refused = Refused::default();
    tokio::spawn(async move {
        let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        while let Ok(permit) = room.clone().acquire_owned().await {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let (server, resolver) = (server.clone(), resolver.clone());
            let (seen, refused) = (seen.clone(), refused.clone());
            tokio::spawn(async move {
                if let Err(error) = relay(stream, &server, resolver, &seen, &refused).await {
                    tracing::debug!(%error, "relay");
                }
                drop(permit);
            });
        }
    });
    Ok(trouble)
}

/// Each different request once, and not so many that other lines are lost.
fn record(refused: &Refused, asked: String) {
    let mut seen = refused.lock().unwrap_or_else(PoisonError::into_inner);
    if seen.len() < MOST && !seen.contains(&asked) {
        tracing::warn!(%asked, "bw asked the relay for something else than the vault: refused");
        seen.insert(asked);
        if seen.len() == MOST {
            tracing::warn!(
                "bw asked the relay for more than {MOST} other things: no more of them is recorded"
            );
        }
    }
}

/// The last trouble, forgotten by asking.
pub fn take(trouble: &Trouble) -> Option<String> {
    trouble.lock().unwrap_or_else(PoisonError::into_inner).take()
}

async fn relay(
    mut bw: TcpStream,
    server: &Server,
    resolver: Resolver,
    trouble: &Trouble,
    refused: &Refused,
) -> Result<()> {
    let head = tokio::time::timeout(DIAL, head(&mut bw)).await??;
    let Some((host, port)) = target(&head).filter(|(host, port)| server.allows(host, *port)) else {
        let asked: String = head.lines().next().unwrap_or_default().chars().take(200).collect();
        record(refused, asked.escape_debug().to_string());
        return bw
            .write_all(b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            .await;
    };
    match dial(host, port, resolver).await {
        Ok(mut vault) => {
            bw.set_nodelay(true)?;
            *trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
            bw.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
            pass(&mut bw, &mut vault).await
        }
        Err(error) => {
            tracing::warn!(host, port, %error, "cannot reach the vault");
            *trouble.lock().unwrap_or_else(PoisonError::into_inner) =
                Some(format!("cannot connect to {host} port {port}: {error}"));
            bw.write_all(b"HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").await
        }
    }
}

/// Until one of them ends: a vault that neither answers nor closes would hold
/// its place when `bw` is gone.
async fn pass(bw: &mut TcpStream, vault: &mut TcpStream) -> Result<()> {
    let (mut from_bw, mut to_bw) = bw.split();
    let (mut from_vault, mut to_vault) = vault.split();
    tokio::select! {
        sent = tokio::io::copy(&mut from_bw, &mut to_vault) => sent,
        received = tokio::io::copy(&mut from_vault, &mut to_bw) => received,
    }
    .map(drop)
}

/// As Node does by itself: of a name's addresses of two kinds, those that do not
/// answer soon are not waited for.
///
/// # Errors
/// The system's word.
pub async fn dial(host: &str, port: u16, resolver: Resolver) -> Result<TcpStream> {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let vault = format!("http://{host}:{port}").parse::<Uri>().map_err(Error::other)?;
    let mut connector = HttpConnector::new_with_resolver(resolver);
    connector.set_connect_timeout(Some(DIAL));
    connector.set_nodelay(true);
    poll_fn(|task| connector.poll_ready(task)).await.map_err(|error| first(&error))?;
    let dialled = tokio::time::timeout(DIAL, connector.call(vault)).await?;
    dialled.map(TokioIo::into_inner).map_err(|error| first(&error))
}

/// The system's word, without what was done in between.
fn first(error: &dyn std::error::Error) -> Error {
    match error.source() {
        Some(source) => first(source),
        None => Error::other(error.to_string()),
    }
}

/// Reads up to the empty line, and not a byte of what comes after it: `bw`
/// speaks TLS only once it was answered.
async fn head(bw: &mut TcpStream) -> Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == MAX_HEAD {
            return Err(Error::new(ErrorKind::InvalidData, "the head is over its bound"));
        }
        head.push(bw.read_u8().await?);
    }
    String::from_utf8(head).map_err(|error| Error::new(ErrorKind::InvalidData, error))
}

fn target(head: &str) -> Option<(&str, u16)> {
    let mut words = head.lines().next()?.split(' ');
    let (host, port) = words.next().filter(|verb| *verb == "CONNECT").and(words.next())?.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    Some((host, port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(port: u16, head: &str) -> String {
        let mut bw = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        bw.write_all(head.as_bytes()).await.unwrap();
        let mut answer = vec![0; 1024];
        let got = bw.read(&mut answer).await.unwrap();
        String::from_utf8_lossy(&answer[..got]).lines().next().unwrap_or_default().to_owned()
    }

    fn localhost() -> Resolver {
        crate::resolver::for_tests(&["localhost", "no-such-name.invalid"])
    }

    #[tokio::test]
    async fn an_address_of_either_kind_is_dialled() {
        for local in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(vault) = TcpListener::bind(local) else { continue };
            let port = vault.local_addr().unwrap().port();
            let host = vault.local_addr().unwrap().ip().to_string();
            assert_eq!(dial(&host, port, localhost()).await.unwrap().peer_addr().unwrap().port(), port);
            // It may be both kinds, of which one refuses.
            assert!(local.starts_with('[') || dial("localhost", port, localhost()).await.is_ok());
            drop(vault);
            assert!(dial(&host, port, localhost()).await.unwrap_err().to_string().contains("refused"));
        }
        let unknown = dial("no-such-name.invalid", 1, localhost()).await.unwrap_err().to_string();
        assert!(unknown.contains("lookup"), "{unknown}");
    }

    #[tokio::test]
    async fn a_vault_that_keeps_its_connections_takes_no_places() {
        let vault = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = vault.local_addr().unwrap().port();
        let kept = std::thread::spawn(move || {
            (0..2 * MAX_CONNECTIONS).map(|_| vault.accept().unwrap()).collect::<Vec<_>>()
        });
        let server = Server::parse(Some(&format!("https://localhost:{port}"))).unwrap();
        let relay = TcpListener::bind("127.0.0.1:0").unwrap();
        let door = relay.local_addr().unwrap().port();
        open(relay, server, localhost()).unwrap();
        for _ in 0..2 * MAX_CONNECTIONS {
            assert!(ask(door, &format!("CONNECT localhost:{port} HTTP/1.1\r\n\r\n")).await.contains(" 200 "));
        }
        assert_eq!(kept.join().unwrap().len(), 2 * MAX_CONNECTIONS);
    }

    #[tokio::test]
    async fn only_the_vault_is_dialled() {
        let vault = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = vault.local_addr().unwrap().port();
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Server::parse(Some(&format!("https://localhost:{port}"))).unwrap();
        let relay = TcpListener::bind("127.0.0.1:0").unwrap();
        let door = relay.local_addr().unwrap().port();
        let trouble = open(relay, server, localhost()).unwrap();
        assert!(ask(door, &format!("CONNECT localhost:{port} HTTP/1.1\r\n\r\n")).await.contains(" 200 "));
        for asked in [
            format!("CONNECT 127.0.0.1:{port}"),
            format!("CONNECT localhost:{}", other.local_addr().unwrap().port()),
            format!("CONNECT localhost.evil.example:{port}"),
            format!("GET https://localhost:{port}/"),
            "CONNECT localhost".into(),
        ] {
            assert!(ask(door, &format!("{asked} HTTP/1.1\r\n\r\n")).await.contains(" 403 "), "{asked}");
        }
        assert_eq!(take(&trouble), None);
        drop(vault);
        assert!(ask(door, &format!("CONNECT localhost:{port} HTTP/1.1\r\n\r\n")).await.contains(" 502 "));
        assert!(take(&trouble).unwrap().contains("refused"));
    }
}
