//! The kernel's notices for real: what is let through, what is refused, and
//! what of it is in the log. In a thread of its own, because it is for good.
#![cfg(target_os = "linux")]

use colibri_watch::{Policy, start};
use nix::libc;
use nix::sys::socket::{
    AddressFamily, MsgFlags, MultiHeaders, SockFlag, SockType, SockaddrIn, sendmmsg, socket,
};
use std::io::{Error, IoSlice, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().map_err(|_| Error::other("poisoned"))?.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn number<T>(result: std::io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

/// One message to each, in one call.
fn send_many(from: &UdpSocket, to: &[SocketAddrV4]) -> std::io::Result<()> {
    let to: Vec<_> = to.iter().map(|to| Some(SockaddrIn::from(*to))).collect();
    let data = vec![[IoSlice::new(b"x")]; to.len()];
    let mut headers = MultiHeaders::preallocate(to.len(), None);
    sendmmsg(from.as_raw_fd(), &mut headers, &data, &to, [], MsgFlags::empty())?;
    Ok(())
}

/// Connects with an address in memory that the kernel can read, and nobody else.
#[allow(unsafe_code, reason = "memory that can be written only")]
fn hidden_connect(to: SocketAddrV4) -> std::io::Result<()> {
    let from = socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), None)?;
    let address = SockaddrIn::from(to);
    let (length, flags) = (4096, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping of a page, to which an address is written that fits
    // in, and which stays.
    let failed = unsafe {
        let page = libc::mmap(std::ptr::null_mut(), length, libc::PROT_WRITE, flags, -1, 0);
        assert_ne!(page, libc::MAP_FAILED);
        page.cast::<SockaddrIn>().write(address);
        libc::connect(from.as_raw_fd(), page.cast(), 16)
    };
    if failed < 0 { Err(Error::last_os_error()) } else { Ok(()) }
}

/// Signal 0 to a process that there cannot be.
#[allow(unsafe_code, reason = "nothing safe makes this call")]
fn signal_all(call: libc::c_long) -> std::io::Result<()> {
    // SAFETY: numbers only.
    let failed = unsafe { libc::syscall(call, i32::MAX, i32::MAX, 0) };
    if failed < 0 { Err(Error::last_os_error()) } else { Ok(()) }
}

#[allow(unsafe_code, reason = "nothing safe sets up a ring")]
fn ring() -> std::io::Result<()> {
    let mut room = [0_u64; 32];
    // SAFETY: the kernel writes at most the 120 bytes of `struct io_uring_params`.
    let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 8, room.as_mut_ptr()) };
    if fd < 0 { Err(Error::last_os_error()) } else { Ok(()) }
}

#[test]
fn what_is_started_is_watched_and_the_starter_is_not() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).init();
    let dir = tempfile::tempdir().unwrap();
    let relay = TcpListener::bind("127.0.0.1:0").unwrap();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let unix = dir.path().join("socket");
    let _unix = UnixListener::bind(&unix).unwrap();
    let (relay, other) = (relay.local_addr().unwrap(), other.local_addr().unwrap());
    let policy = Policy {
        dir: dir.path().to_owned(),
        readable: ["/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache"].map(PathBuf::from).into(),
        relay: relay.port(),
    };
    let again = policy.clone();
    let own = dir.path().to_owned();
    let behind = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9);
    let other_dir = tempfile::tempdir().unwrap();
    let elsewhere = other_dir.path().to_owned();
    let hidden = elsewhere.join("hidden").display().to_string();
    let watched = move || {
        start(policy).unwrap();
        assert_eq!(number(start(again)), Some(libc::EBUSY));
        assert!(TcpStream::connect(other).is_ok(), "the starter itself");
        let child = Command::new("/bin/cat").arg("/etc/passwd").env_clear().output().unwrap();
        assert!(child.status.success(), "the kernel lets this one through: {child:?}");
        let thread = std::thread::spawn(move || {
            assert!(TcpStream::connect(relay).is_ok());
            assert_eq!(number(TcpStream::connect(other)), Some(libc::EACCES));
            assert_eq!(number(udp.send_to(b"x", other)), Some(libc::EACCES));
            assert_eq!(number(UnixStream::connect(&unix)), Some(libc::EACCES));
            let vsock = socket(AddressFamily::Vsock, SockType::Stream, SockFlag::empty(), None);
            assert_eq!(number(vsock.map_err(Error::from)), Some(libc::EAFNOSUPPORT));
            let raw = socket(AddressFamily::Inet, SockType::Raw, SockFlag::empty(), None);
            assert_eq!(number(raw.map_err(Error::from)), Some(libc::EPERM));
            assert_eq!(
                number(send_many(&udp, &[SocketAddrV4::new(Ipv4Addr::LOCALHOST, relay.port()), behind])),
                Some(libc::EACCES)
            );
            assert!(UnixListener::bind(own.join("own")).is_ok());
            assert!(UnixListener::bind(elsewhere.join("hidden")).is_ok(), "the kernel lets this one through");
            assert_eq!(number(ring()), Some(libc::ENOSYS), "Node tries that, too");
            let unshared = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS);
            assert_eq!(number(unshared.map_err(Error::from)), Some(libc::EPERM));
            assert!(std::fs::write(own.join("x"), "x").is_ok());
            assert_eq!(number(hidden_connect(behind)), Some(libc::EFAULT));
            assert_eq!(number(signal_all(libc::SYS_tgkill)), Some(libc::ESRCH));
            let spawned = std::thread::Builder::new().spawn(|| {});
            assert_eq!(number(Command::new("/bin/true").status()), Some(libc::EPERM), "no process");
            assert!(spawned.is_ok_and(|thread| thread.join().is_ok()), "threads, without clone3");
        });
        thread.join().unwrap();
    };
    std::thread::spawn(watched).join().unwrap();
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let tried: Vec<_> = log.lines().filter_map(|line| Some(line.split_once(" tried=")?.1)).collect();
    let (reach, unix) = (format!("reach {} port {}", other.ip(), other.port()), tried.get(2).copied());
    assert_eq!(tried[..2], ["open /etc/passwd", &reach]);
    assert!(
        unix.is_some_and(|line| line.starts_with("reach the Unix socket /") && line.ends_with("/socket"))
    );
    assert_eq!(
        tried[3..],
        [
            "make a socket of family 40",
            "make a raw socket",
            "reach 127.0.0.1 port 9",
            &format!("write to {hidden}"),
            "call unshare",
            "call connect with what cannot be read",
            "send signal 0 to process 2147483647",
            "call clone",
        ]
    );
}
