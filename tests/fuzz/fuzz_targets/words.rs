//! Law: bytes are one message and nothing else, or none: what is decoded is,
//! encoded again, the same bytes.
#![no_main]

use colibri_pair::{Report, ToWriter, decode, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(word) = decode::<ToWriter>(bytes) {
        assert!(encode(&word).is_ok_and(|again| again.as_slice() == bytes));
    }
    if let Ok(report) = decode::<Report>(bytes) {
        assert!(encode(&report).is_ok_and(|again| again.as_slice() == bytes));
    }
});
