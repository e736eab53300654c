//! What is `bw`'s to do, decided without asking the system.

use crate::call::{Address, Place, Request, Use};
use crate::listener::Answer;
use nix::libc;
use std::ffi::OsStr;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// What Node and the C library look for at each start, and find or not. Nothing
/// in it is worth a line, and none of it is a user's.
const QUIET: [&str; 30] = [
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/ld.so.preload",
    "/etc/localtime",
    "/etc/netsvc.conf",
    "/etc/nsswitch.conf",
    "/etc/resolv.conf",
    "/etc/ssl/openssl.cnf",
    "/etc/svc.conf",
    "/etc/timezone",
    "/proc/cpuinfo",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/self/cgroup",
    "/proc/self/exe",
    "/proc/self/maps",
    "/proc/self/stat",
    "/proc/self/statm",
    "/proc/self/status",
    "/proc/stat",
    "/proc/sys/kernel",
    "/proc/sys/vm/overcommit_memory",
    "/proc/uptime",
    "/proc/version",
    "/proc/version_signature",
    "/sys/devices/system/cpu",
    "/sys/fs/cgroup",
    "/sys/kernel/mm/transparent_hugepage",
    "/usr/local/share",
    "/usr/share",
];
/// What every program may open.
const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/random", "/dev/urandom", "/dev/full"];

/// The families of sockets that may be made; others are neither in the namespace
/// nor known to Landlock.
pub const FAMILIES: [i32; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// The kinds of sockets that see what is under way, and need a capability.
pub const RAW: [i32; 2] = [libc::SOCK_RAW, PACKET];
/// `SOCK_PACKET`, as it was before there was a family for that.
const PACKET: i32 = 10;

/// What `bw` may do, as it was told to the kernel, too.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Its working directory, and the only one that it may write to.
    pub dir: PathBuf,
    /// What it may read and run.
    pub readable: Vec<PathBuf>,
    /// The relay's port on the loopback.
    pub relay: u16,
}

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What is recorded, if anything.
    pub tried: Option<String>,
    /// What the thread is told.
    pub answer: Answer,
}

impl Policy {
    /// Decides; `thread` asked.
    pub fn judge(&self, request: &Request, thread: i32) -> Verdict {
        match request {
            Request::Files(wanted, places) => {
                let outside = places.iter().find(|place| !self.covers(*wanted, place));
                let tried = outside
                    .map(|place| format!("{} {}", verb(*wanted), shown(place.path.as_os_str().as_bytes())));
                Verdict { tried, answer: Answer::Continue }
            }
            Request::Reach(addresses) => {
                addresses.iter().map(|address| self.reach(address)).find(|it| *it != FINE).unwrap_or(FINE)
            }
            Request::Listen(ip, port) => {
                Verdict { tried: Some(format!("listen at {ip} port {port}")), answer: Answer::Continue }
            }
            Request::Socket { family, kind } => socket(*family, *kind),
            Request::Signal { process, signal } if *process != thread => Verdict {
                tried: Some(format!("send signal {signal} to process {process}")),
                answer: Answer::Continue,
            },
            Request::Never(call) => refused(format!("call {call}"), libc::EPERM),
            Request::Signal { .. } | Request::Nothing => FINE,
        }
    }

    fn reach(&self, address: &Address) -> Verdict {
        let local = IpAddr::from(Ipv4Addr::LOCALHOST);
        let what = match address {
            Address::Harmless => return FINE,
            Address::Internet(ip, port) if *ip == local && *port == self.relay => return FINE,
            Address::Internet(ip, 53) => format!("ask the name server {ip} port 53"),
            Address::Internet(ip, port) => format!("reach {ip} port {port}"),
            Address::Unix(path) => format!("reach the Unix socket {}", unix(path)),
            Address::Other(family) => format!("reach an address of family {family}"),
        };
        refused(what, libc::EACCES)
    }

