//! Linux: a lock on the users' numbers, as bytes of a file that every root daemon opens.

use super::AgentUsers;
use crate::server::make_dir;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc::{F_WRLCK, SEEK_SET, flock};
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Whatever the daemon's own directories are.
const DIR: &str = "/run/colibri";
const NAME: &str = "agent-users";

pub fn hold(range: AgentUsers) -> Result<File, String> {
    let AgentUsers { first, last } = range;
    let unknown = |why: &dyn std::fmt::Display| {
        format!(
            "whether another colibrid gives users of {first}-{last} is not to be known: {DIR}/{NAME}: {why}"
        )
    };
    make_dir(Path::new(DIR), 0o755).map_err(|error| unknown(&format!("{error:#}")))?;
    let mut open = File::options();
    // For root alone: who can open it could hold it.
    open.read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(OFlag::O_NOFOLLOW.bits());
    let file = open.open(Path::new(DIR).join(NAME)).map_err(|error| unknown(&error))?;
    let (start, count) = (i64::from(first), i64::from(last) - i64::from(first) + 1);
    // Not one of the open file: no child shall have it.
    let (l_type, l_whence) = (F_WRLCK as i16, SEEK_SET as i16);
    let lock = flock { l_type, l_whence, l_start: start, l_len: count, l_pid: 0 };
    match fcntl(&file, FcntlArg::F_SETLK(&lock)) {
        Ok(_) => Ok(file),
        Err(Errno::EAGAIN | Errno::EACCES) => {
            Err(format!("another colibrid on this host gives users of {first}-{last} to its jails"))
        }
        Err(errno) => Err(unknown(&errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_that_nobody_has_is_held_and_its_file_is_roots_alone() {
        if !nix::unistd::geteuid().is_root() {
            return colibri_test_host::skip("an ordinary user's daemon gives nobody another user");
        }
        let file = hold(AgentUsers { first: 4_100_000_000, last: 4_100_000_009 }).unwrap();
        assert_eq!(std::os::unix::fs::MetadataExt::mode(&file.metadata().unwrap()) & 0o777, 0o600);
    }
}
