//! What a hostile fetcher may send: nothing of it costs more than its own
//! request, and the old file stays.

use crate::jail::{Jail, commit, frame, next, one, pair, start};
use colibri_pair::{EnvKey, Failure, MAX_FRAME, Report};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;

/// Sends it over an old file.
fn refused(wire: &[u8], kind: Failure, words: &str) {
    let jail = Jail::new();
    assert_eq!(*jail.put(&one("old")).last(), Report::Written { keys: 1 });
    let outcome = jail.put(wire);
    outcome.failed(kind, words);
    assert_eq!(outcome.reports[0], Report::Ready);
    jail.holds("K=old\n");
}

fn violation(wire: &[u8], words: &str) {
    refused(wire, Failure::ProtocolViolation, words);
}

fn too_much(wire: &[u8], words: &str) {
    refused(wire, Failure::LimitExceeded, words);
}

/// A pair's frame with its message changed.
fn forged(change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut body = pair("KEY", "value")[4..].to_vec();
    change(&mut body);
    [frame(&body), commit(1)].concat()
}

#[test]
fn a_frame_of_four_gigabytes() {
    too_much(&u32::MAX.to_le_bytes(), "a frame is over its bound");
}

#[test]
fn a_frame_one_byte_over_the_bound() {
    too_much(&frame(&vec![0; MAX_FRAME + 1]), "a frame is over its bound");
}

#[test]
fn a_frame_without_a_message() {
    violation(&frame(b""), "a frame is no message");
}

#[test]
fn an_end_inside_a_length() {
    violation(&[7, 0], "the fetcher ended inside a frame");
}

#[test]
fn an_end_inside_a_frame() {
    let wire = pair("K", "v");
    violation(&wire[..wire.len() - 1], "the fetcher ended inside a frame");
}

#[test]
fn an_end_without_a_commit() {
    violation(&pair("K", "v"), "ended without a commit");
    violation(b"", "ended without a commit");
}

#[test]
fn a_commit_of_another_number_of_pairs() {
    for count in [0, 2, u32::MAX] {
        violation(&[pair("K", "v"), commit(count)].concat(), "does not count the pairs");
    }
}

#[test]
fn a_message_of_an_unknown_kind() {
    violation(&forged(|body| body[0] = 2), "a frame is no message");
}

#[test]
fn bytes_behind_a_message() {
    violation(&forged(|body| body.push(0)), "a frame is no message");
}

#[test]
fn a_length_inside_a_message_that_is_longer_than_the_message() {
    violation(&forged(|body| body[4..12].fill(0xff)), "a frame is no message");
}

#[test]
fn a_key_with_a_newline_and_a_second_line_in_it() {
    violation(&forged(|body| body[13] = b'\n'), "a frame is no message");
    violation(&forged(|body| body[13] = b'='), "a frame is no message");
}

#[test]
fn a_key_outside_its_alphabet() {
    for byte in [0, b'@', b' ', b'-', b'$', 0xc3] {
        violation(&forged(|body| body[13] = byte), "a frame is no message");
    }
    violation(&forged(|body| body[12] = b'9'), "a frame is no message");
}

#[test]
fn a_key_of_no_bytes_and_one_of_too_many() {
    let named = |length: u64| {
        forged(|body| {
            let key = vec![b'K'; usize::try_from(length).unwrap()];
            body.splice(4..15, length.to_le_bytes().into_iter().chain(key));
        })
    };
    violation(&named(0), "a frame is no message");
    violation(&named(129), "a frame is no message");
}

#[test]
fn a_value_that_is_not_unicode() {
    violation(&forged(|body| body[25] = 0xff), "a frame is no message");
}

#[test]
fn the_same_key_twice() {
    violation(&[pair("K", "1"), pair("K", "2"), commit(2)].concat(), "keys do not ascend");
}

#[test]
fn keys_that_descend() {
    violation(&[pair("B", "1"), pair("A", "2"), commit(2)].concat(), "keys do not ascend");
}

#[test]
fn a_value_one_byte_over_the_bound() {
    too_much(&one(&"v".repeat(64 * 1024 + 1)), "the value of K is longer than 64 KiB");
}

#[test]
fn one_pair_too_many() {
    let wire: Vec<u8> = (0..=1024).flat_map(|n| pair(&format!("K{n:04}"), "")).collect();
    too_much(&wire, "more than 1,024 pairs");
}

#[test]
fn one_mebibyte_and_a_little() {
    let value = "v".repeat(64 * 1024);
    let wire: Vec<u8> = (0..16).flat_map(|n| pair(&format!("K{n:02}"), &value)).collect();
    too_much(&wire, "1 MiB in all");
}

#[test]
fn a_name_that_takes_over_its_reader() {
    let wire = [pair("LD_PRELOAD", "/tmp/evil.so"), commit(1)].concat();
    refused(&wire, Failure::ReservedKey, "LD_PRELOAD would take over its reader");
    let mut jail = Jail::new();
    jail.order.allow = vec![EnvKey::try_from("LD_PRELOAD".to_owned()).unwrap()];
    assert_eq!(*jail.put(&wire).last(), Report::Written { keys: 1 });
    jail.holds("LD_PRELOAD=/tmp/evil.so\n");
}

#[test]
fn a_value_with_a_nul() {
    refused(&one("hunter2\0"), Failure::ValueNotCarried, "cannot carry the value of K: it has a NUL");
}

#[test]
fn a_value_that_is_shell_code_is_only_quoted() {
    let jail = Jail::new();
    jail.put(&one("$(reboot)\n`id` #"));
    jail.holds("K='$(reboot)\n`id` #'\n");
}

#[test]
fn bytes_behind_the_commit_are_not_looked_at() {
    let jail = Jail::new();
    let wire = [one("v"), vec![0xff; 1000]].concat();
    assert_eq!(*jail.put(&wire).last(), Report::Written { keys: 1 });
    jail.holds("K=v\n");
}

#[test]
fn a_fetcher_that_falls_silent() {
    let mut jail = Jail::new();
    jail.put(&one("old"));
    jail.order.seconds = 1;
    let (child, mut socket) = start(jail.command());
    socket.write_all(&pair("K", "v")).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.signal(), Some(14));
    assert_eq!(next(&mut output.stdout.as_slice()), Some(Report::Ready));
    jail.holds("K=old\n");
}
