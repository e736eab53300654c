//! A file that jail(8) or AppJail obeys as root, held by its directory's descriptor:
//! read, written anew and renamed there, wherever the path leads by then.

use nix::fcntl::{OFlag, open, openat, renameat};
use nix::sys::stat::{Mode, SFlag, fchmod, fstat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, geteuid, unlinkat};
use std::ffi::OsString;
use std::fs::File;
use std::io::{Error, Read, Result, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Most bytes of such a file.
const MOST: u64 = 4 << 20;
const DIRECTORY: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
const READ: OFlag = OFlag::O_RDONLY.union(OFlag::O_NOFOLLOW).union(OFlag::O_NONBLOCK).union(OFlag::O_CLOEXEC);
const NEW: OFlag = OFlag::O_WRONLY
    .union(OFlag::O_CREAT)
    .union(OFlag::O_EXCL)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);

/// The file and its directory, both root's alone to write.
#[derive(Debug)]
pub struct Held {
    dir: OwnedFd,
    at: PathBuf,
    name: OsString,
    file: File,
    mode: Mode,
    owner: (Uid, Gid),
}

impl Held {
    /// Walks to the file and follows no link.
    ///
    /// # Errors
    /// The system's, or that somebody else could write to it or put another in its place.
    pub fn open(file: &Path) -> Result<Self> {
        let file = std::path::absolute(file)?;
        let name = file.file_name().ok_or_else(|| Error::other("it is no file"))?.to_owned();
        let at = file.parent().unwrap_or(Path::new("/")).to_owned();
        let mut dir = open("/", DIRECTORY, Mode::empty())?;
        for part in at.iter().skip(1) {
            dir = openat(&dir, part, DIRECTORY, Mode::empty())
                .map_err(|error| Error::other(format!("{} is no directory: {error}", part.display())))?;
            ours(&dir, SFlag::S_IFDIR).map_err(|why| Error::other(format!("{}: {why}", part.display())))?;
        }
        let opened = openat(&dir, name.as_os_str(), READ, Mode::empty())?;
        ours(&opened, SFlag::S_IFREG).map_err(Error::other)?;
        let found = fstat(&opened)?;
        let owner = (Uid::from_raw(found.st_uid), Gid::from_raw(found.st_gid));
        let mode = Mode::from_bits_truncate(found.st_mode & 0o777);
        Ok(Self { dir, at, name, file: opened.into(), mode, owner })
    }

    /// The same for a file in the operator's own directories, which links may lead to.
    ///
    /// # Errors
    /// As [`Held::open`].
    pub fn open_linked(file: &Path) -> Result<Self> {
        let file = std::path::absolute(file)?;
        let parent = file.parent().unwrap_or(Path::new("/")).canonicalize()?;
        Self::open(&parent.join(file.file_name().unwrap_or_default()))
    }

    /// What is in it.
    ///
    /// # Errors
    /// The system's, or that it is too long or no text.
    pub fn text(&self) -> Result<String> {
        let mut text = String::new();
        (&self.file).take(MOST + 1).read_to_string(&mut text)?;
        if text.len() as u64 > MOST { Err(Error::other("it is too long")) } else { Ok(text) }
    }

    /// The new file takes the old one's place only if its reader reads the line out of it.
    ///
    /// # Errors
    /// The system's, or the reader's; then the old file stays and no other is left.
    pub fn put(&self, text: &str, read: impl Fn(&Path) -> Result<()>) -> Result<()> {
        let new = OsString::from(format!(".colibri-jail-conf.{}", std::process::id()));
        // What is left of a process of this number that was killed.
        let _none = unlinkat(&self.dir, new.as_os_str(), UnlinkatFlags::NoRemoveDir);
        let done = self.write(&new, text).and_then(|()| read(&self.at.join(&new)));
        let done =
            done.and_then(|()| Ok(renameat(&self.dir, new.as_os_str(), &self.dir, self.name.as_os_str())?));
        if done.is_err() {
            let _gone = unlinkat(&self.dir, new.as_os_str(), UnlinkatFlags::NoRemoveDir);
        }
        done.and_then(|()| Ok(nix::unistd::fsync(self.dir.as_fd())?))
    }

    fn write(&self, new: &OsString, text: &str) -> Result<()> {
        let made = openat(&self.dir, new.as_os_str(), NEW, Mode::S_IRUSR | Mode::S_IWUSR)?;
        fchown(&made, Some(self.owner.0), Some(self.owner.1))?;
        fchmod(&made, self.mode)?;
        let mut made = File::from(made);
        made.write_all(text.as_bytes())?;
        made.sync_all()
    }
}

/// Root's, or of the user that asks, and nobody else's to write; a directory with the
/// sticky bit is, since nobody renames in it what is not their own.
fn ours(opened: &OwnedFd, kind: SFlag) -> std::result::Result<(), &'static str> {
    let found = fstat(opened).map_err(|_| "it cannot be looked at")?;
    if SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT != kind {
        return Err("it is no file");
    }
    let sticky = kind == SFlag::S_IFDIR && found.st_mode & 0o1000 != 0;
    let owned = found.st_uid == 0 || found.st_uid == geteuid().as_raw();
    if owned && (sticky || found.st_mode & 0o022 == 0) {
        return Ok(());
    }
    Err("it is not root's alone to write, and jail(8) runs what is in it as root")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_file_that_somebody_else_could_make_what_it_is_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        let (inner, file) = (top.join("web"), top.join("web/jail.conf"));
        fs::create_dir(&inner).unwrap();
        fs::write(&file, "web {}\n").unwrap();
        for path in [&inner, &file] {
            mode(path, 0o755);
        }
        assert_eq!(Held::open(&file).unwrap().text().unwrap(), "web {}\n");
        for (path, open) in [(&file, 0o666), (&file, 0o664), (&inner, 0o777), (&inner, 0o775)] {
            mode(path, open);
            assert!(Held::open(&file).is_err(), "{} {open:o}", path.display());
            mode(path, 0o755);
        }
        symlink(&file, inner.join("link")).unwrap();
        symlink(&inner, top.join("linked")).unwrap();
        symlink("/etc", top.join("etc")).unwrap();
        nix::unistd::mkfifo(&inner.join("pipe"), Mode::S_IRWXU).unwrap();
        for path in ["web/link", "linked/jail.conf", "etc/passwd", "web/pipe", "web", "none/jail.conf"] {
            assert!(Held::open(&top.join(path)).is_err(), "{path}");
        }
    }

    /// The directory is swapped between the look and the write.
    #[test]
    fn what_was_opened_is_what_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        for name in ["web", "victim"] {
            fs::create_dir(top.join(name)).unwrap();
            fs::write(top.join(name).join("jail.conf"), name).unwrap();
        }
        let held = Held::open(&top.join("web/jail.conf")).unwrap();
        fs::rename(top.join("web"), top.join("away")).unwrap();
        symlink(top.join("victim"), top.join("web")).unwrap();
        assert_eq!(held.text().unwrap(), "web");
        held.put("new", |_| Ok(())).unwrap();
        assert_eq!(fs::read_to_string(top.join("victim/jail.conf")).unwrap(), "victim");
        assert_eq!(fs::read_to_string(top.join("away/jail.conf")).unwrap(), "new");
        assert!(held.put("more", |_| Err(Error::other("no"))).is_err());
        assert_eq!(fs::read_to_string(top.join("away/jail.conf")).unwrap(), "new");
        assert_eq!(fs::read_dir(top.join("away")).unwrap().count(), 1);
    }
}
