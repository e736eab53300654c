//! A text that must not be seen. It can be read only by `expose`, so that a
//! search for that word finds every use.

use serde::{Deserialize, Serialize};
use zeroize::ZeroizeOnDrop;

/// A secret text: no `Clone`, no `Display`, zeroed when dropped; `Debug` tells
/// its length only.
#[derive(PartialEq, Eq, Serialize, Deserialize, ZeroizeOnDrop)]
pub struct Secret(String);

impl Secret {
    /// Takes ownership of `text`; no copy is left behind.
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// The same where it lies, in somebody else's memory.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretStr<'a>(&'a str);

impl<'a> SecretStr<'a> {
    /// The secret itself.
    pub const fn expose(&self) -> &'a str {
        self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}

impl std::fmt::Debug for SecretStr<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_tells_the_length_and_nothing_else() {
        let secret = Secret::new("hunter2".into());
        assert_eq!(format!("{secret:?}"), "Secret(7 bytes)");
    }
}
