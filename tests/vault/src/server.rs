//! The network side: accepts, speaks TLS and HTTP/1.1, applies the faults.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::{BodyExt as _, Limited};
use hyper::StatusCode;
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::answer::{Answer, Body, Request, State};
use crate::fault::{Fault, Faults};
use crate::hub::{Hub, access_token};
use crate::route::Route;
use crate::tls::Tls;

/// How a connection goes, before any request is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// As it should.
    #[default]
    Sound,
    /// With a certificate that no client trusts.
    Untrusted,
    /// With one of the authority's that is not valid any more.
    Expired,
    /// With one of the authority's that is not valid yet, as to a clock that is behind.
    Early,
    /// It is accepted, and nothing is ever said.
    Hang,
    /// It is accepted and closed.
    Close,
    /// Nobody listens.
    Refuse,
}

/// An order to change the transport, numbered so that its giver can wait for
/// it to be in force.
pub(crate) type Order = (u64, Transport);

/// What all connections share.
pub(crate) struct Server {
    pub(crate) tls: Tls,
    pub(crate) state: Mutex<State>,
    pub(crate) faults: Mutex<Faults>,
    pub(crate) counts: Mutex<BTreeMap<Route, u64>>,
    /// The number of the last order that is in force.
    pub(crate) obeyed: (Mutex<u64>, Condvar),
    pub(crate) hub: Hub,
}

/// The mutex's content, whatever happened to another thread.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Server {
    /// Accepts until the sender of `orders` is gone. An order ends the
    /// connections that were made before.
    pub(crate) async fn run(
        self: Arc<Self>,
        listener: std::net::TcpListener,
        mut orders: watch::Receiver<Order>,
    ) -> io::Result<()> {
        let address = listener.local_addr()?;
        let mut listener = Some(TcpListener::from_std(listener)?);
        loop {
            let (number, transport) = *orders.borrow_and_update();
            if transport == Transport::Refuse {
                listener = None;
            } else if listener.is_none() {
                listener = Some(TcpListener::bind(address).await?);
            }
            *lock(&self.obeyed.0) = number;
            self.obeyed.1.notify_all();
            tokio::select! {
                changed = orders.changed() => if changed.is_err() { return Ok(()) },
                (stream, from) = accept(listener.as_ref()) => {
                    let (server, mut change) = (Arc::clone(&self), orders.clone());
                    tokio::spawn(async move {
                        tokio::select! {
                            () = server.connection(stream, from, transport) => {}
                            _ = change.changed() => {}
                        }
                    });
                }
            }
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, from: SocketAddr, transport: Transport) {
        match transport {
            Transport::Sound => Arc::clone(&self).http(&self.tls.trusted, stream, from).await,
            Transport::Untrusted => Arc::clone(&self).http(&self.tls.untrusted, stream, from).await,
            Transport::Expired => Arc::clone(&self).http(&self.tls.expired, stream, from).await,
            Transport::Early => Arc::clone(&self).http(&self.tls.early, stream, from).await,
            Transport::Hang => std::future::pending().await,
            Transport::Close | Transport::Refuse => {}
        }
    }

    /// Serves one connection. Its end is the client's business either way.
    async fn http(self: Arc<Self>, tls: &TlsAcceptor, stream: TcpStream, from: SocketAddr) {
        let Ok(stream) = tls.accept(stream).await else { return };
        let service = service_fn(move |request| Arc::clone(&self).respond(request, from));
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        let _ = connection.with_upgrades().await;
    }

    async fn respond(
        self: Arc<Self>,
        request: hyper::Request<Incoming>,
        from: SocketAddr,
    ) -> io::Result<hyper::Response<Payload>> {
        let route = Route::of(request.method(), request.uri().path());
        *lock(&self.counts).entry(route).or_default() += 1;
        let fault = lock(&self.faults).befall(route);
        if route == Route::Hub && fault.is_none() {
            let token = access_token(request.uri().query().unwrap_or_default());
            let account = lock(&self.state).account_with(&token);
            if let Some(answer) = account.and_then(|account| Arc::clone(&self).listen(request, account)) {
                return Ok(answer);
            }
            return send(Answer::unauthorized());
        }
        let request = read(request, from).await?;
        match fault {
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Close) => return Err(broken()),
            Some(Fault::Delay(millis)) => tokio::time::sleep(Duration::from_millis(millis)).await,
            _ => {}
        }
        if let Some(wrong) = fault.and_then(Fault::instead) {
            return send(wrong);
        }
        let right = lock(&self.state).answer(route, &request);
        send(match fault {
            Some(fault) => fault.spoil(right),
            None => right,
        })
    }
}

