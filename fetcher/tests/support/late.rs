//! The real `bw`, made late.

use crate::driver;
use std::io::Write;
use tempfile::{Builder, TempPath};

/// A program beside the pinned `bw`, where the cage lets it be read; removed
/// when dropped.
pub fn bw() -> TempPath {
    let package = driver::bw(&driver::version()).canonicalize().unwrap();
    let modules = package.ancestors().find(|path| path.ends_with("node_modules")).unwrap();
    let mut file = Builder::new().prefix(".late-").suffix(".js").tempfile_in(modules).unwrap();
    write!(file, "#!/usr/bin/env node\n{}", include_str!("late.js")).unwrap();
    file.into_temp_path()
}
