//! Elsewhere two names are exchanged by three renames, between which there is
//! nothing at the one or the other.

use std::fs::{remove_dir_all, rename};
use std::path::Path;

/// In root's directory a temporary of somebody else's is root's while it is
/// empty.
pub const ROOT_GIVES_AWAY: bool = true;

/// The two change places.
pub fn exchange(inside: &Path, link: &Path) -> bool {
    let away = inside.with_extension("away");
    if rename(inside, &away).is_err() {
        return false;
    }
    // The writer makes a directory that is missing.
    let mut tries = 0;
    while rename(link, inside).is_err() && tries < 1_000 {
        let _gone = remove_dir_all(inside);
        tries += 1;
    }
    rename(away, link).is_ok()
}