    fn covers(&self, wanted: Use, place: &Place) -> bool {
        if place.path.as_os_str().is_empty() {
            return true;
        }
        if place.path.components().any(|part| part == Component::ParentDir) {
            // Where a link leads to is not known here.
            return false;
        }
        if place.beneath && place.path.is_relative() {
            // What it is beneath was opened before, to be read.
            return wanted != Use::Write;
        }
        let path = self.dir.join(&place.path);
        let own = path.starts_with(&self.dir);
        let device = DEVICES.iter().any(|base| path.starts_with(base));
        let readable = self.readable.iter().any(|base| path.starts_with(base));
        let quiet = QUIET.iter().any(|base| path.starts_with(base)) || self.belongs(&path);
        match wanted {
            Use::Write => own || device,
            Use::Read => own || device || readable || quiet,
            // Other names would be taken for those of its own files.
            Use::Enter => own,
            Use::Run => own || readable,
            Use::Look => own || device || readable || quiet || self.leads(&path) || portable(&path),
        }
    }

    /// The way to what is readable, and where Node looks for modules on that way.
    fn leads(&self, path: &Path) -> bool {
        let modules = |path: &&Path| path.file_name() == Some(OsStr::new("node_modules"));
        let way = path.ancestors().find(modules).and_then(Path::parent).unwrap_or(path);
        self.readable.iter().chain([&self.dir]).any(|base| base.starts_with(way))
    }

    /// Node looks for a package.json in every directory above a script.
    fn belongs(&self, path: &Path) -> bool {
        path.file_name() == Some(OsStr::new("package.json"))
            && path.parent().is_some_and(|dir| self.readable.iter().any(|base| base.starts_with(dir)))
    }
}

/// It is let through, and nobody hears of it.
pub const FINE: Verdict = Verdict { tried: None, answer: Answer::Continue };

/// A directory for bw's data beside the program, which here is Node.
fn portable(path: &Path) -> bool {
    path.file_name() == Some(OsStr::new("bw-data"))
}

fn socket(family: i32, kind: i32) -> Verdict {
    match family {
        libc::AF_INET | libc::AF_INET6 if RAW.contains(&kind) => {
            refused("make a raw socket".into(), libc::EPERM)
        }
        family if FAMILIES.contains(&family) => FINE,
        family => refused(format!("make a socket of family {family}"), libc::EAFNOSUPPORT),
    }
}

fn refused(what: String, error: i32) -> Verdict {
    Verdict { tried: Some(what), answer: Answer::Refuse(error) }
}

fn verb(wanted: Use) -> &'static str {
    match wanted {
        Use::Read => "open",
        Use::Look => "look for",
        Use::Write => "write to",
        Use::Run => "run",
        Use::Enter => "go to",
    }
}

/// A Unix socket's name: up to the zero byte that ends it; one without a path
/// begins with one.
fn unix(name: &[u8]) -> String {
    let (mark, name) = match name.split_first() {
        Some((0, rest)) => ("@", rest),
        _ => ("", name),
    };
    let end = name.iter().position(|&byte| byte == 0).unwrap_or(name.len());
    let mut text = mark.to_owned();
    let _infallible = write!(text, "{}", shown(name.get(..end).unwrap_or_default()));
    text
}

