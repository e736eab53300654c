//! The system calls that are watched, and what each asks for.

use crate::listener::Notice;
use nix::libc::{self, c_long};
use std::ffi::OsString;
use std::io::Result;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// Longest path, in bytes; the kernel's own bound.
const MAX_PATH: usize = 4096;
/// Longest socket address, in bytes: a family, and a path of 108.
const MAX_ADDRESS: usize = 110;

/// Length of a message among several, in bytes: `struct mmsghdr`.
const MESSAGE: u64 = 64;
/// Most messages of one call; the kernel's own bound.
const MAX_MESSAGES: u64 = 1024;
/// Where in a socket's kind no flags are: the kernel's `SOCK_TYPE_MASK`.
pub const KIND: i32 = 0xf;

/// A system call that is watched.
#[derive(Debug)]
pub struct Watched {
    /// Its number here.
    pub number: c_long,
    name: &'static str,
    asks: Asks,
}

/// Where in its arguments it says what it asks for.
#[derive(Clone, Copy, Debug)]
enum Asks {
    Open(Name, Flags),
    Look(Name),
    Change(&'static [Name]),
    /// The first text is what a link says, the second its name.
    Link(usize, Name),
    Run(Name),
    Enter(Name),
    Connect,
    Bind,
    Send,
    Message,
    Messages,
    Socket,
    /// The process is the first argument, and this the signal.
    Signal(usize),
    /// A descriptor of a process.
    Process,
    /// Threads are made with it, which pass, and processes and namespaces.
    Clone,
    /// Nothing that bw has a use for.
    Never,
}

/// A path, and the descriptor that it is relative to, if not the working directory.
#[derive(Clone, Copy, Debug)]
struct Name {
    dir: Option<usize>,
    path: usize,
}

#[derive(Clone, Copy, Debug)]
enum Flags {
    Argument(usize),
    /// In a structure: openat2.
    Structure(usize),
    /// creat.
    Write,
}

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    /// Paths, and what for.
    Files(Use, Vec<Place>),
    /// To reach addresses.
    Reach(Vec<Address>),
    /// To be reached at an address.
    Listen(IpAddr, u16),
    /// A socket of a family and kind that are not the usual ones.
    Socket {
        /// Its address family.
        family: i32,
        /// Its kind, without flags.
        kind: i32,
    },
    /// A signal to a process.
    Signal {
        /// Its number, or 0 and less for groups.
        process: i32,
        /// The signal's number.
        signal: u64,
    },
    /// A call by this name.
    Never(&'static str),
    /// Nothing that matters.
    Nothing,
}

/// What a path is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// To read it.
    Read,
    /// To see whether it is there, and what.
    Look,
    /// To make, change, or remove it.
    Write,
    /// To run it.
    Run,
    /// To go there.
    Enter,
}

/// A path as it was given.
#[derive(Debug, PartialEq, Eq)]
pub struct Place {
    /// The path.
    pub path: PathBuf,
    /// It is relative to a descriptor.
    pub beneath: bool,
}

/// A socket address.
#[derive(Debug, PartialEq, Eq)]
pub enum Address {
    /// IPv4 or IPv6, and a port.
    Internet(IpAddr, u16),
    /// A Unix socket: its path, or its name without one behind a zero byte.
    Unix(Vec<u8>),
    /// The kernel's own interface, or none at all.
    Harmless,
    /// Another family.
    Other(u16),
}

const fn at(dir: usize, path: usize) -> Name {
    Name { dir: Some(dir), path }
}

/// Relative to the working directory, as the first argument.
const HERE: Name = Name { dir: None, path: 0 };

macro_rules! watched {
    ($($name:ident => $asks:expr,)*) => {
        [$(Watched { number: libc::$name, name: stringify!($name), asks: $asks },)*]
    };
}

