//! Linux's rights by name, and when one of them is not missed.

use crate::place::Owners;
use colibri_writer::sandbox::Right;

/// The right in a word.
pub fn name(right: &Right) -> String {
    match right {
        Right::File(access) => format!("{access:?}"),
        Right::Call(name, ..) => (*name).to_owned(),
    }
}

/// Why its absence may go unnoticed here; `None` if it must not.
pub fn spare(right: &Right, owners: Owners) -> Option<&'static str> {
    match right {
        Right::Call("fcntl", ..) => Some("a debug build's"),
        Right::Call("fchown", ..) if owners.same() => Some("the owner is right from birth"),
        _ => None,
    }
}