/// Nothing in it can forge another line of the log.
fn shown(bytes: &[u8]) -> String {
    const MOST: usize = 200;
    let text = String::from_utf8_lossy(bytes);
    let kept: String = text.chars().take(MOST).collect();
    kept.escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        let readable = ["/usr/lib", "/opt/bw/node_modules", "/usr/bin/node"];
        Policy { dir: "/run/own".into(), readable: readable.map(PathBuf::from).into(), relay: 4000 }
    }

    fn tried(request: Request) -> Option<String> {
        policy().judge(&request, 7).tried
    }

    fn file(wanted: Use, path: &str) -> Request {
        Request::Files(wanted, vec![Place { path: path.into(), beneath: false }])
    }

    #[test]
    fn what_bw_needs_is_not_recorded() {
        for (wanted, path) in [
            (Use::Write, "data.json"),
            (Use::Write, "/run/own/data.json"),
            (Use::Read, "/usr/lib/libc.so.6"),
            (Use::Run, "/usr/bin/node"),
            (Use::Read, "/opt/package.json"),
            (Use::Look, "/opt"),
            (Use::Look, "/opt/node_modules/x/index.js"),
            (Use::Read, "/dev/urandom"),
            (Use::Write, "/dev/null"),
        ] {
            assert_eq!(tried(file(wanted, path)), None, "{path}");
        }
        let relay = || Address::Internet(Ipv4Addr::LOCALHOST.into(), 4000);
        assert_eq!(policy().judge(&Request::Reach(vec![relay(), Address::Harmless]), 7), FINE);
        for (family, kind) in [(libc::AF_UNIX, libc::SOCK_RAW), (libc::AF_NETLINK, libc::SOCK_RAW)] {
            assert_eq!(policy().judge(&Request::Socket { family, kind }, 7), FINE);
        }
        assert_eq!(tried(Request::Signal { process: 7, signal: 15 }), None);
    }

    #[test]
    fn what_is_outside_is_recorded_whatever_its_spelling() {
        for (wanted, path, expected) in [
            (Use::Read, "/etc/passwd", "open /etc/passwd"),
            (Use::Read, "../../etc/passwd", "open ../../etc/passwd"),
            (Use::Read, "/run/own/../x", "open /run/own/../x"),
            (Use::Read, "/run/owner", "open /run/owner"),
            (Use::Write, "/usr/lib/x", "write to /usr/lib/x"),
            (Use::Run, "/bin/sh", "run /bin/sh"),
            (Use::Look, "/usr/bin/curl", "look for /usr/bin/curl"),
            (Use::Look, "/home/node_modules/x", "look for /home/node_modules/x"),
            (Use::Enter, "/", "go to /"),
            (Use::Enter, "/usr/lib", "go to /usr/lib"),
            (Use::Read, "/usr/lib/ssl/certs/../../passwd", "open /usr/lib/ssl/certs/../../passwd"),
            (Use::Read, "/proc/self/root/etc/passwd", "open /proc/self/root/etc/passwd"),
            (Use::Read, "/home/\n", "open /home/\\n"),
        ] {
            assert_eq!(tried(file(wanted, path)).as_deref(), Some(expected));
        }
        let beneath =
            |wanted, path: &str| Request::Files(wanted, vec![Place { path: path.into(), beneath: true }]);
        assert_eq!(tried(beneath(Use::Read, "x/y")), None);
        assert_eq!(tried(beneath(Use::Write, "")), None, "what was opened to be written");
        assert_eq!(tried(beneath(Use::Write, "x")).as_deref(), Some("write to x"));
        assert_eq!(tried(beneath(Use::Read, "x/../../y")).as_deref(), Some("open x/../../y"));
        assert_eq!(tried(beneath(Use::Read, "/etc/passwd")).as_deref(), Some("open /etc/passwd"));
        let listen = Request::Listen(Ipv4Addr::LOCALHOST.into(), 9);
        assert_eq!(tried(listen).as_deref(), Some("listen at 127.0.0.1 port 9"));
    }

    #[test]
    fn no_address_but_the_relays_is_let_through() {
        let local = IpAddr::from(Ipv4Addr::LOCALHOST);
        for (address, expected) in [
            (Address::Internet(local, 4001), "reach 127.0.0.1 port 4001"),
            (Address::Internet([192, 0, 2, 1].into(), 4000), "reach 192.0.2.1 port 4000"),
            (Address::Internet(local, 53), "ask the name server 127.0.0.1 port 53"),
            (Address::Unix(b"/run/x\0\0".to_vec()), "reach the Unix socket /run/x"),
            (Address::Unix(b"\0hidden\0\0".to_vec()), "reach the Unix socket @hidden"),
            (Address::Other(40), "reach an address of family 40"),
        ] {
            // Behind harmless ones, too.
            let relay = Address::Internet(local, 4000);
            let request = Request::Reach(vec![Address::Harmless, relay, address]);
            let verdict = policy().judge(&request, 7);
            assert_eq!(verdict, refused(expected.into(), libc::EACCES));
        }
        for (family, kind, expected) in [
            (
                libc::AF_VSOCK,
                libc::SOCK_STREAM,
                refused("make a socket of family 40".into(), libc::EAFNOSUPPORT),
            ),
            (libc::AF_INET, PACKET, refused("make a raw socket".into(), libc::EPERM)),
            (libc::AF_INET6, libc::SOCK_RAW, refused("make a raw socket".into(), libc::EPERM)),
        ] {
            assert_eq!(policy().judge(&Request::Socket { family, kind }, 7), expected);
        }
    }
}
