//! The completions know every verb and every flag, and their shells accept them.

use std::error::Error;
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
