//! FreeBSD: a jail of its own holds `bw`, or pf(4) alone does.

use super::Finding;
use super::program::FetcherUser;
use colibri_control::SetupView;
use std::os::unix::fs::MetadataExt;

/// Looks at what the daemon was told.
pub fn finding(setup: &SetupView, _user: &FetcherUser) -> Option<Finding> {
    let name = "bw's cage";
    let Some(file) = &setup.bw_jail else {
        let found = "no jail of its own: nothing but your rule of pf(4) can hold it";
        let mend = "set COLIBRI_BW_JAIL=/usr/local/etc/colibri/bw-jail.conf in the provider file, \
                    which `colibri init` writes, and restart colibrid";
        return Some(Finding::warning(name, found, mend));
    };
    let shown = file.display();
    Some(match file.metadata() {
        Ok(found) if found.uid() != 0 || found.mode() & 0o022 != 0 => {
            let mend = format!("chown root {shown} && chmod 644 {shown}: jail(8) runs what it says as root");
            Finding::failure(name, format!("{shown} is not root's alone to write"), mend)
        }
        Ok(_) => Finding::ok(name, format!("the jail of {shown}")),
        Err(error) => Finding::failure(name, format!("{shown}: {error}"), "run `colibri init` as root"),
    })
}

/// jail(8) is part of the system.
pub const fn agents(_setup: &SetupView) -> Option<Finding> {
    None
}
