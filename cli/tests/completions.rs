//! The completions know every verb and every flag, and their shells accept them.

use std::collections::BTreeSet;
use std::error::Error;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

fn completions(shell: &str) -> Outcome<String> {
    let run = Command::new(colibri_test_host::program("colibri")?).args(["completions", shell]).output()?;
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    Ok(String::from_utf8(run.stdout)?)
}

/// Every verb, and every flag without its dashes.
fn words(command: &clap::Command, words: &mut Vec<String>) {
    words.extend(command.get_arguments().filter_map(|argument| argument.get_long().map(Into::into)));
    for verb in command.get_subcommands() {
        words.push(verb.get_name().into());
        self::words(verb, words);
    }
}

#[test]
fn each_verb_and_each_flag_is_completed() -> Outcome {
    let mut all = Vec::new();
    words(&colibri_cli::command(), &mut all);
    assert!(all.len() > 40);
    for shell in ["bash", "zsh", "fish"] {
        let text = completions(shell)?;
        let missing: Vec<_> = all.iter().filter(|word| !text.contains(*word)).collect();
        assert!(missing.is_empty(), "{shell} lacks {missing:?}");
    }
    Ok(())
}

#[test]
fn the_words_of_a_setting_are_completed() -> Outcome {
    for words in ["env dotenv docker json dir", "strict upper keep", "last reject", "host none"] {
        assert!(completions("bash")?.contains(words), "bash: {words}");
        let first = words.split(' ').next().unwrap_or_default();
        for shell in ["zsh", "fish"] {
            assert!(completions(shell)?.contains(first), "{shell}: {first}");
        }
    }
    Ok(())
}

/// What the daemon knows, from a stand-in for colibri that also writes down how it was
/// called. Each name of a collection is somebody's who can edit the vault.
const TENANTS: [&str; 3] = ["db01", "web01", "web02"];
const COLLECTIONS: [&str; 4] = ["prod $(touch pwned)", "it's; touch pwned", "`touch pwned`", "* web"];

struct Place(tempfile::TempDir);

impl Place {
    fn new(shell: &str) -> Outcome<Self> {
        let place = Self(tempfile::tempdir()?);
        std::fs::write(place.path("script"), completions(shell)?)?;
        for (name, lines) in [("tenants", &TENANTS[..]), ("collections", &COLLECTIONS[..])] {
            std::fs::write(place.path(name), lines.join("\n") + "\n")?;
        }
        std::fs::create_dir(place.path("empty"))?;
        let dir = place.path("").display().to_string();
        let stand_in = format!(
            "#!/bin/sh\ncase $* in\n'list-tenants --names') cat {dir}/tenants ;;\n\
             'collections --known') cat {dir}/collections ;;\n\
             *) printf '%s\\n' \"$@\" >{dir}/new && mv {dir}/new {dir}/called ;;\nesac\n"
        );
        std::fs::create_dir(place.path("bin"))?;
        std::fs::write(place.path("bin/colibri"), stand_in)?;
        std::fs::set_permissions(place.path("bin/colibri"), std::fs::Permissions::from_mode(0o755))?;
        Ok(place)
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    /// Runs a shell on `script`; `None` where there is no such shell.
    fn run(&self, shell: &[&str], script: &str, words: &[&str]) -> Outcome<Option<String>> {
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH")?);
        let run = Command::new(shell[0])
            .args(&shell[1..])
            .arg("-c")
            .arg(script)
            .args(words)
            .env("PATH", path)
            .env("HOME", self.0.path())
            .env("SCRIPT", self.path("script"))
            .env("CALLED", self.path("called"))
            .current_dir(self.path("empty"))
            .stdin(Stdio::null())
            .output();
        let Ok(run) = run else {
            println!("skipped: no {} here", shell[0]);
            return Ok(None);
        };
        let said = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(run.status.success(), "{}: {said}", shell[0]);
        assert_eq!(std::fs::read_dir(self.path("empty"))?.count(), 0, "a name was evaluated");
        Ok(Some(String::from_utf8(run.stdout)?))
    }
}

/// The last word, the verb's and its options' place, and what is offered there.
const CASES: &[(&[&str], &[&str])] = &[
    (&["show-tenant", ""], &TENANTS),
    (&["show-tenant", "web"], &["web01", "web02"]),
    (&["--json", "history", "--limit", "5", "d"], &["db01"]),
    (&["hook", "w"], &["web01", "web02"]),
    (&["remove", "db01", "web01", "web"], &["web01", "web02"]),
    (&["spawn-agent", "--jail-name", "w"], &["web01", "web02"]),
    (&["update-tenant", "web01", "--collection", ""], &COLLECTIONS),
    (&["register-tenant", "new", "/jails/new/root", "p"], &["prod $(touch pwned)"]),
    // What is new has no names, and neither has a value that is something else.
    (&["register-tenant", "w"], &[]),
    (&["rename-tenant", "web01", "w"], &[]),
    (&["update-tenant", "web01", "--prefix", "w"], &[]),
];

#[test]
fn bash_completes_the_names_that_the_daemon_knows_and_evaluates_none() -> Outcome {
    let place = Place::new("bash")?;
    let script = "source \"$SCRIPT\"; COMP_WORDS=(colibri \"$@\"); COMP_CWORD=$#
        [[ $(complete -p colibri) =~ -F\\ ([^ ]+) ]] || exit 1
        ${BASH_REMATCH[1]} colibri \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD-1]}\"
        eval \"set -- ${COMPREPLY[*]}\"; for word; do printf '%s\\n' \"$word\"; done";
    let split: &[(&[&str], &[&str])] = &[
        (&["update-tenant", "web01", "--collection", "=", "p"], &COLLECTIONS[..1]),
        (&["update-tenant", "web01", "--format", ""], &["env", "dotenv", "docker", "json", "dir"]),
        (&["update-tenant", "web01", "--key-case", ""], &["strict", "upper", "keep"]),
    ];
    for (words, offered) in CASES.iter().chain(split) {
        let words: Vec<_> = std::iter::once("bash").chain(words.iter().copied()).collect();
        let Some(seen) = place.run(&["bash", "--norc", "--noprofile"], script, &words)? else { break };
        assert_eq!(
            seen.lines().filter(|it| names_only(it)).collect::<Vec<_>>(),
            *offered,
            "{words:?}: {seen}"
        );
    }
    Ok(())
}

