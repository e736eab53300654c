//! Which of the vault's collections is meant, or may have been meant.

use crate::answer::{Collection, Organization};
use crate::bare::is_invisible;
use crate::warnings::quoted;
use colibri_session::{Failure, Fetch, Names};
use colibri_tenant::ErrorName::{CollectionAmbiguous, CollectionNotFound};

/// Most bytes of names that one answer holds; an eighth of them in quotes and lengths.
const MAX_NAMES: usize = 96 * 1024;
/// Most bytes of a collection's name, as a tenant's settings take it.
const MAX_NAME: usize = 1000;
/// Names that a missing one is compared with in detail have fewer characters.
const MAX_COMPARED: usize = 64;
/// Letters that may differ between what was meant and what was typed.
const MAX_TYPOS: usize = 2;
/// Names that are shown in place of a missing one.
const MAX_NEAR: usize = 3;

/// What `bw` lists in place of a collection's name that it cannot decrypt.
const UNDECRYPTED: &str = "[error: cannot decrypt]";

/// Which collection is meant.
#[derive(Debug, PartialEq, Eq)]
pub enum Chosen {
    /// The only one of the name, or the one that was found first.
    Known(Collection),
    /// The only one of the name, but not the one that was found first.
    Other(Collection),
}

/// The collection that the operator chose by id, or the one of that name; of several,
/// the one that was found first.
///
/// # Errors
/// `CollectionNotFound` or `CollectionAmbiguous`.
pub fn choose(all: &[Collection], organizations: &[Organization], fetch: &Fetch) -> Result<Chosen, Failure> {
    if let Some(id) = &fetch.chosen {
        let chosen = all.iter().find(|collection| collection.id == *id);
        let missing = || format!("the vault shows no collection with the id {}", quoted(id));
        return chosen.cloned().map(Chosen::Known).ok_or_else(|| Failure::new(CollectionNotFound, missing()));
    }
    let is_of_it = |collection: &&Collection| {
        let organization = organization(collection, organizations);
        fetch.organization.as_ref().is_none_or(|wanted| {
            collection.organization_id.as_ref() == Some(wanted) || organization == Some(wanted)
        })
    };
    let named = all.iter().filter(|collection| collection.name == fetch.collection);
    let named: Vec<_> = named.filter(is_of_it).collect();
    let pinned = named.iter().find(|collection| Some(&collection.id) == fetch.pinned.as_ref());
    match (pinned, named.as_slice()) {
        (Some(pinned), _) => Ok(Chosen::Known((*pinned).clone())),
        (None, []) => Err(missing(all, organizations, fetch)),
        (None, [one]) if fetch.pinned.is_some() => Ok(Chosen::Other((*one).clone())),
        (None, [one]) => Ok(Chosen::Known((*one).clone())),
        (None, several) => {
            let each = |collection: &&Collection| match organization(collection, organizations) {
                Some(name) => format!("{} of organization {}", quoted(&collection.id), quoted(name)),
                None => quoted(&collection.id),
            };
            let all: Vec<_> = several.iter().map(each).collect();
            let name = quoted(&fetch.collection);
            let message = format!("collection {name} is there more than once: {}", all.join(", "));
            Err(Failure::new(CollectionAmbiguous, message))
        }
    }
}

/// The name of a collection's organization, if it is known.
fn organization<'a>(collection: &Collection, all: &'a [Organization]) -> Option<&'a String> {
    let id = collection.organization_id.as_ref()?;
    all.iter().find(|organization| organization.id == *id).map(|organization| &organization.name)
}

/// Says that another collection bears the name now.
pub fn other(collection: &Collection) -> String {
    let (name, id) = (quoted(&collection.name), quoted(&collection.id));
    format!("collection {name} is not the one it was before, its id is {id} now")
}

