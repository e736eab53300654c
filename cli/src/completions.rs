//! What a shell completes: clap's words, and where a tenant or a collection is named,
//! the names that the daemon knows. Those of collections come from the vault, so a
//! shell takes them as they are and evaluates none.

use clap::{Arg, Command};
use clap_complete::Shell;
use std::fmt::Write;

/// What prints the names of a kind, a line each. The vault is not asked.
const TENANTS: &str = "list-tenants --names";
const COLLECTIONS: &str = "collections --known";
const BASH: &str = include_str!("completions/colibri.bash");
const ZSH: &str = include_str!("completions/colibri.zsh");
const FISH: &str = include_str!("completions/colibri.fish");

/// The script of that shell.
pub fn script(shell: Shell, command: &mut Command) -> String {
    let mut text = Vec::new();
    clap_complete::generate(shell, command, "colibri", &mut text);
    let text = String::from_utf8_lossy(&text).into_owned();
    match shell {
        Shell::Bash => bash(&text, command),
        Shell::Zsh => zsh(&text, command),
        Shell::Fish => fish(text, command),
        _ => text,
    }
}

/// A place on the command line where a name stands.
struct Place {
    verb: String,
    argument: Argument,
    /// What prints the names.
    names: &'static str,
}

enum Argument {
    /// The one of that number behind the verb.
    Nth(usize),
    /// All behind the verb.
    All,
    /// The value of the option with that long name.
    Option(String),
}

/// All places where a name stands.
fn places(command: &Command) -> Vec<Place> {
    let verbs = command.get_subcommands();
    verbs.flat_map(|verb| verb.get_arguments().filter_map(|it| place(verb.get_name(), it))).collect()
}

fn place(verb: &str, it: &Arg) -> Option<Place> {
    let names = match (verb, it.get_id().as_str()) {
        // It is new.
        ("register-tenant", "tenant") => return None,
        (_, "tenant" | "tenants" | "jail_name") => TENANTS,
        (_, "collection" | "collection_option") => COLLECTIONS,
        _ => return None,
    };
    let argument = match (it.get_long(), it.get_index()) {
        (Some(long), _) => Argument::Option(long.to_owned()),
        (None, Some(_)) if it.get_num_args().is_some_and(|count| count.max_values() > 1) => Argument::All,
        (None, index) => Argument::Nth(index?),
    };
    Some(Place { verb: verb.to_owned(), argument, names })
}

/// All options that take a value of their own.
fn valued(command: &Command) -> String {
    let verbs = command.get_subcommands().flat_map(Command::get_arguments);
    let takes = |it: &&Arg| {
        it.get_action().takes_values() && it.get_num_args().is_none_or(|count| count.min_values() > 0)
    };
    let all = command.get_arguments().chain(verbs).filter(takes).filter_map(Arg::get_long);
    let mut all: Vec<_> = all.map(|long| format!("--{long}")).collect();
    all.sort_unstable();
    all.dedup();
    all.join(" ")
}

/// A function of ours is asked first, and clap's where that has no name.
fn bash(text: &str, command: &Command) -> String {
    let mut cases = String::new();
    for Place { verb, argument, names } in places(command) {
        let pattern = match argument {
            Argument::Nth(index) => format!("'{verb} {index}'"),
            Argument::All => format!("'{verb} '[0-9]*"),
            Argument::Option(long) => format!("'{verb} --{long}'"),
        };
        let _ = writeln!(cases, "    {pattern}) names='{names}' ;;");
    }
    let own = BASH.replace("    CASES\n", &cases).replace("OPTIONS", &valued(command).replace(' ', " | "));
    own + "\n" + &text.replace("complete -F _colibri ", "complete -F _colibri_or_name ")
}

/// clap has an action for each argument; those of names are replaced.
fn zsh(text: &str, command: &Command) -> String {
    let places = places(command);
    let mut verb = "";
    let lines = text.lines().map(|line| {
        if let Some(name) = line.trim().strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
            verb = name;
        }
        let place = places.iter().find(|place| place.verb == verb && is_of(line, command, place));
        match (place, line.strip_suffix(":_default' \\")) {
            (Some(place), Some(begin)) => format!("{begin}: _colibri_names {}' \\\n", place.names),
            _ => format!("{line}\n"),
        }
    });
    lines.collect::<String>().replacen("\n_colibri() {", &format!("\n{ZSH}\n_colibri() {{"), 1)
}

/// Whether a line of zsh's is about that argument.
fn is_of(line: &str, command: &Command, place: &Place) -> bool {
    let line = line.trim_start_matches(['\'', '*', ':']);
    let id = |index: Option<usize>| {
        let verb = command.find_subcommand(&place.verb)?;
        verb.get_positionals().find(|it| index.is_none() || it.get_index() == index).map(Arg::get_id)
    };
    let begin = match &place.argument {
        Argument::Option(long) => Some(format!("--{long}=[")),
        Argument::Nth(index) => id(Some(*index)).map(|id| format!("{id} -- ")),
        Argument::All => id(None).map(|id| format!("{id} -- ")),
    };
    begin.is_some_and(|begin| line.starts_with(&begin))
}

/// clap completes no arguments there.
fn fish(mut text: String, command: &Command) -> String {
    text.push_str(&FISH.replace("OPTIONS", &valued(command)));
    for Place { verb, argument, names } in places(command) {
        let using = format!("__fish_colibri_using_subcommand {verb}");
        let (condition, option) = match argument {
            Argument::Nth(index) => (format!("{using}; and __fish_colibri_place {index}"), String::new()),
            Argument::All => (format!("{using}; and __fish_colibri_place"), String::new()),
            Argument::Option(long) => (using, format!(" -l {long} -r")),
        };
        let _ = writeln!(
            text,
            "complete -c colibri -n \"{condition}\"{option} -f -a \"(command colibri {names} 2>/dev/null)\""
        );
    }
    text
}
