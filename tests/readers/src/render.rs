//! Files of values, each value under a key of its own.

use anyhow::Result;
use colibri_envfile::{Document, NotCarried};
use colibri_pair::{EnvKey, Format};

/// As the writer notes whose file it is.
pub const NOTE: &str = "# Tenant: web-01.a\n";

/// The file of these pairs, in their order.
///
/// # Errors
/// The format cannot carry a value.
pub fn render(format: Format, pairs: &[(EnvKey, &str)]) -> Result<String, NotCarried> {
    let mut document = Document::new(format);
    for (key, value) in pairs {
        document.push(key.clone(), value)?;
    }
    Ok(text(&document))
}

/// The whole text.
pub fn text(document: &Document) -> String {
    let mut text = String::new();
    let Ok(()) = document.render(NOTE, |piece| {
        text.push_str(piece);
        Ok::<_, std::convert::Infallible>(())
    });
    text
}

/// A key that is nobody else's.
///
/// # Errors
/// The number has more than 120 digits.
pub fn key(number: usize) -> Result<EnvKey> {
    Ok(EnvKey::try_from(format!("V{number:06}"))?)
}
