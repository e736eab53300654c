//! What FreeBSD's kernel is asked for that no crate asks for rightly, or safely
//! (docs/upstream.md says how they fail). All `unsafe` on FreeBSD is here.
#![cfg(target_os = "freebsd")]

use nix::errno::Errno;
use nix::libc::{self, c_int};

/// What procctl(2) takes for the commands below: an int, or a struct
/// procctl_reaper_kill, which is five of them, the signal first, and padding.
type Argument = [c_int; 20];

/// Keeps other processes of the same user from tracing this one, and the kernel
/// from dumping it. It lasts until the next exec.
///
/// # Errors
/// `EBUSY` when this process is being traced; the kernel has no other reason.
pub fn hide() -> nix::Result<()> {
    procctl(libc::PROC_TRACE_CTL, libc::PROC_TRACE_CTL_DISABLE)
}

/// Kills all that descends from this process, which has to be a reaper; with
/// nothing left there is nothing to do.
///
/// # Errors
/// The system's.
pub fn kill_descendants() -> nix::Result<()> {
    match procctl(libc::PROC_REAP_KILL, libc::SIGKILL) {
        Err(Errno::ESRCH) => Ok(()),
        killed => killed,
    }
}

#[allow(unsafe_code, reason = "rustix 1.1.6 makes both calls wrongly")]
fn procctl(command: c_int, first: c_int) -> nix::Result<()> {
    let mut argument: Argument = [0; 20];
    argument[0] = first;
    // SAFETY: for these commands the kernel reads and writes at most the struct,
    // 80 bytes, through the pointer, and keeps nothing of it; `argument` is as
    // large, an int array may hold any bytes, and it outlives the call. P_PID and
    // 0 are this process.
    let status = unsafe { libc::procctl(libc::P_PID, 0, command, (&raw mut argument).cast()) };
    Errno::result(status).map(drop)
}

/// Closes every descriptor above the standard three. To be called before this
/// process has opened anything, or it is closed under its owner.
#[allow(unsafe_code, reason = "no safe wrapper closes what has no owner, whatever its number")]
pub fn close_inherited() {
    // SAFETY: closefrom(2) takes a number, touches no memory and cannot fail; by
    // the sentence above nothing in this process owns what it closes.
    unsafe { libc::closefrom(3) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{TracingStatus, set_reaper_status, trace_status};
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    #[test]
    fn a_hidden_process_cannot_be_traced() {
        assert_eq!(trace_status(None).unwrap(), TracingStatus::Tracable);
        hide().unwrap();
        assert_eq!(trace_status(None).unwrap(), TracingStatus::NotTraceble);
        hide().unwrap();
    }

    #[test]
    fn all_that_descends_is_killed_also_when_nothing_does() {
        set_reaper_status(true).unwrap();
        kill_descendants().unwrap();
        // A shell that goes on when its sleep is killed first, and what has gone to
        // a session of its own.
        let mut child = Command::new("/bin/sh")
            .args(["-c", "/usr/sbin/daemon -f sleep 1000; while :; do sleep 1000; done"])
            .spawn()
            .unwrap();
        let pids = || rustix::process::get_reaper_pids(None).unwrap().len();
        while pids() < 3 {
            std::thread::yield_now();
        }
        kill_descendants().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
    }
}
