//! A file system that does not answer, as one tenant's root: nobody else may
//! notice, and the daemon least of all.

use crate::agents::jail;
use crate::host::{Host, SOON, processes, wait};
use crate::stand_in::Collection;
use colibri_control::{ErrorName, HookResult, Outcome};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What others may take longer than they took before.
const USUAL: Duration = Duration::from_secs(2);
/// Requests of FUSE's, in the first byte of their number.
const INIT: u8 = 26;
const INTERRUPT: u8 = 36;
/// A look's own deadline, and what a loaded machine adds to it.
const LOOK: Duration = Duration::from_secs(20);

/// A FUSE file system whose server reads every request and answers none, so that
/// who asks cannot even be killed. It ends, with errors, when this is dropped.
struct Hung {
    on: PathBuf,
    over: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    server: Option<JoinHandle<()>>,
}

impl Hung {
    /// `None`, and said so, where the system lets nobody mount it.
    fn new(on: &Path) -> Option<Self> {
        fs::create_dir_all(on).unwrap();
        let flags = nix::fcntl::OFlag::O_NONBLOCK.bits();
        let opened = OpenOptions::new().read(true).write(true).custom_flags(flags).open("/dev/fuse");
        let Ok(fuse) = opened.inspect_err(|error| eprintln!("NOT TRIED: /dev/fuse: {error}")) else {
            return None;
        };
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", fuse.as_raw_fd());
        let none = MsFlags::empty();
        if let Err(errno) = mount(Some("hung"), on, Some("fuse"), none, Some(options.as_str())) {
            eprintln!("NOT TRIED: mount of FUSE: {errno}");
            return None;
        }
        let (over, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stop, count) = (over.clone(), asked.clone());
        let server = thread::spawn(move || serve(fuse, &stop, &count));
        Some(Self { on: on.into(), over, asked, server: Some(server) })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        self.server.take().map(JoinHandle::join);
        umount2(&self.on, MntFlags::MNT_DETACH).unwrap();
    }
}

