//! The format `dir`, as the real writer makes it and `cat` reads it: each value
//! comes back byte for byte, under a name that is its key.
#![cfg(test)]

use colibri_pair::{Format, Owner, Report, Verb};
use colibri_proofs::{Jail, frames, run, writer};
use colibri_readers::{edge_list, key, kinds, values};
use std::process::Command;

const MOST_BYTES: usize = 1024 * 1024 - 64 * 1024;
const MOST_VALUES: usize = 1000;

fn check(values: Vec<String>) {
    let (nul, mut rest): (Vec<_>, Vec<_>) = values.into_iter().partition(|value| value.contains('\0'));
    for value in nul {
        let Report::Failed { message, .. } = put(&[("A".into(), value)]).1 else { panic!("NUL was carried") };
        assert!(message.contains("the value of A: it has a NUL"), "{message}");
    }
    while !rest.is_empty() {
        let (mut bytes, mut count) = (0, 0);
        while count < rest.len().min(MOST_VALUES) && bytes + rest[count].len() <= MOST_BYTES {
            bytes += rest[count].len();
            count += 1;
        }
        let batch = rest.drain(..count).enumerate();
        let pairs: Vec<_> = batch.map(|(number, value)| (key(number).unwrap().to_string(), value)).collect();
        let (jail, report) = put(&pairs);
        assert_eq!(report, Report::Written { keys: u32::try_from(pairs.len()).unwrap() });
        assert_eq!(std::fs::read_dir(jail.file()).unwrap().count(), pairs.len());
        let names = pairs.iter().map(|(key, _)| jail.file().join(key));
        let read = Command::new("cat").args(names).output().unwrap();
        assert!(read.status.success());
        assert_eq!(read.stdout, pairs.iter().flat_map(|(_, value)| value.bytes()).collect::<Vec<_>>());
        for (key, value) in &pairs {
            assert_eq!(std::fs::read(jail.file().join(key)).unwrap(), value.as_bytes(), "{key}");
        }
    }
}

fn put(pairs: &[(String, String)]) -> (Jail, Report) {
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    let mut jail = Jail::new("etc/colibri", Owner { uid, gid }).unwrap();
    jail.format = Format::Dir;
    let pairs: Vec<_> = pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let outcome = run(writer(&jail.order(Verb::Put).unwrap()).unwrap(), &frames(&pairs).unwrap()).unwrap();
    let report = outcome.reports.last().expect("a report").clone();
    (jail, report)
}

#[test]
fn the_edge_list_and_every_kind_come_back() {
    check(edge_list().unwrap().into_values().collect());
    check(kinds().into_iter().flat_map(|kind| kind.values).collect());
}

/// Ten thousand with COLIBRI_FULL, a thousand without.
#[test]
fn random_values_come_back() {
    let count = if std::env::var_os("COLIBRI_FULL").is_some() { 10_000 } else { 1000 };
    check(values(6, count));
}
