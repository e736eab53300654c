//! The race harness: puts while root in the jail swaps directories for links
//! that lead out, an unprivileged process looks, and a reader checks what it
//! reads. The same harness must catch a plain writer, or it proves nothing.

use anyhow::{Context, Result, ensure};
use colibri_pair::{Owner, Report, Verb};
use colibri_proofs::{Jail, frames, program, run};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

#[cfg_attr(target_os = "linux", path = "race/renameat2.rs")]
#[cfg_attr(not(target_os = "linux"), path = "race/rename.rs")]
mod swap;

const OWNER: Owner = Owner { uid: 1234, gid: 1235 };
const NOBODY: u32 = 65_534;
/// Large enough to be written in more than one step by whoever does not care.
const SIZE: usize = 48 * 1024;
/// Between two reads, so that whoever puts has a processor.
const PAUSE: std::time::Duration = std::time::Duration::from_micros(300);

#[derive(Debug, Default)]
struct Counts {
    written: u64,
    refused: u64,
    swaps: u64,
    reads: u64,
    torn: u64,
    escapes: u64,
    looks: u64,
    opened: u64,
    loose: u64,
    foreign: u64,
    early: u64,
}

fn checksum(value: &str) -> String {
    let fnv = value.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{fnv:016x}")
}

/// Whether a text is one that was sent, whole.
fn whole(text: &str) -> bool {
    let line = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    matches!((line("A"), line("SUM")), (Some(value), Some(sum)) if value.len() == SIZE && checksum(value) == sum)
}

/// The pairs of directory and link that change places, and what is outside.
fn set_up(jail: &Jail, owner: u32) -> Result<Vec<(std::path::PathBuf, std::path::PathBuf)>> {
    let outside = jail.outside();
    fs::create_dir_all(jail.dir())?;
    chown(jail.dir(), Some(owner), Some(owner))?;
    let mut swaps = Vec::new();
    for below in ["a", "a/b", "a/b/etc"] {
        fs::create_dir_all(outside.join(below))?;
        let (inside, link) = (jail.root().join(below), jail.root().join(format!("{below}.link")));
        symlink(outside.join(below), &link)?;
        swaps.push((inside, link));
    }
    // The deepest first: its own path must still be there when it is swapped.
    swaps.reverse();
    Ok(swaps)
}

/// Everything below a directory, by its paths.
fn below(dir: &Path) -> Result<Vec<OsString>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        found.push(entry.path().into_os_string());
        if entry.file_type()?.is_dir() {
            found.extend(below(&entry.path())?);
        }
    }
    found.sort();
    Ok(found)
}

fn onlooker(jail: &Jail) -> Result<Child> {
    // Nobody may not reach where the tests were built.
    let copy = jail.top().join("onlooker");
    fs::copy(program("onlooker")?, &copy)?;
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755))?;
    let mut command = Command::new(copy);
    command.arg(jail.top()).args([OWNER.uid.to_string(), OWNER.gid.to_string()]);
    Ok(command.uid(NOBODY).gid(NOBODY).stdout(Stdio::piped()).spawn()?)
}

/// So many puts by `writer` into a directory of `dir_owner`'s.
fn race(writer: &str, puts: usize, dir_owner: u32) -> Result<Counts> {
    let jail = Jail::new("a/b/etc", OWNER)?;
    let swapped = set_up(&jail, dir_owner)?;
    let dir = fs::File::open(jail.dir())?;
    let watcher = onlooker(&jail)?;
    let stop = AtomicBool::new(false);
    let counts = std::thread::scope(|scope| -> Result<Counts> {
        let swapper = scope.spawn(|| swap(&swapped, &stop));
        let reader = scope.spawn(|| read(&jail.file(), &stop));
        let counts = put(writer, &jail, &dir, puts);
        stop.store(true, Ordering::Relaxed);
        let swaps = swapper.join().ok().context("the swapper failed")?;
        let (reads, torn) = reader.join().ok().context("the reader failed")?;
        Ok(Counts { swaps, reads, torn, ..counts? })
    })?;
    fs::write(jail.top().join("stop"), "")?;
    let seen = watcher.wait_with_output()?;
    let seen: Vec<u64> =
        String::from_utf8(seen.stdout)?.split_whitespace().filter_map(|n| n.parse().ok()).collect();
    let [looks, opened, loose, foreign, early] = seen[..] else { anyhow::bail!("the onlooker failed") };
    Ok(Counts { looks, opened, loose, foreign, early, ..counts })
}

