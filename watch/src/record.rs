//! Answers the notices, and puts into the log what was tried.

use crate::call::Request;
use crate::listener::{Answer, Listener, Notice};
use crate::policy::{FINE, Policy, Verdict};
use nix::libc;
use std::collections::BTreeSet;
use std::io::{Error, ErrorKind};

/// Most different lines; a program that tries more is known by then.
const MOST: usize = 200;

/// Serves until the kernel refuses. What waits then, and all that comes after
/// it, fails. What the thread `own` asks for is not looked at.
pub fn run(listener: &Listener, policy: &Policy, own: i32) {
    let mut seen = BTreeSet::new();
    loop {
        let served = listener.recv().and_then(|notice| {
            let verdict = match notice.thread {
                thread if thread == own => FINE,
                _ => judge(listener, policy, &notice),
            };
            if let Some(tried) = verdict.tried {
                record(&mut seen, tried);
            }
            listener.answer(&notice, verdict.answer)
        });
        match served {
            Err(error) if !is_passing(&error) => {
                tracing::error!(%error, "cannot see any more what bw tries");
                return;
            }
            _ => {}
        }
    }
}

fn judge(listener: &Listener, policy: &Policy, notice: &Notice) -> Verdict {
    match Request::of(notice) {
        Ok(request) => policy.judge(&request, notice.thread),
        // A thread that is gone asks for nothing.
        Err(_) if !listener.waits(notice) => FINE,
        // The kernel will say what it thinks of such an address.
        Err(error) if error.raw_os_error() == Some(libc::EFAULT) => FINE,
        Err(error) => Verdict {
            tried: Some(format!("what cannot be read (system call {}: {error})", notice.call)),
            answer: Answer::Continue,
        },
    }
}

fn record(seen: &mut BTreeSet<String>, tried: String) {
    if seen.len() < MOST && !seen.contains(&tried) {
        tracing::warn!(%tried, "bw tried what it may not: refused");
        seen.insert(tried);
        if seen.len() == MOST {
            tracing::warn!("bw tried more than {MOST} things that it may not: no more of them is recorded");
        }
    }
}

/// A thread that ended or was interrupted.
fn is_passing(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Interrupted)
}
