//! The law that ties notes to a real sh: each variable that it sets from a note
//! has sh's value in the file, or nothing is written, or a warning names its key.
//! The shell runs as nobody, in namespaces that hold nothing but itself.
#![cfg(test)]

use crate::answer::Item;
use crate::pairs;
use colibri_session::Rules;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rustix::process::geteuid;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Sources each note in a subshell and prints what is exported in the end,
/// whatever ended it.
const SCRIPT: &str = r#"exec 3>&1; for note in /notes/*; do
    printf '\0'; (trap 'export -p >&3' 0; set -a; . "$note" >/dev/null 2>&1 </dev/null); done; exit 0"#;
const NAMES: [&str; 8] = ["A", "B", "C", "D", "KEY_1", "lower", "a-b", "x.y"];
const PLAIN: [&str; 8] =
    ["hunter2", "a=b", "x/y:z", "100%", "p@ss-w.rd", "k==", "+,!*?[a]", "\u{e9}\u{5bc6}"];
const TOKENS: [&str; 50] = [
    "a",
    "b c",
    "x",
    " ",
    "  ",
    "\t",
    "'",
    "'",
    "\"",
    "\"",
    "\\",
    "\\\\",
    "\\n",
    "$",
    "$A",
    "${A}",
    "${A:-x}",
    "$(x)",
    "$((1))",
    "`",
    "`x`",
    ";",
    "&",
    "|",
    "<",
    ">",
    "(",
    ")",
    "#",
    " #",
    "~",
    ":~",
    "=",
    "A=",
    " B=1",
    "[",
    "]",
    "{",
    "}",
    "<<EOF",
    "\u{e9}",
    "\u{a0}",
    "\u{201c}",
    ":",
    "exit",
    "export ",
    " read A",
    " command ",
    ",",
    "<<!",
];

fn text(from: &mut StdRng, most: usize) -> String {
    (0..from.random_range(0..=most)).filter_map(|_| TOKENS.choose(from).copied()).collect()
}

fn one<'a>(from: &mut StdRng, of: &[&'a str]) -> &'a str {
    of.choose(from).copied().unwrap_or_default()
}

fn single(from: &mut StdRng) -> String {
    let lines = if from.random_ratio(1, 6) { "\n" } else { "" };
    format!("'{}{lines}{}'", text(from, 3).replace('\'', ""), text(from, 1).replace('\'', ""))
}

fn double(from: &mut StdRng) -> String {
    let inside = text(from, 4).replace('"', "\\\"");
    let inside = if from.random_ratio(1, 2) { inside.replace(['$', '`'], "") } else { inside };
    let lines = if from.random_ratio(1, 6) { one(from, &["\n", "\\\n", "\nB=1\n"]) } else { "" };
    format!("\"{inside}{lines}{}\"", one(from, &PLAIN))
}

fn value(from: &mut StdRng) -> String {
    match from.random_range(-10..16) {
        ..4 => one(from, &PLAIN).into(),
        4 | 5 => single(from),
        6 | 7 => double(from),
        8 => [single(from), one(from, &["\\'", "\"'\"", "", "b", "\\\n"]).into(), double(from)].concat(),
        9 => format!("$'{}'", one(from, &["a\\n", "\\x41\\'", "\\u00e9", "\\q", "\\0", "x"])),
        10 => format!("{}\\\n{}", text(from, 2), text(from, 2)),
        11 => format!(
            "-----BEGIN X-----\nAAAB{}\n-----END X-----",
            one(from, &["", "==", "\nBBBB=", " c", "\nA=1"])
        ),
        12 => format!("{{\n  \"a\": \"{}\"\n}}", one(from, &PLAIN)),
        13 => format!("`{}`", text(from, 2)),
        14 => format!("<<EOF\n{}\nEOF", text(from, 2)),
        _ => text(from, 5),
    }
}

fn line(from: &mut StdRng) -> String {
    match from.random_range(0..24) {
        0 => one(
            from,
            &[
                "",
                "# c",
                "# it's",
                "[Section]",
                "read B",
                "for C in x y; do :; done",
                "AbCd==",
                "export A",
                "set -a",
                "A",
                "EOF",
                "\u{a0}",
                "fi",
                "```",
                "```sh",
                "QUJDREVGR0hJSktM",
            ],
        )
        .into(),
        1 => text(from, 4),
        _ => {
            let before = one(from, &["", "", "", "", "export ", "  ", "\u{a0}", "declare -x "]);
            let equals = one(from, &["=", "=", "=", "=", "= ", " = ", " =", ": ", "\u{200b}="]);
            let after =
                one(from, &["", "", "", "", " # c", " # it's", "; export A", ";", " ", "#c", " B=2", " x"]);
            [before, one(from, &NAMES), equals, &value(from), after].concat()
        }
    }
}

fn note(from: &mut StdRng) -> String {
    let lines: Vec<_> = (0..from.random_range(1..=5)).map(|_| line(from)).collect();
    lines.join("\n")
}

/// A program and what its loader needs, by their paths.
fn with_libraries(program: &str) -> Vec<String> {
    let needed = Command::new("ldd").arg(program).output().unwrap();
    let needed = String::from_utf8(needed.stdout).unwrap();
    let libraries = needed.split_ascii_whitespace().filter(|word| word.starts_with('/'));
    libraries.map(str::to_owned).chain([program.to_owned()]).collect()
}

