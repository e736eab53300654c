//! Linux: bubblewrap. A namespace of each kind, in it only loopback, program
//! files to read, and a private directory in memory. It dies with the fetcher.

use super::View;
use crate::program;
use crate::warden::DISK;
use colibri_session::Vault;
use rustix::process::{Pid, Signal, kill_process_group};
use std::ffi::OsStr;
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The command that runs `warden` in a cage; its arguments can be appended.
pub fn command(vault: &Vault, view: &View, warden: &Path) -> Result<Command> {
    let bwrap =
        vault.bwrap.clone().or_else(|| program::search(OsStr::new("bwrap"))).filter(|path| usable(path));
    match bwrap {
        Some(bwrap) => Ok(caged(&bwrap, view, warden)),
        None if vault.insecure_no_sandbox => {
            tracing::warn!("no bubblewrap here: bw runs without a cage");
            Ok(Command::new(warden))
        }
        None => Err(Error::new(
            ErrorKind::NotFound,
            "no bubblewrap (bwrap) that works is installed, of 0.7 or newer",
        )),
    }
}

/// Ends what runs there: with the first process of a namespace all others end.
pub fn end(top: Pid) -> Result<()> {
    kill_process_group(top, Signal::KILL).map_err(Error::from)
}

/// Whether it can make namespaces here, and file systems of a size.
fn usable(bwrap: &Path) -> bool {
    let probe = ["--unshare-all", "--ro-bind", "/", "/", "--size", "4096", "--tmpfs", "/tmp", "true"];
    Command::new(bwrap).args(probe).stdin(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn caged(bwrap: &Path, view: &View, warden: &Path) -> Command {
    let mut command = Command::new(bwrap);
    command.args(["--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]);
    command.args(["--dev", "/dev"]);
    for path in view.readable.iter().map(PathBuf::as_path).chain([warden]) {
        command.arg("--ro-bind").args([path, path]);
    }
    // A file system of its own, which ends with the cage, and has an end itself.
    command.args(["--perms", "0700", "--size", &DISK.to_string(), "--tmpfs"]).arg(&view.dir);
    command.args(["--remount-ro", "/", "--chdir"]).arg(&view.dir).arg("--").arg(warden);
    command
}
