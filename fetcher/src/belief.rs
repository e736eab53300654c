//! What of `bw`'s answers is believed: which collection is meant, and whether
//! less than before is really all there is.

use crate::answer::Collection;
use crate::warnings::quoted;
use crate::words::{Failure, Fetch};
use colibri_control::ErrorName::{AnswerShrunken, CollectionAmbiguous, CollectionNotFound};

/// The collection of that name; of several, the one that was found first.
///
/// # Errors
/// `CollectionNotFound` or `CollectionAmbiguous`.
pub fn choose(all: &[Collection], fetch: &Fetch, warnings: &mut Vec<String>) -> Result<Collection, Failure> {
    let named: Vec<_> = all.iter().filter(|collection| collection.name == fetch.collection).collect();
    let pinned = named.iter().find(|collection| Some(&collection.id) == fetch.pinned.as_ref());
    match (pinned, named.as_slice()) {
        (Some(pinned), _) => Ok((*pinned).clone()),
        (None, []) => Err(missing(fetch)),
        (None, [one]) => {
            if fetch.pinned.is_some() {
                warnings.push(format!("collection {} is not the one it was before", quoted(&one.name)));
            }
            Ok((*one).clone())
        }
        (None, several) => {
            let ids: Vec<_> = several.iter().map(|collection| quoted(&collection.id)).collect();
            let message = format!(
                "collection {} is there more than once: {}",
                quoted(&fetch.collection),
                ids.join(", ")
            );
            Err(Failure::new(CollectionAmbiguous, message))
        }
    }
}

/// No collection of the name.
pub fn missing(fetch: &Fetch) -> Failure {
    Failure::new(CollectionNotFound, format!("the vault shows no collection {}", quoted(&fetch.collection)))
}

/// Less than half of what there was, or nothing, is not believed at once.
///
/// # Errors
/// `AnswerShrunken`.
pub fn shrunken(fetch: &Fetch, now: usize, warnings: &mut Vec<String>) -> Result<(), Failure> {
    let before = usize::try_from(fetch.known_keys).unwrap_or(usize::MAX);
    if now == 0 && before == 0 {
        warnings.push("the collection holds no secrets".into());
    }
    if now.saturating_mul(2) >= before {
        return Ok(());
    }
    let message = format!("the vault has {now} keys where there were {before}");
    if fetch.confirm_shrunken {
        warnings.push(format!("{message}, as before: believed"));
        return Ok(());
    }
    Err(Failure::new(AnswerShrunken, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::Rules;

    fn fetch(pinned: Option<&str>, known_keys: u32) -> Fetch {
        Fetch {
            id: 1,
            collection: "web".into(),
            pinned: pinned.map(Into::into),
            known_keys,
            confirm_shrunken: false,
            rules: Rules::default(),
            deadline_ms: 1,
        }
    }

    fn chosen(ids: &[(&str, &str)], pinned: Option<&str>) -> (Result<String, Failure>, usize) {
        let collection = |(id, name): &(&str, &str)| Collection { id: (*id).into(), name: (*name).into() };
        let all: Vec<_> = ids.iter().map(collection).collect();
        let mut warnings = Vec::new();
        let chosen = choose(&all, &fetch(pinned, 0), &mut warnings);
        (chosen.map(|collection| collection.id), warnings.len())
    }

    #[test]
    fn names_are_compared_exactly_and_the_pinned_one_wins() {
        assert_eq!(chosen(&[("1", "web"), ("2", "web2"), ("3", "Web")], None), (Ok("1".into()), 0));
        assert_eq!(chosen(&[("1", "web"), ("2", "web")], Some("2")), (Ok("2".into()), 0));
        assert_eq!(chosen(&[("1", "web"), ("2", "other")], Some("2")), (Ok("1".into()), 1));
        assert_eq!(chosen(&[("2", "other")], Some("2")).0.unwrap_err().name, CollectionNotFound);
        let failure = chosen(&[("1", "web"), ("2", "web")], Some("3")).0.unwrap_err();
        assert_eq!(failure.name, CollectionAmbiguous);
        assert!(failure.message.contains("\"1\", \"2\""));
    }

    #[test]
    fn much_less_than_before_needs_a_second_look() {
        let look = |before, now, confirm_shrunken| {
            let mut warnings = Vec::new();
            let fetch = Fetch { confirm_shrunken, ..fetch(None, before) };
            (shrunken(&fetch, now, &mut warnings).map_err(|failure| failure.name), warnings.len())
        };
        assert_eq!(look(0, 3, false), (Ok(()), 0));
        assert_eq!(look(0, 0, false), (Ok(()), 1));
        assert_eq!(look(4, 2, false), (Ok(()), 0));
        assert_eq!(look(4, 1, false), (Err(AnswerShrunken), 0));
        assert_eq!(look(1, 0, false), (Err(AnswerShrunken), 0));
        assert_eq!(look(1, 0, true), (Ok(()), 1));
    }
}
