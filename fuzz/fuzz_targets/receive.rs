//! The writer's whole loop over a stream. Laws: what it makes is bounded, was
//! committed, and is a file that holds as many keys as it says.
#![no_main]

use colibri_ipc::{EnvKey, MAX_PAIRS};
use colibri_order::Format;
use colibri_writer::receive::{MAX_FILE, receive};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, bool, &[u8])| {
    let (format, allow, wire) = input;
    let format = Format::ALL[usize::from(format) % Format::ALL.len()];
    let allowed: Vec<_> = EnvKey::try_from("PATH".to_owned()).into_iter().filter(|_| allow).collect();
    let mut rest = wire;
    let Ok(committed) = receive(&mut rest, format, &allowed) else { return };
    assert!(committed.file.len() <= MAX_FILE + 2);
    assert!(committed.keys as usize <= MAX_PAIRS);
    assert!(!committed.file.contains('\0'));
    if format == Format::Docker {
        assert_eq!(committed.file.lines().count(), committed.keys as usize + 1);
    }
    assert!(allow || !committed.file.contains("\nPATH=") || committed.file.contains('\''));
});
