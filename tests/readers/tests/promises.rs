//! Each format's promise, kept by the real readers: a value comes back byte for
//! byte, or its key was refused.
#![cfg(test)]

use colibri_pair::{EnvKey, Format};
use colibri_readers::{Reader, edge_list, every_scalar, every_text, key, kinds, render, values};
use std::collections::BTreeSet;
use std::path::Path;

/// Set for longer texts of signs, and for Unicode in smaller parts.
const FULL: &str = "COLIBRI_FULL";
/// Told when a test fails; set another to try other values.
const SEED: &str = "COLIBRI_SEED";
/// A file is as long as one environment can be in one program's start.
const MOST_BYTES: usize = 512 * 1024;
const MOST_VALUES: usize = 500;
/// What a program's environment has beside the file's variables.
const AROUND: &[&str] = &["PATH", "LC_ALL", "PWD", "OLDPWD", "SHLVL", "_", "HOME", "LOGNAME"];
/// Enough mismatches to see what is wrong.
const SHOWN: usize = 5;

/// Who must read each format alike.
fn promised(format: Format) -> Vec<Reader> {
    match format {
        Format::Env => Reader::ENV.to_vec(),
        Format::Dotenv => [Reader::ENV, Reader::DOTENV, &[Reader::NodeEnvFile]].concat(),
        Format::Docker => Reader::ENGINES.to_vec(),
        Format::Json => Reader::JSON.to_vec(),
        Format::Dir | Format::Raw => Vec::new(),
    }
}

/// The formats that are one file.
const FILES: [Format; 4] = [Format::Env, Format::Dotenv, Format::Docker, Format::Json];

fn seed() -> u64 {
    std::env::var(SEED).ok().and_then(|seed| seed.parse().ok()).unwrap_or(6)
}

fn random() -> Vec<String> {
    values(seed(), 10_000)
}

/// The values that the format carries, under keys of their own, and the others.
fn sorted(format: Format, values: Vec<String>) -> (Vec<(EnvKey, String)>, Vec<String>) {
    let (mut carried, mut refused) = (Vec::new(), Vec::new());
    for (number, value) in values.into_iter().enumerate() {
        let key = key(number).unwrap();
        match render(format, &[(key.clone(), &value)]) {
            Ok(_) => carried.push((key, value)),
            Err(refusal) => {
                assert_eq!((&refusal.key, refusal.format), (&key, format), "{refusal}");
                refused.push(value);
            }
        }
    }
    (carried, refused)
}

/// Parts that one file and one program's start can hold.
fn batches(mut pairs: Vec<(EnvKey, String)>) -> Vec<Vec<(EnvKey, String)>> {
    let mut batches = Vec::new();
    while !pairs.is_empty() {
        let mut bytes = 0;
        let fits = |pair: &&(EnvKey, String)| {
            bytes += pair.1.len();
            bytes <= MOST_BYTES
        };
        let count = pairs.iter().take(MOST_VALUES).take_while(fits).count().max(1);
        let rest = pairs.split_off(count);
        batches.push(std::mem::replace(&mut pairs, rest));
    }
    batches
}

/// What one reader makes of the files, told for those values that it reads
/// otherwise, and for variables that nobody wrote.
fn misread(reader: Reader, dir: &Path, batches: &[Vec<(EnvKey, String)>]) -> Vec<String> {
    let files: Vec<String> = (0..batches.len()).map(|number| number.to_string()).collect();
    let written: BTreeSet<&str> = batches.iter().flatten().map(|(key, _)| key.as_str()).collect();
    let mut misread = Vec::new();
    for (batch, found) in batches.iter().zip(reader.read(dir, &files).unwrap()) {
        for (key, value) in batch {
            let got = found.get(key.as_str());
            if got.is_none_or(|got| got != value.as_bytes()) {
                let got = got.map(|got| String::from_utf8_lossy(got).chars().take(200).collect::<String>());
                let value: String = value.chars().take(200).collect();
                misread.push(format!("{}: {value:?} came back as {got:?}", reader.name()));
            }
        }
        let injected =
            found.keys().filter(|name| !written.contains(name.as_str()) && !AROUND.contains(&name.as_str()));
        misread.extend(injected.map(|name| format!("{}: nobody wrote {name}", reader.name())));
    }
    misread
}

/// Writes the values in the format and asks everybody whom it promises them to.
fn check(format: Format, values: Vec<String>) {
    let (carried, refused) = sorted(format, values);
    let dir = tempfile::tempdir().unwrap();
    let batches = batches(carried);
    for (number, batch) in batches.iter().enumerate() {
        let pairs: Vec<(EnvKey, &str)> = batch.iter().map(|(key, value)| (key.clone(), &**value)).collect();
        std::fs::write(dir.path().join(number.to_string()), render(format, &pairs).unwrap()).unwrap();
    }
    for reader in promised(format) {
        let misread = misread(reader, dir.path(), &batches);
        let shown = misread.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join("\n");
        assert!(misread.is_empty(), "{}, seed {}: {}\n{shown}", format.as_str(), seed(), misread.len());
    }
    println!("{}: {} carried, {} refused", format.as_str(), batches.concat().len(), refused.len());
}

#[test]
fn the_edge_list_comes_back_or_is_refused_by_key() {
    for format in FILES {
        check(format, edge_list().unwrap().into_values().collect());
    }
}

#[test]
fn every_kind_of_the_table_comes_back_or_is_refused_by_key() {
    for format in FILES {
        check(format, kinds().into_iter().flat_map(|kind| kind.values).collect());
    }
}

#[test]
fn random_values_come_back_from_env_or_are_refused_by_key() {
    check(Format::Env, random());
}

#[test]
fn random_values_come_back_from_dotenv_or_are_refused_by_key() {
    check(Format::Dotenv, random());
}

#[test]
fn random_values_come_back_from_docker_or_are_refused_by_key() {
    check(Format::Docker, random());
}

#[test]
fn random_values_come_back_from_json_or_are_refused_by_key() {
    check(Format::Json, random());
}

#[test]
fn every_scalar_value_of_unicode_comes_back_or_is_refused_by_key() {
    let length = if std::env::var_os(FULL).is_some() { 64 } else { 4096 };
    for format in FILES {
        check(format, every_scalar(length));
    }
}

#[test]
fn every_short_text_of_signs_comes_back_or_is_refused_by_key() {
    let longest = if std::env::var_os(FULL).is_some() { 4 } else { 3 };
    for format in FILES {
        check(format, (1..=longest).flat_map(every_text).collect());
    }
}

/// docker and podman read a line of a certain length at most: the longest value
/// that is carried comes back, and one letter more would not.
#[test]
fn the_longest_line_that_docker_carries_is_the_longest_that_is_read() {
    let key = key(0).unwrap();
    let carried = |length: &usize| render(Format::Docker, &[(key.clone(), &"v".repeat(*length))]).is_ok();
    let longest = (65_000..65_600).rev().find(carried).unwrap();
    let dir = tempfile::tempdir().unwrap();
    for (length, read) in [(longest, true), (longest + 1, false)] {
        let value = "v".repeat(length);
        std::fs::write(dir.path().join("file"), format!("{key}={value}\n")).unwrap();
        for reader in Reader::ENGINES {
            let found = reader.read(dir.path(), &["file".to_owned()]).unwrap();
            let came_back = found[0].get(key.as_str()).is_some_and(|found| found == value.as_bytes());
            assert_eq!(came_back, read, "{}: {length}", reader.name());
        }
    }
}