/// All of them, first those that every architecture has.
pub const WATCHED: &[Watched] = &watched![
    SYS_openat => Asks::Open(at(0, 1), Flags::Argument(2)),
    SYS_openat2 => Asks::Open(at(0, 1), Flags::Structure(2)),
    SYS_newfstatat => Asks::Look(at(0, 1)),
    SYS_statx => Asks::Look(at(0, 1)),
    SYS_faccessat => Asks::Look(at(0, 1)),
    SYS_faccessat2 => Asks::Look(at(0, 1)),
    SYS_readlinkat => Asks::Look(at(0, 1)),
    SYS_statfs => Asks::Look(HERE),
    SYS_inotify_add_watch => Asks::Look(Name { dir: None, path: 1 }),
    SYS_name_to_handle_at => Asks::Look(at(0, 1)),
    SYS_getxattr => Asks::Look(HERE),
    SYS_lgetxattr => Asks::Look(HERE),
    SYS_listxattr => Asks::Look(HERE),
    SYS_llistxattr => Asks::Look(HERE),
    SYS_mkdirat => Asks::Change(&[at(0, 1)]),
    SYS_mknodat => Asks::Change(&[at(0, 1)]),
    SYS_unlinkat => Asks::Change(&[at(0, 1)]),
    SYS_renameat => Asks::Change(&[at(0, 1), at(2, 3)]),
    SYS_renameat2 => Asks::Change(&[at(0, 1), at(2, 3)]),
    SYS_linkat => Asks::Change(&[at(0, 1), at(2, 3)]),
    SYS_symlinkat => Asks::Link(0, at(1, 2)),
    SYS_fchmodat => Asks::Change(&[at(0, 1)]),
    SYS_fchmodat2 => Asks::Change(&[at(0, 1)]),
    SYS_fchownat => Asks::Change(&[at(0, 1)]),
    SYS_utimensat => Asks::Change(&[at(0, 1)]),
    SYS_setxattr => Asks::Change(&[HERE]),
    SYS_lsetxattr => Asks::Change(&[HERE]),
    SYS_removexattr => Asks::Change(&[HERE]),
    SYS_lremovexattr => Asks::Change(&[HERE]),
    SYS_truncate => Asks::Change(&[HERE]),
    SYS_chdir => Asks::Enter(HERE),
    SYS_execve => Asks::Run(HERE),
    SYS_execveat => Asks::Run(at(0, 1)),
    SYS_connect => Asks::Connect,
    SYS_bind => Asks::Bind,
    SYS_sendto => Asks::Send,
    SYS_sendmsg => Asks::Message,
    SYS_sendmmsg => Asks::Messages,
    SYS_socket => Asks::Socket,
    SYS_kill => Asks::Signal(1),
    SYS_tkill => Asks::Signal(1),
    SYS_tgkill => Asks::Signal(2),
    SYS_rt_sigqueueinfo => Asks::Signal(1),
    SYS_rt_tgsigqueueinfo => Asks::Signal(2),
    SYS_pidfd_open => Asks::Process,
    SYS_clone => Asks::Clone,
    SYS_fchdir => Asks::Never,
    SYS_fanotify_mark => Asks::Never,
    SYS_ptrace => Asks::Never,
    SYS_process_vm_readv => Asks::Never,
    SYS_process_vm_writev => Asks::Never,
    SYS_pidfd_getfd => Asks::Never,
    SYS_unshare => Asks::Never,
    SYS_setns => Asks::Never,
    SYS_mount => Asks::Never,
    SYS_umount2 => Asks::Never,
    SYS_pivot_root => Asks::Never,
    SYS_fsopen => Asks::Never,
    SYS_fspick => Asks::Never,
    SYS_open_tree => Asks::Never,
    SYS_move_mount => Asks::Never,
    SYS_mount_setattr => Asks::Never,
    SYS_chroot => Asks::Never,
    SYS_open_by_handle_at => Asks::Never,
    SYS_bpf => Asks::Never,
    SYS_perf_event_open => Asks::Never,
    SYS_userfaultfd => Asks::Never,
    SYS_add_key => Asks::Never,
    SYS_request_key => Asks::Never,
    SYS_keyctl => Asks::Never,
];

/// Those that newer architectures do without.
#[cfg(target_arch = "x86_64")]
pub const OLD: &[Watched] = &watched![
    SYS_fork => Asks::Never,
    SYS_vfork => Asks::Never,
    SYS_open => Asks::Open(HERE, Flags::Argument(1)),
    SYS_stat => Asks::Look(HERE),
    SYS_lstat => Asks::Look(HERE),
    SYS_access => Asks::Look(HERE),
    SYS_readlink => Asks::Look(HERE),
    SYS_creat => Asks::Open(HERE, Flags::Write),
    SYS_mkdir => Asks::Change(&[HERE]),
    SYS_mknod => Asks::Change(&[HERE]),
    SYS_unlink => Asks::Change(&[HERE]),
    SYS_rmdir => Asks::Change(&[HERE]),
    SYS_rename => Asks::Change(&[HERE, Name { dir: None, path: 1 }]),
    SYS_link => Asks::Change(&[HERE, Name { dir: None, path: 1 }]),
    SYS_symlink => Asks::Link(0, Name { dir: None, path: 1 }),
    SYS_chmod => Asks::Change(&[HERE]),
    SYS_chown => Asks::Change(&[HERE]),
    SYS_lchown => Asks::Change(&[HERE]),
    SYS_utime => Asks::Change(&[HERE]),
    SYS_utimes => Asks::Change(&[HERE]),
    SYS_futimesat => Asks::Change(&[at(0, 1)]),
];
/// Those that newer architectures do without.
#[cfg(not(target_arch = "x86_64"))]
pub const OLD: &[Watched] = &[];

