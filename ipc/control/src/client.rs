//! A small blocking client. It opens one connection and asks one thing after
//! another.

use crate::line::Content;
use crate::{Answer, Call, Event, MAX_ANSWER, Reply, Request};
use colibri_tenant::Fault;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A connection to the daemon.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    next_id: u64,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there, or we may not go there.
    #[error("cannot connect to {0}")]
    Unreachable(PathBuf, #[source] io::Error),
    /// The connection broke, or the answer did not come in time.
    #[error("no answer from the daemon")]
    Broken(#[source] io::Error),
    /// The daemon hung up.
    #[error("the daemon closed the connection")]
    Closed,
    /// What came is no answer to what was asked.
    #[error("the daemon speaks another protocol")]
    Protocol,
    /// The request has a path that JSON cannot carry.
    #[error("a path is not UTF-8")]
    NotUtf8,
    /// The daemon refused.
    #[error(transparent)]
    Refused(#[from] Fault),
}

impl ClientError {
    /// Whether the daemon answered, and the connection goes on.
    pub const fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(_))
    }
}

impl Client {
    /// Connects to the daemon's socket.
    ///
    /// # Errors
    /// `Unreachable`.
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        let stream =
            UnixStream::connect(path).map_err(|error| ClientError::Unreachable(path.into(), error))?;
        Ok(Self { stream: BufReader::new(stream), next_id: 1 })
    }

    /// Gives up waiting for a line after this long; at first never.
    ///
    /// # Errors
    /// `Broken` if the system refuses.
    pub fn set_timeout(&self, timeout: Option<Duration>) -> Result<(), ClientError> {
        self.stream.get_ref().set_read_timeout(timeout).map_err(ClientError::Broken)
    }

    /// Sends one request and waits for its answer.
    ///
    /// # Errors
    /// `Refused` with the daemon's words, else what happened to the connection.
    pub fn call(&mut self, request: Request) -> Result<Answer, ClientError> {
        let id = self.next_id;
        self.next_id += 1;
        let line = Call { id, request }.to_line().map_err(|_| ClientError::NotUtf8)?;
        let reply = match self.stream.get_mut().write_all(&line) {
            Ok(()) => self.recv()?,
            // A daemon that hangs up at once has said why.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.recv().map_err(|_| ClientError::Broken(error))?
            }
            Err(error) => return Err(ClientError::Broken(error)),
        };
        match reply.content {
            // A line that could not be read to its id is refused under 0.
            Content::Error(fault) if reply.id == id || reply.id == 0 => Err(fault.into()),
            Content::Ok(answer) if reply.id == id => Ok(answer),
            _ => Err(ClientError::Protocol),
        }
    }

    /// The next event, after `watch` was answered; waits for it.
    ///
    /// # Errors
    /// What happened to the connection.
    pub fn next_event(&mut self) -> Result<Event, ClientError> {
        match self.recv()?.content {
            Content::Event(event) => Ok(event),
            Content::Error(fault) => Err(fault.into()),
            Content::Ok(_) => Err(ClientError::Protocol),
        }
    }

    fn recv(&mut self) -> Result<Reply, ClientError> {
        let mut line = Vec::new();
        let bound = u64::try_from(MAX_ANSWER).unwrap_or(u64::MAX);
        (&mut self.stream).take(bound).read_until(b'\n', &mut line).map_err(ClientError::Broken)?;
        match line.last() {
            None => Err(ClientError::Closed),
            Some(b'\n') => serde_json::from_slice(&line).map_err(|_| ClientError::Protocol),
            Some(_) => Err(ClientError::Protocol),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Content;
    use colibri_tenant::ErrorName;

    fn client(stream: UnixStream) -> Client {
        Client { stream: BufReader::new(stream), next_id: 1 }
    }

    #[test]
    fn a_refusal_is_heard_though_the_daemon_has_hung_up() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let fault = Fault::new(ErrorName::NotAllowed, "not for you");
        theirs.write_all(&Reply::new(0, Content::Error(fault.clone())).to_line().unwrap()).unwrap();
        drop(theirs);
        let refused = client(ours).call(Request::Status {}).unwrap_err();
        assert!(matches!(&refused, ClientError::Refused(heard) if *heard == fault), "{refused:?}");
    }

    #[test]
    fn a_daemon_that_says_nothing_is_broken() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        assert!(matches!(client(ours).call(Request::Status {}), Err(ClientError::Broken(_))));
    }
}
