//! The program as the fetcher starts it.

use std::error::Error;
use std::process::{Command, Stdio};

#[test]
fn what_the_fetcher_does_not_ask_of_bw_is_refused() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    for (words, expected) in [
        (&["--version"][..], true),
        (&["--response", "config", "server", "https://localhost"], true),
        (&["--response", "login", "--apikey"], false),
        (&["list", "items"], false),
    ] {
        let mut bw = Command::new(colibri_test_host::program("colibri-test-bw")?);
        bw.args(words).env_clear().env("BITWARDENCLI_APPDATA_DIR", dir.path()).stdin(Stdio::null());
        assert_eq!(bw.output()?.status.success(), expected, "{words:?}");
    }
    Ok(())
}
