//! Values over several lines that have an end of their own: PEM blocks and JSON.

use crate::note::Why;
use crate::word::BLANK;
use colibri_pair::MAX_VALUE;
use serde::de::IgnoredAny;

const BEGIN: &str = "-----BEGIN ";

/// Whether a PEM block begins here, and does not end on the same line.
pub fn is_pem(text: &str) -> bool {
    let line = text.split('\n').next().unwrap_or_default();
    line.starts_with(BEGIN) && !line.contains("-----END ")
}

/// Reads the PEM blocks that follow each other, and how much of the text they are.
///
/// # Errors
/// What is in them is not what is in such a block, or there is no end.
pub fn pem(text: &str) -> Result<(String, usize), Why> {
    let (mut value, mut len) = one(text)?;
    loop {
        let rest = &text[len..];
        let next = rest.trim_start_matches(|char: char| char == '\n' || BLANK.contains(&char));
        if !is_pem(next) {
            return Ok((value, len));
        }
        let (block, used) = one(next)?;
        value.extend(["\n", &block]);
        len += rest.len() - next.len() + used;
    }
}

fn one(text: &str) -> Result<(String, usize), Why> {
    let mut value = String::new();
    let mut at = 0;
    let mut end = None;
    for line in text.split('\n') {
        let content = line.trim_matches(BLANK);
        at += line.len();
        match &end {
            None => {
                let label = content.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix("-----"));
                end = Some(format!("-----END {}-----", label.ok_or(Why::Pem)?));
            }
            Some(end) if content == end => {
                value.extend(["\n", content]);
                return Ok((value, at));
            }
            Some(_) if !is_body(content) => return Err(Why::Pem),
            Some(_) => value.push('\n'),
        }
        value.push_str(content);
        at += 1;
    }
    Err(Why::Pem)
}

/// Base64, the checksum of OpenPGP, or a header such as `Proc-Type: 4,ENCRYPTED`.
fn is_body(line: &str) -> bool {
    let base64 = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(&byte));
    let padded = line.strip_suffix('=').map_or(line, |rest| rest.strip_suffix('=').unwrap_or(rest));
    let name = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    base64(padded)
        || line.strip_prefix('=').is_some_and(|sum| sum.len() == 4 && base64(sum))
        || line.split_once(": ").is_some_and(|(header, _)| name(header))
}

/// Whether this can only be meant as JSON over several lines.
pub fn opens_json(text: &str) -> bool {
    let line = text.split('\n').next().unwrap_or_default().trim_end_matches(BLANK);
    let inside = |open| line.strip_prefix(open).map(|rest: &str| rest.trim_start_matches(BLANK));
    let object = inside('{').is_some_and(|rest| rest.is_empty() || rest.starts_with('"'));
    let value = |rest: &str| rest.is_empty() || rest.starts_with(['"', '{', '[']) || rest.ends_with(',');
    object || inside('[').is_some_and(value)
}

/// How much of the text is the JSON object or array that it begins with, if the
/// rest of the line after it is blank or a comment.
pub fn json(text: &str) -> Option<usize> {
    let len = balanced(text)?;
    serde_json::from_str::<IgnoredAny>(&text[..len]).ok()?;
    let tail = text[len..].split('\n').next()?;
    let comment = tail.trim_matches(BLANK);
    let ends = comment.is_empty() || (comment.starts_with('#') && tail.starts_with(BLANK));
    ends.then_some(len)
}

/// Up to the bracket that closes the first, unless that is too far for a value.
fn balanced(text: &str) -> Option<usize> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (at, byte) in text.bytes().take(MAX_VALUE + 1).enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        if depth == 0 {
            return None;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: &str = "-----BEGIN X-----\nMIIB+/==\n-----END X-----";

    #[test]
    fn blocks_that_follow_each_other_are_one_value() {
        assert_eq!(pem(BLOCK).unwrap(), (BLOCK.into(), BLOCK.len()));
        let two = format!("{BLOCK}\n\n  {}\nA=1", BLOCK.replace('\n', "\t\n  "));
        assert_eq!(pem(&two).unwrap(), (format!("{BLOCK}\n{BLOCK}"), two.len() - 4));
        let headed = "-----BEGIN X-----\nProc-Type: 4,ENCRYPTED\n\nAA==\n=a0Bc\n-----END X-----";
        assert_eq!(pem(headed).unwrap().0, headed);
    }

    #[test]
    fn a_block_that_is_not_whole_is_none() {
        for text in [
            "-----BEGIN X-----\nMIIB",
            "-----BEGIN X-----\nA b\n-----END X-----",
            "-----BEGIN X-----\nA\n-----END Y-----",
            "-----BEGIN X----- \\\nA\n-----END X-----",
            "-----BEGIN X-----\nA='1'\n-----END X-----",
        ] {
            assert!(pem(text).is_err(), "{text}");
        }
        assert!(!is_pem("-----BEGIN X----- A -----END X-----"));
    }

    #[test]
    fn json_ends_where_it_ends() {
        for (text, len) in [
            ("{}", Some(2)),
            ("{\n\"a\": \"}\\\"\"}\nA=1", Some(13)),
            ("[1,\n[2]] # c", Some(8)),
            ("{a}", None),
            ("{\"a\":1} x", None),
            ("{\"a\":1", None),
            ("]", None),
            ("[a-z]", None),
        ] {
            assert_eq!(json(text), len, "{text}");
        }
        assert!(opens_json("{\n") && opens_json("{ \"a\"") && opens_json("[1,\n2]") && opens_json("[{"));
        assert!(!opens_json("{x") && !opens_json("[a-z") && !opens_json("x{"));
        assert_eq!(json(&"[".repeat(100_000)), None);
    }
}
