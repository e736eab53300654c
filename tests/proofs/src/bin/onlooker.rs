//! An unprivileged process that opens and stats whatever it can reach below a
//! directory, until a file `stop` is there; then it tells what it saw.
//! Arguments: the directory, and the uid and gid that the file must have.

use anyhow::{Context, Result};
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

#[derive(Default)]
struct Seen {
    looks: u64,
    opened: u64,
    loose: u64,
    foreign: u64,
    early: u64,
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [top, uid, gid] = args.as_slice() else { anyhow::bail!("needs a directory, a uid and a gid") };
    let owner = (uid.parse().context("uid")?, gid.parse().context("gid")?);
    let mut seen = Seen::default();
    while !Path::new(top).join("stop").exists() {
        seen.walk(Path::new(top), owner);
        // So that whoever it looks at has a processor.
        std::thread::sleep(std::time::Duration::from_micros(300));
    }
    let Seen { looks, opened, loose, foreign, early } = seen;
    println!("{looks} {opened} {loose} {foreign} {early}");
    Ok(())
}

impl Seen {
    fn walk(&mut self, dir: &Path, owner: (u32, u32)) {
        // The name is tried also where the directory cannot be listed.
        self.look(&dir.join("env"), owner);
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.walk(&entry.path(), owner);
            } else if name.to_string_lossy().starts_with(".colibri-") {
                self.look(&entry.path(), owner);
            }
        }
    }

    fn look(&mut self, file: &Path, owner: (u32, u32)) {
        let opened = File::open(file).is_ok();
        let Ok(state) = fs::symlink_metadata(file) else { return };
        if !state.is_file() {
            return;
        }
        self.looks += 1;
        self.opened += u64::from(opened);
        self.loose += u64::from(state.mode() & 0o177 != 0);
        let foreign = (state.uid(), state.gid()) != owner;
        // A temporary not yet given away, and so without a byte.
        let early = foreign && state.len() == 0 && file.file_name().is_some_and(|name| name != "env");
        self.early += u64::from(early);
        self.foreign += u64::from(foreign && !early);
    }
}
