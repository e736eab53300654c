//! The names that shells keep for themselves: each is taken out of each shell that
//! is installed, and what the writer would put there is sourced with a value that
//! runs a command where it is evaluated.
#![cfg(test)]

use colibri_envfile::{is_barred, is_reserved};
use colibri_ipc::EnvKey;
use colibri_order::Format;
use colibri_readers::render;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

/// A shell, and a script that prints the names of its variables among other words.
const SHELLS: &[(&[&str], &str)] = &[
    (&["bash", "--norc"], "compgen -v"),
    (&["bash", "--posix", "--norc"], "compgen -v"),
    (&["dash"], "set"),
    (&["mksh"], "typeset"),
    (&["zsh", "-f"], "print -l ${(k)parameters}"),
    (&["busybox", "ash"], "set"),
];
/// What they do not show before it was used, and what other versions have.
const HIDDEN: &[&str] = &[
    "SRANDOM",
    "HISTCMD",
    "FUNCNAME",
    "BASH_MONOSECONDS",
    "BASH_TRAPSIG",
    "EPOCHSECONDS",
    "EPOCHREALTIME",
    "KSHEUID",
    "KSH_VERSION",
    "USER_ID",
    "PGRP",
    "TTYIDLE",
    "OPTIND",
    "LINENO",
    "RANDOM",
    "SECONDS",
    "TMOUT",
    "COLUMNS",
    "LINES",
];
/// Evaluated where a value becomes a number.
const BAIT: &str = "a[$(: >canary)]";

fn shell(dir: &Path, program: &[&str], script: &str) -> String {
    let mut command = Command::new(program[0]);
    command.args(&program[1..]).args(["-c", script]).current_dir(dir).stdin(Stdio::null());
    let output = command.env("ENV", "").output();
    let output =
        output.unwrap_or_else(|error| panic!("{} is not there, run `make readers`: {error}", program[0]));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn special_names(dir: &Path) -> BTreeSet<EnvKey> {
    let shown = SHELLS.iter().map(|(program, names)| {
        let shown = shell(dir, program, names);
        assert!(shown.lines().count() > 5, "{program:?} shows no names");
        shown
    });
    let mut words: Vec<String> = shown
        .flat_map(|text| {
            text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect();
    words.extend(HIDDEN.iter().map(|name| (*name).to_owned()));
    words.into_iter().filter_map(|word| EnvKey::try_from(word).ok()).collect()
}

#[derive(Debug, PartialEq, Eq)]
struct Came {
    ran: bool,
    to_the_end: bool,
    as_it_is: bool,
}

/// Sources the file that the writer would make of this.
fn source(dir: &Path, program: &[&str], key: &EnvKey, value: &str) -> Came {
    let after = EnvKey::try_from("ZZ_AFTER".to_owned()).unwrap();
    let file = render(Format::Env, &[(key.clone(), value), (after, "here")]).unwrap();
    std::fs::write(dir.join("env"), file).unwrap();
    let script =
        format!("set -a; . ./env; set +a; [ \"${key}\" = '{value}' ] && echo same; echo \"$ZZ_AFTER\"");
    let said = shell(dir, program, &script);
    let ran = std::fs::remove_file(dir.join("canary")).is_ok();
    Came { ran, to_the_end: said.contains("here"), as_it_is: said.contains("same") }
}

#[test]
fn a_name_that_is_written_is_no_shells_own() {
    let dir = tempfile::tempdir().unwrap();
    let names = special_names(dir.path());
    assert!(names.len() > 80, "{names:?}");
    let good = Came { ran: false, to_the_end: true, as_it_is: true };
    let mut ran = 0;
    for key in &names {
        for (program, _) in SHELLS {
            let came = source(dir.path(), program, key, BAIT);
            ran += u32::from(came.ran);
            // What runs, or ends who reads it, nobody can allow; what does not
            // arrive as it is has to be allowed.
            let numbers_only = source(dir.path(), program, key, "x y");
            if came.ran || !source(dir.path(), program, key, "7").to_the_end {
                assert!(is_barred(key), "{key} in {program:?}: {came:?}");
            }
            if came != good || numbers_only != good {
                assert!(is_reserved(key), "{key} in {program:?}: {came:?}, {numbers_only:?}");
            }
        }
    }
    // The bait bites where nothing keeps it away.
    assert!(ran > 0, "no shell evaluated the bait");
}
