//! What FreeBSD's kernel is asked for that no crate asks for rightly
//! (docs/upstream.md says how they fail). All `unsafe` on FreeBSD is here.
#![cfg(target_os = "freebsd")]

use nix::errno::Errno;
use nix::libc::{self, c_int};

/// Keeps other processes of the same user from tracing this one, and the kernel
/// from dumping it. It lasts until the next exec.
///
/// # Errors
/// `EBUSY` when this process is being traced; the kernel has no other reason.
#[allow(unsafe_code, reason = "rustix gives procctl(2) the value for the pointer to it")]
pub fn hide() -> nix::Result<()> {
    let mut state: c_int = libc::PROC_TRACE_CTL_DISABLE;
    // SAFETY: for PROC_TRACE_CTL the kernel copies one int from the pointer and
    // keeps nothing of it; `state` is that int and outlives the call. P_PID and 0
    // are this process.
    let status = unsafe { libc::procctl(libc::P_PID, 0, libc::PROC_TRACE_CTL, (&raw mut state).cast()) };
    Errno::result(status).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{TracingStatus, trace_status};

    #[test]
    fn a_hidden_process_cannot_be_traced() {
        assert_eq!(trace_status(None).unwrap(), TracingStatus::Tracable);
        hide().unwrap();
        assert_eq!(trace_status(None).unwrap(), TracingStatus::NotTraceble);
        hide().unwrap();
    }
}
