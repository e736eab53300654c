//! Law: what is rendered is read back the same, by parsers that share nothing
//! with the renderer: sh's quoting for `env` and `dotenv`, lines for `docker`,
//! JSON's strings for `json`, and nothing at all for `raw`.
#![no_main]

use colibri_envfile::{Document, HEADER};
use colibri_pair::{EnvKey, Format};

#[path = "../src/readers.rs"]
mod readers;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((format, text)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let format = Format::ALL[usize::from(*format) % Format::ALL.len()];
    if format == Format::Dir {
        return;
    }
    // It is one value.
    let text = if format == Format::Raw { text.split('\u{1e}').next().unwrap_or_default() } else { text };
    let (mut document, mut sent) = (Document::new(format), Vec::new());
    // A byte that no value carries parts the values.
    for (number, value) in text.split('\u{1e}').enumerate() {
        let key = format!("K{number}");
        let before = document.keys();
        match document.push(EnvKey::try_from(key.clone()).unwrap(), value) {
            Ok(()) => sent.push((key, value.to_owned())),
            Err(refused) => {
                assert_eq!(document.keys(), before, "a refused pair left something");
                assert!(format != Format::Json || value.contains('\0'), "{refused}");
            }
        }
    }
    let file = &*whole(&document);
    let read = match format {
        Format::Raw => Some(sent.iter().map(|(key, _)| (key.clone(), file.to_owned())).collect()),
        Format::Json => readers::json(file),
        Format::Docker => readers::docker(file.strip_prefix(HEADER).unwrap()),
        _ => readers::shell(file.strip_prefix(HEADER).unwrap()),
    };
    assert_eq!(read.as_ref(), Some(&sent));
});

fn whole(document: &Document) -> String {
    let mut text = String::new();
    let Ok(()) = document.render("", |piece| {
        text.push_str(piece);
        Ok::<_, std::convert::Infallible>(())
    });
    text
}
