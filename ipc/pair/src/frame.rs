//! Length-prefixed frames on a stream: four bytes, little-endian, then as many
//! bytes as they say. A length above the bound is refused before memory is
//! taken for it.

use std::io::{self, ErrorKind, Read, Write};
use zeroize::Zeroizing;

/// Why no frame came.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The peer announced more than the bound allows.
    #[error("frame of {0} bytes is over its bound")]
    TooLong(u32),
    /// The stream ended inside a frame.
    #[error("stream ended inside a frame")]
    Truncated,
    /// The stream failed.
    #[error("cannot read or write a frame")]
    Io(#[source] io::Error),
}

/// Receives one frame of at most `bound` bytes; `None` at a clean end.
///
/// # Errors
/// See [`FrameError`]. After an error the stream has no defined position.
pub fn recv(from: &mut impl Read, bound: usize) -> Result<Option<Zeroizing<Vec<u8>>>, FrameError> {
    let mut body = Zeroizing::new(Vec::new());
    let came = recv_into(from, bound, &mut body)?.is_some();
    Ok(came.then_some(body))
}

/// The same into memory that is used again; what it held is gone.
///
/// # Errors
/// As for [`recv`].
pub fn recv_into<'a>(
    from: &mut impl Read,
    bound: usize,
    body: &'a mut Vec<u8>,
) -> Result<Option<&'a [u8]>, FrameError> {
    let mut head = [0; 4];
    match read_some(from, &mut head)? {
        0 => return Ok(None),
        count => fill(from, &mut head[count..])?,
    }
    let length = u32::from_le_bytes(head);
    let size = usize::try_from(length).unwrap_or(usize::MAX);
    if size > bound {
        return Err(FrameError::TooLong(length));
    }
    body.resize(size, 0);
    fill(from, body)?;
    Ok(Some(body))
}

/// Sends `body` as one frame.
///
/// # Errors
/// `TooLong` when the length does not fit its four bytes, else the stream's.
pub fn send(to: &mut impl Write, body: &[u8]) -> Result<(), FrameError> {
    let length = u32::try_from(body.len()).map_err(|_| FrameError::TooLong(u32::MAX))?;
    to.write_all(&length.to_le_bytes()).and_then(|()| to.write_all(body)).map_err(FrameError::Io)
}

fn fill(from: &mut impl Read, buffer: &mut [u8]) -> Result<(), FrameError> {
    from.read_exact(buffer).map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof => FrameError::Truncated,
        _ => FrameError::Io(error),
    })
}

fn read_some(from: &mut impl Read, buffer: &mut [u8]) -> Result<usize, FrameError> {
    loop {
        match from.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other.map_err(FrameError::Io),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_received() {
        let mut wire = Vec::new();
        send(&mut wire, b"one").unwrap();
        send(&mut wire, b"").unwrap();
        let mut reader = wire.as_slice();
        assert_eq!(recv(&mut reader, 3).unwrap().unwrap().as_slice(), b"one");
        assert_eq!(recv(&mut reader, 3).unwrap().unwrap().as_slice(), b"");
        assert!(recv(&mut reader, 3).unwrap().is_none());
    }

    #[test]
    fn a_length_over_the_bound_is_refused_before_its_bytes_are_read() {
        let wire = u32::MAX.to_le_bytes();
        assert!(matches!(recv(&mut wire.as_slice(), 8), Err(FrameError::TooLong(u32::MAX))));
    }

    #[test]
    fn an_end_inside_a_frame_is_an_error() {
        for wire in [&[3_u8, 0][..], &[3, 0, 0, 0, b'x']] {
            assert!(matches!(recv(&mut &*wire, 8), Err(FrameError::Truncated)));
        }
    }
}