/// Every watched call.
pub fn watched() -> impl Iterator<Item = &'static Watched> {
    WATCHED.iter().chain(OLD)
}

/// The name of a watched call.
pub fn name(number: c_long) -> &'static str {
    let watched = watched().find(|call| call.number == number);
    watched.map_or("?", |call| call.name.trim_start_matches("SYS_"))
}

impl Request {
    /// Reads what a notice asks for.
    ///
    /// # Errors
    /// The system's, when the thread's memory cannot be read.
    pub fn of(notice: &Notice) -> Result<Self> {
        let Some(call) = watched().find(|call| call.number == notice.call) else {
            return Ok(Self::Nothing);
        };
        let args = notice.args;
        Ok(match call.asks {
            Asks::Open(name, flags) => {
                let wanted = if writes(notice, flags)? { Use::Write } else { Use::Read };
                Self::Files(wanted, vec![place(notice, name)?])
            }
            Asks::Look(name) => Self::Files(Use::Look, vec![place(notice, name)?]),
            Asks::Change(names) => {
                let places = names.iter().map(|name| place(notice, *name));
                Self::Files(Use::Write, places.collect::<Result<_>>()?)
            }
            Asks::Link(says, name) => {
                let says = Place { path: path(notice, says)?, beneath: false };
                Self::Files(Use::Write, vec![says, place(notice, name)?])
            }
            Asks::Run(name) => Self::Files(Use::Run, vec![place(notice, name)?]),
            Asks::Enter(name) => Self::Files(Use::Enter, vec![place(notice, name)?]),
            Asks::Connect => Self::Reach(vec![parse(&address(notice, args[1], args[2])?)]),
            Asks::Bind => bound(parse(&address(notice, args[1], args[2])?)),
            Asks::Send => Self::Reach(vec![sent_to(&address(notice, args[4], args[5])?)]),
            Asks::Message => Self::Reach(vec![message(notice, args[1])?]),
            Asks::Messages => {
                let messages = (0..args[2].min(MAX_MESSAGES)).map(|at| args[1].wrapping_add(at * MESSAGE));
                Self::Reach(messages.map(|at| message(notice, at)).collect::<Result<_>>()?)
            }
            Asks::Socket => Self::Socket { family: low(args[0]), kind: low(args[1]) & KIND },
            Asks::Signal(signal) => {
                let signal = args.get(signal).copied().unwrap_or_default();
                Self::Signal { process: low(args[0]), signal }
            }
            Asks::Process => Self::Signal { process: low(args[0]), signal: 0 },
            Asks::Clone => Self::Never("clone"),
            Asks::Never => Self::Never(call.name.trim_start_matches("SYS_")),
        })
    }
}

fn place(notice: &Notice, name: Name) -> Result<Place> {
    let beneath =
        name.dir.and_then(|dir| notice.args.get(dir)).is_some_and(|dir| low(*dir) != libc::AT_FDCWD);
    Ok(Place { path: path(notice, name.path)?, beneath })
}

/// None at all is empty: what the descriptor is of is meant.
fn path(notice: &Notice, argument: usize) -> Result<PathBuf> {
    let address = notice.args.get(argument).copied().unwrap_or_default();
    if address == 0 {
        return Ok(PathBuf::new());
    }
    notice.text(address, MAX_PATH).map(|text| OsString::from_vec(text).into())
}

fn writes(notice: &Notice, flags: Flags) -> Result<bool> {
    let flags = match flags {
        Flags::Argument(argument) => low(notice.args.get(argument).copied().unwrap_or_default()),
        Flags::Structure(argument) => {
            let address = notice.args.get(argument).copied().unwrap_or_default();
            low(u64::from_ne_bytes(notice.bytes(address)?))
        }
        Flags::Write => libc::O_WRONLY,
    };
    Ok(flags & (libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC) != libc::O_RDONLY)
}

/// A Unix socket with a path makes a file; port 0 is any.
fn bound(address: Address) -> Request {
    match address {
        Address::Unix(name) if name.first().is_some_and(|&byte| byte != 0) => {
            let path = name.split(|&byte| byte == 0).next().unwrap_or_default();
            let path = OsString::from_vec(path.to_vec()).into();
            Request::Files(Use::Write, vec![Place { path, beneath: false }])
        }
        Address::Internet(ip, port) if port != 0 => Request::Listen(ip, port),
        _ => Request::Nothing,
    }
}

