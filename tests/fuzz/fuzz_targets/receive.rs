//! The writer's whole loop over a stream. Laws: memory follows what came and no
//! length that was announced; what is made was committed, is bounded, and its
//! pairs are found again in it.
#![no_main]

use colibri_envfile::{Document, differences, pairs};
use colibri_pair::{EnvKey, MAX_FRAME, MAX_PAIRS, Format};
use colibri_writer::receive::receive;
use libfuzzer_sys::fuzz_target;
use peak_alloc::PeakAlloc;

#[global_allocator]
static PEAK: PeakAlloc = PeakAlloc;

fuzz_target!(|input: (u8, bool, &[u8])| {
    let (format, allow, wire) = input;
    let format = Format::ALL[usize::from(format) % Format::ALL.len()];
    let allowed: Vec<_> = EnvKey::try_from("PATH".to_owned()).into_iter().filter(|_| allow).collect();
    let mut rest = wire;
    let before = PEAK.current_usage();
    PEAK.reset_peak_usage();
    let received = receive(&mut rest, format, &allowed);
    let most = MAX_FRAME + 4096 + 6 * wire.len();
    let taken = PEAK.peak_usage() - before;
    assert!(taken <= most, "{taken} bytes of {most}");
    let Ok(document) = received else { return };
    let (file, keys) = (&*text(&document), document.keys());
    assert!(file.len() <= 6 * wire.len() + 4096);
    assert!(keys <= MAX_PAIRS);
    assert!(!file.contains('\0'));
    if format == Format::Docker {
        assert_eq!(file.lines().count(), keys + 1);
    }
    assert!(allow || document.pairs().all(|(key, _)| key.as_str() != "PATH"));
    if format == Format::Raw {
        // The one value and nothing else; it has no name in the file.
        assert_eq!(keys, 1);
        assert!(document.pairs().all(|(_, value)| value.as_bytes() == file.as_bytes()));
    } else if format != Format::Dir {
        assert_eq!(differences(pairs(format, file), &document).0, []);
    }
});

fn text(document: &Document) -> String {
    let mut text = String::new();
    let Ok(()) = document.render("", |piece| {
        text.push_str(piece);
        Ok::<_, std::convert::Infallible>(())
    });
    text
}
