//! A file of ours in a jail that is no tenant: the jail is a clone, or has another
//! name now. Only the file's first line is read, and no link of the jail's followed.

use colibri_envfile::HEADER;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{Mode, SFlag, fstat};
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;

/// Where a file is unless its tenant's settings say otherwise.
const FILE: &str = "usr/local/etc/colibri/env";
/// How a directory in a jail is opened: it is not a link, and nothing is waited for.
pub const DIRECTORY: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_NONBLOCK)
    .union(OFlag::O_CLOEXEC);
const READ: OFlag = OFlag::O_RDONLY.union(OFlag::O_NOFOLLOW).union(OFlag::O_NONBLOCK).union(OFlag::O_CLOEXEC);

/// The file's path in the root, if there is one of ours.
pub fn in_root(root: &Path) -> Option<&'static str> {
    let begins = || -> Result<bool, Errno> {
        let file = walk(root)?;
        let is_file = SFlag::from_bits_truncate(fstat(&file)?.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG;
        let mut line = vec![0; HEADER.len()];
        Ok(is_file && File::from(file).read_exact(&mut line).is_ok() && line == HEADER.as_bytes())
    };
    begins().unwrap_or(false).then_some(FILE)
}

/// What to do about it.
pub fn advice(jail: &str, root: &Path) -> String {
    format!(
        "a clone has its source's secrets: rm {}, and `colibri register-tenant` it; a renamed jail: \
         `colibri rename-tenant OLD {jail} --jail-root {}`",
        root.join(FILE).display(),
        root.display()
    )
}

fn walk(root: &Path) -> Result<OwnedFd, Errno> {
    let mut at = open(root, DIRECTORY, Mode::empty())?;
    let mut names = FILE.split('/').peekable();
    while let Some(name) = names.next() {
        at = openat(&at, name, if names.peek().is_some() { DIRECTORY } else { READ }, Mode::empty())?;
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_file_of_ours_is_known_by_its_first_line_and_no_link_is_followed() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join(FILE);
        assert_eq!(in_root(root.path()), None);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "A=1\n").unwrap();
        assert_eq!(in_root(root.path()), None);
        fs::write(&file, format!("{HEADER}A=1\n")).unwrap();
        assert_eq!(in_root(root.path()), Some(FILE));
        fs::rename(&file, root.path().join("elsewhere")).unwrap();
        symlink(root.path().join("elsewhere"), &file).unwrap();
        assert_eq!(in_root(root.path()), None, "a link");
        fs::remove_file(&file).unwrap();
        nix::unistd::mkfifo(&file, Mode::S_IRWXU).unwrap();
        assert_eq!(in_root(root.path()), None, "a pipe is not waited for");
    }
}
