//! Whether an answer of `bw` is all there is: a list against what is stored, and keys
//! against those that there were.

use crate::warnings::quoted;
use colibri_session::Failure;
use colibri_tenant::ErrorName::{AnswerShrunken, CollectionUnreadable, VaultError};
use std::collections::BTreeSet;

/// How often a list is asked for until it agrees with what is stored.
const MAX_LISTS: u32 = 4;

/// What follows from a list.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It counts.
    Sound,
    /// It counts for want of better, and this is said.
    Warned(String),
    /// Ask again in a moment: right after a sync a list may be empty or old.
    Again,
    /// Ask a new `bw serve`.
    Renew,
    /// There is no list.
    Failed(Failure),
}

/// A list: its name, and what it says.
#[derive(Clone, Debug)]
pub struct Seen<'a> {
    /// The collection's id for a list of items; empty for that of collections.
    pub list: &'a str,
    /// What it lists.
    pub ids: BTreeSet<&'a str>,
    /// Tells it from another list.
    pub digest: u64,
}

/// What was thought of lists since what is stored has changed.
#[derive(Debug, Default)]
pub struct Checks {
    list: String,
    asked: u32,
    before: Option<u64>,
    renewed: bool,
    /// Lists that a new `bw serve` did not put right.
    hopeless: BTreeSet<String>,
}

impl Checks {
    /// Weighs a list against the ids that are stored, where these are known; without them
    /// two lists in a row must agree.
    pub fn judge(&mut self, seen: &Seen<'_>, stored: Option<&BTreeSet<&str>>) -> Verdict {
        if self.list != seen.list || self.asked == 0 {
            (self.list, self.asked, self.before) = (seen.list.to_owned(), 0, None);
        }
        self.asked += 1;
        let agrees = self.before.replace(seen.digest) == Some(seen.digest);
        let verdict = self.weigh(seen, stored, agrees);
        if verdict != Verdict::Again {
            self.asked = 0;
        }
        verdict
    }

    fn weigh(&mut self, seen: &Seen<'_>, stored: Option<&BTreeSet<&str>>, agrees: bool) -> Verdict {
        let another = || Failure::new(VaultError, "bw gives another list each time it is asked");
        let Some(stored) = stored else {
            return match agrees {
                true => Verdict::Sound,
                false if self.asked < MAX_LISTS => Verdict::Again,
                false => Verdict::Failed(another()),
            };
        };
        if seen.ids == *stored {
            self.hopeless.remove(seen.list);
            return Verdict::Sound;
        }
        let hopeless = self.hopeless.contains(seen.list);
        if self.asked < MAX_LISTS && !hopeless {
            return Verdict::Again;
        }
        if !std::mem::replace(&mut self.renewed, true) {
            return Verdict::Renew;
        }
        if self.asked > 1 && !agrees {
            return Verdict::Failed(another());
        }
        self.hopeless.insert(seen.list.to_owned());
        differs(seen, stored)
    }
}

/// What is said of a list that differs from what is stored, whatever is done: an item that
/// is stored and not listed is not gone, but cannot be read.
fn differs(seen: &Seen<'_>, stored: &BTreeSet<&str>) -> Verdict {
    let unlisted = stored.difference(&seen.ids).next();
    let first = unlisted.or_else(|| seen.ids.difference(stored).next());
    let id = quoted(first.copied().unwrap_or_default());
    match (seen.list, unlisted) {
        ("", _) => Verdict::Warned(format!("bw does not list collection {id} as it has stored it")),
        (_, None) => Verdict::Warned(format!("bw lists item {id}, which it has not stored")),
        (_, Some(_)) => Verdict::Failed(Failure::new(
            CollectionUnreadable,
            format!("the vault has an item with the id {id} that bw does not list: it cannot decrypt it"),
        )),
    }
}

