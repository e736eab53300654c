//! One list of all items, where many requests wait: each takes its collection's part.

use crate::answer::Item;
use std::collections::{HashMap, HashSet};

/// Items by the id of the one collection that they are in.
#[derive(Debug, Default)]
pub struct Everything(HashMap<String, Vec<Item>>);

impl Everything {
    /// Splits a list. A collection that shares an item with another is left out: it is
    /// asked for by itself.
    pub fn split(items: Vec<Item>) -> Self {
        let (mut parts, mut shared) = (HashMap::<String, Vec<Item>>::new(), HashSet::new());
        for mut item in items {
            match item.collection_ids.as_mut_slice() {
                [] => {}
                [one] => parts.entry(one.clone()).or_default().push(item),
                several => shared.extend(several.iter_mut().map(std::mem::take)),
            }
        }
        parts.retain(|id, _| !shared.contains(id));
        Self(parts)
    }

    /// The items of a collection, once; nothing for an empty one either.
    pub fn take(&mut self, collection: &str) -> Option<Vec<Item>> {
        self.0.remove(collection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::{List, read};

    #[test]
    fn what_shares_an_item_is_left_out_and_each_part_is_taken_once() {
        let item = |id: &str, within: &str| {
            format!(r#"{{"id":"{id}","name":"N","type":1,"collectionIds":{within}}}"#)
        };
        let items = [
            item("1", r#"["a"]"#),
            item("2", r#"["b"]"#),
            item("3", r#"["a"]"#),
            item("4", r#"["b","c"]"#),
            item("5", "null"),
            item("6", r#"["d"]"#),
        ];
        let answer = format!(r#"{{"success":true,"data":{{"data":[{}]}}}}"#, items.join(","));
        let mut all = Everything::split(read::<List<Item>>(answer.as_bytes()).unwrap().data);
        let mut ids = |collection: &str| {
            all.take(collection).map(|items| items.into_iter().map(|item| item.id).collect::<Vec<_>>())
        };
        assert_eq!(ids("a").unwrap(), ["1", "3"]);
        assert_eq!(ids("d").unwrap(), ["6"]);
        for none in ["a", "b", "c", "e", ""] {
            assert_eq!(ids(none), None, "{none}");
        }
    }
}