impl Server {
    /// Makes a WebSocket of the connection, if that was asked for.
    fn listen(
        self: Arc<Self>,
        mut request: hyper::Request<Incoming>,
        account: String,
    ) -> Option<hyper::Response<Payload>> {
        let key = request.headers().get(SEC_WEBSOCKET_KEY)?;
        let accept = derive_accept_key(key.as_bytes());
        let upgrade = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            if let Ok(upgraded) = upgrade.await {
                self.hub.serve(TokioIo::new(upgraded), &account).await;
            }
        });
        let response = hyper::Response::builder()
            .status(StatusCode::SWITCHING_PROTOCOLS)
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_ACCEPT, accept);
        response.body(Payload::Bytes(Vec::new())).ok()
    }
}

async fn accept(listener: Option<&TcpListener>) -> (TcpStream, SocketAddr) {
    match listener {
        None => std::future::pending().await,
        Some(listener) => loop {
            match listener.accept().await {
                Ok(accepted) => return accepted,
                // Out of descriptors, or the client has gone: not a reason to spin.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        },
    }
}

async fn read(request: hyper::Request<Incoming>, from: SocketAddr) -> io::Result<Request> {
    const LIMIT: usize = 1 << 20;
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let bearer = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = bearer.and_then(|value| value.strip_prefix("Bearer ")).map(str::to_owned);
    let body = Limited::new(request.into_body(), LIMIT).collect().await.map_err(io::Error::other)?;
    Ok(Request { from: from.ip(), path, query, token, body: body.to_bytes().to_vec() })
}

fn send(answer: Answer) -> io::Result<hyper::Response<Payload>> {
    let mut response =
        hyper::Response::builder().status(answer.status).header(CONTENT_TYPE, answer.content_type);
    let payload = match answer.body {
        Body::Whole(bytes) => {
            response = response.header(CONTENT_LENGTH, bytes.len());
            Payload::Bytes(bytes)
        }
        Body::Cut(mut bytes) => {
            response = response.header(CONTENT_LENGTH, bytes.len());
            bytes.truncate(bytes.len() / 2);
            Payload::Cut(bytes)
        }
        Body::Huge(size) => Payload::Huge { left: size, opened: false },
    };
    response.body(payload).map_err(io::Error::other)
}

fn broken() -> io::Error {
    io::Error::from(io::ErrorKind::ConnectionAborted)
}

/// A body while it is sent.
enum Payload {
    Bytes(Vec<u8>),
    Cut(Vec<u8>),
    Broken,
    Huge { left: u64, opened: bool },
}

impl Payload {
    fn next(&mut self) -> Option<io::Result<Vec<u8>>> {
        const STEP: usize = 1 << 16;
        match self {
            Self::Bytes(bytes) | Self::Cut(bytes) if !bytes.is_empty() => Some(Ok(std::mem::take(bytes))),
            Self::Bytes(_) => None,
            Self::Cut(_) | Self::Broken => Some(Err(broken())),
            Self::Huge { opened: opened @ false, .. } => {
                *opened = true;
                Some(Ok(b"{\"data\":\"".to_vec()))
            }
            Self::Huge { left: 0, .. } => {
                *self = Self::Bytes(Vec::new());
                Some(Ok(b"\"}".to_vec()))
            }
            Self::Huge { left, .. } => {
                let size = usize::try_from(*left).unwrap_or(STEP).min(STEP);
                *left -= size as u64;
                Some(Ok(vec![b'a'; size]))
            }
        }
    }
}

impl hyper::body::Body for Payload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if matches!(&*self, Self::Cut(bytes) if bytes.is_empty()) {
            // An error at once would take back what has not been flushed yet.
            *self = Self::Broken;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.next().map(|bytes| bytes.map(|bytes| Frame::data(Bytes::from(bytes)))))
    }
}
