//! What the bell needs of what `bw` has stored: the access token of its login, and
//! where the vault says that it tells of changes. Read as from a hostile program.

use colibri_pair::Secret;
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;

/// Longest token, in bytes; Vaultwarden's has some 900.
const MAX_TOKEN: usize = 16 * 1024;
/// Longest address, in bytes.
const MAX_URL: usize = 2048;

/// It.
#[derive(Debug)]
pub struct Access {
    /// A JSON Web Token.
    pub token: Secret,
    /// What the vault's own configuration says, if it says it of one server only.
    pub notifications: Option<String>,
}

impl Access {
    /// Reads it as `bw` keeps it in data.json.
    ///
    /// # Errors
    /// The system's; `UnexpectedEof` where it may have been read while it was written,
    /// and `InvalidData` for anything else, such as no login.
    pub fn read(from: impl Read) -> std::io::Result<Self> {
        serde_json::from_reader(from).map_err(|error| crate::stored::unknown(&error))
    }
}

impl<'de> Deserialize<'de> for Access {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Entries)
    }
}

#[derive(Deserialize)]
struct Configuration {
    environment: Option<Environment>,
}

#[derive(Deserialize)]
struct Environment {
    notifications: Option<String>,
}

struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Access;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("what bw stores")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Access, A::Error> {
        let (mut token, mut servers) = (None, BTreeMap::<String, Configuration>::new());
        while let Some(key) = map.next_key::<String>()? {
            let what = key.strip_prefix("user_").and_then(|key| key.split_once('_'));
            if let Some((_, "token_accessToken")) = what {
                let found = map.next_value::<Option<Secret>>()?;
                if token.is_some() {
                    return Err(A::Error::custom("there is more than one account"));
                }
                token = found;
            } else if key == "global_config_byServer" {
                servers = map.next_value::<Option<_>>()?.unwrap_or_default();
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        let token = token.filter(is_token).ok_or_else(|| A::Error::custom("there is no access token"))?;
        let one = if servers.len() == 1 { servers.into_values().next() } else { None };
        let notifications = one.and_then(|one| one.environment?.notifications);
        Ok(Access { token, notifications: notifications.filter(|url| url.len() <= MAX_URL) })
    }
}

/// Whether it can stand in an address as it is.
fn is_token(token: &Secret) -> bool {
    let text = token.expose();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !text.is_empty() && text.len() <= MAX_TOKEN && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;

    fn read(text: &str) -> std::io::Result<(String, Option<String>)> {
        let access = Access::read(text.as_bytes())?;
        Ok((access.token.expose().to_owned(), access.notifications))
    }

    #[test]
    fn the_token_and_the_hub_are_found_among_the_rest() {
        let text = r#"{"stateVersion":83,"global_config_byServer":{"https://v/api":{"environment":
            {"notifications":"https://v/notifications"}}},"user_1_token_accessToken":"a.b-c_d"}"#;
        assert_eq!(read(text).unwrap(), ("a.b-c_d".into(), Some("https://v/notifications".into())));
        let bare = r#"{"user_1_token_accessToken":"x","global_config_byServer":null}"#;
        assert_eq!(read(bare).unwrap(), ("x".into(), None));
    }

    #[test]
    fn what_is_no_token_is_none_and_stands_in_no_error() {
        for wrong in [
            r#"{}"#,
            r#"{"user_1_token_accessToken":null}"#,
            r#"{"user_1_token_accessToken":""}"#,
            r#"{"user_1_token_accessToken":"s3cret\r\nHost: x"}"#,
            r#"{"user_1_token_accessToken":["s3cret"]}"#,
            r#"{"user_1_token_accessToken":"s3cret","user_2_token_accessToken":"s3cret"}"#,
        ] {
            let error = Access::read(wrong.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{wrong}");
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
        let long = format!(r#"{{"user_1_token_accessToken":"{}"}}"#, "x".repeat(MAX_TOKEN + 1));
        assert!(read(&long).is_err());
        let torn = read(r#"{"user_1_token_accessToken":"x"#).unwrap_err();
        assert_eq!(torn.kind(), ErrorKind::UnexpectedEof);
    }
}
