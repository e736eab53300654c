//! Linux's rights by name, and when one of them is not missed.

use crate::place::Owners;
use colibri_sandbox::{Grant, Right};

/// The right in a word.
pub fn name(right: &Right) -> String {
    match right.0 {
        Grant::File(access) => format!("{access:?}"),
        Grant::Call(name, ..) => name.to_owned(),
    }
}

/// Why its absence may go unnoticed here; `None` if it must not.
pub fn spare(right: &Right, _owners: Owners) -> Option<&'static str> {
    match right.0 {
        Grant::Call("fcntl", ..) => Some("a debug build's"),
        Grant::Call("fchown", ..) => Some("the owner is right from birth"),
        _ => None,
    }
}
