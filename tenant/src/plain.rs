//! Text from a peer that may be hostile, as one line that shows what it says: no
//! escape sequences for a terminal, nothing that reorders or hides its neighbours.

/// Invisible, though letters or marks by their category.
const INVISIBLE: &str = "\u{34f}\u{115f}\u{1160}\u{17b4}\u{17b5}\u{2800}\u{3164}\u{ffa0}";

/// The same text on one line: every white space is a blank, and what is not to
/// be seen, or changes how its neighbours are seen, is the replacement character.
pub fn plain(text: &str) -> String {
    text.chars().map(shown).collect()
}

fn shown(c: char) -> char {
    match c {
        _ if c.is_whitespace() => ' ',
        _ if is_printable(c) && !is_invisible(c) => c,
        _ => char::REPLACEMENT_CHARACTER,
    }
}

/// By the standard library's table: neither a control or format character (bidi
/// controls, zero width, tags), nor a surrogate, private or unassigned. Behind a
/// letter, where a combining mark is printable too.
fn is_printable(c: char) -> bool {
    matches!(c, '\'' | '"' | '\\') || String::from_iter(['a', c]).escape_debug().count() == 2
}

/// Fillers and variation selectors.
fn is_invisible(c: char) -> bool {
    INVISIBLE.contains(c) || matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hides_or_reorders_is_replaced() {
        let hostile = [
            '\u{0}',
            '\u{1b}',
            '\u{7f}',
            '\u{85}',
            '\u{9b}',
            '\u{ad}',
            '\u{61c}',
            '\u{180e}',
            '\u{200b}',
            '\u{200d}',
            '\u{200e}',
            '\u{200f}',
            '\u{202a}',
            '\u{202e}',
            '\u{2060}',
            '\u{2066}',
            '\u{2069}',
            '\u{206f}',
            '\u{feff}',
            '\u{fff9}',
            '\u{e0001}',
            '\u{e0041}',
            '\u{e000}',
            '\u{3164}',
            '\u{fe0f}',
            '\u{2028}',
            '\u{2029}',
            '\n',
            '\r',
            '\t',
            '\u{a0}',
        ];
        for c in hostile {
            let seen = plain(&format!("a{c}b"));
            assert!(["a b", "a\u{fffd}b"].contains(&seen.as_str()), "{c:?}: {seen:?}");
        }
    }

    /// The control: a filter of control characters alone, as there was.
    #[test]
    fn without_the_table_what_reorders_comes_through() {
        let before = |text: &str| text.replace(char::is_control, "\u{fffd}");
        for text in ["a\u{202e}b", "a\u{200b}b", "a\u{2066}b", "a\u{3164}b"] {
            assert_eq!(before(text), text);
            assert_eq!(plain(text), "a\u{fffd}b");
        }
        assert_eq!(before("a\u{1b}b"), plain("a\u{1b}b"));
    }

    #[test]
    fn what_people_write_stays() {
        for text in [
            "",
            "it's \"x\" \\ $`",
            "Grüße",
            "e\u{301}",
            "секрет",
            "秘密",
            "سر",
            "हिन्दी",
            "ไทย",
            "🔑",
            "€ – ’",
        ] {
            assert_eq!(plain(text), text);
        }
    }

    #[test]
    fn once_is_enough() {
        let all: String = (0..=0x10_ffff).filter_map(char::from_u32).collect();
        let seen = plain(&all);
        assert_eq!(plain(&seen), seen);
        assert_eq!(seen.chars().count(), all.chars().count());
    }
}
