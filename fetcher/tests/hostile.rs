//! A fetcher that is taken over after it was confined, and what it tries to get
//! out by; and a `bw` that takes what it can get. The same code is run without
//! confinement, where it succeeds.
#![cfg(target_os = "linux")]

#[cfg(test)]
#[path = "support/driver.rs"]
mod driver;
#[cfg(test)]
#[path = "support/prey.rs"]
mod prey;

use colibri_session::{Part, Vault};
use colibri_tenant::ErrorName::BwCrashed;
use driver::{Fetcher, Place, fleet, name, program, request};
use prey::{Prey, attempts, greedy, ungoverned};

const EACCES: i32 = 13;
/// What has to be reached without confinement; the rest is not always there.
const REACHED: [&str; 12] = [
    "tcp to another port",
    "unix socket by path",
    "unix socket without a path",
    "turned socketpair",
    "a socket that lingers",
    "udp",
    "listen",
    "bind",
    "a child",
    "netlink",
    "the host's processes",
    "another's arguments",
];

#[test]
fn a_fetcher_that_is_taken_over_has_tcp_to_the_vault_and_nothing_else() {
    let place = Place::new();
    let vault = fleet(&place);
    let prey = Prey::put(place.path());
    let mut hostile = program(colibri_test_host::program("colibri-fetcher").unwrap());
    hostile.env("LD_PRELOAD", prey.code());
    let mut fetcher = Fetcher::start_by(&place, place.vault(&vault), None, hostile);
    let (done, pairs) = fetcher.fetch(request(1, "jail-0000"));
    assert!(pairs.is_some(), "{done:?}");
    let tried = attempts(&place.log());
    assert!(tried.contains_key("end"), "it was not taken over: {}", place.log());
    for (name, number) in &tried {
        let expected = if name.starts_with("allowed: ") || name == "end" { 0 } else { EACCES };
        assert_eq!(*number, expected, "{name}: {tried:?}");
    }
    assert_eq!(prey.visited(), 0);
    let parts: Vec<_> = fetcher.confined.iter().map(|it| (it.process, it.by.len())).collect();
    assert_eq!(parts, [(Part::Fetcher, 2), (Part::Resolver, 2), (Part::Bw, 2)]);
    assert!(fetcher.close().success());

    let control = prey.control();
    assert_eq!(control.keys().collect::<Vec<_>>(), tried.keys().collect::<Vec<_>>());
    for name in REACHED {
        assert_eq!(control[name], 0, "{name}: {control:?}");
    }
    // Whom the system lets ping, its operator says.
    let refused = control.iter().filter(|(name, number)| **number == EACCES && *name != "ping");
    let refused = refused.collect::<Vec<_>>();
    assert!(refused.is_empty(), "refused without confinement, too: {refused:?}");
    assert_eq!(prey.visited(), 5);
}

/// A kernel of before Linux 6.7 has no rule for ports, and says so by its version.
#[test]
fn what_the_kernel_does_not_enforce_is_said() {
    let place = Place::new();
    let vault = fleet(&place);
    let mut strace = program("strace");
    strace.args(["-qq", "-o", "/dev/null", "-e", "trace=landlock_create_ruleset"]);
    strace.args(["-e", "inject=landlock_create_ruleset:retval=3:when=1"]);
    strace.arg(colibri_test_host::program("colibri-fetcher").unwrap());
    let mut fetcher = Fetcher::start_by(&place, place.vault(&vault), None, strace);
    let (done, _) = fetcher.fetch(request(1, "jail-0000"));
    let own = fetcher.confined.iter().find(|it| it.process == Part::Fetcher).unwrap();
    assert!(own.lacking.iter().any(|what| what.contains("the port")), "{done:?} {own:?}");
    assert!(fetcher.confined.iter().all(|it| it.process == Part::Fetcher || it.lacking.is_empty()));
    let log = place.log();
    let said = log.lines().filter(|line| line.contains("does not enforce all")).count();
    assert_eq!(said, 1, "{log}");
    assert!(fetcher.close().success());
}

#[test]
fn a_bw_that_takes_what_it_can_get_is_bounded() {
    const DISK: &str = "let n = 0;
        try { for (; n < 300; n++) fs.appendFileSync(`${own}/${n % 4}`, Buffer.alloc(1 << 20)); }
        catch (error) { tell(`${n > 200}-${error.code}`); }
        tell('unbounded');";
    const FILE: &str = "process.on('SIGXFSZ', () => {});
        try { fs.truncateSync(fs.openSync(`${own}/x`, 'w') && `${own}/x`, 2 ** 40); }
        catch (error) { tell(error.code); }
        tell('unbounded');";
    const MEMORY: &str = "const held = [];
        try { for (; held.length < 48;) held.push(Buffer.alloc(64 << 20)); }
        catch { tell(held.length > 16); }
        tell('unbounded');";
    const PROCESSES: &str = "let started = 0;
        for (let n = 0; n < 20; n++) {
            try { if (require('child_process').spawn(process.execPath, ['-e', '']).pid) started++; }
            catch {}
        }
        tell(started ? 'unbounded' : 'none');";
    for (takes, told) in [(DISK, "true-ENOSPC"), (FILE, "EFBIG"), (MEMORY, "true"), (PROCESSES, "none")] {
        let place = Place::new();
        let vault = fleet(&place);
        let bw = greedy(&place, takes);
        let mut fetcher = Fetcher::start(&place, Vault { bw: bw.clone(), ..place.vault(&vault) });
        let (done, pairs) = fetcher.fetch(request(1, "jail-0000"));
        assert_eq!((name(&done.outcome), pairs), (BwCrashed, None), "{takes}: {done:?}");
        let log = place.log();
        assert!(log.contains(&format!("tried=look for /told/{told}\n")), "{takes}\n{log}");
        assert!(fetcher.close().success());
        assert_eq!(ungoverned(&place, &bw), "unbounded", "{takes}");
    }
}

#[test]
fn a_bw_that_makes_files_without_end_is_ended_and_named() {
    let place = Place::new();
    let vault = fleet(&place);
    let bw = greedy(&place, "for (let n = 0; ; n++) fs.writeFileSync(`${own}/${n}`, '');");
    let mut fetcher = Fetcher::start(&place, Vault { bw, ..place.vault(&vault) });
    let failure = fetcher.fetch(request(1, "jail-0000")).0.outcome.unwrap_err();
    assert_eq!(failure.name, BwCrashed);
    assert!(failure.message.contains("files, of 10000 at most"), "{failure:?}");
    assert!(fetcher.ended().success(), "by itself: the next session has a new cage");
}