/// No collection of the name; perhaps the one that was found first has another
/// now, or one has a name that looks the same, or is of another organization.
pub fn missing(all: &[Collection], organizations: &[Organization], fetch: &Fetch) -> Failure {
    let renamed = all.iter().find(|collection| Some(&collection.id) == fetch.pinned.as_ref());
    let alike = || all.iter().find(|collection| skeleton(&collection.name) == skeleton(&fetch.collection));
    let elsewhere = all.iter().find(|collection| collection.name == fetch.collection);
    let perhaps = if renamed.is_some_and(|collection| collection.name == UNDECRYPTED) {
        "; the name of the one that it was cannot be decrypted by bw: name it anew in the vault".into()
    } else if let Some(Collection { name, .. }) = renamed {
        format!(
            "; the one that it was is named {} now: rename it back, or follow it with `colibri update-tenant \
             NAME --collection …`",
            quoted(name)
        )
    } else if let Some(collection) = elsewhere {
        let name = organization(collection, organizations).map_or("another", String::as_str);
        format!("; the one of that name is of organization {}", quoted(name))
    } else if let Some(Collection { name, .. }) = alike() {
        format!("; {} looks alike, and differs in {}", quoted(name), difference(name, &fetch.collection))
    } else {
        instead(all, &fetch.collection)
    };
    let within = fetch.organization.as_ref();
    let within = within.map(|wanted| format!(" of organization {}", quoted(wanted))).unwrap_or_default();
    let name = quoted(&fetch.collection);
    Failure::new(CollectionNotFound, format!("the vault shows no collection {name}{within}{perhaps}"))
}

/// What may have been meant by a name that is not there.
fn instead(all: &[Collection], name: &str) -> String {
    let near: Vec<_> = near(all, name).into_iter().map(quoted).collect();
    match (near.is_empty(), all.len()) {
        (false, _) => format!("; did you mean {}?", near.join(" or ")),
        (true, 0) => "; this account sees none at all".into(),
        (true, 1) => "; `colibri collections` names the one that it shows".into(),
        (true, count) => format!("; `colibri collections` names the {count} that it shows"),
    }
}

/// The names nearest to `name`, the nearest first: in another collection, or with a
/// few letters more, less or exchanged.
fn near<'a>(all: &'a [Collection], name: &str) -> Vec<&'a str> {
    let wanted = letters(name);
    let distance = |one: &'a Collection| {
        let own = one.name.as_str();
        let nested = own.rsplit('/').next().is_some_and(|last| letters(last) == wanted);
        let typos = if nested { 0 } else { strsim::osa_distance(&letters(own), &wanted) };
        let compared = nested || (own.len() <= MAX_COMPARED && wanted.len() <= MAX_COMPARED);
        (compared && typos <= MAX_TYPOS && typos * 2 < wanted.len().max(1)).then_some((typos, own))
    };
    let mut near: Vec<_> = all.iter().filter_map(distance).collect();
    near.sort_unstable();
    near.dedup();
    near.into_iter().take(MAX_NEAR).map(|(_, name)| name).collect()
}

/// A name without what people leave out or exchange between words.
fn letters(name: &str) -> String {
    let part = |char: &char| !matches!(char, '-' | '_' | '.' | '/') && !char.is_whitespace();
    name.chars().filter(part).flat_map(char::to_lowercase).collect()
}

/// All names, as many as an answer holds.
pub fn names(all: &[Collection]) -> Names {
    let mut shown: Vec<_> = all.iter().map(|one| one.name.clone()).collect();
    shown.sort_unstable();
    let mut room = MAX_NAMES;
    shown.retain(|name| {
        // Each has its length in front of it.
        let fits = name.len() <= MAX_NAME && name.len() + 8 <= room;
        room -= if fits { name.len() + 8 } else { 0 };
        fits
    });
    let more = u32::try_from(all.len() - shown.len()).unwrap_or(u32::MAX);
    Names { shown, more }
}

/// In what two names that look alike differ; letters that look the same are shown by
/// their numbers.
fn difference(name: &str, wanted: &str) -> String {
    let visible = |text: &str| {
        text.chars().filter(|char| !char.is_whitespace() && !is_invisible(*char)).collect::<String>()
    };
    if visible(name) == visible(wanted) {
        return "blanks, or characters that cannot be seen".into();
    }
    if visible(name).to_lowercase() == visible(wanted).to_lowercase() {
        return "letter case".into();
    }
    let numbers = |text: &str| {
        let foreign = text.chars().filter(|char| !char.is_ascii()).take(8);
        foreign.map(|char| format!("U+{:04X}", u32::from(char))).collect::<Vec<_>>().join(" ")
    };
    format!("the Unicode form of its letters: {} there, {} here", numbers(name), numbers(wanted))
}

