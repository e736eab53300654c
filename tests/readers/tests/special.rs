//! The names that shells keep for themselves: each is taken out of each shell that
//! is installed, and what the writer would put there is sourced with a value that
//! runs a command where it is evaluated, by root and by an ordinary user.
#![cfg(test)]

use colibri_envfile::{is_barred, is_reserved};
use colibri_pair::{EnvKey, Format};
use colibri_readers::render;
use std::collections::BTreeSet;
use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
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
const NOBODY: u32 = 65534;
/// Evaluated where a value becomes a number.
const BAIT: &str = "a[$(: >canary)]";

/// Who runs the shell: zsh becomes another user for some names, which only root may.
#[derive(Clone, Copy, Debug)]
enum Who {
    Caller,
    Nobody,
}

fn everybody() -> &'static [Who] {
    if nix::unistd::geteuid().is_root() { &[Who::Caller, Who::Nobody] } else { &[Who::Caller] }
}

fn shell(dir: &Path, program: &[&str], who: Who, script: &str) -> String {
    let mut command = Command::new(program[0]);
    if let Who::Nobody = who {
        command.uid(NOBODY).gid(NOBODY);
    }
    command.args(&program[1..]).args(["-c", script]).current_dir(dir).stdin(Stdio::null());
    let output = command.env("ENV", "").output();
    let output =
        output.unwrap_or_else(|error| panic!("{} is not there, run `make readers`: {error}", program[0]));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn special_names(dir: &Path) -> BTreeSet<EnvKey> {
    let shown = SHELLS.iter().map(|(program, names)| {
        let shown = shell(dir, program, Who::Caller, names);
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
fn source(dir: &Path, program: &[&str], who: Who, key: &EnvKey, value: &str) -> Came {
    let after = EnvKey::try_from("ZZ_AFTER".to_owned()).unwrap();
    let file = render(Format::Env, &[(key.clone(), value), (after, "here")]).unwrap();
    std::fs::write(dir.join("env"), file).unwrap();
    set_permissions(dir.join("env"), Permissions::from_mode(0o644)).unwrap();
    let script =
        format!("set -a; . ./env; set +a; [ \"${key}\" = '{value}' ] && echo same; echo \"$ZZ_AFTER\"");
    let said = shell(dir, program, who, &script);
    let ran = std::fs::remove_file(dir.join("canary")).is_ok();
    Came { ran, to_the_end: said.contains("here"), as_it_is: said.contains("same") }
}

#[test]
fn a_name_that_is_written_is_no_shells_own() {
    let dir = tempfile::tempdir().unwrap();
    set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
    let names = special_names(dir.path());
    assert!(names.len() > 80, "{names:?}");
    let all = SHELLS.iter().flat_map(|(program, _)| everybody().iter().map(move |who| (*program, *who)));
    let mut ran = 0;
    for key in &names {
        ran += all.clone().filter(|(program, who)| tried(dir.path(), program, *who, key)).count();
    }
    // The bait bites where nothing keeps it away.
    assert!(ran > 0, "no shell evaluated the bait");
}

/// Whether the bait was evaluated. What is, or ends who reads it, nobody can allow;
/// what does not arrive as it is has to be allowed.
fn tried(dir: &Path, program: &[&str], who: Who, key: &EnvKey) -> bool {
    let good = Came { ran: false, to_the_end: true, as_it_is: true };
    let came = source(dir, program, who, key, BAIT);
    let text = source(dir, program, who, key, "x y");
    if came.ran || !source(dir, program, who, key, "7").to_the_end {
        assert!(is_barred(key), "{key} in {program:?} of {who:?}: {came:?}");
    }
    if came != good || text != good {
        assert!(is_reserved(key), "{key} in {program:?} of {who:?}: {came:?}, {text:?}");
    }
    came.ran
}
