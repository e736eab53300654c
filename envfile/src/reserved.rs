//! The names of variables that would take over the process that reads them.

use colibri_ipc::EnvKey;

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

/// Whether a variable of this name can make its reader run something else.
/// Such a key is written only for a tenant that allows it by name.
/// Letter case does not matter: `path` is zsh's, and some readers know no case.
pub fn is_reserved(key: &EnvKey) -> bool {
    let key = key.as_str().to_ascii_uppercase();
    RESERVED.split_ascii_whitespace().any(|name| match name.strip_suffix('*') {
        Some(beginning) => key.starts_with(beginning),
        None => key == name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reserved(name: &str) -> bool {
        is_reserved(&EnvKey::try_from(name.to_owned()).unwrap())
    }

    #[test]
    fn names_that_take_over_their_reader_are_reserved() {
        for name in
            ["PATH", "LD_PRELOAD", "PYTHONPATH", "IDCMD", "SYSCTL_W", "NODE_OPTIONS", "path", "Ld_preload"]
        {
            assert!(reserved(name), "{name}");
        }
        for name in ["PATHS", "DATABASE_URL", "ID_TOKEN", "LDAP_PASSWORD", "API_KEY"] {
            assert!(!reserved(name), "{name}");
        }
    }
}
