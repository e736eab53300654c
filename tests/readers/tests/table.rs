//! The table in docs/env-formats.md is what the readers do today.
#![cfg(target_os = "linux")] // It has columns of systemd, docker and podman.

/// Set to write the table instead of comparing it.
const WRITE: &str = "COLIBRI_WRITE_TABLE";

#[test]
fn the_table_in_the_documentation_is_what_was_measured() {
    let path = colibri_test_host::tree().join("docs/env-formats.md");
    let document = std::fs::read_to_string(&path).unwrap();
    let measured = colibri_readers::updated(&document, &colibri_readers::table().unwrap()).unwrap();
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, &measured).unwrap();
    }
    let new: Vec<&str> = measured.lines().filter(|line| !document.lines().any(|old| old == *line)).collect();
    let told =
        "docs/env-formats.md is stale: COLIBRI_WRITE_TABLE=1 cargo test -p colibri-readers --test table";
    assert!(measured == document || std::env::var_os(WRITE).is_some(), "{told}\n{}", new.join("\n"));
}
