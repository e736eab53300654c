//! Files of values, each value under a key of its own.

use anyhow::Result;
use colibri_envfile::{Document, NotCarried};
use colibri_ipc::{EnvKey, Pair, Secret};
use colibri_order::Format;

/// The file of these pairs, in their order.
///
/// # Errors
/// The format cannot carry a value.
pub fn render(format: Format, pairs: &[(EnvKey, &str)]) -> Result<String, NotCarried> {
    let mut document = Document::new(format);
    for (key, value) in pairs {
        document.push(&Pair { key: key.clone(), value: Secret::new((*value).to_owned()) })?;
    }
    Ok(document.finish().to_string())
}

/// A key that is nobody else's.
///
/// # Errors
/// The number has more than 120 digits.
pub fn key(number: usize) -> Result<EnvKey> {
    Ok(EnvKey::try_from(format!("V{number:06}"))?)
}