/// clap's placeholders, and its options, are no names.
fn names_only(word: &str) -> bool {
    !word.starts_with(['-', '<', '['])
}

#[test]
fn fish_completes_the_names_that_the_daemon_knows_and_evaluates_none() -> Outcome {
    let place = Place::new("fish")?;
    let script = "source $SCRIPT; complete -C \"colibri $argv\"";
    let words: &[(&[&str], &[&str])] = &[
        (&["update-tenant", "web01", "--format", ""], &["dir", "docker", "dotenv", "env", "json"]),
        (&["update-tenant", "web01", "--key-case", ""], &["keep", "strict", "upper"]),
    ];
    for (words, offered) in CASES.iter().chain(words) {
        let words: Vec<_> = std::iter::once("--").chain(words.iter().copied()).collect();
        let Some(seen) = place.run(&["fish", "--no-config"], script, &words)? else { break };
        let seen: BTreeSet<_> =
            seen.lines().filter_map(|line| line.split('\t').next()).filter(|it| names_only(it)).collect();
        assert_eq!(seen, offered.iter().copied().collect(), "{words:?}");
    }
    Ok(())
}

/// On a terminal, with the key: what is completed is what colibri is called with.
#[test]
fn zsh_completes_the_names_that_the_daemon_knows_and_evaluates_none() -> Outcome {
    let script = "zmodload zsh/zpty; zpty z zsh -f -i
        zpty -w z 'autoload -Uz compinit && compinit -D -u && source $SCRIPT; PS1=REA\"\"DY'
        zpty -r z seen '*READY*'
        zpty -n -w z \"$1\"$'\\t'; sleep 0.5; zpty -n -w z $'\\r'
        for ((turn = 0; turn < 300; turn++)); do [[ -s $CALLED ]] && break; sleep 0.1; done
        zpty -d z";
    for (typed, called) in [
        ("colibri show-tenant d", "show-tenant\ndb01\n".to_owned()),
        ("colibri remove web01 d", "remove\nweb01\ndb01\n".into()),
        ("colibri spawn-agent --jail-name d", "spawn-agent\n--jail-name\ndb01\n".into()),
        (
            "colibri update-tenant db01 --collection p",
            format!("update-tenant\ndb01\n--collection\n{}\n", COLLECTIONS[0]),
        ),
        (
            "colibri register-tenant new /j/new it",
            format!("register-tenant\nnew\n/j/new\n{}\n", COLLECTIONS[1]),
        ),
        ("colibri register-tenant d", "register-tenant\nd\n".into()),
    ] {
        let place = Place::new("zsh")?;
        if place.run(&["zsh", "-f"], script, &["zsh", typed])?.is_none() {
            break;
        }
        let seen = std::fs::read_to_string(place.path("called"))?;
        assert_eq!(seen.replace(" \n", "\n"), called, "{typed}");
    }
    Ok(())
}

#[test]
fn each_shell_reads_its_completions() -> Outcome {
    for shell in ["bash", "zsh", "fish"] {
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("completions");
        std::fs::write(&file, completions(shell)?)?;
        let Ok(read) = Command::new(shell).arg("-n").arg(&file).stdin(Stdio::null()).output() else {
            colibri_test_host::skip(format_args!("no {shell} here"));
            continue;
        };
        assert!(read.status.success(), "{shell}: {}", String::from_utf8_lossy(&read.stderr));
    }
    Ok(())
}
