//! What a client needs to log in and unlock.

use std::path::Path;

/// What `bw` needs to log in and unlock.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// `BW_CLIENTID`.
    pub client_id: String,
    /// `BW_CLIENTSECRET`.
    pub client_secret: String,
    /// The master password.
    pub password: String,
}

impl Credentials {
    pub(crate) fn to_env(&self, url: &str, ca_file: &Path) -> String {
        [
            ("BW_SERVER", url),
            ("BW_CLIENTID", &self.client_id),
            ("BW_CLIENTSECRET", &self.client_secret),
            ("BW_PASSWORD", &self.password),
            ("NODE_EXTRA_CA_CERTS", &ca_file.to_string_lossy()),
        ]
        .map(|(name, value)| format!("{name}={}\n", quoted(value)))
        .concat()
    }
}

/// As colibrid and a shell read it; bare where nothing needs quoting.
fn quoted(value: &str) -> String {
    if value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-./:@+,".contains(&byte)) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_needs_it_is_quoted() {
        assert_eq!(quoted("https://localhost:1"), "https://localhost:1");
        assert_eq!(quoted("a b$it's"), r"'a b$it'\''s'");
    }
}
