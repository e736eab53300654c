//! The manual pages of the programs that have flags, made from those flags, with
//! what clap does not know taken from `packaging/man/parts`.

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, roman};
use colibri_daemon::settings::Settings;
use std::io;
use std::path::PathBuf;

/// A page: its file's name, and its text.
#[derive(Debug)]
pub struct Page {
    /// Such as `colibri.1`.
    pub name: &'static str,
    /// In man(7).
    pub text: String,
}

/// groff's and everybody else's.
const APOSTROPHE: &str = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";

/// Where the pages lie, and `parts` in it.
pub fn directory() -> PathBuf {
    colibri_test_host::tree().join("packaging/man")
}

/// Every page that is made, anew.
///
/// # Errors
/// When a part cannot be read.
pub fn pages() -> io::Result<Vec<Page>> {
    Ok(vec![page("colibri.1", "1", colibri_cli::command())?, page("colibrid.8", "8", Settings::command())?])
}

fn page(name: &'static str, section: &'static str, command: Command) -> io::Result<Page> {
    let mut command =
        command.disable_help_subcommand(true).disable_help_flag(true).disable_version_flag(true);
    command.build();
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let (first, rest) = about.split_at(about.chars().next().map_or(0, char::len_utf8));
    let about = format!("{}{}", first.to_lowercase(), rest.trim_end_matches('.'));
    let title = command.get_name().to_owned();
    let mut text = Roff::new();
    text.control("TH", [title.to_uppercase().as_str(), section, "2026-11-23", "Colibri Vault"]);
    text.control("SH", ["NAME"]).text([roman(format!("{title} - {}", about))]);
    text.control("SH", ["SYNOPSIS"]).text(synopsis(&command));
    let mut text = format!("{APOSTROPHE}{}", text.to_roff());
    text.push_str(&part(&format!("{name}.description"))?);
    text.push_str(&options("OPTIONS", &command)?);
    if command.has_subcommands() {
        text.push_str(".SH COMMANDS\n");
    }
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        text.push_str(&subcommand(verb)?);
    }
    text.push_str(&part(name)?);
    Ok(Page { name, text })
}

fn part(name: &str) -> io::Result<String> {
    std::fs::read_to_string(directory().join("parts").join(name))
}

fn synopsis(command: &Command) -> Vec<Inline> {
    let rest = if command.has_subcommands() { " [options] command [arguments]" } else { " [options]" };
    vec![bold(command.get_name()), roman(rest)]
}

fn subcommand(verb: &Command) -> io::Result<String> {
    let usage = verb.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").replace('\n', " ");
    let mut text = Roff::new();
    text.control("SS", [usage.split_whitespace().collect::<Vec<_>>().join(" ").as_str()]);
    text.text([roman(verb.get_about().map(ToString::to_string).unwrap_or_default())]);
    // What holds for every command is said once.
    let own = verb.clone().mut_args(|arg| {
        let everywhere = arg.is_global_set();
        arg.hide(everywhere)
    });
    let mut text = text.to_roff();
    text.push_str(&options("", &own)?);
    if let Some(more) = verb.get_after_help() {
        let mut example = Roff::new();
        example.control("PP", []).control("nf", []);
        for line in more.to_string().lines() {
            example.text([roman(line.to_owned())]);
        }
        example.control("fi", []);
        text.push_str(&example.to_roff());
    }
    Ok(text)
}

/// clap's own section, under a heading of ours or none.
fn options(heading: &str, command: &Command) -> io::Result<String> {
    let shown = command.get_arguments().any(|argument| !argument.is_hide_set());
    if !shown {
        return Ok(String::new());
    }
    let mut bytes = Vec::new();
    Man::new(command.clone()).render_options_section(&mut bytes)?;
    let text = String::from_utf8(bytes).map_err(io::Error::other)?;
    let heading = if heading.is_empty() { String::new() } else { format!(".SH {heading}\n") };
    // It defines the apostrophe in each section, and mandoc does not like how it
    // leaves a blank line.
    Ok(text.replace(APOSTROPHE, "").replace(".SH OPTIONS\n", &heading).replace("\n.br\n\n.br\n", "\n.sp\n"))
}
