//! From a name in the vault to the name of a variable: the tenant's mapping and
//! the rules for keys.

use crate::bare::is_invisible;
use colibri_envfile::{is_barred, is_reserved};
use colibri_pair::{EnvKey, KeyError};
use colibri_session::Rules;
use colibri_tenant::KeyCase;

/// What becomes of a name.
#[derive(Debug, PartialEq, Eq)]
pub enum Named {
    /// This key.
    Key(EnvKey),
    /// The tenant does not want it.
    Unwanted,
    /// It is no key.
    Invalid(Why),
    /// It would take over its reader, and the tenant does not allow it.
    Reserved(EnvKey),
    /// It would take over its reader, and nobody can allow it.
    Barred(EnvKey),
}

/// Why a name is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// By the rules for all keys.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// It has lower case, and the tenant takes none.
    #[error("it has lower case letters")]
    Lower,
}

/// A name without what is around it and cannot be seen.
pub fn trimmed(name: &str) -> &str {
    name.trim_matches(|char: char| char.is_whitespace() || is_invisible(char))
}

fn plain(name: &str) -> String {
    trimmed(name).replace([' ', '-', '.'], "_")
}

/// Normalizes, takes what the tenant wants, puts the prefix in front, renames,
/// and checks, in this order.
pub fn key(name: &str, rules: &Rules) -> Named {
    let mut plain = plain(name);
    if rules.key_case == KeyCase::Upper {
        plain.make_ascii_uppercase();
    }
    if !rules.only.is_empty() && !rules.only.iter().any(|glob| matches(glob.as_bytes(), plain.as_bytes())) {
        return Named::Unwanted;
    }
    let prefixed = format!("{}{plain}", rules.prefix);
    let renamed = rules.rename.iter().find(|(old, _)| *old == prefixed).map(|(_, new)| new.clone());
    let strict = rules.key_case == KeyCase::Strict && renamed.is_none();
    let lower = strict && prefixed.contains(|char: char| char.is_ascii_lowercase());
    match EnvKey::try_from(renamed.unwrap_or(prefixed)) {
        Ok(_) if lower => Named::Invalid(Why::Lower),
        Ok(key) if is_barred(&key) => Named::Barred(key),
        Ok(key) if is_reserved(&key) && !rules.allow.iter().any(|name| name == key.as_str()) => {
            Named::Reserved(key)
        }
        Ok(key) => Named::Key(key),
        Err(error) => Named::Invalid(error.into()),
    }
}

/// Whether lower case is all that is wrong with a name.
pub fn is_only_lower(name: &str) -> bool {
    EnvKey::try_from(plain(name).to_ascii_uppercase()).is_ok()
}

/// The nearest name that would do.
pub fn better(name: &str) -> Option<EnvKey> {
    let better = plain(name).to_ascii_uppercase();
    let better = better.replace(|char: char| !char.is_ascii_alphanumeric(), "_");
    let digit = better.starts_with(|char: char| char.is_ascii_digit());
    EnvKey::try_from(if digit { format!("_{better}") } else { better }).ok()
}