/// What names that look alike have in common: no blanks, no letter case, and a
/// placeholder for each letter with a mark, which Unicode can spell in two ways.
fn skeleton(name: &str) -> String {
    let mut kept = String::new();
    for char in name.chars() {
        match char {
            '\u{300}'..='\u{36f}' => {
                kept.pop();
                kept.push('\0');
            }
            _ if char.is_whitespace() || is_invisible(char) => {}
            _ if is_composed(char) => kept.push('\0'),
            _ => kept.extend(char.to_lowercase()),
        }
    }
    kept
}

/// Whether a letter of Latin, Greek or Cyrillic has a mark, or may have.
fn is_composed(char: char) -> bool {
    let cyrillic = "\u{401}\u{403}\u{407}\u{40c}\u{40d}\u{40e}\u{419}\u{439}\u{450}\u{451}\u{453}\u{457}\u{45c}\u{45d}\u{45e}";
    let greek = "\u{386}\u{388}\u{389}\u{38a}\u{38c}\u{38e}\u{38f}\u{390}\u{3aa}\u{3ab}\u{3ac}\u{3ad}\u{3ae}\u{3af}\u{3b0}\u{3ca}\u{3cb}\u{3cc}\u{3cd}\u{3ce}";
    matches!(char, '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1fff}')
        || cyrillic.contains(char)
        || greek.contains(char)
}

#[cfg(test)]
mod tests {
    use super::*;
    use colibri_session::{Rules, Sync, Want};

    fn fetch(pinned: Option<&str>) -> Fetch {
        Fetch {
            id: 1,
            collection: "web".into(),
            pinned: pinned.map(Into::into),
            chosen: None,
            organization: None,
            sync: Sync::Changes,
            known_keys: 0,
            held: None,
            shrunken_to: None,
            rules: Rules::default(),
            further: Vec::new(),
            deadline_ms: 1,
            want: Want::Pairs,
        }
    }

    fn chosen(ids: &[(&str, &str)], pinned: Option<&str>) -> Result<Chosen, Failure> {
        let all: Vec<_> = ids.iter().map(|(id, name)| collection(id, name)).collect();
        choose(&all, &[], &fetch(pinned))
    }

    fn collection(id: &str, name: &str) -> Collection {
        Collection { id: id.into(), name: name.into(), organization_id: Some("o".into()) }
    }

