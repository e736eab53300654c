//! The writer's whole loop over a stream. Laws: what it makes is bounded, was
//! committed, and the file's pairs are found again in it.
#![no_main]

use colibri_envfile::{Document, differences, pairs};
use colibri_ipc::{EnvKey, MAX_PAIRS};
use colibri_order::Format;
use colibri_writer::receive::receive;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, bool, &[u8])| {
    let (format, allow, wire) = input;
    let format = Format::ALL[usize::from(format) % Format::ALL.len()];
    let allowed: Vec<_> = EnvKey::try_from("PATH".to_owned()).into_iter().filter(|_| allow).collect();
    let mut rest = wire;
    let Ok(document) = receive(&mut rest, format, &allowed) else { return };
    let (file, keys) = (&*text(&document), document.keys());
    assert!(file.len() <= 6 * wire.len() + 4096);
    assert!(keys <= MAX_PAIRS);
    assert!(!file.contains('\0'));
    if format == Format::Docker {
        assert_eq!(file.lines().count(), keys + 1);
    }
    assert!(allow || document.pairs().all(|(key, _)| key.as_str() != "PATH"));
    if format != Format::Dir {
        assert_eq!(differences(pairs(format, file), &document).0, []);
    }
});

fn text(document: &Document) -> String {
    let mut text = String::new();
    let Ok(()) = document.render(|piece| {
        text.push_str(piece);
        Ok::<_, std::convert::Infallible>(())
    });
    text
}