fn put(writer: &str, jail: &Jail, dir: &fs::File, puts: usize) -> Result<Counts> {
    let mut counts = Counts::default();
    let (program, order) = (program(writer)?, jail.order(Verb::Put)?);
    let before = below(&jail.outside())?;
    for round in 0..puts {
        let value = format!("{round:08}").repeat(SIZE / 8);
        let mut command = Command::new(&program);
        command.args(&order);
        let outcome = run(command, &frames(&[("A", &value), ("SUM", &checksum(&value))])?)?;
        match outcome.reports.last() {
            Some(Report::Written { .. }) => counts.written += 1,
            _ => counts.refused += 1,
        }
        ensure!(!outcome.killed(), "ended by a signal: {outcome:?}");
        for escaped in below(&jail.outside())?.iter().filter(|path| !before.contains(path)) {
            counts.escapes += 1;
            fs::remove_file(escaped)?;
        }
        // Half of the puts make the file, half replace it.
        if round % 2 == 0 {
            let _ = unlinkat(dir, "env", UnlinkatFlags::NoRemoveDir);
        }
    }
    Ok(counts)
}

fn swap(pairs: &[(std::path::PathBuf, std::path::PathBuf)], stop: &AtomicBool) -> u64 {
    let exchange = |(inside, link): &(std::path::PathBuf, std::path::PathBuf)| swap::exchange(inside, link);
    let mut swaps = 0;
    while !stop.load(Ordering::Relaxed) {
        for pair in pairs {
            // There and back, so that the deeper ones are where they belong.
            swaps += u64::from(exchange(pair));
            std::thread::yield_now();
            swaps += u64::from(exchange(pair));
        }
        // A moment in which all is as it should be, so that puts succeed too.
        std::thread::sleep(std::time::Duration::from_micros(2_000));
    }
    swaps
}

fn read(file: &Path, stop: &AtomicBool) -> (u64, u64) {
    let (mut reads, mut torn) = (0, 0);
    while !stop.load(Ordering::Relaxed) {
        if let Ok(text) = fs::read_to_string(file) {
            reads += 1;
            torn += u64::from(!whole(&text));
        }
        std::thread::sleep(PAUSE);
    }
    (reads, torn)
}

#[test]
fn no_race_opens_tears_or_moves_the_file() {
    if !nix::unistd::geteuid().is_root() {
        colibri_test_host::skip("only root can look at the file as another user");
        return;
    }
    let few = if std::env::var_os("COLIBRI_FULL").is_some() { 10_000 } else { 500 };
    let puts = std::env::var("COLIBRI_TEST_PUTS").map_or(few, |puts| puts.parse().unwrap());
    for dir_owner in [0, OWNER.uid] {
        let ours = race("colibri-writer", puts / 2, dir_owner).unwrap();
        println!("figures: writer, directory of {dir_owner}, {} puts: {ours:?}", puts / 2);
        let bad = [ours.escapes, ours.loose, ours.torn, ours.opened, ours.foreign];
        assert_eq!(bad, [0; 5], "{ours:?}");
        assert!(ours.early == 0 || swap::GIVEN_AWAY_EMPTY, "{ours:?}");
        let enough = puts as u64 / 50;
        assert!(
            ours.written > enough
                && ours.refused > 0
                && ours.swaps > enough
                && ours.looks > enough
                && ours.reads > enough,
            "{ours:?}"
        );
    }
    let control = race("plain-writer", puts.min(500), 0).unwrap();
    println!("figures: plain writer, {} puts: {control:?}", puts.min(500));
    assert!(
        control.escapes > 0 && control.loose > 0 && control.torn > 0 && control.opened > 0,
        "{control:?}"
    );
}