    #[test]
    fn of_several_the_operator_chooses_by_id_or_by_organization() {
        let other = Collection { organization_id: Some("p".into()), ..collection("2", "web") };
        let all = [collection("1", "web"), other, collection("3", "else")];
        let names = [("o", "fleet"), ("p", "other")]
            .map(|(id, name)| Organization { id: id.into(), name: name.into() });
        let ambiguous = choose(&all, &names, &fetch(None)).unwrap_err();
        assert!(ambiguous.message.ends_with(r#""1" of organization "fleet", "2" of organization "other""#));
        for (organization, chosen, found) in [
            (Some("other"), None, Ok("2")),
            (Some("o"), None, Ok("1")),
            (Some("none"), None, Err("is of organization \"fleet\"")),
            (None, Some("2"), Ok("2")),
            // By its id, whatever its name is.
            (None, Some("3"), Ok("3")),
            (None, Some("9"), Err("no collection with the id \"9\"")),
        ] {
            let [organization, id] = [organization, chosen].map(|text| text.map(str::to_owned));
            let asked = Fetch { organization, chosen: id, ..fetch(None) };
            match (choose(&all, &names, &asked), found) {
                (Ok(Chosen::Known(one) | Chosen::Other(one)), Ok(id)) => assert_eq!(one.id, id),
                (Err(failure), Err(part)) => {
                    assert_eq!(failure.name, CollectionNotFound);
                    assert!(failure.message.contains(part), "{failure}");
                }
                (outcome, _) => panic!("{asked:?}: {outcome:?}"),
            }
        }
    }

    #[test]
    fn names_are_compared_exactly_and_the_pinned_one_wins() {
        let known = |id| Ok(Chosen::Known(collection(id, "web")));
        assert_eq!(chosen(&[("1", "web"), ("2", "web2"), ("3", "Web")], None), known("1"));
        assert_eq!(chosen(&[("1", "web"), ("2", "web")], Some("2")), known("2"));
        let other = Ok(Chosen::Other(collection("1", "web")));
        assert_eq!(chosen(&[("1", "web"), ("2", "other")], Some("2")), other);
        let renamed = chosen(&[("2", "other")], Some("2")).unwrap_err();
        assert_eq!(renamed.name, CollectionNotFound);
        assert!(renamed.message.contains("is named \"other\" now"), "{renamed}");
        let unnamed = chosen(&[("2", UNDECRYPTED)], Some("2")).unwrap_err();
        assert!(unnamed.message.contains("cannot be decrypted"), "{unnamed}");
        let failure = chosen(&[("1", "web"), ("2", "web")], Some("3")).unwrap_err();
        assert_eq!(failure.name, CollectionAmbiguous);
        assert!(failure.message.contains("\"1\", \"2\""));
    }

    #[test]
    fn a_name_that_looks_alike_is_shown() {
        let all = [
            collection("1", "Web "),
            collection("2", "u\u{308}ber"),
            collection("3", "\u{e4}pfel"),
            collection("4", "\u{434}\u{43e}\u{43c}"),
        ];
        for (name, shown) in [
            ("web", Some("\"Web \" looks alike, and differs in letter case")),
            ("Web", Some("\"Web \" looks alike, and differs in blanks")),
            (
                "\u{fc}ber",
                Some(
                    "\\u{308}ber\" looks alike, and differs in the Unicode form of its letters: U+0308 there, U+00FC here",
                ),
            ),
            (
                "a\u{308}pfel",
                Some(
                    "pfel\" looks alike, and differs in the Unicode form of its letters: U+00E4 there, U+0308 here",
                ),
            ),
            ("\u{43a}\u{43e}\u{442}", None),
            ("db", None),
        ] {
            let missing = missing(&all, &[], &Fetch { collection: name.into(), ..fetch(None) });
            assert_eq!(missing.name, CollectionNotFound);
            assert_eq!(missing.message.contains("looks alike"), shown.is_some(), "{missing}");
            assert!(missing.message.contains(shown.unwrap_or_default()), "{missing}");
        }
    }

    #[test]
    fn what_may_have_been_meant_is_shown() {
        let named = |names: &[&str]| names.iter().map(|name| collection("1", name)).collect::<Vec<_>>();
        let all = named(&["web-01", "prod/db01", "dbs", "cache", "web0\u{1b}[2J1", "web011"]);
        let said = |name: &str| {
            let missing = missing(&all, &[], &Fetch { collection: name.into(), ..fetch(None) });
            missing.message.split_once("; ").unwrap().1.to_owned()
        };
        assert_eq!(said("web01"), "did you mean \"web-01\" or \"web011\"?");
        assert_eq!(said("db01"), "did you mean \"prod/db01\"?");
        assert_eq!(said("cahce"), "did you mean \"cache\"?");
        assert_eq!(said("unlike"), "`colibri collections` names the 6 that it shows");
        // Two letters of three are another name, and nothing is like nothing.
        assert_eq!(said("xyz"), said("unlike"));
        assert_eq!(said("---"), said("unlike"));
        let none = missing(&[], &[], &fetch(None)).message;
        assert!(none.ends_with("; this account sees none at all"), "{none}");
        let long = named(&["a".repeat(70).as_str()]);
        assert!(near(&long, &"a".repeat(71)).is_empty(), "no long work for a hostile vault");
    }

    #[test]
    fn names_are_sorted_and_bounded() {
        let all: Vec<_> = ["b", "a", "b"].iter().map(|name| collection("1", name)).collect();
        assert_eq!(names(&all), Names { shown: vec!["a".into(), "b".into(), "b".into()], more: 0 });
        let huge: Vec<_> = (0..2000).map(|at| collection("1", &format!("{at:0>900}"))).collect();
        let bounded = names(&huge);
        assert_eq!(bounded.shown.len() + bounded.more as usize, 2000);
        assert!(colibri_pair::encode(&bounded).unwrap().len() < colibri_session::MAX_WORD);
        assert_eq!(names(&[collection("1", &"a".repeat(1001))]).more, 1);
    }
}
