//! Small independent readers, written after the manuals of what they stand for
//! and not after the renderer. `None` is a file that they do not accept.

type Pairs = Vec<(String, String)>;

/// Assignments as POSIX 2.2 and 2.6 read them, one a line, where every expansion,
/// every operator and every second word is refused.
pub fn shell(text: &str) -> Option<Pairs> {
    let mut chars = text.chars().peekable();
    let mut pairs = Vec::new();
    while chars.peek().is_some() {
        let key: String = std::iter::from_fn(|| chars.next_if(|c| *c != '=')).collect();
        chars.next()?;
        let mut value = String::new();
        loop {
            match chars.next()? {
                '\n' => break,
                '\'' => loop {
                    match chars.next()? {
                        '\'' => break,
                        c => value.push(c),
                    }
                },
                '"' => loop {
                    match chars.next()? {
                        '"' => break,
                        '$' | '`' => return None,
                        '\\' => match chars.next()? {
                            c @ ('$' | '`' | '"' | '\\') => value.push(c),
                            '\n' => {}
                            c => value.extend(['\\', c]),
                        },
                        c => value.push(c),
                    }
                },
                '~' if value.is_empty() || value.ends_with(':') => return None,
                c if c.is_ascii_whitespace() || "|&;<>()$`\\#*?[]!{}^".contains(c) => return None,
                c => value.push(c),
            }
        }
        pairs.push((key, value));
    }
    Some(pairs)
}

/// docker's reading: all after the first `=` of a line.
pub fn docker(text: &str) -> Option<Pairs> {
    text.split_terminator('\n').map(|line| line.split_once('=').map(|(k, v)| (k.into(), v.into()))).collect()
}

/// One object of strings, after RFC 8259; no other value is accepted.
pub fn json(text: &str) -> Option<Pairs> {
    let mut chars = text.chars().peekable();
    let mut pairs = Vec::new();
    let blank = |c: &char| " \t\r\n".contains(*c);
    while chars.next_if(blank).is_some() {}
    (chars.next()? == '{').then_some(())?;
    loop {
        while chars.next_if(blank).is_some() {}
        match chars.next()? {
            '}' if pairs.is_empty() => break,
            '"' => {}
            _ => return None,
        }
        let key = string(&mut chars)?;
        while chars.next_if(blank).is_some() {}
        (chars.next()? == ':').then_some(())?;
        while chars.next_if(blank).is_some() {}
        (chars.next()? == '"').then_some(())?;
        pairs.push((key, string(&mut chars)?));
        while chars.next_if(blank).is_some() {}
        match chars.next()? {
            ',' => {}
            '}' => break,
            _ => return None,
        }
    }
    chars.all(|c| blank(&c)).then_some(pairs)
}

/// The rest of a string whose quote was read.
fn string(chars: &mut impl Iterator<Item = char>) -> Option<String> {
    let mut text = String::new();
    loop {
        match chars.next()? {
            '"' => return Some(text),
            '\\' => match chars.next()? {
                c @ ('"' | '\\' | '/') => text.push(c),
                'n' => text.push('\n'),
                't' => text.push('\t'),
                'r' => text.push('\r'),
                'b' => text.push('\u{8}'),
                'f' => text.push('\u{c}'),
                'u' => {
                    let hex: String = (0..4).map(|_| chars.next()).collect::<Option<_>>()?;
                    // No character outside the basic plane needs an escape.
                    text.push(char::from_u32(u32::from_str_radix(&hex, 16).ok()?)?);
                }
                _ => return None,
            },
            c if c < ' ' => return None,
            c => text.push(c),
        }
    }
}
