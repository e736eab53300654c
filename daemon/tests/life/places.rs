//! What root in a jail may put where the file or its directory is to be, by a hostile
//! program in a real agent that owns the whole way down, while the daemon brings secrets,
//! compares and removes. It is this test program, started anew.

use crate::agents::{agent, install, jail, output, spawn};
use crate::host::{Host, SOON, wait};
use colibri_control::{AgentState, Outcome};
use colibri_tenant::ErrorName;
use colibri_test_host::skip;
use nix::fcntl::{AT_FDCWD, OFlag, RenameFlags, renameat2};
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{geteuid, mkfifo};
use rustix::fs::{IFlags, XattrFlags, ioctl_getflags, ioctl_setflags, setxattr};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Error, Result};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// In the jail.
const DIR: &str = "/usr/local/etc/colibri";
const AWAY: &str = "/usr/local/etc/away";
/// What the program is to do next, as `NUMBER ACT`.
const ORDER: &str = "/order";
/// A directory of the host, by its path there.
const OUTSIDE: &str = "OUTSIDE";
/// What lies there: neither read nor written.
const DECOY: &str = "DECOY=of-the-host\n";

#[test]
#[ignore = "the hostile program of the other tests"]
fn program() {
    let outside = std::env::var(OUTSIDE).unwrap();
    let mut last = String::new();
    loop {
        let order = fs::read_to_string(ORDER).unwrap_or_default();
        if order != last
            && let Some((number, act)) = order.split_once(' ')
        {
            println!(
                "\nacted {number} {:?}",
                acted(act, Path::new(&outside)).map_err(|error| error.to_string())
            );
            last.clone_from(&order);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn acted(act: &str, outside: &Path) -> Result<()> {
    let file = &Path::new(DIR).join("env");
    let errno = |tried: nix::Result<()>| tried.map_err(Error::from);
    match act.strip_prefix("dir ") {
        Some(act) => {
            fs::rename(DIR, AWAY)?;
            return put(Path::new(DIR), act, outside);
        }
        None if act == "swap" => return swap(outside),
        None => {}
    }
    match act {
        "hard link" => fs::hard_link(file, Path::new(DIR).join("kept")),
        "default acl" => {
            fs::set_permissions(DIR, Permissions::from_mode(0o755))?;
            // Everything for the owner, the group and all others, of whatever is made.
            let entries = [1_u16, 4, 32]
                .iter()
                .flat_map(|tag| [tag.to_le_bytes(), [7, 0], [0xff; 2], [0xff; 2]].concat());
            let acl: Vec<u8> = 2_u32.to_le_bytes().into_iter().chain(entries).collect();
            setxattr(DIR, "system.posix_acl_default", &acl, XattrFlags::empty())?;
            fs::remove_file(file)
        }
        "immutable" => flag(file, IFlags::IMMUTABLE),
        "append only" => flag(Path::new(DIR), IFlags::APPEND),
        "bind mount" => errno(mount(Some("/dev"), DIR, None::<&str>, MsFlags::MS_BIND, None::<&str>)),
        "back" => {
            let _whatever_it_is = fs::remove_file(DIR).or_else(|_| fs::remove_dir_all(DIR));
            fs::rename(AWAY, DIR)
        }
        "empty" => {
            fs::remove_dir_all(DIR)?;
            fs::create_dir(DIR)?;
            fs::set_permissions(DIR, Permissions::from_mode(0o700))
        }
        _ => {
            fs::remove_file(file)?;
            put(file, act, outside)
        }
    }
}

/// Puts something at a name that is free.
fn put(at: &Path, kind: &str, outside: &Path) -> Result<()> {
    let errno = |made: nix::Result<()>| made.map_err(Error::from);
    match kind {
        "fifo" => errno(mkfifo(at, Mode::S_IRWXU)),
        "socket" => UnixListener::bind(at).map(drop),
        "device" => errno(mknod(at, SFlag::S_IFCHR, Mode::S_IRWXU, makedev(1, 5))),
        "file" => fs::write(at, "of the jail's root"),
        "directory" => fs::create_dir(at).and_then(|()| fs::write(at.join("x"), "of the jail's root")),
        "link" => symlink(outside.join("env"), at),
        "link out" => symlink(outside, at),
        "nothing" => Ok(()),
        other => Err(Error::other(format!("no such act: {other}"))),
    }
}

fn flag(path: &Path, flag: IFlags) -> Result<()> {
    let file = File::open(path)?;
    Ok(ioctl_setflags(&file, ioctl_getflags(&file)? | flag)?)
}

/// Directory and link change places, for two seconds.
fn swap(outside: &Path) -> Result<()> {
    symlink(outside, AWAY)?;
    let end = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end {
        for _ in 0..2 {
            renameat2(AT_FDCWD, AWAY, AT_FDCWD, DIR, RenameFlags::RENAME_EXCHANGE)?;
        }
    }
    fs::remove_file(AWAY)
}

/// A jail whose root owns the way down, and its hostile program.
struct Trial {
    host: Host,
    acts: u32,
}

impl Trial {
    fn new() -> Self {
        let host = Host::new();
        jail(&host, "web");
        let root = host.root("web");
        install(&root, std::env::current_exe().unwrap().to_str().unwrap(), "hostile");
        let outside = host.path("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("env"), DECOY).unwrap();
        fs::set_permissions(outside.join("env"), Permissions::from_mode(0o600)).unwrap();
        host.secrets("web", &[("A", "0")]);
        host.register("web");
        fs::write(root.join(&ORDER[1..]), "").unwrap();
        fs::set_permissions(root.join(&ORDER[1..]), Permissions::from_mode(0o644)).unwrap();
        let script = format!(
            "{OUTSIDE}='{}' exec /hostile --ignored --exact places::program --nocapture",
            outside.display()
        );
        spawn(&host, "web", &script);
        for dir in ["usr", "usr/local", "usr/local/etc"] {
            chown(root.join(dir), Some(host.users), Some(host.users)).unwrap();
        }
        Self { host, acts: 0 }
    }

    /// What came of it.
    fn act(&mut self, act: &str) -> String {
        self.acts += 1;
        let told = format!("acted {} ", self.acts);
        let new = self.host.path("order");
        fs::write(&new, format!("{} {act}", self.acts)).unwrap();
        fs::set_permissions(&new, Permissions::from_mode(0o644)).unwrap();
        fs::rename(new, self.host.root("web").join(&ORDER[1..])).unwrap();
        let said =
            || output(&self.host, "web").lines().find_map(|line| line.strip_prefix(&told).map(str::to_owned));
        wait(SOON, || said().is_some(), || output(&self.host, "web"));
        said().unwrap()
    }

    fn done(&mut self, act: &str) {
        assert_eq!(self.act(act), "Ok(())", "{act}");
    }

    /// Another value is brought, or is not.
    fn bring(&self) -> (Outcome, String) {
        let value = format!("value-{}", self.acts);
        self.host.secrets("web", &[("A", &value)]);
        let began = Instant::now();
        let outcome = self.host.provision("web").outcome;
        assert!(began.elapsed() < Duration::from_secs(60), "it waited");
        (outcome, value)
    }

    /// It is whole, the jail's alone, and where it belongs.
    fn arrived(&self, act: &str) {
        let (outcome, value) = self.bring();
        assert_eq!(outcome, Outcome::Written, "{act}: {}", self.host.log());
        let found = fs::symlink_metadata(self.host.file("web")).unwrap();
        assert!(found.is_file(), "{act}");
        assert_eq!((found.mode() & 0o7777, found.uid(), found.nlink()), (0o600, self.host.users, 1), "{act}");
        assert!(self.host.content("web").unwrap().ends_with(&format!("A={value}\n")), "{act}");
        self.untouched(act);
    }

    /// No secret is anywhere, and what to do is said.
    fn refused(&self, act: &str) {
        let (outcome, value) = self.bring();
        assert_eq!(outcome, Outcome::Failed, "{act}");
        let error = self.host.show("web").last_error.unwrap();
        assert_eq!(error.name, ErrorName::WriteFailed, "{act}: {error}");
        assert!(!error.advice.is_empty(), "{act}");
        let mut grep = Command::new("grep");
        let found = grep.args(["-rlsD", "skip", &value]).arg(self.host.root("web")).output().unwrap();
        assert_eq!(String::from_utf8(found.stdout).unwrap(), "", "{act}");
        self.untouched(act);
    }

    fn untouched(&self, act: &str) {
        let outside = self.host.path("outside");
        assert_eq!(fs::read_to_string(outside.join("env")).unwrap(), DECOY, "{act}");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1, "{act}");
    }

    fn others_can_read(path: &Path) -> bool {
        let output = nix::unistd::geteuid().is_root().then(|| {
            use std::os::unix::process::CommandExt;
            Command::new("/bin/cat").arg(path).uid(65534).gid(65534).output().unwrap()
        });
        output.is_some_and(|output| output.status.success())
    }
}

#[test]
fn whatever_is_in_the_file_s_place_becomes_the_file_or_an_error_by_name() {
    if !geteuid().is_root() {
        return skip("only root gives an agent a user of its own");
    }
    let mut trial = Trial::new();
    for act in ["fifo", "socket", "link", "link out", "file", "hard link", "nothing"] {
        trial.done(act);
        trial.arrived(act);
    }
    // The control: who opens the name waits, or writes where it leads.
    trial.done("fifo");
    let file = trial.host.file("web");
    let waits =
        OpenOptions::new().write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&file).unwrap_err();
    assert_eq!(waits.raw_os_error(), Some(nix::libc::ENXIO));
    trial.done("link");
    assert_eq!(fs::read_to_string(&file).unwrap(), DECOY);
    trial.done("directory");
    trial.refused("directory");
    trial.done("empty");
    trial.arrived("empty");
    // What it may not do at all.
    for act in ["immutable", "append only", "bind mount"] {
        assert!(trial.act(act).contains("Operation not permitted"), "{act}");
        trial.arrived(act);
    }
    assert!(trial.act("device").contains("Operation not permitted"));
    trial.arrived("device");
}

#[test]
fn whatever_is_in_the_directory_s_place_gets_no_secret() {
    if !geteuid().is_root() {
        return skip("only root gives an agent a user of its own");
    }
    let mut trial = Trial::new();
    for act in ["dir fifo", "dir socket", "dir file", "dir link out"] {
        trial.done(act);
        trial.refused(act);
        let compared = trial.host.diff("web");
        assert!(!format!("{compared:?}").contains("DECOY"), "{act}: {compared:?}");
        trial.done("back");
        trial.arrived(act);
    }
    trial.done("dir nothing");
    trial.arrived("dir nothing");
    // The control: who follows the link is outside.
    trial.done("empty");
    trial.arrived("empty");
    let dir = trial.host.file("web").parent().unwrap().to_owned();
    fs::rename(&dir, dir.with_file_name("aside")).unwrap();
    symlink(trial.host.path("outside"), &dir).unwrap();
    assert_eq!(fs::read_to_string(trial.host.file("web")).unwrap(), DECOY);
    // A removal that finds no file of ours there is not one that is done.
    let failure = trial.host.say(r#"{"verb":"destroy-tenant","tenant":"web"}"#).unwrap_err();
    assert_eq!(failure.name, ErrorName::WriteFailed, "{failure}");
    trial.untouched("destroyed");
    assert_eq!(agent(&trial.host, "web").state, AgentState::Stopped);
}

/// A directory's default list of rights is for whatever is made in it.
#[test]
fn a_default_acl_opens_the_file_to_nobody() {
    if !geteuid().is_root() {
        return skip("only root gives an agent a user of its own");
    }
    let mut trial = Trial::new();
    let acted = trial.act("default acl");
    if acted.contains("not supported") {
        return skip("this file system has no lists of rights");
    }
    assert_eq!(acted, "Ok(())");
    trial.arrived("default acl");
    let file = trial.host.file("web");
    for dir in file.ancestors().skip(1).take_while(|dir| dir.starts_with(trial.host.path(""))) {
        let mode = fs::metadata(dir).unwrap().mode();
        fs::set_permissions(dir, Permissions::from_mode(mode & 0o7777 | 0o011)).unwrap();
    }
    assert!(!Trial::others_can_read(&file));
    // The control: a file that is made with 0644 there is everybody's.
    let other = file.with_file_name("other");
    fs::write(&other, "").unwrap();
    assert!(Trial::others_can_read(&other));
}

/// Nothing that only looks follows what is swapped under it.
#[test]
fn who_looks_while_the_directory_is_swapped_sees_nothing_outside() {
    if !geteuid().is_root() {
        return skip("only root gives an agent a user of its own");
    }
    let mut trial = Trial::new();
    trial.arrived("before");
    let (socket, page) = (trial.host.socket(), trial.host.path("page.html"));
    let program = colibri_test_host::program("colibri").unwrap();
    let run = move |words: &[&str]| {
        let output = Command::new(&program).args(words).env("COLIBRI_SOCKET", &socket).output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let swapping = std::thread::scope(|scope| {
        let host = trial.host.socket();
        let looks = scope.spawn(move || {
            let mut seen = String::new();
            let end = Instant::now() + Duration::from_secs(3);
            while Instant::now() < end {
                seen += &run(&["diff", "web"]);
                seen += &run(&["provision", "web"]);
                seen += &run(&["doctor"]);
                seen += &run(&["report", "--html", page.to_str().unwrap()]);
                seen += &fs::read_to_string(&page).unwrap_or_default();
            }
            seen
        });
        assert!(host.exists());
        let swapped = trial.act("swap");
        (swapped, looks.join().unwrap())
    });
    let (swapped, seen) = swapping;
    assert_eq!(swapped, "Ok(())");
    assert!(seen.contains("without following a link"), "none of them met the link: {seen}");
    assert!(!seen.contains("DECOY") && !seen.contains("of-the-host"), "{seen}");
    trial.untouched("swap");
    trial.arrived("swap");
}

/// The longest name that there is, and what is made beside it.
#[test]
fn a_name_of_255_bytes_is_brought_compared_and_removed() {
    let host = Host::new();
    let long = "n".repeat(255);
    host.secrets("web", &[("A", "1")]);
    host.register_with("web", &format!(r#"{{"dir":"run","file":"{long}"}}"#));
    assert_eq!(host.provision("web").outcome, Outcome::Written);
    assert!(host.diff("web").is_ok());
    let file = host.root("web").join("run").join(&long);
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o600);
    host.say(r#"{"verb":"destroy-tenant","tenant":"web"}"#).unwrap();
    assert!(!file.exists());
}
