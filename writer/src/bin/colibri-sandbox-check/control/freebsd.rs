//! FreeBSD's rights by name, and when one of them is not missed.

use crate::place::Owners;
use capsicum::Right as Cap;
use colibri_sandbox::Right;

/// The right in a word.
pub fn name(right: &Right) -> String {
    format!("{:?}", right.0)
}

/// Why its absence may go unnoticed here; `None` if it must not.
pub fn spare(right: &Right, owners: Owners) -> Option<&'static str> {
    match right.0 {
        Cap::Lookup => Some("every other right on names brings it"),
        Cap::Fchown if owners.dir == owners.file => Some("the owner is right from birth"),
        _ => None,
    }
}
