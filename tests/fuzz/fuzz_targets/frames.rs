//! Law: a frame never exceeds its bound, and frames that were received are,
//! sent again, the bytes that they came as.
#![no_main]

use colibri_pair::{recv, send};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, &[u8])| {
    let (bound, wire) = (usize::from(input.0), input.1);
    let mut rest = wire;
    let mut again = Vec::new();
    while let Ok(Some(frame)) = recv(&mut rest, bound) {
        assert!(frame.len() <= bound);
        assert!(send(&mut again, &frame).is_ok());
    }
    assert!(wire.starts_with(&again));
});
