//! Random values over all of Unicode, and over what readers trip on, from a seed
//! that a failure can be repeated by.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

/// What quoting, comments and expansion are made of.
const SIGNS: &[char] = &[
    '\'', '\'', '"', '"', '\\', '\\', '$', '`', '{', '}', '(', ')', '#', '=', ' ', ' ', '!', '\t', '\n',
    '\r', ';', '|', '&', '<', '>', '*', '?', '[', ']', '~', '%', ':', '-', 'a', 'b', 'X', '0', '_', 'n', 'é',
];
/// Pieces that mean something to one reader or another.
const PIECES: &[&str] = &[
    "'\"'\"'",
    "'\\''",
    "\\'",
    "\\\"",
    "\\\\",
    "\\n",
    "\\x41",
    "\\\n",
    "$(id)",
    "`id`",
    "${X}",
    "${X:-y}",
    "$X",
    "$'",
    "$\"",
    " #",
    "#",
    "\n#",
    "\nX=",
    "\nX='",
    "\nexport X=\"",
    "\r\n",
    "\n\n",
    "<<E",
    "=",
    "'",
    "\"",
    "word",
    " ",
    "\u{feff}",
    "\u{a0}",
    "\u{85}",
    "\u{2028}",
];
const BLANKS: &[char] = &[
    ' ', '\t', '\u{b}', '\u{c}', '\u{1c}', '\u{1d}', '\u{1e}', '\u{1f}', '\u{85}', '\u{a0}', '\u{1680}',
    '\u{2000}', '\u{2009}', '\u{2028}', '\u{2029}', '\u{202f}', '\u{205f}', '\u{3000}', '\u{feff}', 'a',
    '\'',
];
const TRIPPING: &[u8] = b"'\"\\$`{}#= \t\n\rn:a";
/// The longest value of the pair's protocol.
const LONGEST: usize = 64 * 1024;

/// So many values, the same for the same seed; none has a NUL.
pub fn values(seed: u64, count: usize) -> Vec<String> {
    let mut rng = StdRng::seed_from_u64(seed);
    (0..count).map(|_| value(&mut rng)).collect()
}

/// Every scalar value of Unicode but NUL, in values of `length` characters.
pub fn every_scalar(length: usize) -> Vec<String> {
    let scalars: Vec<char> = ('\u{1}'..=char::MAX).collect();
    scalars.chunks(length).map(|chunk| chunk.iter().collect()).collect()
}

/// Every text of `length` of the signs that readers trip on.
pub fn every_text(length: u32) -> Vec<String> {
    let signs = TRIPPING.len();
    let text = |number: usize| {
        (0..length).map(|place| char::from(TRIPPING[number / signs.pow(place) % signs])).collect()
    };
    (0..signs.pow(length)).map(text).collect()
}

fn value(rng: &mut StdRng) -> String {
    match rng.random_range(0..1000) {
        0..300 => fill(rng, 24, |rng| one_of(rng, SIGNS)),
        300..400 => fill(rng, 16, char_of_unicode),
        400..500 => fill(rng, 16, mixed),
        500..600 => fill(rng, 16, control),
        600..650 => fill(rng, 12, |rng| one_of(rng, BLANKS)),
        650..800 => fill(rng, 48, |rng| char::from(rng.random_range(b' '..=b'~'))),
        800..996 => (0..rng.random_range(0..8)).filter_map(|_| PIECES.choose(rng)).copied().collect(),
        996 | 997 => long(rng, |rng| char::from(rng.random_range(b' '..=b'~'))),
        _ => long(rng, |rng| one_of(rng, SIGNS)),
    }
}

fn fill(rng: &mut StdRng, most: usize, mut next: impl FnMut(&mut StdRng) -> char) -> String {
    let length = rng.random_range(0..=most);
    (0..length).map(|_| next(rng)).collect()
}

fn long(rng: &mut StdRng, next: impl FnMut(&mut StdRng) -> char) -> String {
    let mut value = fill(rng, LONGEST, next);
    while value.len() > LONGEST {
        value.pop();
    }
    value
}

fn one_of(rng: &mut StdRng, chars: &[char]) -> char {
    chars.choose(rng).copied().unwrap_or('x')
}

/// Any scalar value but NUL, the planes alike likely.
fn char_of_unicode(rng: &mut StdRng) -> char {
    rng.random_range('\u{1}'..=char::MAX)
}

/// The planes that texts are written in, and signs between them.
fn mixed(rng: &mut StdRng) -> char {
    match rng.random_range(0..4) {
        0 => rng.random_range('\u{1}'..='\u{ff}'),
        1 => rng.random_range('\u{1}'..='\u{ffff}'),
        2 => rng.random_range('\u{1}'..='\u{1ffff}'),
        _ => one_of(rng, SIGNS),
    }
}

fn control(rng: &mut StdRng) -> char {
    match rng.random_range(0..4) {
        0 | 1 => rng.random_range('\u{1}'..='\u{1f}'),
        2 => rng.random_range('\u{7f}'..='\u{9f}'),
        _ => char::from(rng.random_range(b' '..=b'~')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_values_and_none_is_out_of_bounds() {
        let once = values(7, 2000);
        assert_eq!(once, values(7, 2000));
        assert_ne!(once, values(8, 2000));
        assert!(once.iter().all(|value| !value.contains('\0') && value.len() <= LONGEST));
        assert!(once.iter().any(|value| value.len() > 10_000));
    }

    #[test]
    fn every_text_is_there_once() {
        let texts: std::collections::BTreeSet<String> = every_text(2).into_iter().collect();
        assert_eq!(texts.len(), TRIPPING.len().pow(2));
        assert_eq!(every_text(0), [""]);
    }

    #[test]
    fn every_scalar_is_there_once() {
        let all = every_scalar(4096);
        assert_eq!(all.iter().map(|value| value.chars().count()).sum::<usize>(), 0x0010_ffff - 0x800);
    }
}
