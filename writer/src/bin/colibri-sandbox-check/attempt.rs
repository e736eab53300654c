//! What the sandbox must forbid, one row an attempt: how it ends on Linux, how
//! on FreeBSD, and what is done. FreeBSD's column follows measurements with
//! capability mode; `done` there means that it leads nowhere by itself.

use crate::place::Owners;
use crate::rows::{Row, Rows};
use crate::trial::{self, Outcome, Sandbox};
use colibri_pair::Format;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, open, openat, renameat};
use nix::sys::ptrace::traceme;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::{FchmodatFlags, Mode, SFlag, fchmodat, mkdirat, mknod};
use nix::unistd::{
    Pid, Uid, UnlinkatFlags, chroot, execv, fchdir, fchownat, geteuid, linkat, setuid, symlinkat, truncate,
    unlinkat, write,
};
use std::fs::File;
use std::io;
use std::net::{TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;

#[cfg_attr(target_os = "freebsd", path = "attempt/freebsd.rs")]
#[cfg_attr(target_os = "linux", path = "attempt/linux.rs")]
mod platform;

/// What an attempt has to work with.
#[derive(Debug)]
pub struct Held<'a> {
    /// The writer's one directory.
    pub dir: &'a OwnedFd,
    /// The path of a file outside.
    pub outside: PathBuf,
    /// Another process.
    pub parent: Pid,
}

