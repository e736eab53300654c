//! One `bw serve`: HTTP over a socketpair, one request after another. An
//! answer counts when its JSON is complete.

use colibri_session::Failure;
use colibri_tenant::ErrorName::{BwCrashed, LimitExceeded, VaultError, VaultTimeout, VaultUnreachable};
use colibri_vault::answer::{self, Answer, Anything, garbage};
use colibri_vault::classify;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use std::os::unix::net::UnixStream;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use zeroize::Zeroizing;

/// Longest answer, in bytes.
pub const MAX_ANSWER: usize = 16 * 1024 * 1024;
/// Between the end of the connection and that of the process.
const PATIENCE: Duration = Duration::from_secs(1);
/// `bw serve` answers to this name only.
const AUTHORITY: &str = "localhost:8087";

/// The connection to `bw serve`.
#[derive(Debug)]
pub struct Serve {
    sender: SendRequest<Full<Bytes>>,
    output: Option<JoinHandle<String>>,
    /// Longest answer that is read to its end.
    skipped: usize,
    spent: bool,
}

impl Serve {
    /// Speaks HTTP on the socket, and reads an answer to its end up to `skipped` bytes.
    ///
    /// # Errors
    /// `BwCrashed`.
    pub async fn open(
        (socket, output): (UnixStream, JoinHandle<String>),
        skipped: usize,
    ) -> Result<Self, Failure> {
        let stream = socket.set_nonblocking(true).and_then(|()| tokio::net::UnixStream::from_std(socket));
        let stream = stream.map_err(|error| crashed(&error))?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| crashed(&error))?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection to bw serve ended");
            }
        });
        Ok(Self { sender, output: Some(output), skipped, spent: false })
    }

    /// Whether it cannot be asked again, though it runs.
    pub fn is_spent(&self) -> bool {
        self.spent
    }

    /// Asks and returns the answer as it came.
    ///
    /// # Errors
    /// `VaultTimeout`, `LimitExceeded` for an answer over its bound, which costs
    /// `bw serve` nothing, or by what that said when it ended.
    pub async fn bytes(
        &mut self,
        method: Method,
        path: &str,
        body: Zeroizing<Vec<u8>>,
        deadline: Instant,
    ) -> Result<Zeroizing<Vec<u8>>, Failure> {
        self.answer(method, path, body, deadline).await.map(|(bytes, _)| bytes)
    }

    /// Asks for what is in a file of an item.
    ///
    /// # Errors
    /// As for [`Serve::bytes`], and by what `bw` says instead.
    pub async fn file(&mut self, path: &str, deadline: Instant) -> Result<Zeroizing<Vec<u8>>, Failure> {
        match self.answer(Method::GET, path, Zeroizing::default(), deadline).await? {
            (bytes, Kind::File) => Ok(bytes),
            (bytes, Kind::Answer) => match answer::parse::<Anything>(&bytes) {
                Answer::Refusal(message) => Err(classify::failure(&message)),
                Answer::Success(_) | Answer::Garbage => Err(garbage(&bytes)),
            },
        }
    }

    async fn answer(
        &mut self,
        method: Method,
        path: &str,
        body: Zeroizing<Vec<u8>>,
        deadline: Instant,
    ) -> Result<(Zeroizing<Vec<u8>>, Kind), Failure> {
        match timeout_at(deadline, self.exchange(method, path, body)).await {
            Ok(Err(Failure { name: BwCrashed, message, .. })) => Err(self.last_words(message).await),
            Ok(answer) => answer,
            Err(_) => Err(Failure::new(VaultTimeout, format!("bw did not answer {} in time", plain(path)))),
        }
    }

    /// Why it ended, if it said so.
    async fn last_words(&mut self, message: String) -> Failure {
        let output = self.output.take().map(|output| timeout(PATIENCE, output));
        let said = match output {
            Some(output) => output.await.ok().and_then(Result::ok).unwrap_or_default(),
            None => String::new(),
        };
        match classify::failure(&said) {
            // It also complains of what it tries on its own, long before its
            // end; whether the vault could be reached the relay knows.
            Failure { name: VaultError | VaultUnreachable | VaultTimeout, .. } => {
                Failure::new(BwCrashed, message)
            }
            known => known,
        }
    }

    async fn exchange(
        &mut self,
        method: Method,
        path: &str,
        body: Zeroizing<Vec<u8>>,
    ) -> Result<(Zeroizing<Vec<u8>>, Kind), Failure> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, AUTHORITY)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from_owner(body)))
            .map_err(|error| crashed(&error))?;
        self.sender.ready().await.map_err(|error| crashed(&error))?;
        let response = self.sender.send_request(request).await.map_err(|error| crashed(&error))?;
        let kind = match response.headers().get(CONTENT_TYPE) {
            Some(kind) if kind == "application/octet-stream" && response.status().is_success() => Kind::File,
            _ => Kind::Answer,
        };
        let mut body = response.into_body();
        let mut bytes = Zeroizing::new(Vec::new());
        let mut length = 0_usize;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| crashed(&error))?;
            let Some(data) = frame.data_ref() else { continue };
            length = length.saturating_add(data.len());
            if length <= MAX_ANSWER {
                bytes.extend_from_slice(data);
            } else {
                bytes = Zeroizing::default();
            }
            if length > self.skipped.max(MAX_ANSWER) {
                self.spent = true;
                break;
            }
        }
        if length > MAX_ANSWER {
            return Err(Failure::new(LimitExceeded, format!("bw's answer is over {MAX_ANSWER} bytes")));
        }
        Ok((bytes, kind))
    }
}

