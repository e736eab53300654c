//! Law: what a hub says is a ring or nothing, found in no more steps than it has
//! bytes; bytes after a ring take nothing back.
#![no_main]

use libfuzzer_sys::fuzz_target;

// By its path: the crate around it brings TLS and a runtime along.
#[allow(dead_code)]
#[path = "../../../fetcher/bell/src/hub.rs"]
mod hub;

fuzz_target!(|input: &[u8]| {
    if hub::tells_of_change(input) {
        assert!(input.contains(&1));
        assert!(hub::tells_of_change(&[input, b"\xff"].concat()));
        assert!(hub::tells_of_change(&[&hub::PING[..], input].concat()));
    }
});
