//! The least that writes a file durably and whole: read the payload as it is,
//! open, write, sync, rename, sync. No split, no sandbox, no check.

use std::fs::{File, OpenOptions, rename};
use std::io::{Result, Write, copy, stdin};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

fn main() -> Result<()> {
    // The writer's order: verb, base, root, dir, file.
    let dir: PathBuf = std::env::args_os().skip(2).take(3).collect();
    let mut payload = Vec::new();
    copy(&mut stdin().lock(), &mut payload)?;
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(dir.join("tmp"))?;
    file.write_all(&payload)?;
    file.sync_all()?;
    rename(dir.join("tmp"), dir.join("env"))?;
    File::open(&dir)?.sync_all()
}
