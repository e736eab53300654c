//! One of a tenant's further files, as it is known to be in the jail.

use crate::clock;
use colibri_control::FileView;
use colibri_session::{Failure, FileFetch, Rules};
use colibri_tenant::{Fault, FilePath, FileSettings};
use serde::{Deserialize, Serialize};

/// A row of the files table. A file that the settings do not have any more stays here
/// until it is unlinked.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Placed {
    /// Its number, which its temporaries bear; never given twice.
    pub id: u32,
    /// Its path below the root, and its name.
    pub path: FilePath,
    /// What is known of it.
    pub state: FileState,
}

/// What is known of a file. Times are milliseconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct FileState {
    /// The owner that it was to get last, `UID:GID`: needed to unlink it.
    pub owner: Option<String>,
    /// Names of the keys in it.
    pub keys: Vec<String>,
    /// The globs that they were chosen by.
    pub only: Vec<String>,
    /// It may have been written without a record of it.
    pub unsure: bool,
    /// When it was last written or found right.
    pub last_success: Option<u64>,
    /// What is wrong since then.
    pub error: Option<Fault>,
    /// Since when the vault has many fewer keys for it.
    pub shrunken_since: Option<u64>,
    /// How many those are.
    pub shrunken_to: Option<u32>,
    /// How many changes of it its own action has not been run for yet.
    pub action_due: u32,
}

impl FileState {
    /// Whether nothing of ours can be there.
    pub const fn is_clean(&self) -> bool {
        self.keys.is_empty() && !self.unsure
    }

    /// The same without changes that wait for an action: those of a provision's end are
    /// added to what waits by then.
    #[must_use]
    pub fn owing_nothing(self) -> Self {
        Self { action_due: 0, ..self }
    }

    /// The state after it was written, or found right. Names that are not known stay.
    pub fn succeeded(self, keys: Option<Vec<String>>, chosen: &FileSettings, due: bool) -> Self {
        Self {
            owner: self.owner,
            keys: keys.unwrap_or(self.keys),
            only: chosen.only.clone(),
            action_due: due.into(),
            last_success: Some(clock::now()),
            ..Self::default()
        }
    }

    /// The state after a failure, which may have written or not.
    pub fn failed(self, fault: Fault, unsure: bool, shrunken: Option<&Failure>) -> Self {
        let seen = shrunken.and_then(|failure| failure.shrunken_to);
        // An answer that is smaller still has to be seen again, a while later.
        let smaller = seen.is_some_and(|seen| self.shrunken_to.is_none_or(|before| seen < before));
        let since = if smaller { Some(clock::now()) } else { self.shrunken_since };
        let shrunken_to = seen.or(self.shrunken_to);
        Self { error: Some(fault), unsure, shrunken_since: since, shrunken_to, ..self.owing_nothing() }
    }

    /// What the fetcher is asked for it.
    pub fn fetch(&self, settings: &FileSettings, rules: Rules, waited: impl Fn(u64) -> bool) -> FileFetch {
        let known = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
        FileFetch {
            // Who chooses other keys may have chosen fewer: any but none is believed at once.
            known_keys: if self.only == settings.only { known } else { known.min(1) },
            held: (!self.unsure).then(|| self.keys.clone()),
            shrunken_to: self.shrunken_since.filter(|since| waited(*since)).and(self.shrunken_to),
            rules,
        }
    }
}

impl Placed {
    /// One that nobody has written yet, for a comparison.
    pub fn fresh(path: FilePath) -> Self {
        Self { id: u32::MAX, path, state: FileState::default() }
    }

    /// As it is shown, where the settings have it or not.
    pub fn view(&self, settings: Option<&FileSettings>) -> FileView {
        FileView {
            file: self.path.clone(),
            settings: settings.cloned().unwrap_or_default(),
            keys: self.state.keys.clone(),
            last_success: self.state.last_success,
            last_error: self.state.error.clone(),
            removal_due: settings.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use colibri_tenant::ErrorName;

    fn shrunken(to: u32) -> Failure {
        Failure { shrunken_to: Some(to), ..Failure::new(ErrorName::AnswerShrunken, "why") }
    }

    #[test]
    fn what_is_smaller_still_has_to_be_seen_again() {
        let fault = || Fault::new(ErrorName::AnswerShrunken, "why");
        let keys = vec!["A".to_owned(), "B".into(), "C".into(), "D".into()];
        let state = FileState { keys, ..FileState::default() };
        let once = state.failed(fault(), false, Some(&shrunken(1)));
        assert_eq!((once.shrunken_to, once.shrunken_since.is_some()), (Some(1), true));
        let asked =
            |state: &FileState| state.fetch(&FileSettings::default(), Rules::default(), |_| true).shrunken_to;
        assert_eq!(asked(&once), Some(1));
        let early = once.fetch(&FileSettings::default(), Rules::default(), |_| false);
        assert_eq!((early.known_keys, early.shrunken_to), (4, None));
        let again = FileState { shrunken_since: Some(1), ..once }.failed(fault(), false, Some(&shrunken(1)));
        assert_eq!(again.shrunken_since, Some(1));
        assert_ne!(again.clone().failed(fault(), false, Some(&shrunken(0))).shrunken_since, Some(1));
        let other = again.failed(fault(), true, None);
        assert_eq!((other.shrunken_to, other.unsure), (Some(1), true));
        let whole = other.succeeded(Some(vec!["A".into()]), &FileSettings::default(), false);
        assert_eq!((whole.shrunken_to, whole.unsure, whole.error), (None, false, None));
    }

    #[test]
    fn other_globs_may_mean_fewer_keys_and_never_none() {
        let keys = vec!["A".to_owned(), "B".into(), "C".into()];
        let state = FileState { keys, ..FileState::default() };
        let other = FileSettings { only: vec!["A".into()], ..FileSettings::default() };
        assert_eq!(state.fetch(&other, Rules::default(), |_| true).known_keys, 1);
        assert_eq!(state.fetch(&FileSettings::default(), Rules::default(), |_| true).known_keys, 3);
    }
}
