//! A listing of a directory tree: to see that nothing in it has changed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// One entry: path, inode, mode, owner, links, size, times and where it points.
pub type Entry = (PathBuf, String);

/// Everything below `top`, and `top` itself, sorted.
///
/// # Errors
/// What cannot be read.
pub fn listing(top: &Path) -> std::io::Result<Vec<Entry>> {
    let mut found = Vec::new();
    let mut left = vec![top.to_owned()];
    while let Some(path) = left.pop() {
        let meta = fs::symlink_metadata(&path)?;
        if meta.is_dir() {
            for entry in fs::read_dir(&path)? {
                left.push(entry?.path());
            }
        }
        let target = fs::read_link(&path).unwrap_or_default();
        let line = format!(
            "{} {:o} {}:{} {} {} {}.{} {}",
            meta.ino(),
            meta.mode(),
            meta.uid(),
            meta.gid(),
            meta.nlink(),
            meta.size(),
            meta.mtime(),
            meta.mtime_nsec(),
            target.display()
        );
        found.push((path, line));
    }
    found.sort();
    Ok(found)
}
