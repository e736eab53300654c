//! Frames of `colibri_pair` on a socket, without blocking, and with the
//! descriptors that travel on a frame's header.

use colibri_pair::{decode, encode};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::{Serialize, de::DeserializeOwned};
use std::io::{Error, ErrorKind, IoSlice, IoSliceMut, Result};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, Interest};
use tokio::net::UnixStream;
use tokio::sync::{Mutex, mpsc};
use zeroize::Zeroizing;

/// Most descriptors on one frame: one for each file of a tenant.
const MAX_FDS: usize = colibri_tenant::MAX_FILES;
/// Frames that wait to be looked at.
const BACKLOG: usize = 16;

/// Received words with what came with them; ends when the peer does.
pub type Inbox<T> = mpsc::Receiver<(T, Vec<OwnedFd>)>;

/// Receives one frame of at most `bound` bytes, without descriptors, from what need be
/// no socket; `None` at a clean end.
///
/// # Errors
/// The system's, or `InvalidData` for a frame over its bound or that is no word.
pub async fn recv_from<T: DeserializeOwned>(
    from: &mut (impl AsyncRead + Unpin),
    bound: usize,
) -> Result<Option<T>> {
    let mut header = [0; 4];
    if from.read(&mut header[..1]).await? == 0 {
        return Ok(None);
    }
    from.read_exact(&mut header[1..]).await?;
    let mut body = Zeroizing::new(vec![0; length(header, bound)?]);
    from.read_exact(&mut body).await?;
    Ok(Some(decode(&body).map_err(invalid)?))
}

/// One end of a socket that carries words both ways.
#[derive(Clone, Debug)]
pub struct Wire {
    stream: Arc<UnixStream>,
    sending: Arc<Mutex<()>>,
}

impl Wire {
    /// Takes a stream socket over.
    ///
    /// # Errors
    /// The system's.
    pub fn new(socket: OwnedFd) -> Result<Self> {
        let socket = std::os::unix::net::UnixStream::from(socket);
        socket.set_nonblocking(true)?;
        Ok(Self { stream: Arc::new(UnixStream::from_std(socket)?), sending: Arc::default() })
    }

    /// Reads words of at most `bound` bytes until the peer closes, says
    /// something that is no word, or nobody listens any more.
    pub fn inbox<T: DeserializeOwned + Send + 'static>(&self, bound: usize) -> Inbox<T> {
        let (to, inbox) = mpsc::channel(BACKLOG);
        let stream = self.stream.clone();
        tokio::spawn(async move {
            let forward = async {
                while let Some(word) = recv(&stream, bound).await? {
                    to.send(word).await.map_err(|_| Error::from(ErrorKind::BrokenPipe))?;
                }
                Ok(())
            };
            tokio::select! {
                result = forward => if let Err::<(), Error>(error) = result {
                    tracing::error!(%error, "cannot receive");
                },
                () = to.closed() => {}
            }
        });
        inbox
    }

    /// Sends one word; `fds` are attached to its header.
    ///
    /// # Errors
    /// The system's, or `InvalidData` for a word over its bound.
    pub async fn send<T: Serialize + Sync>(&self, word: &T, fds: &[BorrowedFd<'_>]) -> Result<()> {
        let body = encode(word).map_err(invalid)?;
        let length = u32::try_from(body.len()).map_err(invalid)?.to_le_bytes();
        let _one_at_a_time = self.sending.lock().await;
        let sent =
            self.stream.async_io(Interest::WRITABLE, || send_some(&self.stream, &length, &body, fds)).await?;
        write_all(&self.stream, length.get(sent..).unwrap_or_default()).await?;
        write_all(&self.stream, body.get(sent.saturating_sub(length.len())..).unwrap_or_default()).await
    }
}

async fn recv<T: DeserializeOwned>(stream: &UnixStream, bound: usize) -> Result<Option<(T, Vec<OwnedFd>)>> {
    let mut header = [0; 4];
    let (got, fds) = stream.async_io(Interest::READABLE, || recv_header(stream, &mut header)).await?;
    if got == 0 {
        return Ok(None);
    }
    read_exact(stream, &mut header[got..]).await?;
    let mut body = Zeroizing::new(vec![0; length(header, bound)?]);
    read_exact(stream, &mut body).await?;
    Ok(Some((decode(&body).map_err(invalid)?, fds)))
}

fn length(header: [u8; 4], bound: usize) -> Result<usize> {
    let length = usize::try_from(u32::from_le_bytes(header)).map_err(invalid)?;
    match length <= bound {
        true => Ok(length),
        false => Err(Error::new(ErrorKind::InvalidData, "a frame over its bound")),
    }
}

fn recv_header(stream: &UnixStream, header: &mut [u8]) -> Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(stream, &mut [IoSliceMut::new(header)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let rights = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    Ok((got.bytes, rights.flatten().collect()))
}

fn send_some(stream: &UnixStream, header: &[u8], body: &[u8], fds: &[BorrowedFd<'_>]) -> Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Error::new(ErrorKind::InvalidInput, "too many descriptors"));
    }
    Ok(sendmsg(stream, &[IoSlice::new(header), IoSlice::new(body)], &mut control, SendFlags::NOSIGNAL)?)
}

async fn read_exact(stream: &UnixStream, mut buffer: &mut [u8]) -> Result<()> {
    while !buffer.is_empty() {
        stream.readable().await?;
        match stream.try_read(buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => buffer = &mut buffer[count..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn write_all(stream: &UnixStream, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::AsFd;

    #[tokio::test]
    async fn words_and_descriptors_arrive_together() {
        let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
        let (near, far) = (Wire::new(near.into()).unwrap(), Wire::new(far.into()).unwrap());
        let mut inbox = far.inbox::<String>(1_000_000);
        let (mut reader, writer) = std::io::pipe().unwrap();
        near.send(&"with".to_owned(), &[writer.as_fd()]).await.unwrap();
        near.send(&"without".to_owned(), &[]).await.unwrap();
        drop(writer);
        let (word, fds) = inbox.recv().await.unwrap();
        assert_eq!((word.as_str(), fds.len()), ("with", 1));
        assert_eq!(inbox.recv().await.unwrap().0, "without");
        // More than the socket takes at a time.
        let long = "x".repeat(120_000);
        let (sent, received) = tokio::join!(near.send(&long, &[]), inbox.recv());
        sent.unwrap();
        assert_eq!(received.unwrap().0, long);
        drop(near);
        assert!(inbox.recv().await.is_none());
        drop(fds);
        assert_eq!(reader.read(&mut [0]).unwrap(), 0, "the only copies were ours");
    }

    #[tokio::test]
    async fn a_frame_over_its_bound_ends_the_inbox() {
        let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
        let (near, far) = (Wire::new(near.into()).unwrap(), Wire::new(far.into()).unwrap());
        let mut inbox = far.inbox::<String>(10);
        near.send(&"more than ten bytes".to_owned(), &[]).await.unwrap();
        assert!(inbox.recv().await.is_none());
    }
}
