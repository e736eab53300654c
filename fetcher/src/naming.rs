//! From a name in the vault to the name of a variable: the tenant's mapping and
//! the rules for keys.

use crate::words::{KeyCase, Rules};
use colibri_envfile::is_reserved;
use colibri_ipc::{EnvKey, KeyError};

/// What becomes of a name.
#[derive(Debug, PartialEq, Eq)]
pub enum Named {
    /// This key.
    Key(EnvKey),
    /// The tenant does not want it.
    Unwanted,
    /// It is no key.
    Invalid(KeyError),
    /// It would take over its reader, and the tenant does not allow it.
    Reserved(EnvKey),
}

/// Normalizes, takes what the tenant wants, puts the prefix in front, renames,
/// and checks, in this order.
pub fn key(name: &str, rules: &Rules) -> Named {
    let mut plain = name.replace([' ', '-', '.'], "_");
    if rules.key_case == KeyCase::Upper {
        plain.make_ascii_uppercase();
    }
    if !rules.only.is_empty() && !rules.only.iter().any(|glob| matches(glob.as_bytes(), plain.as_bytes())) {
        return Named::Unwanted;
    }
    let prefixed = format!("{}{plain}", rules.prefix);
    let renamed = rules.rename.iter().find(|(old, _)| *old == prefixed);
    match EnvKey::try_from(renamed.map_or(prefixed, |(_, new)| new.clone())) {
        Ok(key) if is_reserved(&key) && !rules.allow.iter().any(|name| name == key.as_str()) => {
            Named::Reserved(key)
        }
        Ok(key) => Named::Key(key),
        Err(error) => Named::Invalid(error),
    }
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
        for name in ["", "2FA_CODE", "db password", "BAD!KEY", "ÜMLAUT", "A\n", &"A".repeat(129)] {
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
