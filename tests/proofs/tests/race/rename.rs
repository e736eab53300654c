//! Elsewhere two names are exchanged by three renames, between which there is
//! nothing at the one or the other.

use std::fs::{remove_dir_all, rename};
use std::path::Path;

/// FreeBSD gives a new file its directory's group, and in root's directory root
/// makes it: it is given away while it is empty.
pub const GIVEN_AWAY_EMPTY: bool = true;

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
