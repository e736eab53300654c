//! Which users were given to jails' agents, in a file beside the database: after that
//! was restored or lost, none of them is given again.

use super::users::AgentUsers;
use crate::whole;
use std::fs::File;
use std::io::{Error, ErrorKind, Read, Result};
use std::path::Path;

const NAME: &str = "agent-users";
/// Bytes; a line for each range that was ever set.
const MOST: u64 = 64 << 10;

/// The lowest of the range that is above all that were given there.
///
/// # Errors
/// That the file cannot be read, or is not one that colibrid wrote.
pub fn above(state_dir: &Path, range: AgentUsers) -> Result<u32> {
    let meets = |given: &AgentUsers| given.first <= range.last && given.last >= range.first;
    let given = read(state_dir)?;
    Ok(given
        .iter()
        .filter(|given| meets(given))
        .fold(range.first, |from, given| from.max(given.last.saturating_add(1))))
}

/// Writes down that all of the range up to this user count as given.
///
/// # Errors
/// That the file cannot be read or written.
pub fn keep(state_dir: &Path, range: AgentUsers, user: u32) -> Result<()> {
    let mut given = read(state_dir)?;
    match given.iter_mut().find(|given| given.first == range.first) {
        Some(known) if known.last >= user => return Ok(()),
        Some(known) => known.last = user,
        None => given.push(AgentUsers { first: range.first, last: user }),
    }
    let lines: String = given.iter().map(|given| format!("{}-{}\n", given.first, given.last)).collect();
    whole::write(state_dir, NAME, &lines)
}

fn read(state_dir: &Path) -> Result<Vec<AgentUsers>> {
    let file = state_dir.join(NAME);
    let mut text = String::new();
    match File::open(&file) {
        Ok(file) => file.take(MOST).read_to_string(&mut text)?,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let unread = || Error::other(format!("{} is not as colibrid wrote it", file.display()));
    text.lines().map(|line| line.parse().map_err(|_| unread())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> AgentUsers {
        text.parse().unwrap()
    }

    #[test]
    fn what_was_given_in_a_range_stays_given_whatever_range_is_set_since() {
        let dir = tempfile::tempdir().unwrap();
        let above = |text: &str| above(dir.path(), range(text)).unwrap();
        assert_eq!(above("100-199"), 100);
        for user in [100, 150, 120] {
            keep(dir.path(), range("100-199"), user).unwrap();
        }
        keep(dir.path(), range("500-599"), 500).unwrap();
        assert_eq!((above("100-199"), above("500-599")), (151, 501));
        assert_eq!((above("120-300"), above("151-300"), above("200-299")), (151, 151, 200));
        // Nobody is left where the range was cut.
        assert_eq!(above("100-140"), 151);
    }

    #[test]
    fn a_file_that_is_not_understood_gives_nothing() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["100", "100-x\n", "199-100\n", "100-150\n\n", "\u{0}"] {
            std::fs::write(dir.path().join(NAME), text).unwrap();
            assert!(above(dir.path(), range("100-199")).is_err(), "{text:?}");
            assert!(keep(dir.path(), range("100-199"), 100).is_err(), "{text:?}");
        }
    }
}
