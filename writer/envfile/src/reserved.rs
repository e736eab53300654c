//! The names of variables that would take over the process that reads them, in
//! any letter case: `path` is zsh's, and some readers know no case. What stands in
//! the tables in lower case is meant so.

use colibri_pair::EnvKey;

const BARRED: &str = include_str!("reserved/barred.txt");
const RESERVED: &str = include_str!("reserved/reserved.txt");

/// Whether a variable of this name can make its reader run something else, so
/// that it is written only for a tenant that allows it by name.
pub fn is_reserved(key: &EnvKey) -> bool {
    is_barred(key) || holds(RESERVED, key)
}

/// Whether it is never written: the shell that reads the file evaluates the value
/// of such a name itself, or ends.
pub fn is_barred(key: &EnvKey) -> bool {
    holds(BARRED, key)
}

fn holds(table: &str, key: &EnvKey) -> bool {
    let upper = key.as_str().to_ascii_uppercase();
    let mut names = table.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_ascii_whitespace);
    names.any(|name| fits(name, &upper) || fits(name, key.as_str()))
}

fn fits(name: &str, key: &str) -> bool {
    match (name.strip_prefix('*'), name.strip_suffix('*')) {
        (Some(ending), _) => key.ends_with(ending),
        (_, Some(beginning)) => key.starts_with(beginning),
        _ => key == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> EnvKey {
        EnvKey::try_from(name.to_owned()).unwrap()
    }

    #[test]
    fn names_that_take_over_their_reader_are_reserved() {
        for name in [
            "PATH",
            "LD_PRELOAD",
            "PYTHONPATH",
            "IDCMD",
            "SYSCTL_W",
            "NODE_OPTIONS",
            "TAR_OPTIONS",
            "MAKEFLAGS",
            "GNUMAKEFLAGS",
            "CATALINA_OPTS",
            "HTTP_PROXY",
            "GOPROXY",
            "MANPAGER",
            "SSH_ASKPASS",
            "GLIBC_TUNABLES",
            "CORECLR_PROFILER",
            "DOTNET_STARTUP_HOOKS",
            "NPM_CONFIG_SCRIPT_SHELL",
            "LESSOPEN",
            "PERL5OPT",
            "path",
            "Ld_preload",
            "http_proxy",
        ] {
            assert!(is_reserved(&key(name)), "{name}");
        }
        for name in [
            "PATHS",
            "DATABASE_URL",
            "ID_TOKEN",
            "LDAP_PASSWORD",
            "API_KEY",
            "OPTIONS",
            "NODE_ENV",
            "RAILS_MASTER_KEY",
            "VAULT_TOKEN",
            "GOOGLE_API_KEY",
            "DB_USERNAME",
            "RANDOM_SEED",
            "UIDS",
            "SERVICE_KEY",
            "PHP_TOKEN",
        ] {
            assert!(!is_reserved(&key(name)), "{name}");
        }
    }

    #[test]
    fn what_a_shell_evaluates_can_never_be_allowed() {
        for name in ["RANDOM", "OPTIND", "BASH_ENV", "UID", "KSHUID", "IDCMD", "SYSCTL_N", "random", "status"]
        {
            assert!(is_barred(&key(name)) && is_reserved(&key(name)), "{name}");
        }
        for name in ["PATH", "HTTP_PROXY", "USERNAME", "STATUS"] {
            assert!(!is_barred(&key(name)), "{name}");
        }
    }

    /// A star within a name would never fit.
    #[test]
    fn the_tables_have_names_and_stars_at_one_end() {
        let lines = BARRED.lines().chain(RESERVED.lines()).filter(|line| !line.starts_with('#'));
        for name in lines.flat_map(str::split_ascii_whitespace) {
            let bare = name.strip_prefix('*').or(name.strip_suffix('*')).unwrap_or(name);
            assert!(EnvKey::try_from(bare.to_owned()).is_ok(), "{name}");
        }
    }
}
