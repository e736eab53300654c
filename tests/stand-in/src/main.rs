//! Stands in for `bw` where there is no Node. It speaks what the fetcher asks of
//! `bw`, and its vault is the directory beside it, PROGRAM.vault: a directory for
//! each collection, a file for each login item, whose password the file holds.
//!
//! The collection `reach` has what came of the attempts in PROGRAM.plan, made
//! where `bw` runs: what malware in its place would reach. `try` prints the same.

mod plan;
mod serve;
mod vault;

use anyhow::{Context, Result, bail};
use serde_json::json;
use std::path::PathBuf;

fn main() -> Result<()> {
    let mut args = std::env::args_os();
    let program = PathBuf::from(args.next().context("no name")?);
    let words: Vec<String> = args.filter_map(|word| word.into_string().ok()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).filter(|word| *word != "--response").collect();
    let vault = vault::Vault::beside(&program)?;
    match words[..] {
        ["--version"] => println!("0.0.2-stand-in"),
        ["config", "server", url] => {
            vault.set_server(url)?;
            println!("{}", success(&json!({ "object": "message" })));
        }
        ["login", "--apikey"] => {
            for name in ["BW_CLIENTID", "BW_CLIENTSECRET"] {
                std::env::var(name).with_context(|| format!("no {name}"))?;
            }
            println!("{}", success(&json!({ "object": "message" })));
        }
        ["try"] => {
            for (name, came) in plan::results(&program)? {
                println!("{name}={came}");
            }
        }
        ["serve", "--hostname", "fd+connected://0"] => serve::run(&vault, &plan::results(&program)?)?,
        _ => bail!("{words:?} is not what the fetcher asks of bw"),
    }
    Ok(())
}

/// An answer in `bw`'s form.
fn success(data: &serde_json::Value) -> String {
    json!({ "success": true, "data": data }).to_string()
}