/// What sh sets from each file of the directory, in the order of their names.
fn sourced(dir: &Path) -> Vec<BTreeMap<String, String>> {
    let mut command = Command::new("bwrap");
    command.args(["--unshare-all", "--unshare-user", "--die-with-parent", "--new-session", "--clearenv"]);
    command.args(["--cap-drop", "ALL", "--dev", "/dev", "--ro-bind"]).arg(dir).arg("/notes");
    for file in with_libraries("/usr/bin/dash") {
        command.args(["--ro-bind", &file, &file]);
    }
    if geteuid().is_root() {
        command.uid(65534).gid(65534);
    }
    command
        .args(["--", "/usr/bin/dash", "-c", SCRIPT])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap());
    let output = command.stdin(Stdio::null()).output().expect("bwrap is not here: run `make setup`");
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    // What is no UTF-8 cannot be in a note, and so not in a value either.
    let printed = String::from_utf8(output.stdout).unwrap();
    printed.split('\0').skip(1).map(exported).collect()
}

/// `export NAME='…'"…"`, as dash prints it.
fn exported(printed: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut rest = printed;
    while let Some(line) = rest.strip_prefix("export ") {
        let end = line.find(['=', '\n']).unwrap();
        let (name, mut more) = line.split_at(end);
        let mut value = String::new();
        if let Some(quoted) = more.strip_prefix('=') {
            more = quoted;
            while let Some(quote) = more.chars().next().filter(|char| "'\"".contains(*char)) {
                let (part, after) = more[1..].split_once(quote).unwrap();
                value.push_str(part);
                more = after;
            }
            if !["PWD", "OLDPWD"].contains(&name) {
                found.insert(name.to_owned(), value);
            }
        }
        rest = more.strip_prefix('\n').unwrap();
    }
    assert!(rest.is_empty(), "not understood: {rest:?}");
    found
}

fn item(note: &str) -> Item {
    let item =
        serde_json::json!({"id": "1", "name": "env", "type": 2, "collectionIds": ["c"], "notes": note});
    serde_json::from_value(item).unwrap()
}

/// Why the law is broken for a note, if it is.
fn broken(text: &str, sh: &BTreeMap<String, String>) -> Option<String> {
    let Ok(built) = pairs::build(vec![item(text)], &Rules::default(), Some(&[])) else { return None };
    let file: BTreeMap<_, _> =
        built.pairs.iter().map(|(key, value)| (key.as_str(), value.expose())).collect();
    let warned = |key: &str| {
        let names = |line: &String| {
            line.starts_with(&format!("{key}, "))
                || line.contains(&format!("\"{key}\""))
                || line.contains(&format!("both become {key}:"))
        };
        built.warnings.iter().any(names)
    };
    // A variable within the value of another is a piece of that, and not to be
    // named. The other one is.
    let doubted = built.warnings.iter().any(|line| {
        ["sh would read", "would not read it so", "within its quotes", "skipped", "as POSIX"]
            .iter()
            .any(|doubt| line.contains(doubt))
    });
    let note = text.replace("\\\n", "");
    let is_piece = |at: usize, key: &str| {
        let before = note[..at].rsplit('\n').next().unwrap_or_default();
        let block = note[..at].rfind("-----BEGIN").is_some_and(|begin| !note[begin..at].contains("-----END"));
        (block && note[at..].starts_with(&format!("{key}="))) || (doubted && before.contains(['=', ':']))
    };
    // So is one that a command within a value sets.
    let is_set = |key: &str| doubted && note.contains(&format!(" read {key}"));
    // What a variable is expanded to may be a part of its name.
    let made = |key: &str| doubted && !note.contains(&format!("{key}="));
    let within = |key: &str| {
        made(key) || is_set(key) || note.match_indices(&format!("{key}=")).any(|(at, _)| is_piece(at, key))
    };
    sh.iter().find_map(|(key, value)| {
        let kept = file.get(key.as_str()).is_some_and(|kept| kept == value);
        (!kept && !warned(key) && !within(key))
            .then(|| format!("sh sets {key} to {value:?} from {text:?}: {file:?} {:?}", built.warnings))
    })
}

fn number(setting: &str, default: u64) -> u64 {
    std::env::var(setting).map_or(default, |text| text.parse().unwrap())
}

/// `COLIBRI_NOTES=100000` tries as many, `COLIBRI_SEED=N` others.
#[test]
fn what_sh_sets_is_in_the_file_or_refused_or_named() {
    let (count, seed) = (number("COLIBRI_NOTES", 5000), number("COLIBRI_SEED", 15));
    let mut from = StdRng::seed_from_u64(seed);
    let (mut set, mut refused, mut faults) = (0, 0, Vec::new());
    let notes: Vec<_> = (0..count).map(|_| note(&mut from)).collect();
    for notes in notes.chunks(5000) {
        let dir = tempfile::Builder::new()
            .permissions(PermissionsExt::from_mode(0o755))
            .tempdir_in("/tmp")
            .unwrap();
        for (number, note) in notes.iter().enumerate() {
            std::fs::write(dir.path().join(format!("{number:05}")), note).unwrap();
        }
        let found = sourced(dir.path());
        assert_eq!(found.len(), notes.len());
        for (note, sh) in notes.iter().zip(&found) {
            set += sh.len();
            refused += usize::from(pairs::build(vec![item(note)], &Rules::default(), Some(&[])).is_err());
            faults.extend(broken(note, sh));
        }
    }
    println!("{count} notes of seed {seed}: sh set {set} variables, {refused} notes were refused");
    assert!(faults.is_empty(), "{} faults\n{}", faults.len(), faults[..faults.len().min(10)].join("\n"));
    assert!(set > notes.len() / 2 && refused < notes.len() / 2, "the notes say too little");
}

/// The law can fail: a value of our own making is no value of sh.
#[test]
fn a_value_that_sh_does_not_have_breaks_the_law() {
    let sh = BTreeMap::from([("A".to_owned(), "other".to_owned())]);
    assert!(broken("A=x", &sh).is_some() && broken("B=x", &sh).is_some());
    assert!(broken("A=$X", &sh).is_none() && broken("A='x", &sh).is_none());
}
