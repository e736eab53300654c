//! What the bell is told, and what it says. It listens at the vault for changes and
//! knows nothing else of it.

use colibri_pair::Secret;
use serde::{Deserialize, Serialize};

/// Longest frame to the bell, in bytes: a CA's certificates are the most of it.
pub const MAX_TO_BELL: usize = 1024 * 1024;

/// To the bell, on its standard input: first from the daemon, then, over the same
/// socket, from the fetcher.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToBell {
    /// PEM certificates of CAs that are trusted beside the public ones.
    Trust(Option<String>),
    /// Listen now. The connection to the vault comes with this frame.
    Listen(Listen),
}

/// Where to listen, and as whom.
#[derive(Debug, Serialize, Deserialize)]
pub struct Listen {
    /// The vault's name, for its certificate.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The path of its URL, without a slash at the end: mostly empty.
    pub path: String,
    /// The access token of a login, good for two hours at most.
    pub token: Secret,
}

/// What the bell says on its standard output: a byte each. Who reads it takes
/// nothing else in it for anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FromBell {
    /// The vault has taken the token, and will tell of changes.
    Listening,
    /// Something has changed that this account may see.
    Rung,
    /// The vault does not take the token (any more): only a login helps.
    TokenRefused,
}

impl FromBell {
    const ALL: [Self; 3] = [Self::Listening, Self::Rung, Self::TokenRefused];

    /// The byte that says it.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Listening => b'L',
            Self::Rung => b'R',
            Self::TokenRefused => b'T',
        }
    }

    /// What a byte says, if anything.
    #[must_use]
    pub fn of(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.byte() == byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_says_one_thing() {
        let said: Vec<FromBell> = (0..=u8::MAX).filter_map(FromBell::of).collect();
        assert_eq!(said.len(), FromBell::ALL.len());
        assert!(FromBell::ALL.iter().all(|one| FromBell::of(one.byte()) == Some(*one)));
    }
}
