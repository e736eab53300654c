//! The lines of a secure note, in the dialect that people paste; docs/env-file.md
//! has the grammar. Nothing in a value is expanded.

use colibri_ipc::Secret;

/// A line of a note.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// `KEY=VALUE`, and the number of the line that it begins on, from 1.
    Pair(usize, String, Secret),
    /// No pair, and the line's number.
    Bad(usize),
}

/// Reads a note; blank lines and comments leave nothing.
pub fn parse(text: &str) -> Vec<Line> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
    let mut lines = Vec::new();
    let (mut rest, mut number) = (text.as_str(), 1);
    while !rest.is_empty() {
        let line = rest.split('\n').next().unwrap_or_default();
        let content = line.trim_matches(BLANK);
        let pair = (!content.is_empty() && !content.starts_with('#')).then(|| pair(rest));
        let used = match pair {
            Some(Some((key, value, used))) => {
                lines.push(Line::Pair(number, key.to_owned(), Secret::new(value)));
                used
            }
            Some(None) => {
                lines.push(Line::Bad(number));
                line.len()
            }
            None => line.len(),
        };
        number += rest[..used].matches('\n').count() + 1;
        rest = rest.get(used + 1..).unwrap_or_default();
    }
    lines
}

const BLANK: [char; 2] = [' ', '\t'];

/// The pair that `text` begins with, and how much of it that was, without the
/// end of the line.
fn pair(text: &str) -> Option<(&str, String, usize)> {
    let line = text.split('\n').next()?;
    let (left, _) = line.split_once('=')?;
    let key = left.trim_matches(BLANK);
    let key =
        key.strip_prefix("export").filter(|rest| rest.starts_with(BLANK)).unwrap_or(key).trim_matches(BLANK);
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte)) {
        return None;
    }
    let value = text[left.len() + 1..].trim_start_matches(BLANK);
    let (value, rest) = match value.chars().next() {
        Some('\'') => value[1..].split_once('\'').map(|(value, rest)| (value.to_owned(), rest))?,
        Some('"') => double_quoted(&value[1..])?,
        _ => bare(&text[left.len() + 1..]),
    };
    let tail = rest.split('\n').next()?;
    let comment = tail.trim_start_matches(BLANK);
    let ends = comment.is_empty() || (comment.starts_with('#') && comment.len() < tail.len());
    ends.then(|| (key, value, text.len() - rest.len() + tail.len()))
}

/// Up to the quote that no backslash precedes. As in a shell, a backslash
/// before one of `"\$` and backtick is taken off, any other stays.
fn double_quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut rest = text.chars();
    while let Some(char) = rest.next() {
        match char {
            '"' => return Some((value, rest.as_str())),
            '\\' if rest.as_str().starts_with(['"', '\\', '$', '`']) => value.extend(rest.next()),
            _ => value.push(char),
        }
    }
    None
}

/// Up to the end of the line, or a blank and `#`; blanks around it are not
/// part of it.
fn bare(text: &str) -> (String, &str) {
    let line = text.split('\n').next().unwrap_or_default();
    let comment = line.char_indices().find(|&(at, char)| char == '#' && line[..at].ends_with(BLANK));
    let value = comment.map_or(line, |(at, _)| &line[..at]).trim_matches(BLANK);
    (value.to_owned(), &text[line.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(text: &str) -> Vec<(usize, String, String)> {
        let pair = |line| match line {
            Line::Pair(number, key, value) => (number, key, value.expose().to_owned()),
            Line::Bad(number) => (number, String::new(), String::new()),
        };
        parse(text).into_iter().map(pair).collect()
    }

    #[test]
    fn the_grammar_as_documented() {
        for (line, value) in [
            ("K=v", "v"),
            ("K=", ""),
            ("K=  ", ""),
            ("  K = spaced \t", "spaced"),
            ("export K=v", "v"),
            ("export\tK=v", "v"),
            ("K=a=b", "a=b"),
            ("K=a b", "a b"),
            ("K=a # c", "a"),
            ("K=a#b", "a#b"),
            ("K=#a", "#a"),
            ("K= # c", ""),
            ("K='a # b' # c", "a # b"),
            ("K=\"a # b\"\t# c", "a # b"),
            ("K='it\"s'", "it\"s"),
            (r#"K="say \"hi\" \\ \$X \` \n""#, r#"say "hi" \ $X ` \n"#),
            (r"K='a\'", r"a\"),
            ("K=$(id) `id` ${X}", "$(id) `id` ${X}"),
            ("K='a\nb'", "a\nb"),
            ("K=\"a\r\n\r\nb\"", "a\n\nb"),
            ("K=it's", "it's"),
            ("K=\"\"", ""),
            ("\u{feff}K=v", "v"),
        ] {
            assert_eq!(pairs(line), [(1, "K".into(), value.into())], "{line:?}");
        }
    }

    #[test]
    fn lines_are_counted_and_bad_ones_named_by_number() {
        let text = "# c\r\nA=1\r\n\r\nB='x\r\ny' # c\r\nno pair\r\nC='open\r\nD=it's\r\n=x\r\nE F=1\r\nG='a'b\r\nÜ=1\r\nH.x-y=2";
        let found = pairs(text);
        let bad = |number| (number, String::new(), String::new());
        let pair = |number, key: &str, value: &str| (number, key.to_owned(), value.to_owned());
        let expected = [
            pair(2, "A", "1"),
            pair(4, "B", "x\ny"),
            bad(6),
            bad(7),
            pair(8, "D", "it's"),
            bad(9),
            bad(10),
            bad(11),
            bad(12),
            pair(13, "H.x-y", "2"),
        ];
        assert_eq!(found, expected);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_trouble(text in "[ \t\r\n'\"\\\\#=a-c\u{e9}]{0,60}") {
            let lines = text.replace("\r\n", "\n").split('\n').count();
            prop_assert!(parse(&text).len() <= lines);
        }

        #[test]
        fn any_value_can_be_written_in_double_quotes(value in "[^\r]{0,40}", next in "[A-Z]{1,5}") {
            let escaped: String = value.chars().flat_map(|char| {
                ['"', '\\', '$', '`'].contains(&char).then_some('\\').into_iter().chain([char])
            }).collect();
            let found = pairs(&format!("K=\"{escaped}\"\n{next}=1"));
            prop_assert_eq!(&found[0].2, &value);
            prop_assert_eq!(&found[1].1, &next);
        }
    }
}
