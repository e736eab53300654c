//! FreeBSD: capability mode for the writer, jails for the others.

use super::{lack, view, with_user};
use crate::cage::Cage;
use crate::settings::Config;
use crate::tmpfs;
use colibri_control::{ConfinementView, ProcessKind};

/// What holds one kind of process.
pub fn of(process: ProcessKind, config: &Config) -> ConfinementView {
    match process {
        // A writer that cannot have all of it does not write.
        ProcessKind::Writer => view(
            process,
            &["capability mode", "rights for each descriptor", "resource limits", "untraceable"],
        ),
        ProcessKind::Fetcher => {
            let own = with_user(view(process, &["no new privileges", "untraceable"]), config);
            jailed(own, config.fetcher_cage.as_ref(), "COLIBRI_FETCHER_JAIL", "fetcher-jail.conf")
        }
        ProcessKind::Bw => {
            let own = with_user(view(process, &["no new privileges", "the relay to the vault"]), config);
            in_memory(jailed(own, config.cage.as_ref(), "COLIBRI_BW_JAIL", "bw-jail.conf"), config)
        }
        ProcessKind::Agent => view(process, &["its jail, as jail(8) or bastille(8) made it"]),
    }
}

fn jailed(mut view: ConfinementView, cage: Option<&Cage>, setting: &str, file: &str) -> ConfinementView {
    match cage {
        Some(cage) => view.holds.push(format!("the jail of {}", cage.file.display())),
        None => view.lacks.push(lack(
            "a jail of its own: it sees the host's files, sockets and network as its user does, \
             and what it leaves behind goes on",
            format!("set {setting}=/usr/local/etc/colibri/{file}, which `colibri init` writes, and restart colibrid"),
        )),
    }
    view
}

/// Where a session is open, its directory is looked at.
fn in_memory(mut view: ConfinementView, config: &Config) -> ConfinementView {
    match tmpfs::holds(&config.private_dir()) {
        Some(true) => view.holds.push("its directory in memory".into()),
        Some(false) => view.lacks.push(lack(
            "a directory in memory: the client secret that bw keeps there is on disk",
            "run colibrid as root, with tmpfs(5) in the kernel; its log says why it could not be mounted",
        )),
        None => {}
    }
    view
}
