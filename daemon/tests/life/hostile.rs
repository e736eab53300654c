//! A program that root in a jail would run: it tries to get out of its
//! container, at others and at its own log. What is global to the machine it
//! opens for writing and never writes. It is this test program, started anew.

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::ptrace;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::kill;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{Pid, sethostname};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Error, Result};
use std::net::TcpStream;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The environment variable with what there is to be had.
pub const PLAN: &str = "HOSTILE_PLAN";
/// So many threads it tries to have.
pub const THREADS: usize = 200;
/// Its directory: the one that is its own.
pub const OWN: &str = "/usr/local/etc/colibri";

/// What there is to be had.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Plan {
    /// A process of the host.
    pub victim: i32,
    /// A secret of another tenant.
    pub file: String,
    /// A Unix socket of the host.
    pub socket: String,
    /// The same without a path.
    pub name: String,
    /// A port of the host's loopback.
    pub port: u16,
}

#[test]
#[ignore = "the hostile program of the other tests"]
fn program() {
    let plan: Plan = serde_json::from_str(&std::env::var(PLAN).unwrap()).unwrap();
    for (name, tried) in attempts(&plan) {
        // Of tries at the log, what is printed after them shows whether it is whole.
        match tried {
            Ok(()) => println!("\ntried {name}: succeeded"),
            Err(error) => println!("\ntried {name}: {error}"),
        }
    }
    println!("\nthreads {}", threads());
    println!("\nthat is all");
    std::thread::sleep(Duration::from_secs(1000));
}

type Attempt = (&'static str, Result<()>);

fn attempts(plan: &Plan) -> Vec<Attempt> {
    let victim = Pid::from_raw(plan.victim);
    let open = |path: &str| OpenOptions::new().write(true).open(path).map(drop);
    let errno = |tried: nix::Result<()>| tried.map_err(Error::from);
    let device = || mknod("/usr/local/etc/colibri/device", SFlag::S_IFCHR, Mode::S_IRWXU, makedev(1, 1));
    let output = || OpenOptions::new().write(true).truncate(true).open("/proc/self/fd/1").map(drop);
    let name = || SocketAddr::from_abstract_name(plan.name.as_bytes());
    vec![
        ("raise its limit", errno(setrlimit(Resource::RLIMIT_NPROC, 1 << 16, 1 << 16))),
        ("have a directory of the host open", open_directory()),
        ("see a process of the host", File::open(format!("/proc/{victim}/stat")).map(drop)),
        ("signal a process of the host", errno(kill(victim, None))),
        ("trace a process of the host", errno(ptrace::attach(victim))),
        ("read another's secret", File::open(&plan.file).map(drop)),
        ("connect to a socket by its path", UnixStream::connect(&plan.socket).map(drop)),
        ("connect to a socket by its name", name().and_then(|at| UnixStream::connect_addr(&at)).map(drop)),
        ("connect to the host's loopback", TcpStream::connect(("127.0.0.1", plan.port)).map(drop)),
        ("make a setuid program", setuid_program()),
        ("make a device", errno(device())),
        ("change the host's name", errno(sethostname("hostile"))),
        ("uncover", uncover()),
        ("write core_pattern", open("/proc/sys/kernel/core_pattern")),
        ("read the kernel's memory", read_memory()),
        ("have a user namespace", user_namespace()),
        ("empty its log", output()),
        ("make its log setuid", fs::set_permissions("/proc/self/fd/1", Permissions::from_mode(0o4755))),
        ("mount", errno(mount(None::<&str>, OWN, Some("tmpfs"), MsFlags::empty(), None::<&str>))),
    ]
}

/// That bubblewrap, or what started it, has left open.
fn open_directory() -> Result<()> {
    let own = fs::read_dir("/proc/self/fd")?.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let left = own.filter(|to| to.is_dir() && !to.starts_with("/proc")).count();
    if left > 0 { Ok(()) } else { Err(Error::other("there is none")) }
}

/// As a user of the host could run it later.
fn setuid_program() -> Result<()> {
    fs::set_permissions(OWN, Permissions::from_mode(0o755))?;
    let program = Path::new(OWN).join("cat");
    fs::copy("/bin/cat", &program)?;
    fs::set_permissions(program, Permissions::from_mode(0o4755))
}

/// By a program, since the kernel makes none for threads.
fn user_namespace() -> Result<()> {
    let made = Command::new("/unshare").args(["--user", "/bin/sleep", "0"]).output()?;
    let said = String::from_utf8_lossy(&made.stderr);
    if made.status.success() { Ok(()) } else { Err(Error::other(said.trim().to_owned())) }
}

/// Everything that was put over the kernel's files.
fn uncover() -> Result<()> {
    umount2("/proc/sys", MntFlags::MNT_DETACH)?;
    while umount2("/proc/sys", MntFlags::MNT_DETACH).is_ok() {}
    Ok(())
}

/// Where this kernel shows it at all: what covers it is no memory.
fn read_memory() -> Result<()> {
    let mut byte = [0];
    std::io::Read::read_exact(&mut File::open("/proc/kcore")?, &mut byte)
}

fn threads() -> usize {
    let wait = || std::thread::sleep(Duration::from_secs(1000));
    (0..THREADS).take_while(|_| std::thread::Builder::new().stack_size(64 << 10).spawn(wait).is_ok()).count()
}

/// What it says in its log, and how many threads it had, once that is all.
pub fn outcomes(output: &str) -> Option<(BTreeMap<String, String>, usize)> {
    output.contains("that is all").then_some(())?;
    let tried = output.lines().filter_map(|line| line.strip_prefix("tried ")?.split_once(": "));
    let threads = output.lines().find_map(|line| line.strip_prefix("threads ")?.parse().ok())?;
    Some((tried.map(|(name, outcome)| (name.to_owned(), outcome.to_owned())).collect(), threads))
}
