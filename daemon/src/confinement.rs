//! What confines each kind of process on this host, and what could not be had, for
//! status, doctor and metrics. What is the same in every writer and fetcher is
//! said as it is built; what the operator or the host decides is looked at.

#[cfg_attr(target_os = "freebsd", path = "confinement/freebsd.rs")]
#[cfg_attr(not(target_os = "freebsd"), path = "confinement/linux.rs")]
mod platform;

use crate::settings::{Config, FetcherUser};
use colibri_control::{ConfinementView, LackView, ProcessKind};
use colibri_session::{Confinement, Part};

/// Of every kind of process, in a fixed order.
pub fn all(config: &Config) -> Vec<ConfinementView> {
    let mut all: Vec<_> = ProcessKind::ALL.iter().map(|process| platform::of(*process, config)).collect();
    if config.settings.insecure_no_sandbox {
        for view in
            all.iter_mut().filter(|view| matches!(view.process, ProcessKind::Fetcher | ProcessKind::Bw))
        {
            view.lacks.push(lack(
                "a promise: colibrid was started with --insecure-no-sandbox, so it goes on unconfined",
                "start colibrid without --insecure-no-sandbox",
            ));
        }
    }
    all
}

/// The same, with what a session's processes say that their kernel does not
/// enforce: one that is hostile may say anything.
pub fn now(config: &Config, said: &[Confinement]) -> Vec<ConfinementView> {
    let mut all = all(config);
    for one in said {
        let (process, whose) = match one.process {
            Part::Fetcher => (ProcessKind::Fetcher, ""),
            Part::Resolver => (ProcessKind::Fetcher, " (its resolver)"),
            Part::Bw => (ProcessKind::Bw, ""),
        };
        let view = all.iter_mut().filter(|view| view.process == process);
        for view in view {
            let what = |what: &String| lack(format!("of its kernel{whose}: {what}"), "run a newer kernel");
            view.lacks.extend(one.lacking.iter().map(what));
        }
    }
    all
}

fn view(process: ProcessKind, holds: &[&str]) -> ConfinementView {
    ConfinementView { process, holds: holds.iter().map(ToString::to_string).collect(), lacks: Vec::new() }
}

fn lack(what: impl Into<String>, advice: impl Into<String>) -> LackView {
    LackView { what: what.into(), advice: advice.into() }
}

/// The fetcher's user is another than the daemon's, or could not be.
fn with_user(mut view: ConfinementView, config: &Config) -> ConfinementView {
    match config.fetcher_user {
        FetcherUser::Other(_) => view.holds.insert(0, format!("user {}", config.settings.fetcher_user)),
        FetcherUser::Same => view.lacks.push(lack(
            "a user of its own: it can do to colibrid's files what colibrid can",
            "run colibrid as root, which gives the fetcher the user in COLIBRI_FETCHER_USER",
        )),
    }
    view
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;
    use clap::Parser;

    #[test]
    fn every_process_is_spoken_of_and_an_unconfined_one_is_called_so() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().to_str().unwrap();
        let settings = Settings::parse_from(["colibrid", "--jail-root-base", base]);
        let mut config = Config::new(Settings { fetcher_user: "nobody".into(), ..settings }).unwrap();
        let named = |all: &[ConfinementView]| all.iter().map(|view| view.process).collect::<Vec<_>>();
        assert_eq!(named(&all(&config)), ProcessKind::ALL);
        assert!(all(&config).iter().all(|view| !view.holds.is_empty()));
        let port = vec!["the port of connections".to_owned()];
        let said = Confinement { process: Part::Resolver, by: Vec::new(), lacking: port };
        let told = now(&config, std::slice::from_ref(&said));
        let lacks = |kind| {
            let view = told.iter().find(|view| view.process == kind).unwrap();
            view.lacks.iter().filter(|lack| lack.what.ends_with("the port of connections")).count()
        };
        assert_eq!((lacks(ProcessKind::Fetcher), lacks(ProcessKind::Bw)), (1, 0));
        let lacks = |config: &Config| all(config).iter().map(|view| view.lacks.len()).sum::<usize>();
        let before = lacks(&config);
        config.settings.insecure_no_sandbox = true;
        assert_eq!(lacks(&config), before + 2);
        config.fetcher_user = FetcherUser::Same;
        let same = lacks(&config);
        config.fetcher_user = FetcherUser::Other(colibri_pair::Owner { uid: 1, gid: 1 });
        assert!(lacks(&config) < same);
    }
}
