//! The pages that are installed say what the programs say, and mandoc(1) has no
//! word against any page.

use clap::{Command, CommandFactory};
use std::error::Error;
use std::fs;

type Outcome = Result<(), Box<dyn Error>>;

#[test]
fn the_pages_are_those_that_the_flags_make() -> Outcome {
    for page in colibri_man_gen::pages()? {
        let there = fs::read_to_string(colibri_man_gen::directory().join(page.name))?;
        assert_eq!(there, page.text, "{}: run `cargo run -p colibri-man-gen`", page.name);
    }
    Ok(())
}

/// Every flag and verb of `command`, as a page spells it.
fn names(command: &Command, names: &mut Vec<String>) {
    for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
        names.extend(argument.get_long().map(|long| format!("--{long}")));
    }
    for verb in command.get_subcommands() {
        names.push(format!(".SS \"{} {}", command.get_name(), verb.get_name()));
        self::names(verb, names);
    }
}

#[test]
fn each_flag_and_each_verb_is_in_its_page() -> Outcome {
    let commands = [colibri_cli::command(), colibri_daemon::settings::Settings::command()];
    for (page, command) in colibri_man_gen::pages()?.into_iter().zip(commands) {
        let mut all = Vec::new();
        names(&command, &mut all);
        assert!(all.len() > 10, "{}", page.name);
        let text = page.text.replace("\\-", "-");
        let missing: Vec<_> = all.iter().filter(|name| !text.contains(*name)).collect();
        assert!(missing.is_empty(), "{} lacks {missing:?}", page.name);
    }
    Ok(())
}

#[test]
fn mandoc_has_no_warning() -> Outcome {
    let mut seen = 0;
    for entry in fs::read_dir(colibri_man_gen::directory())? {
        let path = entry?.path();
        if path.is_dir() {
            continue;
        }
        let text = fs::read_to_string(&path)?;
        for section in ["FILES", "EXIT STATUS", "EXAMPLES", "BUGS"] {
            assert!(
                text.to_uppercase().contains(&format!("SH {section}")),
                "{}: no {section}",
                path.display()
            );
        }
        let lint =
            std::process::Command::new("mandoc").args(["-T", "lint", "-W", "warning"]).arg(&path).output();
        let Ok(lint) = lint else {
            colibri_test_host::skip("no mandoc here");
            return Ok(());
        };
        let said = String::from_utf8_lossy(&lint.stdout);
        assert!(lint.status.success() && said.is_empty(), "{said}");
        seen += 1;
    }
    assert_eq!(seen, 6, "pages");
    Ok(())
}
