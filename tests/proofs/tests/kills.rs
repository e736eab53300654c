//! SIGKILL at random instants of a put, a thousand times: the file is the old
//! one or the new one, whole, and the next run leaves nothing of the killed one.
//! Unlike the exhaustive faults it needs nothing but the system's own signals.

use anyhow::{Context, Result, ensure};
use colibri_pair::{Format, Verb};
use colibri_proofs::{Jail, frames, other_owner, run, start, writer};
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

const KILLS: u32 = 100;
const FULL: u32 = 1_000;
/// Large enough for a put that takes its time.
const SIZE: usize = 48 * 1024;

/// How the kills fell.
#[derive(Debug, Default)]
struct Counts {
    killed: u32,
    too_late: u32,
    old: u32,
    new: u32,
    leftovers: u32,
}

fn value(generation: u32) -> String {
    format!("{generation:08}").repeat(SIZE / 8)
}

fn pairs(generation: u32) -> Result<Vec<u8>> {
    frames(&[("A", &value(generation)), ("B", &value(generation))])
}

/// The generation that the file is, whole and its owner's alone.
fn generation(jail: &Jail) -> Result<u32> {
    let texts = match jail.format {
        Format::Dir => ["A", "B"].map(|name| read(jail, &jail.file().join(name))).into_iter().collect(),
        _ => read(jail, &jail.file()).map(|text| {
            let lines = text.lines().filter_map(|line| line.split_once('='));
            lines.map(|(_, value)| value.to_owned()).collect::<Vec<_>>()
        }),
    };
    let texts = texts?;
    let number = texts.first().and_then(|text| text.get(..8)).context("no value")?.parse()?;
    ensure!(texts.len() == 2 && texts.iter().all(|text| *text == value(number)), "a torn file");
    Ok(number)
}

fn read(jail: &Jail, file: &std::path::Path) -> Result<String> {
    let state = fs::symlink_metadata(file)?;
    ensure!(state.mode() == 0o100_600, "mode {:o}", state.mode());
    ensure!((state.uid(), state.gid()) == (jail.owner.uid, jail.owner.gid), "a wrong owner");
    Ok(fs::read_to_string(file)?)
}

fn put(jail: &Jail, generation: u32) -> Result<Duration> {
    let begin = Instant::now();
    let outcome = run(writer(&jail.order(Verb::Put)?)?, &pairs(generation)?)?;
    ensure!(outcome.done(), "a run that nobody killed failed: {outcome:?}");
    Ok(begin.elapsed())
}

fn temporaries(jail: &Jail) -> Result<usize> {
    let names = fs::read_dir(jail.dir())?.collect::<std::io::Result<Vec<_>>>()?;
    Ok(names.iter().filter(|entry| entry.file_name().to_string_lossy().ends_with(".tmp")).count())
}

/// A writer that gets all it is to write and is killed after that time.
fn kill(jail: &Jail, generation: u32, after: Duration) -> Result<bool> {
    let (mut child, mut socket) = start(writer(&jail.order(Verb::Put)?)?)?;
    let begin = Instant::now();
    let sent = pairs(generation)?;
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // It may be gone already.
            let _ = socket.write_all(&sent);
        });
        std::thread::sleep(after.saturating_sub(begin.elapsed()));
        child.kill()
    })?;
    Ok(!child.wait()?.success())
}

fn kills(format: Format, number: u32) -> Result<Counts> {
    let mut jail = Jail::new("etc/colibri", other_owner())?;
    jail.format = format;
    let mut counts = Counts::default();
    let mut last = 0;
    let mut whole = put(&jail, last)?;
    for generation in 1..=number {
        // From the start to a bit after the end, evenly, in an order like random.
        let share = f64::from(generation.wrapping_mul(2_654_435_761) >> 8) / f64::from(1 << 24);
        let killed = kill(&jail, generation, whole.mul_f64(share * 1.1))?;
        counts.killed += u32::from(killed);
        counts.too_late += u32::from(!killed);
        let found = self::generation(&jail).with_context(|| format!("kill {generation}"))?;
        ensure!(found == last || found == generation, "neither old nor new: {found}");
        ensure!(killed || found == generation, "a run that ended well wrote nothing");
        counts.new += u32::from(killed && found == generation);
        counts.old += u32::from(killed && found == last);
        counts.leftovers += u32::from(format != Format::Dir && temporaries(&jail)? > 0);
        last = found;
        if generation % 10 == 0 {
            last = generation;
            // Newer by the file system's clock, which goes in steps.
            std::thread::sleep(Duration::from_millis(20));
            whole = put(&jail, generation)?.min(whole * 2);
            ensure!(format == Format::Dir || temporaries(&jail)? == 0, "the next run left something");
        }
    }
    Ok(counts)
}

#[test]
fn after_a_kill_at_any_instant_the_file_is_whole() {
    let few = if std::env::var_os("COLIBRI_FULL").is_some() { FULL } else { KILLS };
    let number = std::env::var("COLIBRI_TEST_KILLS").map_or(few, |number| number.parse().unwrap());
    for format in [Format::Env, Format::Dir] {
        let counts = kills(format, number / 2).unwrap();
        println!("figures: {format:?}, {} kills: {counts:?}", number / 2);
        assert!(counts.killed > number / 8 && counts.old > 0, "{counts:?}");
    }
}
