//! Where in a jail.conf(5) the hook's line belongs. Pure, and knows of the grammar
//! what it has to: quotes, comments, blocks, and where a statement ends.

/// The line, in double quotes: jail(8) puts name and path in, after a rename, too.
pub fn line(program: &str) -> String {
    format!(r#"exec.created += "{program} hook $name $path || true";"#)
}

/// What the line adds to.
pub const PARAMETER: &str = "exec.created";
/// By this a line of an earlier day is known.
pub const OURS: &str = "colibri hook";

/// What becomes of a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Edit {
    /// The line is there, and no other of ours.
    Stays,
    /// The file as it shall be.
    Changed(String),
}

/// Why the line has no place.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPlace {
    /// No block has the jail's name.
    #[error("it has no block of the jail's name")]
    NoBlock,
    /// The block, a quote or a comment has no end.
    #[error("a block, a statement, a quote or a comment in it has no end")]
    NoEnd,
}

/// Puts the line into the jail's block, in the place of one of ours, if there is one.
///
/// # Errors
/// [`NoPlace`].
pub fn edit(text: &str, jail: &str, line: &str) -> Result<Edit, NoPlace> {
    let (begin, end) = block(text, jail)?;
    let body = &text[begin..end];
    let all = statements(body)?;
    // What `=` sets anew takes the lines before it away.
    let anew = all.iter().rposition(|(from, to)| is_anew(&body[*from..*to]));
    let mut edited = String::new();
    let mut placed = false;
    let mut last = 0;
    for (number, (from, to)) in all.into_iter().enumerate() {
        let statement = &body[from..to];
        if !(statement.starts_with(PARAMETER) && statement.contains(OURS)) {
            continue;
        }
        edited.push_str(&body[last..from]);
        if !placed && anew.is_none_or(|anew| anew < number) {
            edited.push_str(line);
            placed = true;
        }
        last = to;
    }
    edited.push_str(&body[last..]);
    if !placed {
        let kept = edited.trim_end_matches([' ', '\t']).len();
        let (before, indent) = edited.split_at(kept);
        let newline = if before.ends_with('\n') { "" } else { "\n" };
        edited = format!("{before}{newline}  {line}\n{indent}");
    }
    match edited == body {
        true => Ok(Edit::Stays),
        false => Ok(Edit::Changed(format!("{}{edited}{}", &text[..begin], &text[end..]))),
    }
}

/// A statement of somebody else that sets the parameter, and adds nothing to it.
fn is_anew(statement: &str) -> bool {
    let value = statement.strip_prefix(PARAMETER).map(str::trim_start);
    value.is_some_and(|value| value.starts_with('=')) && !statement.contains(OURS)
}

/// The inside of the jail's block.
fn block(text: &str, jail: &str) -> Result<(usize, usize), NoPlace> {
    let (mut at, mut word) = (0, 0..0);
    while at < text.len() {
        let next = skip(text, at)?;
        match &text[at..next] {
            "{" => {
                let end = closing(text, next)?;
                if text[word.clone()].trim_matches(['"', '\'']) == jail {
                    return Ok((next, end));
                }
                at = end + 1;
                word = at..at;
                continue;
            }
            ";" | "=" | "+" => word = next..next,
            token if token.trim().is_empty() || is_comment(token) => {}
            // A word goes on, or a new one begins.
            _ if word.end == at && !word.is_empty() => word = word.start..next,
            _ => word = at..next,
        }
        at = next;
    }
    Err(NoPlace::NoBlock)
}

/// The end of a block that begins at `at`.
fn closing(text: &str, mut at: usize) -> Result<usize, NoPlace> {
    let mut depth = 0_u32;
    while at < text.len() {
        let next = skip(text, at)?;
        match &text[at..next] {
            "{" => depth += 1,
            "}" if depth == 0 => return Ok(at),
            "}" => depth -= 1,
            _ => {}
        }
        at = next;
    }
    Err(NoPlace::NoEnd)
}

/// Each statement's begin and end, its semicolon included.
fn statements(body: &str) -> Result<Vec<(usize, usize)>, NoPlace> {
    let (mut found, mut begin, mut at) = (Vec::new(), None, 0);
    while at < body.len() {
        let next = skip(body, at)?;
        let token = &body[at..next];
        if token == ";" {
            found.extend(begin.take().map(|begin| (begin, next)));
        } else if begin.is_none() && !token.trim().is_empty() && !is_comment(token) {
            begin = Some(at);
        }
        at = next;
    }
    // The line would become a part of a statement that has no semicolon.
    begin.map_or(Ok(found), |_| Err(NoPlace::NoEnd))
}

fn is_comment(token: &str) -> bool {
    token.starts_with('#') || token.starts_with("//") || token.starts_with("/*")
}

