//! The name of an environment variable, and the names that would take over the
//! process that reads them.

use crate::MAX_KEY;
use serde::{Deserialize, Serialize};

/// A checked name: `[A-Z_][A-Z0-9_]*`, 1 to 128 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
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
    #[error("the name is not of the form [A-Z_][A-Z0-9_]*")]
    Alphabet,
}

/// Names that decide what a shell, a loader or an interpreter runs, and, in the
/// last line, those that FreeBSD's rc.subr sets before it reads the file and
/// evaluates after. A star stands for any ending.
const RESERVED: &str = "
    PATH IFS ENV BASH_ENV BASH_FUNC_* SHELLOPTS BASHOPTS PS0 PS1 PS2 PS3 PS4 PROMPT_COMMAND CDPATH GLOBIGNORE
    FPATH ZDOTDIR HOME SHELL EDITOR VISUAL PAGER BROWSER OPTIND OPTARG LD_* DYLD_* GCONV_PATH GETCONF_DIR
    HOSTALIASES LOCALDOMAIN LOCPATH NLSPATH RES_OPTIONS TMPDIR TZDIR MALLOC_CONF GIT_* PYTHON* NODE_OPTIONS
    NODE_PATH NODE_EXTRA_CA_CERTS RUBYOPT RUBYLIB PERL5OPT PERL5LIB PERL5DB PERLLIB PHPRC PHP_INI_SCAN_DIR
    LUA_PATH* LUA_CPATH* LUA_INIT* JAVA_TOOL_OPTIONS JDK_JAVA_OPTIONS _JAVA_OPTIONS CLASSPATH OPENSSL_CONF
    OPENSSL_MODULES OPENSSL_ENGINES SSL_CERT_FILE SSL_CERT_DIR COLIBRI_ENV_FILE
    IDCMD PS ID SERVICE JID JAIL_CMD CPUSET SYSCTL* PROTECT VERIEXEC RC_PID";

impl EnvKey {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a variable of this name can make its reader run something else.
    /// Such a key is written only for a tenant that allows it by name.
    pub fn is_reserved(&self) -> bool {
        RESERVED.split_ascii_whitespace().any(|name| match name.strip_suffix('*') {
            Some(beginning) => self.0.starts_with(beginning),
            None => self.0 == name,
        })
    }
}

impl TryFrom<String> for EnvKey {
    type Error = KeyError;

    fn try_from(name: String) -> Result<Self, KeyError> {
        let first = *name.as_bytes().first().ok_or(KeyError::Empty)?;
        if name.len() > MAX_KEY {
            return Err(KeyError::TooLong);
        }
        let letter = |byte: u8| byte.is_ascii_uppercase() || byte == b'_';
        if !letter(first) || !name.bytes().all(|byte| letter(byte) || byte.is_ascii_digit()) {
            return Err(KeyError::Alphabet);
        }
        Ok(Self(name))
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
    fn only_upper_case_names_are_keys() {
        assert!(key("_A9").is_ok());
        assert_eq!(key(""), Err(KeyError::Empty));
        assert_eq!(key(&"A".repeat(MAX_KEY + 1)), Err(KeyError::TooLong));
        for name in ["9A", "a", "A-B", "A B", "Ä", "A\n", "A="] {
            assert_eq!(key(name), Err(KeyError::Alphabet), "{name}");
        }
    }

    #[test]
    fn names_that_take_over_their_reader_are_reserved() {
        for name in ["PATH", "LD_PRELOAD", "PYTHONPATH", "IDCMD", "SYSCTL_W", "NODE_OPTIONS"] {
            assert!(key(name).unwrap().is_reserved(), "{name}");
        }
        for name in ["PATHS", "DATABASE_URL", "ID_TOKEN", "LDAP_PASSWORD", "API_KEY"] {
            assert!(!key(name).unwrap().is_reserved(), "{name}");
        }
    }
}