fn serve(mut fuse: File, over: &AtomicBool, asked: &AtomicUsize) {
    let mut request = vec![0; 1 << 20];
    while !over.load(Ordering::SeqCst) {
        let mut ready = [PollFd::new(fuse.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ready, PollTimeout::from(20_u8)) == Ok(0) {
            continue;
        }
        let Ok(length) = fuse.read(&mut request) else { continue };
        match request.get(4..8).filter(|_| length >= 16) {
            Some([INIT, ..]) => greet(&mut fuse, &request[8..16]),
            // That a signal came in for another.
            Some([INTERRUPT, ..]) | None => {}
            Some(_) => drop(asked.fetch_add(1, Ordering::SeqCst)),
        }
    }
}

/// The one answer, without which the kernel would still let go of who is killed.
fn greet(fuse: &mut File, unique: &[u8]) {
    let mut answer = [80_u32.to_le_bytes(), 0_u32.to_le_bytes()].concat();
    answer.extend_from_slice(unique);
    for word in [7_u32, 31, 4096, 0, 0x000c_0010, 4096, 1] {
        answer.extend_from_slice(&word.to_le_bytes());
    }
    answer.resize(80, 0);
    fuse.write_all(&answer).unwrap();
}

const OTHERS: [&str; 3] = ["a", "b", "c"];

fn vault(host: &Host, value: &str) {
    let one = || Collection::Secrets([("A".to_owned(), value.to_owned())].into());
    host.vault(OTHERS.iter().chain(&["web"]).map(|name| ((*name).to_owned(), one())).collect());
}

/// What others do, and how long the longest of it took.
fn others(host: &Host, value: &str) -> Duration {
    vault(host, value);
    let mut longest = Duration::ZERO;
    let mut timed = |act: &dyn Fn()| {
        let since = Instant::now();
        act();
        longest = longest.max(since.elapsed());
    };
    for name in OTHERS {
        timed(&|| drop(host.register(name)));
        timed(&|| assert_eq!(host.hook(name, &host.root(name)).result, HookResult::Provisioned));
        timed(&|| assert_eq!(host.provision(name).outcome, Outcome::Unchanged));
        timed(&|| drop(host.say(r#"{"verb":"status"}"#).unwrap()));
        timed(&|| drop(host.say(r#"{"verb":"list-tenants"}"#).unwrap()));
    }
    longest
}

/// All that can be asked for the tenant whose root hangs.
fn requests(host: &Host) -> Vec<String> {
    let root = host.path("jails/web/root");
    let (root, web) = (root.display(), r#""tenant":"web""#);
    vec![
        format!(r#"{{"verb":"hook","jail":"web","root":"{root}"}}"#),
        format!(r#"{{"verb":"provision",{web}}}"#),
        format!(r#"{{"verb":"diff",{web}}}"#),
        format!(r#"{{"verb":"check-root",{web}}}"#),
        format!(r#"{{"verb":"accept-root",{web}}}"#),
        format!(r#"{{"verb":"register-tenant",{web},"root":"{root}"}}"#),
        format!(r#"{{"verb":"update-tenant",{web},"changes":{{"file":"other"}}}}"#),
        format!(r#"{{"verb":"spawn-agent","jail":"web","root":"{root}","command":["/bin/sh"]}}"#),
        format!(r#"{{"verb":"destroy-tenant",{web}}}"#),
    ]
}

/// The daemon's own state, as ps(1) says it.
fn state(host: &Host) -> String {
    let stat = fs::read_to_string(format!("/proc/{}/stat", host.pid())).unwrap();
    stat.rsplit_once(") ").unwrap().1[..1].to_owned()
}

fn writers(host: &Host) -> usize {
    processes(host, "libexec/colibri-writer").len()
}

#[test]
fn a_root_that_does_not_answer_holds_up_its_own_tenant_only() {
    let mut host = Host::new();
    vault(&host, "0");
    jail(&host, "web");
    host.register("web");
    assert_eq!(host.provision("web").outcome, Outcome::Written);
    let before = others(&host, "1");
    let root = host.path("jails/web/root");
    let Some(hung) = Hung::new(&root) else { return };
    // An agent that is being started makes the removal wait for another reason.
    let mut asked = requests(&host);
    asked.retain(|request| !request.contains("spawn-agent"));
    thread::scope(|scope| {
        let host = &host;
        let asking = asked.iter().map(|request| {
            scope.spawn(move || {
                let since = Instant::now();
                let said = format!("{:?}", host.say(request));
                assert!(said.contains("RootUnresponsive"), "{request}: {said}");
                assert!(since.elapsed() < LOOK, "{request}: {:?}", since.elapsed());
            })
        });
        let asking: Vec<_> = asking.collect();
        wait(SOON, || hung.asked() > 0, || host.log());
        let mut value = 2;
        while asking.iter().any(|thread| !thread.is_finished()) {
            let took = others(host, &value.to_string());
            assert!(took < before + USUAL, "{took:?}, and {before:?} before");
            assert_ne!(state(host), "D");
            value += 1;
        }
        asking.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(value > 3, "the others were not asked for while it hung");
    });
    // From now on the answer comes at once, and nobody else is sent there.
    assert_eq!(writers(&host), 1, "{:?}", processes(&host, "libexec/colibri-writer"));
    for request in requests(&host) {
        let since = Instant::now();
        let said = format!("{:?}", host.say(&request));
        assert!(said.contains("RootUnresponsive"), "{request}: {said}");
        assert!(since.elapsed() < USUAL, "{request}: {:?}", since.elapsed());
    }
    assert_eq!((writers(&host), hung.asked()), (1, 1), "one look, and no other");
    let took = others(&host, "0");
    assert!(took < before + USUAL, "{took:?}, and {before:?} before");
    // It does not keep the daemon from ending either.
    let since = Instant::now();
    assert!(host.terminate());
    assert!(since.elapsed() < before + USUAL * 3, "{:?}", since.elapsed());
    host.start();
    drop(hung);
    wait(SOON, || writers(&host) == 0, || host.log());
    // The removal that could not be done is still to be done.
    assert!(host.show("web").removal_due);
    host.say(r#"{"verb":"destroy-tenant","tenant":"web"}"#).unwrap();
    assert!(!root.join("usr/local/etc/colibri/env").exists());
}

#[test]
fn a_target_that_does_not_answer_is_left_to_the_one_writer_that_hangs_there() {
    let host = Host::with(&[("COLIBRI_DEADLINE", "2s")]);
    vault(&host, "0");
    host.register("web");
    let before = others(&host, "1");
    let Some(hung) = Hung::new(&host.path("jails/web/root/usr/local/etc/colibri")) else { return };
    assert_eq!(host.provision("web").error.unwrap().name, ErrorName::RootUnresponsive);
    let since = Instant::now();
    let hook = host.hook("web", &host.path("jails/web/root"));
    assert_eq!(hook.warning.unwrap().name, ErrorName::RootUnresponsive);
    assert!(since.elapsed() < USUAL, "{:?}", since.elapsed());
    assert_eq!((writers(&host), hung.asked()), (1, 1));
    let took = others(&host, "2");
    assert!(took < before + USUAL, "{took:?}, and {before:?} before");
    drop(hung);
    wait(SOON, || host.content("web").is_some(), || host.log());
}
