//! A file system that does not answer (Linux).

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{getegid, geteuid};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Result, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

/// Requests of FUSE's, in the first byte of their number.
const INIT: u8 = 26;
const INTERRUPT: u8 = 36;

/// A FUSE file system whose server reads every request and answers none, so that
/// who asks cannot even be killed. It ends, with errors, when this is dropped.
#[derive(Debug)]
pub struct Hung {
    on: PathBuf,
    over: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    server: Option<JoinHandle<()>>,
}

impl Hung {
    /// Mounts it on a directory, which is made where it is missing.
    ///
    /// # Errors
    /// Where the system lets this user mount none.
    pub fn new(on: &Path) -> Result<Self> {
        fs::create_dir_all(on)?;
        let flags = nix::fcntl::OFlag::O_NONBLOCK.bits();
        let fuse = OpenOptions::new().read(true).write(true).custom_flags(flags).open("/dev/fuse")?;
        let (user, group) = (geteuid(), getegid());
        let options = format!("fd={},rootmode=40000,user_id={user},group_id={group}", fuse.as_raw_fd());
        mount(Some("hung"), on, Some("fuse"), MsFlags::empty(), Some(options.as_str()))?;
        let (over, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stop, count) = (over.clone(), asked.clone());
        let server = thread::spawn(move || serve(fuse, &stop, &count));
        Ok(Self { on: on.into(), over, asked, server: Some(server) })
    }

    /// How many requests nobody answered.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        self.server.take().map(JoinHandle::join);
        let _gone = umount2(&self.on, MntFlags::MNT_DETACH);
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
            Some([INIT, ..]) => drop(greet(&mut fuse, &request[8..16])),
            // That a signal came in for another.
            Some([INTERRUPT, ..]) | None => {}
            Some(_) => drop(asked.fetch_add(1, Ordering::SeqCst)),
        }
    }
}

/// The one answer, without which the kernel would still let go of who is killed.
fn greet(fuse: &mut File, unique: &[u8]) -> Result<()> {
    let mut answer = [80_u32.to_le_bytes(), 0_u32.to_le_bytes()].concat();
    answer.extend_from_slice(unique);
    for word in [7_u32, 31, 4096, 0, 0x000c_0010, 4096, 1] {
        answer.extend_from_slice(&word.to_le_bytes());
    }
    answer.resize(80, 0);
    fuse.write_all(&answer)
}