/// The end of the token at `at`: a quoted text, a comment, a variable in braces, or
/// one character.
fn skip(text: &str, at: usize) -> Result<usize, NoPlace> {
    let rest = &text[at..];
    let after = |mark: &str, from: usize| {
        rest.get(from..).and_then(|tail| tail.find(mark)).map(|found| from + found + mark.len())
    };
    let length = match rest.as_bytes() {
        [quote @ (b'"' | b'\''), ..] => Some(quoted(rest, *quote).ok_or(NoPlace::NoEnd)?),
        [b'/', b'*', ..] => Some(after("*/", 2).ok_or(NoPlace::NoEnd)?),
        [b'#', ..] | [b'/', b'/', ..] => Some(rest.find('\n').unwrap_or(rest.len())),
        [b'$', b'{', ..] => Some(after("}", 2).ok_or(NoPlace::NoEnd)?),
        _ => rest.chars().next().map(char::len_utf8),
    };
    Ok(at + length.unwrap_or(1))
}

/// How long a quoted text is; a backslash takes the next byte's meaning away.
fn quoted(text: &str, quote: u8) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            _ if byte == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{edit as put, *};
    use proptest::prelude::*;

    const LINE: &str = r#"exec.created += "/usr/local/bin/colibri hook $name $path || true";"#;

    fn edit(text: &str, jail: &str) -> Result<Edit, NoPlace> {
        put(text, jail, &line("/usr/local/bin/colibri"))
    }

    /// As bastille(8) 1.4 writes it.
    const BASTILLE: &str = "web01 {
  exec.clean;
  exec.consolelog = /var/log/bastille/web01_console.log;
  exec.start = '/bin/sh /etc/rc';
  exec.created += \"zfs jail web01 zroot/data; zfs set jailed=on zroot/data\";
  path = /usr/local/bastille/jails/${name}/root; # { in a comment
  ip4.addr = 10.0.0.1;
}
";

    fn changed(text: &str, jail: &str) -> String {
        match edit(text, jail) {
            Ok(Edit::Changed(text)) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_line_is_added_and_what_bastille_wrote_stays() {
        let seen = changed(BASTILLE, "web01");
        assert_eq!(seen, BASTILLE.replace("\n}\n", &format!("\n  {LINE}\n}}\n")));
        assert_eq!(edit(&seen, "web01"), Ok(Edit::Stays));
    }

    #[test]
    fn a_line_that_takes_the_others_away_is_replaced() {
        let bad = r#"exec.created = "/usr/local/bin/colibri hook web01 /usr/local/bastille/jails/web01/root || true";"#;
        let text = BASTILLE.replace("\n}\n", &format!("\n  {bad}\n  {bad}\n}}\n"));
        let seen = changed(&text, "web01");
        assert!(seen.contains("zfs jail") && seen.matches("colibri hook").count() == 1, "{seen}");
        assert!(seen.contains(LINE) && !seen.contains("exec.created = "), "{seen}");
    }

    /// As `bastille config web01 set exec.created …` leaves it.
    #[test]
    fn a_line_that_another_takes_away_is_put_behind_it() {
        let later = "exec.created = 'zfs jail web01 zroot/data';";
        let text = BASTILLE.replace("\n}\n", &format!("\n  {LINE}\n  {later}\n}}\n"));
        let seen = changed(&text, "web01");
        assert!(seen.ends_with(&format!("{later}\n  {LINE}\n}}\n")), "{seen}");
        assert_eq!(seen.matches(OURS).count(), 1, "{seen}");
        assert_eq!(edit(&seen, "web01"), Ok(Edit::Stays));
    }

    #[test]
    fn only_the_jail_s_own_block_is_touched() {
        let text = format!(
            "exec.created = \"x {{\";\n# web02 {{ }}\n* {{ mount.devfs; }}\n{BASTILLE}/* web02 {{ */ \"web02\" {{ persist; }}\n"
        );
        let seen = changed(&text, "web02");
        assert!(seen.starts_with(&text[..text.find("/* web02").unwrap()]), "{seen}");
        assert!(seen.ends_with(&format!("persist;\n  {LINE}\n }}\n")), "{seen}");
        assert_eq!(edit(&text, "web0"), Err(NoPlace::NoBlock));
        assert_eq!(edit("web01 {\n path = 'a;\n}", "web01"), Err(NoPlace::NoEnd));
        assert_eq!(edit("web01 {\n path = a;\n", "web01"), Err(NoPlace::NoEnd));
    }

    proptest! {
        #[test]
        fn whatever_the_file_an_edit_ends_and_a_second_changes_nothing(
            parts in proptest::collection::vec(
                "web01|web01 \\{|\\{|\\}|;|\"[a-z{};]{0,3}\"|'|#|//|/\\*|\\*/|\\$\\{name\\}|é| |\n|exec.created = \"colibri hook\";|exec.created = x;",
                0..20,
            ),
        ) {
            let text = parts.concat();
            if let Ok(Edit::Changed(once)) = edit(&text, "web01") {
                prop_assert_eq!(edit(&once, "web01"), Ok(Edit::Stays), "{}", once);
            }
        }
    }
}
