//! The kernel's side: seccomp_unotify(2). All `unsafe` is in this file.

use nix::libc::{self, c_long, seccomp_data, seccomp_notif, seccomp_notif_resp, sock_filter, sock_fprog};
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;
use std::io::{Error, ErrorKind, IoSliceMut, Result};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Pages are at least this long, so that a read that ends at a multiple of it
/// does not fail for what lies beyond.
const PAGE: u64 = 4096;

/// Who waits for whom is known, so one processor can do both: 4 µs instead of 30 here.
const SYNC_WAKE_UP: i32 = 1;

/// Where notices come from.
#[derive(Debug)]
pub struct Listener(OwnedFd);

/// A thread that waits in a system call.
#[derive(Debug)]
pub struct Notice {
    id: u64,
    /// The thread.
    pub thread: i32,
    /// The system call's number.
    pub call: c_long,
    /// Its arguments.
    pub args: [u64; 6],
}

/// What becomes of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The kernel does what it would have done.
    Continue,
    /// It fails with this error number.
    Refuse(i32),
}

/// Filters the calling thread's system calls from now on.
///
/// # Errors
/// The system's.
#[allow(unsafe_code, reason = "seccomp(2) has no safe wrapper that returns the listener")]
pub fn install(program: &[sock_filter]) -> Result<Listener> {
    nix::sys::prctl::set_no_new_privs()?;
    let len = program.len().try_into().map_err(Error::other)?;
    let program = sock_fprog { len, filter: program.as_ptr().cast_mut() };
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    // SAFETY: `program` and the instructions that it points to outlive the call,
    // which copies them and writes to neither.
    let fd =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    if fd < 0 {
        return Err(Error::last_os_error());
    }
    let fd = i32::try_from(fd).map_err(Error::other)?;
    // SAFETY: the call succeeded, so `fd` is a descriptor that was opened for us
    // and that nobody else knows.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: the request takes a number, no pointer.
    let quicker = unsafe { ioctl::set_flags(fd.as_raw_fd(), SYNC_WAKE_UP) };
    if let Err(error) = quicker {
        tracing::debug!(%error, "this kernel, before 6.6, has notices wait for another processor");
    }
    Ok(Listener(fd))
}

impl Listener {
    /// Waits for the next notice.
    ///
    /// # Errors
    /// `NotFound` when the thread was gone before we came to it, and the system's.
    #[allow(unsafe_code, reason = "an ioctl")]
    pub fn recv(&self) -> Result<Notice> {
        let data = seccomp_data { nr: 0, arch: 0, instruction_pointer: 0, args: [0; 6] };
        let mut notice = seccomp_notif { id: 0, pid: 0, flags: 0, data };
        // SAFETY: the descriptor is a listener and the structure is the one that
        // the request's number is made of, zeroed as the kernel asks for.
        unsafe { ioctl::recv(self.0.as_raw_fd(), &raw mut notice) }?;
        Ok(Notice {
            id: notice.id,
            thread: notice.pid.cast_signed(),
            call: notice.data.nr.into(),
            args: notice.data.args,
        })
    }

    /// Lets the thread go on.
    ///
    /// # Errors
    /// `NotFound` when it is gone, and the system's.
    #[allow(unsafe_code, reason = "an ioctl")]
    pub fn answer(&self, notice: &Notice, answer: Answer) -> Result<()> {
        let (error, flags) = match answer {
            Answer::Continue => (0, u32::try_from(libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE).unwrap_or(1)),
            Answer::Refuse(number) => (-number, 0),
        };
        let mut answer = seccomp_notif_resp { id: notice.id, val: 0, error, flags };
        // SAFETY: as for `recv`.
        unsafe { ioctl::send(self.0.as_raw_fd(), &raw mut answer) }?;
        Ok(())
    }

    /// Whether the thread still waits; if so, what was read before is its own.
    #[allow(unsafe_code, reason = "an ioctl")]
    pub fn waits(&self, notice: &Notice) -> bool {
        // SAFETY: the kernel reads one number through the pointer.
        unsafe { ioctl::id_valid(self.0.as_raw_fd(), &raw const notice.id) }.is_ok()
    }
}

impl Notice {
    /// Reads exactly `N` bytes of the thread's memory.
    ///
    /// # Errors
    /// The system's, and `UnexpectedEof` where memory ends.
    pub fn bytes<const N: usize>(&self, address: u64) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        if self.read(address, &mut bytes)? < N {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(bytes)
    }

    /// Reads up to a zero byte, at most `most` bytes.
    ///
    /// # Errors
    /// The system's.
    pub fn text(&self, mut address: u64, most: usize) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        while text.len() < most {
            let page = usize::try_from(PAGE - address % PAGE).map_err(Error::other)?;
            let mut part = self.part(address, page.min(most - text.len()))?;
            address = address.wrapping_add(part.len() as u64);
            if part.is_empty() {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            if let Some(end) = part.iter().position(|&byte| byte == 0) {
                part.truncate(end);
                text.append(&mut part);
                break;
            }
            text.append(&mut part);
        }
        Ok(text)
    }

    /// Reads up to `length` bytes, fewer where memory ends.
    ///
    /// # Errors
    /// The system's.
    pub fn part(&self, address: u64, length: usize) -> Result<Vec<u8>> {
        let mut part = vec![0; length];
        let got = self.read(address, &mut part)?;
        part.truncate(got);
        Ok(part)
    }

    fn read(&self, address: u64, into: &mut [u8]) -> Result<usize> {
        let base = usize::try_from(address).map_err(Error::other)?;
        let from = [RemoteIoVec { base, len: into.len() }];
        Ok(process_vm_readv(Pid::from_raw(self.thread), &mut [IoSliceMut::new(into)], &from)?)
    }
}

/// The requests, as linux/seccomp.h numbers them.
mod ioctl {
    use nix::libc::{seccomp_notif, seccomp_notif_resp};

    nix::ioctl_readwrite!(recv, b'!', 0, seccomp_notif);
    nix::ioctl_readwrite!(send, b'!', 1, seccomp_notif_resp);
    nix::ioctl_write_ptr!(id_valid, b'!', 2, u64);
    nix::ioctl_write_int_bad!(set_flags, nix::request_code_write!(b'!', 4, size_of::<u64>()));
}