/// The address that a message has on it.
fn message(notice: &Notice, at: u64) -> Result<Address> {
    let head = notice.bytes::<12>(at)?;
    let (name, length) = head.split_at(8);
    let length = u64::from(u32::from_ne_bytes(length.try_into().unwrap_or_default()));
    Ok(sent_to(&address(notice, u64::from_ne_bytes(name.try_into().unwrap_or_default()), length)?))
}

/// Reads a socket address of the thread's, to its end.
fn address(notice: &Notice, at: u64, length: u64) -> Result<Vec<u8>> {
    if at == 0 {
        return Ok(Vec::new());
    }
    let length = usize::try_from(length).unwrap_or(MAX_ADDRESS).min(MAX_ADDRESS);
    let bytes = notice.part(at, length)?;
    if bytes.len() < length {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}

/// Where a message goes: without a family to an IPv4 address.
fn sent_to(bytes: &[u8]) -> Address {
    match bytes.split_first_chunk() {
        Some((family, rest)) if i32::from(u16::from_ne_bytes(*family)) == libc::AF_UNSPEC => {
            let internet = [&(libc::AF_INET as u16).to_ne_bytes()[..], rest].concat();
            parse(&internet)
        }
        _ => parse(bytes),
    }
}

fn parse(bytes: &[u8]) -> Address {
    let Some((family, rest)) = bytes.split_first_chunk() else { return Address::Harmless };
    let family = u16::from_ne_bytes(*family);
    let port = || rest.first_chunk().map(|port| u16::from_be_bytes(*port));
    let four = || Some(Ipv4Addr::from(*rest.get(2..)?.first_chunk::<4>()?).into());
    let six = || Some(Ipv6Addr::from(*rest.get(6..)?.first_chunk::<16>()?).to_canonical());
    let internet = |ip: Option<IpAddr>| Some(Address::Internet(ip?, port()?));
    let known = match i32::from(family) {
        libc::AF_INET => internet(four()),
        libc::AF_INET6 => internet(six()),
        libc::AF_UNIX => Some(Address::Unix(rest.to_vec())),
        libc::AF_NETLINK | libc::AF_UNSPEC => Some(Address::Harmless),
        _ => None,
    };
    known.unwrap_or(Address::Other(family))
}

/// The kernel looks at the lower half only.
fn low(argument: u64) -> i32 {
    (argument as u32).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_the_kernel_reads_them() {
        let four = [&2u16.to_ne_bytes()[..], &443u16.to_be_bytes(), &[192, 0, 2, 1]].concat();
        assert_eq!(parse(&four), Address::Internet(Ipv4Addr::new(192, 0, 2, 1).into(), 443));
        let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped().octets();
        let six = [&10u16.to_ne_bytes()[..], &53u16.to_be_bytes(), &[0; 4], &mapped, &[0; 4]].concat();
        assert_eq!(parse(&six), Address::Internet(Ipv4Addr::LOCALHOST.into(), 53));
        let unix = [&1u16.to_ne_bytes()[..], b"/run/x\0"].concat();
        assert_eq!(parse(&unix), Address::Unix(b"/run/x\0".to_vec()));
        assert_eq!(parse(&40u16.to_ne_bytes()), Address::Other(40));
        assert_eq!(parse(&four[..6]), Address::Other(2));
        assert_eq!(parse(&[]), Address::Harmless);
        let none = [&[0; 2], &four[2..]].concat();
        assert_eq!((parse(&none), sent_to(&none)), (Address::Harmless, parse(&four)));
    }

    #[test]
    fn a_unix_socket_with_a_path_is_a_file() {
        let unix = |name: &[u8]| bound(Address::Unix(name.to_vec()));
        let place = Place { path: "/x".into(), beneath: false };
        assert_eq!(unix(b"/x\0\0"), Request::Files(Use::Write, vec![place]));
        assert_eq!(unix(b"\0x"), Request::Nothing);
        assert_eq!(unix(b""), Request::Nothing);
        let local = std::net::IpAddr::from(Ipv4Addr::LOCALHOST);
        assert_eq!(bound(Address::Internet(local, 0)), Request::Nothing);
        assert_eq!(bound(Address::Internet(local, 1)), Request::Listen(local, 1));
    }

    #[test]
    fn no_call_is_watched_twice() {
        let mut numbers: Vec<_> = watched().map(|call| call.number).collect();
        numbers.sort_unstable();
        assert!(numbers.is_sorted_by(|one, other| one < other));
    }
}
