//! What the vault's hub says, as far as the bell understands it: that something has
//! changed. Everything else in a message is passed over, whatever it is.

use std::time::{Duration, Instant};

/// What a client says first: a line of SignalR's.
pub const HELLO: &str = "{\"protocol\":\"messagepack\",\"version\":1}\u{1e}";
/// What it is answered when the hub speaks the same.
pub const WELCOME: &[u8] = b"{}\x1e";
/// A client's ping, with its length before it: the array of the number 6.
pub const PING: [u8; 3] = [2, 0x91, 6];

/// The kind of a message that calls a method, as each change does.
const INVOCATION: u8 = 1;
/// Bytes of a length at most, seven bits each.
const MAX_LENGTH: usize = 5;
/// Shortest time between two rings that are passed on.
const PAUSE: Duration = Duration::from_millis(250);

/// Whether a message of the hub's tells of a change. Several may stand in one, each
/// with its length before it.
#[must_use]
pub fn tells_of_change(mut message: &[u8]) -> bool {
    while let Some((one, rest)) = first(message) {
        if kind(one) == Some(INVOCATION) {
            return true;
        }
        message = rest;
    }
    false
}

/// The first message and those after it; nothing where its length is none.
fn first(message: &[u8]) -> Option<(&[u8], &[u8])> {
    let digits = message.iter().take(MAX_LENGTH).position(|byte| byte & 0x80 == 0)? + 1;
    let (digits, rest) = message.split_at_checked(digits)?;
    let length = digits.iter().rev().fold(0_u64, |all, byte| all << 7 | u64::from(byte & 0x7f));
    rest.split_at_checked(usize::try_from(length).ok()?).filter(|(one, _)| !one.is_empty())
}

/// The small number that is the first element of a MessagePack array.
fn kind(message: &[u8]) -> Option<u8> {
    let elements = match message.first()? {
        0x91..=0x9f => 1,
        0xdc => 3,
        0xdd => 5,
        _ => return None,
    };
    message.get(elements).copied().filter(|number| *number < 0x80)
}

/// Makes few rings of many: the first at once, then one after each pause.
#[derive(Debug, Default)]
pub struct Rings {
    passed: Option<Instant>,
    waiting: bool,
}

impl Rings {
    /// Something has changed.
    pub fn rung(&mut self) {
        self.waiting = true;
    }

    /// When a ring is to be passed on, if there is one.
    #[must_use]
    pub fn due(&self, now: Instant) -> Option<Instant> {
        let next = self.passed.map_or(now, |passed| passed + PAUSE);
        self.waiting.then_some(next)
    }

    /// It was passed on.
    pub fn passed(&mut self, now: Instant) {
        *self = Self { passed: Some(now), waiting: false };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `[kind]` with its length before it.
    fn message(kind: u8) -> Vec<u8> {
        vec![2, 0x91, kind]
    }

    #[test]
    fn a_change_is_told_from_a_ping_and_from_what_is_cut_off() {
        assert!(tells_of_change(&message(1)));
        assert!(!tells_of_change(&PING));
        assert!(!tells_of_change(&message(1)[..2]));
        assert!(!tells_of_change(b""));
        assert!(!tells_of_change(WELCOME));
        assert!(tells_of_change(&[message(6), message(1)].concat()), "the second of two");
        assert!(!tells_of_change(&[vec![0], message(1)].concat()), "one without a length ends it");
        let long: Vec<u8> = [vec![0xc8, 0x01, 0xdc, 0, 5, 1], vec![0; 196]].concat();
        assert!(tells_of_change(&long), "a length of two bytes, an array of sixteen bits");
        assert!(!tells_of_change(&[0xff; 8]), "a length without end");
    }

    #[test]
    fn many_changes_ring_once_in_a_pause() {
        let (mut rings, start) = (Rings::default(), Instant::now());
        assert_eq!(rings.due(start), None);
        rings.rung();
        assert_eq!(rings.due(start), Some(start));
        rings.passed(start);
        (0..1000).for_each(|_| rings.rung());
        assert_eq!(rings.due(start), Some(start + PAUSE));
        rings.passed(start + PAUSE);
        assert_eq!(rings.due(start + 9 * PAUSE), None);
    }

    proptest! {
        #[test]
        fn nothing_that_a_hub_says_is_more_than_a_ring(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            // A change has the number 1 in it somewhere.
            prop_assert!(!tells_of_change(&bytes) || bytes.contains(&INVOCATION));
        }
    }
}