/// `*` stands for any bytes, `?` for one. On a mismatch only the last star is
/// stretched, so the time is bounded by the product of the lengths.
fn matches(glob: &[u8], name: &[u8]) -> bool {
    let (mut at, mut in_glob, mut star) = (0, 0, None);
    while at < name.len() {
        match glob.get(in_glob) {
            Some(b'*') => {
                star = Some((in_glob, at));
                in_glob += 1;
            }
            Some(&byte) if byte == b'?' || byte == name[at] => {
                at += 1;
                in_glob += 1;
            }
            _ => {
                let Some((star_at, from)) = star else { return false };
                star = Some((star_at, from + 1));
                (in_glob, at) = (star_at + 1, from + 1);
            }
        }
    }
    glob[in_glob..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, rules: &Rules) -> String {
        match key(name, rules) {
            Named::Key(key) => key.to_string(),
            other => format!("{other:?}").split('(').next().unwrap().to_owned(),
        }
    }

    #[test]
    fn spaces_dashes_and_dots_become_underscores() {
        let rules = Rules::default();
        assert_eq!(named("A-B.C D", &rules), "A_B_C_D");
        for name in ["", "2FA_CODE", "db password", "BAD!KEY", "ÜMLAUT", "A\nB", &"A".repeat(129)] {
            assert_eq!(named(name, &rules), "Invalid", "{name}");
        }
    }

    #[test]
    fn lower_case_is_changed_only_when_asked_for() {
        let rules = Rules { key_case: KeyCase::Upper, ..Rules::default() };
        assert_eq!(named("db password", &rules), "DB_PASSWORD");
        assert_eq!(named("ümlaut", &rules), "Invalid");
    }

    #[test]
    fn lower_case_is_kept_when_asked_for() {
        let rules = Rules { key_case: KeyCase::Keep, ..Rules::default() };
        assert_eq!(named("TF_VAR_db-password", &rules), "TF_VAR_db_password");
        assert_eq!(named("database__connection", &rules), "database__connection");
        assert_eq!(named("\u{fc}mlaut", &rules), "Invalid");
        // What the operator names is taken as it is.
        let rules = Rules { rename: vec![("A".into(), "mixedCase".into())], ..Rules::default() };
        assert_eq!(named("A", &rules), "mixedCase");
        assert_eq!(named("mixedCase", &rules), "Invalid");
    }

    #[test]
    fn blanks_around_a_name_are_no_part_of_it() {
        assert_eq!(named(" DB_PASSWORD\u{a0}\u{200b}", &Rules::default()), "DB_PASSWORD");
        assert_eq!(named("A B", &Rules::default()), "A_B");
    }

    #[test]
    fn a_name_that_would_do_is_known() {
        for (name, expected) in [("api-token", Some("API_TOKEN")), ("2fa!", Some("_2FA_")), ("", None)] {
            assert_eq!(better(name).as_ref().map(EnvKey::as_str), expected, "{name}");
        }
        assert!(is_only_lower("api-token") && !is_only_lower("2fa"));
    }

    #[test]
    fn mapping_goes_only_prefix_rename_check() {
        let rules = Rules {
            only: vec!["DB_*".into(), "2FA".into()],
            prefix: "P_".into(),
            rename: vec![("P_DB_A".into(), "A".into()), ("DB_B".into(), "B".into())],
            ..Rules::default()
        };
        assert_eq!(named("DB-A", &rules), "A");
        assert_eq!(named("DB-B", &rules), "P_DB_B");
        assert_eq!(named("2FA", &rules), "P_2FA");
        assert_eq!(named("OTHER", &rules), "Unwanted");
    }

    #[test]
    fn reserved_keys_have_to_be_allowed_by_name() {
        let mut rules = Rules { rename: vec![("A".into(), "PATH".into())], ..Rules::default() };
        assert_eq!(named("LD_PRELOAD", &rules), "Reserved");
        assert_eq!(named("A", &rules), "Reserved");
        rules.allow = vec!["PATH".into()];
        assert_eq!(named("A", &rules), "PATH");
        assert_eq!(named("LD_PRELOAD", &rules), "Reserved");
        rules.allow = vec!["RANDOM".into()];
        assert_eq!(named("RANDOM", &rules), "Barred");
        // In the vault it may stand in lower case.
        rules.key_case = KeyCase::Upper;
        assert_eq!(named("http_proxy", &rules), "Reserved");
    }

    #[test]
    fn globs() {
        for (glob, name, expected) in [
            ("*", "", true),
            ("A*C", "ABBC", true),
            ("A*C", "ABCB", false),
            ("A?C", "ABC", true),
            ("A?C", "AC", false),
            ("*A*B*", "XAYBZ", true),
            ("", "A", false),
            ("*A", "AAAA", true),
        ] {
            assert_eq!(matches(glob.as_bytes(), name.as_bytes()), expected, "{glob} {name}");
        }
    }
}
