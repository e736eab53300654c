//! What tells a jail's root from any other directory at its path: an empty mount
//! point, a jail of the same name, what another file system has there.

use serde::{Deserialize, Serialize};
use std::time::{Duration, SystemTime};

/// A directory as it was seen once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Identity {
    /// The boot that it was seen in; without one, the device's number says nothing.
    pub boot: Option<String>,
    /// The mounted file system's number.
    pub device: u64,
    /// The directory's number there.
    pub inode: u64,
    /// When it was made, where the file system knows.
    pub born: Option<SystemTime>,
    /// What the file system is called when it is mounted anew, and in another boot:
    /// its own id, a dataset, a device; nothing for those that begin empty.
    pub lasting: Option<String>,
}

impl Identity {
    /// Whether `seen` is that directory: in the same mounted file system, or in the
    /// same file system mounted anew.
    pub fn is(&self, seen: &Self) -> bool {
        let still = self.boot.is_some() && (&self.boot, self.device) == (&seen.boot, seen.device);
        let anew = self.lasting.is_some() && self.lasting == seen.lasting;
        let born = self.born.is_none() || seen.born.is_none() || self.born == seen.born;
        self.inode == seen.inode && born && (still || anew)
    }
}

/// The time so many nanoseconds after 1970 began; none after the year 2554.
pub fn time(nanoseconds: u128) -> Option<SystemTime> {
    Some(SystemTime::UNIX_EPOCH + Duration::from_nanos(u64::try_from(nanoseconds).ok()?))
}

#[cfg_attr(target_os = "freebsd", path = "identity/freebsd.rs")]
#[cfg_attr(not(target_os = "freebsd"), path = "identity/linux.rs")]
mod platform;

pub use platform::{boot, lasting};

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> Identity {
        let born = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(9));
        let (boot, lasting) = (Some("a".into()), Some("id 7".into()));
        Identity { boot, device: 40, inode: 34, born, lasting }
    }

    #[test]
    fn the_same_directory_is_known_again_while_it_stays_mounted() {
        let unnamed = Identity { lasting: None, ..seen() };
        assert!(unnamed.is(&unnamed) && seen().is(&seen()));
        assert!(!seen().is(&Identity { inode: 35, ..seen() }), "renamed away, and another made");
        let reborn = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(10));
        assert!(!seen().is(&Identity { born: reborn, ..seen() }), "removed, and one made with its number");
        assert!(seen().is(&Identity { born: None, ..seen() }));
    }

    #[test]
    fn a_file_system_that_is_mounted_anew_is_known_by_its_name() {
        for boot in [Some("a".to_owned()), Some("b".to_owned()), None] {
            let anew = Identity { boot, device: 41, ..seen() };
            assert!(seen().is(&anew), "{anew:?}");
            assert!(!seen().is(&Identity { lasting: Some("id 8".into()), ..anew.clone() }));
            assert!(!seen().is(&Identity { lasting: None, ..anew.clone() }));
            assert!(!seen().is(&Identity { inode: 2, ..anew }));
        }
    }

    #[test]
    fn a_device_s_number_says_nothing_in_another_boot() {
        let unnamed = Identity { lasting: None, ..seen() };
        assert!(!unnamed.is(&Identity { boot: Some("b".into()), ..unnamed.clone() }));
        let unknown = Identity { boot: None, ..unnamed };
        assert!(!unknown.is(&unknown));
    }
}
