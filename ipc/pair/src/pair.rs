//! What the fetcher says to the writer: pairs in ascending order of their keys,
//! then one commit. Anything else, and an end without a commit, writes nothing.

use crate::{EnvKey, Secret, SecretStr};
use serde::{Deserialize, Serialize};

/// Longest key, in bytes.
pub const MAX_KEY: usize = 128;
/// Longest value, in bytes.
pub const MAX_VALUE: usize = 64 * 1024;
/// Most pairs of one request.
pub const MAX_PAIRS: usize = 1024;
/// Most bytes of all keys and values of one request.
pub const MAX_TOTAL: usize = 1024 * 1024;
/// Longest frame: the tag of the message and two lengths beside key and value.
pub const MAX_FRAME: usize = 4 + 8 + MAX_KEY + 8 + MAX_VALUE;

/// The key of a raw file's one value.
pub const RAW: &str = "VALUE";

/// One variable. Its value is owned, or a [`crate::SecretStr`] in a frame.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair<V = Secret> {
    /// Its name.
    pub key: EnvKey,
    /// Its value, at most [`MAX_VALUE`] bytes, without NUL.
    pub value: V,
}

/// One frame from the fetcher to the writer.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Word<V> {
    /// The next variable; its key is greater than the one before.
    Pair(Pair<V>),
    /// All pairs were sent: this many. Only now may a file be written.
    Commit(u32),
}

/// A frame to be sent.
pub type ToWriter = Word<Secret>;
/// A frame as it came, with the value where it lies.
pub type FromFetcher<'a> = Word<SecretStr<'a>>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CodecError, decode, encode};

    fn pair(key: &str, value: String) -> ToWriter {
        ToWriter::Pair(Pair { key: EnvKey::try_from(key.to_owned()).unwrap(), value: Secret::new(value) })
    }

    #[test]
    fn the_largest_pair_is_the_largest_frame() {
        let bytes = encode(&pair(&"K".repeat(MAX_KEY), "v".repeat(MAX_VALUE))).unwrap();
        assert_eq!(bytes.len(), MAX_FRAME);
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        for word in [pair("A", "it's $(id)\n".into()), pair("B", String::new()), ToWriter::Commit(2)] {
            assert_eq!(decode::<ToWriter>(&encode(&word).unwrap()).unwrap(), word);
        }
    }

    #[test]
    fn a_key_outside_the_alphabet_is_no_message() {
        let mut bytes = encode(&pair("A", "v".into())).unwrap().to_vec();
        bytes[12] = b'-';
        assert_eq!(decode::<ToWriter>(&bytes), Err(CodecError::NotAMessage));
        bytes[12] = b'A';
        bytes.push(0);
        assert_eq!(decode::<ToWriter>(&bytes), Err(CodecError::TrailingBytes));
    }

    #[test]
    fn a_value_can_be_read_where_it_lies() {
        let bytes = encode(&pair("A", "hunter2".into())).unwrap();
        let FromFetcher::Pair(found) = decode(&bytes).unwrap() else { panic!() };
        assert!(bytes.as_ptr_range().contains(&found.value.expose().as_ptr()));
        assert_eq!((found.key.as_str(), found.value.expose()), ("A", "hunter2"));
        assert!(!format!("{found:?}").contains("hunter2"));
    }
}
