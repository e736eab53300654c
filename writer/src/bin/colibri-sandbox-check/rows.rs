//! Prints what came of the attempts: a table for people, or JSON. A reader that
//! goes away is an error like any other.

use std::io::{self, Write};

/// How rows are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Columns.
    Table,
    /// One object a line.
    Json,
}

/// One row.
#[derive(Debug)]
pub struct Row<'a> {
    /// What was tried.
    pub what: &'a str,
    /// How it has to end, `|` between ends that may be.
    pub expected: &'a str,
    /// How it ended.
    pub got: &'a str,
    /// How it ends without the sandbox, if that was tried.
    pub without: Option<&'a str>,
    /// What the reader should know of it.
    pub note: Option<&'a str>,
    /// Whether it is as it has to be.
    pub held: bool,
}

/// The rows so far.
#[derive(Debug)]
pub struct Rows {
    style: Style,
    case: &'static str,
    count: usize,
}

impl Rows {
    /// None yet.
    pub const fn new(style: Style) -> Self {
        Self { style, case: "", count: 0 }
    }

    /// Those that follow are of this case.
    pub fn case(&mut self, case: &'static str) -> io::Result<()> {
        self.case = case;
        if self.style == Style::Json {
            return Ok(());
        }
        print(&format!("\nThe writer as it runs for {case}"))?;
        print(&format!("{:<4} {:<38} {:<16} {:<12} without the sandbox", "", "attempt", "expected", "got"))
    }

    /// Prints one, and says whether it held.
    pub fn row(&mut self, row: &Row<'_>) -> io::Result<bool> {
        self.count += 1;
        match self.style {
            Style::Table => print(&line(row))?,
            Style::Json => print(&object(self.case, row))?,
        }
        Ok(row.held)
    }

    /// The last line of a table.
    pub fn end(&self, words: &str) -> io::Result<()> {
        match self.style {
            Style::Table => print(&format!("\n{} rows, {words}", self.count)),
            Style::Json => Ok(()),
        }
    }
}

fn print(line: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{}", line.trim_end())
}

fn line(row: &Row<'_>) -> String {
    let verdict = if row.held { "ok" } else { "FAIL" };
    let Row { what, expected, got, .. } = row;
    let without = row.without.unwrap_or_default();
    let note = row.note.map(|note| format!("  ({note})")).unwrap_or_default();
    format!("{verdict:<4} {what:<38} {expected:<16} {got:<12} {without}{note}")
}

fn object(case: &str, row: &Row<'_>) -> String {
    let optional = |text: Option<&str>| text.map_or_else(|| "null".into(), quoted);
    format!(
        r#"{{"case":{},"attempt":{},"expected":{},"got":{},"without_sandbox":{},"note":{},"held":{}}}"#,
        quoted(case),
        quoted(row.what),
        quoted(row.expected),
        quoted(row.got),
        optional(row.without),
        optional(row.note),
        row.held,
    )
}

fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace(char::is_control, " ");
    format!("\"{escaped}\"")
}
