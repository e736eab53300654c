//! What the daemon said last, out of the system's log.

#[cfg_attr(target_os = "freebsd", path = "log/syslog.rs")]
#[cfg_attr(not(target_os = "freebsd"), path = "log/journal.rs")]
mod platform;

use colibri_tenant::plain;
use std::process::{Command, Stdio};

/// Why it ended or did not start, if it said so after it was last up.
pub fn last_words() -> Option<String> {
    let (program, args) = platform::READ.split_first()?;
    let output = Command::new(program).args(args).stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    words(&String::from_utf8_lossy(&output.stdout))
}

fn words(log: &str) -> Option<String> {
    log.lines().fold(None, |said, line| {
        let ready = line.contains(" ready ") || line.contains("\"message\":\"ready\"");
        match line.split_once("colibrid: ") {
            _ if ready => None,
            Some((_, words)) => Some(plain(words)),
            None => said,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_what_came_after_it_was_last_up() {
        let journal = "colibrid: old\n2026-11-27T20:00:00Z  INFO ready base=/srv/jails\n INFO ending\n";
        assert_eq!(words(journal), None);
        let failed = format!("{journal}colibrid: BW_SERVER \"x\u{1b}\": no\nsystemd said something\n");
        assert_eq!(words(&failed).as_deref(), Some("BW_SERVER \"x\u{fffd}\": no"));
        let syslog = "Nov 27 20:00:00 host colibrid[7]: colibrid: line 3: it is not NAME=value\n";
        assert_eq!(words(syslog).as_deref(), Some("line 3: it is not NAME=value"));
        assert_eq!(words(""), None);
    }
}
