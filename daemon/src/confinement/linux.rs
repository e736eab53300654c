//! Linux: Landlock and seccomp for the writer and the fetcher, bubblewrap for the
//! others.

use super::{lack, view, with_user};
use crate::settings::Config;
use colibri_control::{ConfinementView, ProcessKind};

/// What holds one kind of process.
pub fn of(process: ProcessKind, config: &Config) -> ConfinementView {
    match process {
        // A writer that cannot have all of it does not write.
        ProcessKind::Writer => view(
            process,
            &["Landlock on one directory", "a seccomp allow-list", "no new privileges", "resource limits"],
        ),
        ProcessKind::Fetcher => with_user(
            view(process, &["Landlock", "TCP sockets and no process, by seccomp", "no new privileges"]),
            config,
        ),
        ProcessKind::Bw => caged(
            with_user(
                view(process, &["namespaces without a network", "Landlock", "the relay to the vault"]),
                config,
            ),
            config,
        ),
        ProcessKind::Agent => {
            caged(view(process, &["namespaces of its own, with its jail as its root"]), config)
        }
    }
}

fn caged(mut view: ConfinementView, config: &Config) -> ConfinementView {
    if !config.bwrap.is_file() {
        let what = format!("bubblewrap: there is no {}, so it does not start", config.bwrap.display());
        view.lacks.push(lack(what, "install bubblewrap, or name it in COLIBRI_BWRAP"));
    }
    view
}
