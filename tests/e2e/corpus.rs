//! The form of corpus.toml: notes in the manner of real projects, and what becomes of
//! each. And the malformed forms that no piece of a value may leave.

use serde::Deserialize;
use std::collections::BTreeMap;

/// All notes.
#[derive(Deserialize)]
pub struct Corpus {
    pub note: Vec<Note>,
}

/// One note; the settings are spelled as for a tenant.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Note {
    pub name: String,
    pub text: String,
    #[serde(default)]
    pub key_case: Option<String>,
    #[serde(default)]
    pub notes: Option<String>,
    #[serde(default)]
    pub allow: Option<String>,
    #[serde(default)]
    pub values: BTreeMap<String, String>,
    pub refused: Option<u32>,
    #[serde(default)]
    pub warned: Vec<String>,
}

/// Every malformed form of a text over several lines, such as a key.
pub fn malformed(text: &str) -> Vec<String> {
    let json = format!("{{\n  \"key\": \"{}\"\n}}", text.replace('\n', "\\n"));
    vec![
        text.to_owned(),
        format!("K={text}"),
        format!("K = {text}\nB=1"),
        format!("K=\n{text}"),
        format!("K=\n\n{text}\nB=1"),
        format!("K=\n# the key\n{text}\nB=1"),
        format!("setenv K {text}\n\nB=1"),
        format!("{}=", text.replace(['\n', '=', ' '], "")),
        format!("K:\n{text}"),
        format!("K: |\n{text}"),
        format!("K='{text}"),
        format!("K=\"{text}\nB=\"1\""),
        format!("K='{text}' x\nB='1'"),
        format!("K={text}'\nB='1'"),
        format!("K=`{text}\nB=1"),
        format!("K=\"\"\"\n{text}"),
        format!("K=$'{text}"),
        format!("K=$(cat <<EOF\n{text}\nEOF\n)"),
        format!("cat > key <<EOF\n{text}\nEOF"),
        format!("K=(\n{text}\n)"),
        format!("K={}", json.replace('}', "")),
        format!("K={}", json.replace("\":", "\" =")),
        json,
        format!("K=\u{201c}{text}\u{201d}"),
        format!("B=1\n{text}\nC=2"),
        format!("{text}\nC=2"),
        format!("K={}", text.replace('\n', "\r")),
        format!("K={}", text.replace('\n', "\n\n")),
        text.replace('\n', "\n\n"),
        format!("- K={text}"),
        format!("[Peer]\n{text}"),
    ]
}
