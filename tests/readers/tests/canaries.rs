//! Values that are shell code run nothing when the file is sourced: no canary
//! appears. Written without quoting the same values do run, so the test can fail.
#![cfg(test)]

use colibri_pair::{EnvKey, Format};
use colibri_readers::{Reader, key, render};
use std::path::Path;

/// Code that makes the canary if any of it runs, in the forms that slip through
/// a quoting rule which is nearly right.
const CODE: &[&str] = &[
    "$(CODE)",
    "`CODE`",
    "x; CODE",
    "x\nCODE",
    "x & CODE",
    "x | CODE",
    "x && CODE",
    " CODE",
    "'; CODE; '",
    "\"; CODE; \"",
    "'\"; CODE; \"'",
    "\\'; CODE; \\'",
    "'$(CODE)",
    "'\\$(CODE)",
    "'\\\\$(CODE)",
    "'`CODE`",
    "'\\`CODE`",
    "\"$(CODE)\"",
    "'\"$(CODE)\"'",
    "'\"'\"'; CODE; '",
    "${X:=$(CODE)}",
    "'${X:=$(CODE)}",
    "$((a[$(CODE)]))",
    "a[$(CODE)]=1",
    "(CODE)",
    "<(CODE)",
    "=(CODE)",
    "x\r\nCODE\r\n",
    "'\nCODE\n'",
    "\"\nCODE\n\"",
    "\\\nCODE",
    "x #'\nCODE",
    "<<E\n$(CODE)\nE",
    "x\nE\nCODE",
    "!CODE",
    "'!CODE",
    "$'\\x60CODE\\x60'",
    "${(e):-$(CODE)}",
    "() { :; }; CODE",
    "%n\nCODE",
    "\u{2028}CODE",
    "\u{a0};CODE",
];

/// The code with each form's canary in `aviary`.
fn hostile(aviary: &Path) -> Vec<(EnvKey, String)> {
    let code = |(number, form): (usize, &&str)| {
        let canary = aviary.join(number.to_string());
        (key(number).unwrap(), form.replace("CODE", &format!(": >{}", canary.display())))
    };
    CODE.iter().enumerate().map(code).collect()
}

fn canaries(aviary: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(aviary).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn values_that_are_code_run_nothing_in_any_shell() {
    let dir = tempfile::tempdir().unwrap();
    let aviary = tempfile::tempdir().unwrap();
    let hostile = hostile(aviary.path());
    let mut files = Vec::new();
    for format in [Format::Env, Format::Dotenv] {
        for (number, (key, value)) in hostile.iter().enumerate() {
            let Ok(bytes) = render(format, &[(key.clone(), value)]) else { continue };
            files.push(format!("{}{number}", format.as_str()));
            std::fs::write(dir.path().join(files.last().unwrap()), bytes).unwrap();
        }
    }
    let together: Vec<(EnvKey, &str)> = hostile.iter().map(|(key, value)| (key.clone(), &**value)).collect();
    std::fs::write(dir.path().join("together"), render(Format::Env, &together).unwrap()).unwrap();
    files.push("together".to_owned());
    for shell in Reader::SHELLS {
        let found = shell.read(dir.path(), &files).unwrap();
        assert_eq!(canaries(aviary.path()), [""; 0], "{}", shell.name());
        for (key, value) in &hostile {
            assert_eq!(found.last().unwrap()[key.as_str()], value.as_bytes(), "{}", shell.name());
        }
    }
}

/// The control: without quoting, most of the forms run.
#[test]
fn the_same_values_run_where_nothing_quotes_them() {
    for shell in Reader::SHELLS {
        let dir = tempfile::tempdir().unwrap();
        let aviary = tempfile::tempdir().unwrap();
        let hostile = hostile(aviary.path());
        let mut files = Vec::new();
        for (number, (key, value)) in hostile.iter().enumerate() {
            files.push(number.to_string());
            std::fs::write(dir.path().join(number.to_string()), format!("{key}={value}\n")).unwrap();
        }
        shell.read(dir.path(), &files).unwrap();
        let canaries = canaries(aviary.path());
        assert!(canaries.len() > CODE.len() / 2, "{}: {canaries:?}", shell.name());
        assert!(canaries.contains(&"0".to_owned()), "{}: {canaries:?}", shell.name());
    }
}