/// Less than half of what there was, or nothing, does not count at once.
///
/// # Errors
/// `AnswerShrunken`.
pub fn shrunken(
    known_keys: u32,
    shrunken_to: Option<u32>,
    now: usize,
    warnings: &mut Vec<String>,
) -> Result<(), Failure> {
    let before = usize::try_from(known_keys).unwrap_or(usize::MAX);
    if now == 0 && before == 0 {
        warnings.push("the collection holds no secrets".into());
    }
    if now.saturating_mul(2) >= before {
        return Ok(());
    }
    let message = format!("the vault has {now} keys where there were {before}");
    if shrunken_to.is_some_and(|seen| now >= usize::try_from(seen).unwrap_or(usize::MAX)) {
        warnings.push(format!("{message}, as before: believed"));
        return Ok(());
    }
    let shrunken_to = u32::try_from(now).ok();
    Err(Failure { shrunken_to, ..Failure::new(AnswerShrunken, message) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(checks: &mut Checks, list: &str, ids: &[&'static str], stored: &[&'static str]) -> Verdict {
        let seen = Seen { list, ids: ids.iter().copied().collect(), digest: ids.len() as u64 };
        checks.judge(&seen, Some(&stored.iter().copied().collect()))
    }

    /// Lists the same until something else than another list is wanted.
    fn last(
        checks: &mut Checks,
        list: &str,
        ids: &[&'static str],
        stored: &[&'static str],
    ) -> (u32, Verdict) {
        (1..)
            .map(|count| (count, judge(checks, list, ids, stored)))
            .find(|it| it.1 != Verdict::Again)
            .unwrap()
    }

    #[test]
    fn a_list_that_is_as_stored_counts_at_once_and_an_empty_one_is_asked_for_again() {
        let mut checks = Checks::default();
        assert_eq!(judge(&mut checks, "web", &["1", "2"], &["1", "2"]), Verdict::Sound);
        assert_eq!(judge(&mut checks, "web", &[], &["1"]), Verdict::Again);
        assert_eq!(judge(&mut checks, "web", &["1"], &["1"]), Verdict::Sound);
    }

    #[test]
    fn what_a_new_serve_does_not_put_right_is_said_and_costs_no_other() {
        let mut checks = Checks::default();
        assert_eq!(last(&mut checks, "web", &["1"], &["1", "2"]), (MAX_LISTS, Verdict::Renew));
        let (count, verdict) = last(&mut checks, "web", &["1"], &["1", "2"]);
        assert!(matches!(verdict, Verdict::Failed(failure) if failure.name == CollectionUnreadable));
        assert_eq!(count, MAX_LISTS);
        let (count, verdict) = last(&mut checks, "web", &["1"], &["1", "2"]);
        assert!(count == 1 && matches!(verdict, Verdict::Failed(_)), "{verdict:?}");
        let (_, verdict) = last(&mut checks, "db", &["1", "2"], &["1"]);
        assert!(matches!(verdict, Verdict::Warned(said) if said.contains("\"2\"")));
        let (_, verdict) = last(&mut checks, "", &["1"], &["1", "2"]);
        assert!(matches!(verdict, Verdict::Warned(said) if said.contains("collection \"2\"")));
        // One that is put right is asked for as often as any.
        assert_eq!(judge(&mut checks, "web", &["1", "2"], &["1", "2"]), Verdict::Sound);
        assert_eq!(judge(&mut checks, "web", &["1"], &["1", "2"]), Verdict::Again);
    }

    #[test]
    fn without_knowing_what_is_stored_two_lists_must_agree() {
        let mut checks = Checks::default();
        let mut judge = |digest| checks.judge(&Seen { list: "web", ids: BTreeSet::new(), digest }, None);
        assert_eq!([1, 2, 2].map(&mut judge), [Verdict::Again, Verdict::Again, Verdict::Sound]);
        assert!(
            matches!([1, 2, 3, 4].map(judge), [.., Verdict::Failed(failure)] if failure.name == VaultError)
        );
    }

    #[test]
    fn much_less_than_before_needs_a_second_look() {
        let look = |before, now, shrunken_to| {
            let mut warnings = Vec::new();
            (
                shrunken(before, shrunken_to, now, &mut warnings).map_err(|failure| failure.name),
                warnings.len(),
            )
        };
        assert_eq!(look(0, 3, None), (Ok(()), 0));
        assert_eq!(look(0, 0, None), (Ok(()), 1));
        assert_eq!(look(4, 2, None), (Ok(()), 0));
        assert_eq!(look(4, 1, None), (Err(AnswerShrunken), 0));
        assert_eq!(look(1, 0, None), (Err(AnswerShrunken), 0));
        assert_eq!(look(1, 0, Some(0)), (Ok(()), 1));
        // Even less than what was seen has to be seen again.
        assert_eq!(look(9, 2, Some(2)), (Ok(()), 1));
        assert_eq!(look(9, 3, Some(2)), (Ok(()), 1));
        assert_eq!(look(9, 1, Some(2)), (Err(AnswerShrunken), 0));
    }
}
