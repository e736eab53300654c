//! The truth table: which reader gets back which kind of value from which
//! format, as measured, in Markdown.

use crate::{Kind, Pairs, Reader, key, kinds, render};
use anyhow::{Context, Result, ensure};
use colibri_pair::Format;
use std::fmt::Write as _;
use std::path::Path;

const BEGIN: &str = "<!-- table: begin -->\n";
const END: &str = "<!-- table: end -->";

/// One column: readers that are told apart only in the tests.
struct Column {
    name: &'static str,
    readers: &'static [Reader],
}

/// One value of a kind and what became of it.
struct Trial {
    kind: usize,
    value: String,
    key: String,
    /// The file that it is in, if the format carries it.
    file: Option<String>,
}

const fn column(reader: &'static [Reader]) -> Column {
    Column { name: "", readers: reader }
}

const SHELLS: Column = Column { name: "five shells", readers: Reader::SHELLS };
const SYSTEMD: Column = column(&[Reader::Systemd]);
const PYTHON_DOTENV: Column = column(&[Reader::PythonDotenv]);
const NODE_DOTENV: Column = column(&[Reader::NodeDotenv]);
const NODE_DOTENV_FAST: Column = column(&[Reader::NodeDotenvFast]);
const NODE: Column = column(&[Reader::NodeParseEnv]);
const DOTENVY: Column = column(&[Reader::Dotenvy]);
const DOCKER: Column = column(&[Reader::Docker]);
const PODMAN: Column = column(&[Reader::Podman]);

/// Who is asked about which format. No shell is asked about `docker`: it would
/// run the values.
const QUESTIONS: &[(Format, &[Column])] = &[
    (
        Format::Env,
        &[SHELLS, SYSTEMD, PYTHON_DOTENV, NODE_DOTENV, NODE_DOTENV_FAST, NODE, DOTENVY, DOCKER, PODMAN],
    ),
    (Format::Dotenv, &[SHELLS, SYSTEMD, PYTHON_DOTENV, NODE_DOTENV, NODE_DOTENV_FAST, NODE, DOTENVY]),
    (Format::Docker, &[DOCKER, PODMAN, SYSTEMD, PYTHON_DOTENV, NODE_DOTENV, NODE_DOTENV_FAST, NODE, DOTENVY]),
    (
        Format::Json,
        &[column(&[Reader::SerdeJson]), column(&[Reader::PythonJson]), column(&[Reader::NodeJson])],
    ),
];

/// Measures everything anew.
///
/// # Errors
/// A reader is not there.
pub fn table() -> Result<String> {
    let kinds = kinds();
    let mut text = String::new();
    for (format, columns) in QUESTIONS {
        let dir = tempfile::tempdir()?;
        let trials = trials(*format, &kinds, dir.path())?;
        let mut verdicts = Vec::new();
        for column in *columns {
            verdicts.push(column.verdicts(&trials, dir.path())?);
        }
        write_table(&mut text, *format, columns, &kinds, &trials, &verdicts)?;
    }
    Ok(text)
}

/// The document with `table` in the place of the one it has.
///
/// # Errors
/// The document has no such place.
pub fn updated(document: &str, table: &str) -> Result<String> {
    let (before, rest) = document.split_once(BEGIN).context("no place where the table begins")?;
    let (_, after) = rest.split_once(END).context("no place where the table ends")?;
    Ok(format!("{before}{BEGIN}\n{table}{END}{after}"))
}

impl Column {
    fn name(&self) -> &'static str {
        match self.readers {
            [reader] => reader.name(),
            _ => self.name,
        }
    }

    /// For each trial: whether each of the readers got it back, where there was
    /// something to get.
    fn verdicts(&self, trials: &[Trial], dir: &Path) -> Result<Vec<Option<bool>>> {
        let files: Vec<String> = trials.iter().filter_map(|trial| trial.file.clone()).collect();
        let mut found = Vec::new();
        for reader in self.readers {
            found.push(reader.read(dir, &files)?.into_iter());
        }
        let verdict = |trial: &Trial| {
            trial.file.as_ref()?;
            Some(
                found.iter_mut().map(|found| trial.came_back(found.next().as_ref())).fold(true, |a, b| a & b),
            )
        };
        Ok(trials.iter().map(verdict).collect())
    }
}

impl Trial {
    fn came_back(&self, found: Option<&Pairs>) -> bool {
        found.and_then(|found| found.get(&self.key)).is_some_and(|value| value == self.value.as_bytes())
    }
}

fn trials(format: Format, kinds: &[Kind], dir: &Path) -> Result<Vec<Trial>> {
    let values = kinds.iter().enumerate().flat_map(|(kind, k)| k.values.iter().map(move |v| (kind, v)));
    let trial = |(number, (kind, value)): (usize, (usize, &String))| {
        let key = key(number)?;
        let file = match render(format, &[(key.clone(), value)]) {
            Ok(bytes) => {
                let name = format!("file{number}");
                std::fs::write(dir.join(&name), bytes)?;
                Some(name)
            }
            Err(refused) => {
                ensure!(refused.key == key, "{key}: {refused}");
                None
            }
        };
        Ok(Trial { kind, value: value.clone(), key: key.to_string(), file })
    };
    values.enumerate().map(trial).collect()
}

fn write_table(
    text: &mut String,
    format: Format,
    columns: &[Column],
    kinds: &[Kind],
    trials: &[Trial],
    verdicts: &[Vec<Option<bool>>],
) -> Result<()> {
    let names: Vec<&str> = columns.iter().map(Column::name).collect();
    writeln!(text, "### `{}`\n", format.as_str())?;
    writeln!(text, "| value | carried | {} |", names.join(" | "))?;
    writeln!(text, "|---|---|{}", "---|".repeat(names.len()))?;
    for (number, kind) in kinds.iter().enumerate() {
        let of_kind = |(trial, verdict): (&Trial, Option<bool>)| (trial.kind == number).then_some(verdict);
        let carried =
            summary(trials.iter().filter(|t| t.kind == number).map(|t| t.file.is_some()), "refused");
        let cell = |verdicts: &Vec<Option<bool>>| {
            let of_kind = trials.iter().zip(verdicts.iter().copied()).filter_map(of_kind);
            summary(of_kind.flatten(), "no")
        };
        let cells: Vec<&str> = verdicts.iter().map(cell).collect();
        writeln!(text, "| {} | {carried} | {} |", kind.name.replace('|', "\\|"), cells.join(" | "))?;
    }
    writeln!(text)?;
    Ok(())
}

/// One word for all values of a kind; nothing where there is nothing to tell.
fn summary(mut outcomes: impl Iterator<Item = bool>, none: &'static str) -> &'static str {
    let Some(first) = outcomes.next() else { return "" };
    match (first, outcomes.all(|outcome| outcome == first)) {
        (true, true) => "yes",
        (false, true) => none,
        (_, false) => "some",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_summed_up_in_one_word() {
        let summary = |outcomes: &[bool]| super::summary(outcomes.iter().copied(), "no");
        assert_eq!(summary(&[]), "");
        assert_eq!(summary(&[true, true]), "yes");
        assert_eq!(summary(&[false, false]), "no");
        assert_eq!(summary(&[true, false]), "some");
        assert_eq!(summary(&[false, true, true]), "some");
    }

    #[test]
    fn only_the_table_is_replaced() {
        let document = format!("# a\n{BEGIN}old\n{END}\nb\n");
        assert_eq!(updated(&document, "new\n").unwrap(), format!("# a\n{BEGIN}\nnew\n{END}\nb\n"));
        assert!(updated("# a\n", "new").is_err());
    }
}
