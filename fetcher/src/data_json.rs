//! The file in which `bw` stores the vault, read as what a hostile program left there.

use colibri_vault::access::Access;
use colibri_vault::session::Reading;
use colibri_vault::stored::Stored;
use rustix::fs::{Mode, OFlags, openat};
use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result, Take};
use std::os::fd::AsFd;
use zeroize::Zeroizing;

/// In `bw`'s directory.
const FILE: &str = "data.json";
/// Longest file that is read, in bytes.
const MAX_FILE: u64 = 64 * 1024 * 1024;
/// How much of it is held at a time, in bytes.
const PIECE: usize = 64 * 1024;

/// What is stored in `bw`'s directory.
pub fn read(dir: impl AsFd) -> Reading {
    match stored(dir) {
        Ok(stored) => Reading::Whole(stored),
        Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::InvalidData) => {
            tracing::debug!(%error, "{FILE} is torn, or of another form");
            Reading::Torn
        }
        Err(error) => {
            tracing::warn!(%error, "cannot read {FILE}: bw's lists count without it");
            Reading::Unknown
        }
    }
}

/// What the bell needs of it.
///
/// # Errors
/// As [`Access::read`].
pub fn access(dir: impl AsFd) -> Result<Access> {
    Access::read(open(dir)?)
}

fn stored(dir: impl AsFd) -> Result<Stored> {
    Stored::read(open(dir)?)
}

fn open(dir: impl AsFd) -> Result<Pieces> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = File::from(openat(dir, FILE, flags, Mode::empty())?);
    let found = file.metadata()?;
    if !found.is_file() || found.len() > MAX_FILE {
        return Err(Error::other(format!("{FILE} is not a file of at most {MAX_FILE} bytes")));
    }
    Ok(Pieces::of(file))
}

/// Reads piece by piece: the file holds the client secret in clear, and what
/// was read is wiped.
struct Pieces {
    file: Take<File>,
    piece: Zeroizing<Vec<u8>>,
    at: usize,
    end: usize,
}

impl Pieces {
    fn of(file: File) -> Self {
        Self { file: file.take(MAX_FILE), piece: Zeroizing::new(vec![0; PIECE]), at: 0, end: 0 }
    }
}

impl Read for Pieces {
    fn read(&mut self, to: &mut [u8]) -> Result<usize> {
        if self.at == self.end {
            (self.at, self.end) = (0, self.file.read(&mut self.piece)?);
        }
        let mut rest = self.piece.get(self.at..self.end).unwrap_or_default();
        let count = rest.read(to)?;
        self.at += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, remove_file};
    use std::os::unix::fs::symlink;

    #[test]
    fn only_a_plain_bounded_file_is_read_and_nothing_waits_for_a_writer() {
        let dir = tempfile::tempdir().unwrap();
        let look = || stored(File::open(dir.path()).unwrap());
        let file = dir.path().join(FILE);
        assert_eq!(look().unwrap_err().kind(), ErrorKind::NotFound);
        fs::write(
            &file,
            r#"{"user_1_ciphers_ciphers":{},"user_1_collection_collections":{"c":{"name":"2.c"}}}"#,
        )
        .unwrap();
        assert_eq!(look().unwrap().collections(), ["c"].into());
        fs::write(&file, r#"{"user_1_ciphers_ciphers":{}"#).unwrap();
        assert!(matches!(read(File::open(dir.path()).unwrap()), Reading::Torn));
        remove_file(&file).unwrap();
        symlink("/dev/zero", &file).unwrap();
        assert!(look().is_err());
        remove_file(&file).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &file, Mode::RUSR).unwrap();
        assert!(look().is_err());
        remove_file(&file).unwrap();
        File::create(&file).unwrap().set_len(MAX_FILE + 1).unwrap();
        assert!(matches!(read(File::open(dir.path()).unwrap()), Reading::Unknown));
    }
}
