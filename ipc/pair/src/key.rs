//! The name of an environment variable.

use crate::MAX_KEY;
use serde::{Deserialize, Serialize};

/// A checked name: `[A-Za-z_][A-Za-z0-9_]*`, 1 to 128 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "&str", into = "String")]
pub struct EnvKey(String);

/// Why a text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Nothing there.
    #[error("the name is empty")]
    Empty,
    /// More than [`MAX_KEY`] bytes.
    #[error("the name is longer than {MAX_KEY} bytes")]
    TooLong,
    /// A byte outside the alphabet, or a digit in front.
    #[error("the name is not of the form [A-Za-z_][A-Za-z0-9_]*")]
    Alphabet,
}

impl EnvKey {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for EnvKey {
    type Error = KeyError;

    fn try_from(name: String) -> Result<Self, KeyError> {
        let first = *name.as_bytes().first().ok_or(KeyError::Empty)?;
        if name.len() > MAX_KEY {
            return Err(KeyError::TooLong);
        }
        let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
        if !letter(first) || !name.bytes().all(|byte| letter(byte) || byte.is_ascii_digit()) {
            return Err(KeyError::Alphabet);
        }
        Ok(Self(name))
    }
}

/// How a key is decoded: a length that is announced takes no memory.
impl TryFrom<&str> for EnvKey {
    type Error = KeyError;

    fn try_from(name: &str) -> Result<Self, KeyError> {
        Self::try_from(name.to_owned())
    }
}

impl From<EnvKey> for String {
    fn from(key: EnvKey) -> Self {
        key.0
    }
}

impl std::fmt::Display for EnvKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Result<EnvKey, KeyError> {
        EnvKey::try_from(name.to_owned())
    }

    #[test]
    fn names_of_letters_digits_and_underscores_are_keys() {
        assert!(key("_A9").is_ok() && key("database__x").is_ok());
        assert_eq!(key(""), Err(KeyError::Empty));
        assert_eq!(key(&"A".repeat(MAX_KEY + 1)), Err(KeyError::TooLong));
        for name in ["9A", "a-b", "A-B", "A B", "Ä", "A\n", "A="] {
            assert_eq!(key(name), Err(KeyError::Alphabet), "{name}");
        }
    }
}
