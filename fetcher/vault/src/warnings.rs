//! Warnings about a request, bounded in number and length. Names in them come
//! from the vault: control characters are escaped.

/// Most warnings that are kept.
const MAX: usize = 100;
/// Longest name that is shown in full, in characters.
const MAX_NAME: usize = 64;

/// Warnings as they come up.
#[derive(Debug, Default)]
pub struct Warnings {
    lines: Vec<String>,
    more: usize,
}

impl Warnings {
    /// Adds one.
    pub fn add(&mut self, line: String) {
        if self.lines.len() < MAX {
            self.lines.push(line);
        } else {
            self.more += 1;
        }
    }

    /// All of them, the last saying how many were left out.
    pub fn into_lines(mut self) -> Vec<String> {
        if self.more > 0 {
            self.lines.push(format!("{} more warnings", self.more));
        }
        self.lines
    }
}

/// A name from the vault, in quotes, fit to be printed.
pub fn quoted(name: &str) -> String {
    let mut shown: String = name.chars().take(MAX_NAME).flat_map(char::escape_debug).collect();
    if name.chars().nth(MAX_NAME).is_some() {
        shown.push('…');
    }
    format!("\"{shown}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_play_with_the_terminal() {
        assert_eq!(quoted("a\u{1b}[2J\n\"\u{202e}b"), r#""a\u{1b}[2J\n\"\u{202e}b""#);
        assert_eq!(quoted(&"ü".repeat(65)).chars().count(), 64 + 3);
    }

    #[test]
    fn warnings_are_bounded() {
        let mut warnings = Warnings::default();
        (0..105).for_each(|number| warnings.add(number.to_string()));
        let lines = warnings.into_lines();
        assert_eq!((lines.len(), lines[100].as_str()), (101, "5 more warnings"));
    }
}
