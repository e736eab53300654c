//! Names that come from outside, checked once at the edge.

use serde::{Deserialize, Serialize};

/// A jail's name as jail(8) takes it: at most 255 bytes; parts joined by dots,
/// where a dot means a jail within a jail; no part is empty, begins with a dash
/// or is a number, which would be a jail id; none of [`OWN_JAILS`]. The alphabet is
/// narrower than the kernel's: it needs no quoting in jail.conf, in a shell or in a
/// file name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JailName(String);

/// A tenant is named after its jail.
pub type TenantId = JailName;

/// A collection's name as the vault shows it: 1 to 1,000 bytes, no control
/// characters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CollectionName(String);

/// Why a text is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing there.
    #[error("the name, or a part of it, is empty")]
    Empty,
    /// Over the bound.
    #[error("the name is too long")]
    TooLong,
    /// A character that may not be in it.
    #[error("the name has a character other than letters, digits, '_', '-' and '.'")]
    Alphabet,
    /// A control character.
    #[error("the name has a control character")]
    Control,
    /// A dash in front.
    #[error("the name, or a part of it, begins with '-'")]
    Dash,
    /// A number.
    #[error("the name, or a part of it, is a number, which would be a jail id")]
    Number,
    /// A name that is not a tenant's to have.
    #[error("the name is one that colibrid gives its own jails, or that bastille(8) takes for all jails")]
    Reserved,
}

/// The jails that colibrid makes for itself: an agent or a tenant of such a name would
/// be in, or in the place of, the jail that holds the vault's session. Also with a jail
/// within it, and in whatever case.
pub const OWN_JAILS: [&str; 3] = ["colibri-bw", "colibri-fetcher", "colibri-bell"];
/// What bastille(8) takes for every jail.
const ALL: &str = "all";

const MAX_JAIL: usize = 255;
const MAX_COLLECTION: usize = 1000;

impl TryFrom<String> for JailName {
    type Error = NameError;

    fn try_from(name: String) -> Result<Self, NameError> {
        if name.len() > MAX_JAIL {
            return Err(NameError::TooLong);
        }
        name.split('.').try_for_each(check_part)?;
        if is_reserved(&name) {
            return Err(NameError::Reserved);
        }
        Ok(Self(name))
    }
}

fn is_reserved(name: &str) -> bool {
    let outer = name.split('.').next().unwrap_or_default();
    name.eq_ignore_ascii_case(ALL) || OWN_JAILS.iter().any(|own| outer.eq_ignore_ascii_case(own))
}

fn check_part(part: &str) -> Result<(), NameError> {
    match part.as_bytes() {
        [] => Err(NameError::Empty),
        [b'-', ..] => Err(NameError::Dash),
        bytes if !bytes.iter().all(|&b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') => {
            Err(NameError::Alphabet)
        }
        bytes if bytes.iter().all(u8::is_ascii_digit) => Err(NameError::Number),
        _ => Ok(()),
    }
}

impl TryFrom<String> for CollectionName {
    type Error = NameError;

    fn try_from(name: String) -> Result<Self, NameError> {
        match name.len() {
            0 => Err(NameError::Empty),
            length if length > MAX_COLLECTION => Err(NameError::TooLong),
            _ if name.chars().any(char::is_control) => Err(NameError::Control),
            _ => Ok(Self(name)),
        }
    }
}

macro_rules! text {
    ($name:ident) => {
        impl $name {
            /// The name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::try_from(text.to_owned())
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }
    };
}

text!(JailName);
text!(CollectionName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jail_names_are_those_that_jail_takes_and_a_shell_needs_not_quote() {
        for name in ["web01", "0a", "_x", "a-b", "host.child", "1a.b2"] {
            assert!(name.parse::<JailName>().is_ok(), "{name}");
        }
        for (name, error) in [
            ("", NameError::Empty),
            ("a..b", NameError::Empty),
            (".", NameError::Empty),
            ("-a", NameError::Dash),
            ("a.-b", NameError::Dash),
            ("17", NameError::Number),
            ("a.17", NameError::Number),
            ("a/b", NameError::Alphabet),
            ("a b", NameError::Alphabet),
            ("*", NameError::Alphabet),
            ("ä", NameError::Alphabet),
        ] {
            assert_eq!(name.parse::<JailName>(), Err(error), "{name}");
        }
        assert!("a".repeat(255).parse::<JailName>().is_ok());
        assert_eq!("a".repeat(256).parse::<JailName>(), Err(NameError::TooLong));
    }

    #[test]
    fn no_tenant_has_the_name_of_colibrids_own_jails_or_of_all() {
        for own in OWN_JAILS {
            for name in [own.to_owned(), own.to_uppercase(), format!("{own}.x"), format!("{own}.a.b")] {
                assert_eq!(name.parse::<JailName>(), Err(NameError::Reserved), "{name}");
            }
            // The kernel knows these by other names.
            for name in [format!("a.{own}"), format!("{own}2"), format!("x{own}")] {
                assert!(name.parse::<JailName>().is_ok(), "{name}");
            }
        }
        for name in ["all", "ALL", "All"] {
            assert_eq!(name.parse::<JailName>(), Err(NameError::Reserved), "{name}");
        }
        assert!("all.web".parse::<JailName>().is_ok() && "colibri".parse::<JailName>().is_ok());
    }

    #[test]
    fn collection_names_have_no_control_characters() {
        assert!("Übung / prod".parse::<CollectionName>().is_ok());
        assert_eq!("a\nb".parse::<CollectionName>(), Err(NameError::Control));
        assert_eq!("".parse::<CollectionName>(), Err(NameError::Empty));
    }
}
