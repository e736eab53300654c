//! One more jail while the session is open, against what `bw serve` itself
//! takes to sync and list. Both alternate in one run.

use crate::fleet::{self, Fleet};
use crate::plain::Plain;
use crate::{ITEMS, lookups};
use anyhow::{Result, ensure};
use std::time::Instant;

/// Jails that are there already.
const BEFORE: usize = 100;
const ROUNDS: usize = 51;

pub fn run() -> Result<()> {
    println!("\nwarm: one more jail after {BEFORE}, medians of {ROUNDS}, load {}", fleet::load());
    let fleet = Fleet::new(BEFORE + ROUNDS, BEFORE + ROUNDS)?;
    fleet.storm(0..BEFORE)?;
    let ids = fleet.vault.edit(|fixture| {
        let all = fixture.organizations.iter().flat_map(|it| it.collections.iter());
        all.map(|it| it.id.clone()).collect::<Vec<_>>()
    })?;
    let mut plain = Plain::open(&fleet)?;
    plain.ask("GET", &list(&ids[0]), "")?;
    let mut client = fleet.client()?;
    let (mut ours, mut once, mut twice) = (Vec::new(), Vec::new(), Vec::new());
    for (jail, id) in ids.iter().enumerate().skip(BEFORE) {
        let begin = Instant::now();
        fleet.hook(&mut client, jail)?;
        ours.push(begin.elapsed());

        let begin = Instant::now();
        plain.ask("POST", "/sync", "")?;
        let first = plain.ask("GET", &list(id), "")?;
        once.push(begin.elapsed());
        plain.ask("GET", "/list/object/collections", "")?;
        ensure!(plain.ask("GET", &list(id), "")? == first, "two lists differ");
        twice.push(begin.elapsed());
        ensure!(first.matches("\"object\":\"item\"").count() == ITEMS, "not a list of {ITEMS} items");
    }
    let (ours, once, twice) = (lookups::median(ours), lookups::median(once), lookups::median(twice));
    println!("  request to durable file: {ours:.1} ms");
    println!("  bw serve, sync and one list: {once:.1} ms, ratio {:.2}", ours / once);
    println!(
        "  bw serve, the fetcher's requests (sync, collections, two lists): {twice:.1} ms, ratio {:.2}",
        ours / twice
    );
    Ok(())
}

fn list(collection: &str) -> String {
    format!("/list/object/items?collectionid={collection}")
}
