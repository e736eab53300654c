//! The frames of `colibri_ipc` for a task that must not block, and a
//! descriptor that travels with one.

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use std::io::{Error, ErrorKind, IoSlice, Result};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use zeroize::Zeroizing;

/// Receives one frame of at most `bound` bytes; `None` at a clean end.
pub async fn recv(from: &mut (impl AsyncRead + Unpin), bound: usize) -> Result<Option<Vec<u8>>> {
    let mut head = [0; 4];
    if from.read(&mut head[..1]).await? == 0 {
        return Ok(None);
    }
    from.read_exact(&mut head[1..]).await?;
    let size = usize::try_from(u32::from_le_bytes(head)).unwrap_or(usize::MAX);
    if size > bound {
        return Err(Error::new(ErrorKind::InvalidData, "frame over its bound"));
    }
    let mut body = vec![0; size];
    from.read_exact(&mut body).await?;
    Ok(Some(body))
}

/// Sends one frame; the descriptor, if any, travels with its first byte.
pub async fn send(to: &mut OwnedWriteHalf, body: &[u8], descriptor: Option<BorrowedFd<'_>>) -> Result<()> {
    let length = u32::try_from(body.len()).map_err(|_| ErrorKind::InvalidInput)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(4 + body.len()));
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(body);
    let sent = match descriptor {
        Some(descriptor) => {
            let stream: &UnixStream = to.as_ref();
            stream.async_io(Interest::WRITABLE, || send_with(stream, &bytes, descriptor)).await?
        }
        None => 0,
    };
    to.write_all(&bytes[sent..]).await
}

fn send_with(to: &UnixStream, bytes: &[u8], descriptor: BorrowedFd) -> Result<usize> {
    let descriptors = [descriptor];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    Ok(sendmsg(to, &[IoSlice::new(bytes)], &mut control, SendFlags::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
    }

    #[test]
    fn what_is_sent_is_received_by_the_blocking_side_too() {
        run(async {
            let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
            ours.set_nonblocking(true).unwrap();
            let (mut from, mut to) = UnixStream::from_std(ours).unwrap().into_split();
            let file = std::fs::File::open("/").unwrap();
            send(&mut to, b"one", Some(file.as_fd())).await.unwrap();
            colibri_ipc::send(&mut theirs, b"two").unwrap();
            assert_eq!(colibri_ipc::recv(&mut theirs, 3).unwrap().unwrap().as_slice(), b"one");
            assert_eq!(recv(&mut from, 3).await.unwrap().unwrap(), b"two");
            drop(theirs);
            assert!(recv(&mut from, 3).await.unwrap().is_none());
        });
    }

    #[test]
    fn a_length_over_the_bound_and_an_end_inside_a_frame_are_errors() {
        run(async {
            for wire in [&[9, 0, 0, 0][..], &[3, 0, 0, 0, 1], &[3, 0]] {
                assert!(recv(&mut &*wire, 8).await.is_err(), "{wire:?}");
            }
        });
    }
}
