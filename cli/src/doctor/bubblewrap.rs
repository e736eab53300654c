//! Linux: bubblewrap makes `bw`'s cage, as the fetcher's user.

use super::Finding;
use super::program::FetcherUser;
use colibri_control::SetupView;
use std::process::Command;

/// Tries to make an empty one.
pub fn finding(setup: &SetupView, user: &FetcherUser) -> Option<Finding> {
    if !user.can_be_had() || setup.bwrap.as_os_str().is_empty() {
        return None;
    }
    let name = "bw's cage";
    let shown = setup.bwrap.display();
    let probe = ["--unshare-all", "--ro-bind", "/", "/", "/bin/true"];
    let mend = "install bubblewrap, and let users make user namespaces \
                (kernel.unprivileged_userns_clone, or the AppArmor profile of bwrap)";
    Some(match user.command(&setup.bwrap).args(probe).output() {
        Ok(output) if output.status.success() => Finding::ok(name, format!("{shown} makes it")),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.lines().next().map_or_else(|| output.status.to_string(), str::to_owned);
            Finding::failure(name, format!("{shown} makes none for {}: {said}", user.name()), mend)
        }
        Err(error) => Finding::failure(name, format!("{shown}: {error}"), mend),
    })
}

/// Whether it can bind the very directory that colibrid looked at: a path may lead
/// elsewhere by the time that it is bound.
pub fn agents(setup: &SetupView) -> Option<Finding> {
    let name = "agents' jails";
    let help = Command::new(&setup.bwrap).arg("--help").env_clear().output().ok()?;
    let shown = setup.bwrap.display();
    if String::from_utf8_lossy(&help.stdout).contains("--bind-fd") {
        return Some(Finding::ok(name, format!("{shown} binds a directory by its descriptor")));
    }
    let mend = "install a bubblewrap with --bind-fd: 0.8.0-2+deb12u1 of Debian 12, 0.10, or newer";
    Some(Finding::failure(name, format!("{shown} has no --bind-fd, so no agent can be started"), mend))
}