/// One row.
struct Attempt {
    what: &'static str,
    /// Its ends on Linux and on FreeBSD, `|` between those that may be.
    expected: [&'static str; 2],
    run: fn(&Held<'_>) -> io::Result<()>,
}

const fn row(
    what: &'static str,
    linux: &'static str,
    freebsd: &'static str,
    run: fn(&Held<'_>) -> io::Result<()>,
) -> Attempt {
    Attempt { what, expected: [linux, freebsd], run }
}

const PATH: &str = "/etc/passwd";
const MODE: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);
const READ: OFlag = OFlag::O_RDONLY;
const CREATE: OFlag = OFlag::O_WRONLY.union(OFlag::O_CREAT).union(OFlag::O_EXCL);
const FILE: UnlinkatFlags = UnlinkatFlags::NoRemoveDir;

/// All attempts. On Linux a call that is not on the list ends the process with
/// SIGSYS; one that is gets an error when it reaches out of the directory.
const ATTEMPTS: &[Attempt] = &[
    row("open /etc/passwd", "SIGSYS", "ECAPMODE", |_| done(open(PATH, READ, MODE))),
    row("open /etc/passwd past the directory", "EACCES", "ENOTCAPABLE", |held| {
        done(openat(held.dir, PATH, READ, MODE))
    }),
    row("open ../beside", "EACCES", "ENOTCAPABLE", |held| done(openat(held.dir, "../beside", READ, MODE))),
    row("open a symlink to an absolute path", "EACCES", "ENOTCAPABLE", |held| {
        done(openat(held.dir, "absolute", READ, MODE))
    }),
    row("open a symlink to ../beside", "EACCES", "ENOTCAPABLE", |held| {
        done(openat(held.dir, "climbing", READ, MODE))
    }),
    row("create ../new", "EACCES", "ENOTCAPABLE", |held| done(openat(held.dir, "../new", CREATE, MODE))),
    row("truncate ../beside", "EACCES", "ENOTCAPABLE", |held| {
        done(openat(held.dir, "../beside", OFlag::O_WRONLY | OFlag::O_TRUNC, MODE))
    }),
    row("read /proc/1 past the directory", "EACCES", "ENOTCAPABLE", |held| {
        done(openat(held.dir, "/proc/1/status", READ, MODE))
    }),
    row("unlink ../beside", "EACCES", "ENOTCAPABLE", |held| done(unlinkat(held.dir, "../beside", FILE))),
    row("unlink by an absolute path", "SIGSYS", "ECAPMODE", |held| {
        done(unlinkat(AT_FDCWD, &held.outside, FILE))
    }),
    row("rename a file to ../new", "EXDEV|EACCES", "ENOTCAPABLE", |held| {
        done(renameat(held.dir, "own", held.dir, "../new"))
    }),
    row("link a file to ../new", "SIGSYS", "ENOTCAPABLE", |held| {
        done(linkat(held.dir, "own", held.dir, "../new", AtFlags::empty()))
    }),
    row("link a file from ../beside", "SIGSYS", "ENOTCAPABLE", |held| {
        done(linkat(held.dir, "../beside", held.dir, "new", AtFlags::empty()))
    }),
    row("make a symlink", "SIGSYS", "ENOTCAPABLE", |held| done(symlinkat(PATH, held.dir, "new"))),
    row("make a directory", "SIGSYS", "ENOTCAPABLE", |held| done(mkdirat(held.dir, "new", MODE))),
    row("make a directory ../new", "SIGSYS", "ENOTCAPABLE", |held| done(mkdirat(held.dir, "../new", MODE))),
    row("make a FIFO outside", "SIGSYS", "ECAPMODE", |held| {
        done(mknod(&held.outside.with_extension("new"), SFlag::S_IFIFO, MODE, 0))
    }),
    row("loosen the mode of a file", "SIGSYS", "ENOTCAPABLE", |held| {
        done(fchmodat(held.dir, "own", Mode::from_bits_truncate(0o644), FchmodatFlags::FollowSymlink))
    }),
    row("give ../beside away", "SIGSYS", "ENOTCAPABLE", |held| {
        done(fchownat(held.dir, "../beside", Some(geteuid()), None, AtFlags::empty()))
    }),
    row("truncate a file outside", "SIGSYS", "ECAPMODE", |held| done(truncate(&held.outside, 0))),
    row("make a socket", "SIGSYS", "done", |_| UnixDatagram::unbound().map(drop)),
    row("bind a port", "SIGSYS", "ECAPMODE", |_| UdpSocket::bind(("127.0.0.1", 0)).map(drop)),
    row("connect", "SIGSYS", "ECAPMODE", |_| TcpStream::connect(("127.0.0.1", 1)).map(drop)),
    row("execute a program", "SIGSYS", "ECAPMODE", |_| done(execv(c"/bin/sh", &[c"sh", c"-c", c":"]))),
    row("start a process", "SIGSYS", "ECAPMODE|EAGAIN", |_| {
        Command::new("/bin/sh").args(["-c", ":"]).status().map(drop)
    }),
    row("start a thread", "SIGSYS", "done", |_| {
        std::thread::Builder::new().spawn(|| ()).map(|thread| drop(thread.join()))
    }),
    row("be traced", "SIGSYS", "ECAPMODE", |_| done(traceme())),
    row("signal another process", "SIGSYS", "ECAPMODE", |held| done(kill(held.parent, None::<Signal>))),
    row("mount", "SIGSYS", "ECAPMODE", |held| done(platform::mount(&held.outside))),
    row("change the working directory", "SIGSYS", "ECAPMODE", |held| done(fchdir(held.dir))),
    row("change the root", "SIGSYS", "ECAPMODE", |_| done(chroot("/"))),
    row("become root", "SIGSYS", "done|EPERM", |_| done(setuid(Uid::from_raw(0)))),
    row("raise a limit", "SIGSYS", "done|EPERM", |_| done(setrlimit(Resource::RLIMIT_NOFILE, 64, 64))),
    row("take 1 GiB of memory", "ENOMEM", "ENOMEM", |_| {
        let mut memory = Vec::<u8>::new();
        let taken = memory.try_reserve_exact(1 << 30);
        // Else the compiler may leave it out.
        std::hint::black_box(memory);
        taken.map_err(|_| Errno::ENOMEM.into())
    }),
    row("hold 64 descriptors", "EMFILE", "EMFILE", |held| {
        let all: Result<Vec<_>, _> = (0..64).map(|_| openat(held.dir, "own", READ, MODE)).collect();
        done(all)
    }),
    row("write a file of 16 MiB", "SIGXFSZ|EFBIG", "SIGXFSZ|EFBIG", large),
];

fn large(held: &Held<'_>) -> io::Result<()> {
    let file = File::from(openat(held.dir, "large", CREATE, MODE)?);
    for _ in 0..256 {
        write(file.as_fd(), &[0; 64 * 1024])?;
    }
    Ok(())
}

fn done<T>(result: nix::Result<T>) -> io::Result<()> {
    Ok(result.map(drop)?)
}

/// Makes that attempt, and says how it ended.
pub fn run(what: &str, held: &Held<'_>) -> String {
    let Some(attempt) = ATTEMPTS.iter().find(|attempt| attempt.what == what) else {
        return "no such attempt".into();
    };
    match (attempt.run)(held) {
        Ok(()) => "done".into(),
        Err(error) => error
            .raw_os_error()
            .map_or_else(|| error.to_string(), |number| format!("{:?}", Errno::from_raw(number))),
    }
}

/// Makes all of them in that sandbox; false as soon as one is not as expected.
pub fn table(owners: Owners, sandbox: Sandbox, rows: &mut Rows) -> io::Result<bool> {
    for attempt in ATTEMPTS {
        let expected = attempt.expected[platform::COLUMN];
        let got = trial::make(owners, Format::Env, sandbox, attempt.what)?;
        let without = trial::make(owners, Format::Env, Sandbox::None, attempt.what)?;
        let row = Row {
            what: attempt.what,
            expected,
            got: &got.word,
            without: Some(&without.word),
            note: platform::note(attempt.what),
            held: held(expected, &got, &without),
        };
        if !rows.row(&row)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// As expected; and what the sandbox forbids ends otherwise without it, or the
/// attempt would prove nothing.
fn held(expected: &str, got: &Outcome, without: &Outcome) -> bool {
    let harmless = expected.split('|').any(|word| word == "done");
    got.untouched
        && expected.split('|').any(|word| word == got.word)
        && (harmless || without.word != got.word)
}
