//! The only place that knows bincode: bytes to words and back, with nothing
//! left over and no more memory than the bytes that came.

use crate::MAX_REPORT;
use bincode::config::{Configuration, Fixint, Limit, LittleEndian};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// The largest message that any of our sockets carries.
const LIMIT: usize = MAX_REPORT;
const CONFIG: Configuration<LittleEndian, Fixint, Limit<LIMIT>> =
    bincode::config::standard().with_fixed_int_encoding().with_limit::<LIMIT>();

/// Why bytes are not a message. It never quotes them.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CodecError {
    /// The bytes are no message of the expected kind.
    #[error("not a message")]
    NotAMessage,
    /// A message was followed by other bytes.
    #[error("bytes after the end of the message")]
    TrailingBytes,
    /// The message cannot be written within the bound.
    #[error("message too large")]
    TooLarge,
}

/// Reads one message that fills `bytes` exactly, and may borrow from them.
///
/// # Errors
/// `NotAMessage` or `TrailingBytes`; neither says what was in the bytes.
pub fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, CodecError> {
    match bincode::serde::borrow_decode_from_slice(bytes, CONFIG) {
        Ok((message, used)) if used == bytes.len() => Ok(message),
        Ok(_) => Err(CodecError::TrailingBytes),
        Err(_) => Err(CodecError::NotAMessage),
    }
}

/// Writes one message; the buffer is zeroed when dropped.
///
/// # Errors
/// `TooLarge` above the bound of all our messages.
pub fn encode<T: Serialize>(message: &T) -> Result<Zeroizing<Vec<u8>>, CodecError> {
    bincode::serde::encode_to_vec(message, CONFIG).map(Zeroizing::new).map_err(|_| CodecError::TooLarge)
}