/// What an answer is, by its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Words of `bw`.
    Answer,
    /// What is in a file of the vault.
    File,
}

fn crashed(error: &dyn std::error::Error) -> Failure {
    Failure::new(BwCrashed, format!("the connection to bw serve broke: {error}"))
}

/// The path without its query.
fn plain(path: &str) -> &str {
    path.split('?').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use colibri_tenant::ErrorName;
    use std::io::{Read, Write};

    /// Answers each request with so many bytes, until nobody asks.
    fn bw(lengths: Vec<usize>) -> UnixStream {
        let (near, mut far) = UnixStream::pair().unwrap();
        std::thread::spawn(move || {
            for length in lengths {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    if far.read(&mut byte).unwrap() == 0 {
                        return;
                    }
                    head.push(byte[0]);
                }
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
                // Whoever asked may have hung up in the middle.
                if far.write_all(answer.as_bytes()).and_then(|()| far.write_all(&vec![b'x'; length])).is_err()
                {
                    return;
                }
            }
        });
        near
    }

    const SKIPPED: usize = 2 * MAX_ANSWER;

    async fn open(socket: UnixStream) -> Serve {
        Serve::open((socket, tokio::spawn(async { String::new() })), SKIPPED).await.unwrap()
    }

    async fn ask(serve: &mut Serve) -> Result<usize, ErrorName> {
        // It is the bound that has to end it, on a slow machine, too.
        let deadline = Instant::now() + Duration::from_secs(600);
        let answer = serve.bytes(Method::GET, "/list", Zeroizing::default(), deadline).await;
        answer.map(|bytes| bytes.len()).map_err(|failure| failure.name)
    }

    #[tokio::test]
    async fn an_answer_over_its_bound_costs_the_next_request_nothing() {
        let socket = bw(vec![7, MAX_ANSWER, MAX_ANSWER + 1, SKIPPED, 8]);
        let mut serve = open(socket).await;
        let expected = [Ok(7), Ok(MAX_ANSWER), Err(LimitExceeded), Err(LimitExceeded), Ok(8)];
        for expected in expected {
            assert_eq!((ask(&mut serve).await, serve.is_spent()), (expected, false));
        }
    }

    #[tokio::test]
    async fn what_would_go_on_for_ever_is_not_read_to_its_end() {
        let socket = bw(vec![SKIPPED + 1, 8]);
        let mut serve = open(socket).await;
        assert_eq!((ask(&mut serve).await, serve.is_spent()), (Err(LimitExceeded), true));
    }
}
