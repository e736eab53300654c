//! Tells whether a file is still the one that was read: looked at, not opened.

use serde::{Deserialize, Serialize};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What a file was like; nothing, where there was none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp(Option<Seen>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    inode: (u64, u64),
    size: u64,
    /// Of the last change, of the content or of the inode: seconds and nanoseconds.
    changed: (i64, i64),
}

impl Stamp {
    /// To be taken before the file is read.
    pub fn of(file: &Path) -> Self {
        let seen = file.metadata().map(|found| Seen {
            inode: (found.dev(), found.ino()),
            size: found.size(),
            changed: (found.ctime(), found.ctime_nsec()),
        });
        Self(seen.ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_file_that_was_replaced_written_or_removed_is_another() {
        let dir = tempfile::tempdir().unwrap();
        let (file, other) = (dir.path().join("file"), dir.path().join("other"));
        let mut before = Stamp::of(&file);
        let mut differs = |what: &str| {
            let now = Stamp::of(&file);
            assert_ne!(now, before, "{what}");
            assert_eq!(now, Stamp::of(&file));
            before = now;
        };
        fs::write(&file, "a").unwrap();
        differs("made");
        fs::write(&file, "ab").unwrap();
        differs("longer");
        fs::write(&other, "ab").unwrap();
        fs::rename(&other, &file).unwrap();
        differs("replaced");
        fs::remove_file(&file).unwrap();
        differs("removed");
    }
}
