//! Answers the notices, and puts into the log what was tried.

use crate::call::{self, Request};
use crate::listener::{Answer, Listener, Notice};
use crate::policy::{FINE, Policy, Verdict};
use nix::libc;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Error, ErrorKind};

/// Most different lines of one kind; a program that tries more is known by then.
/// All kinds together are fewer lines than the daemon takes at a time.
const MOST: usize = 60;

/// Serves until the kernel refuses. What waits then, and all that comes after
/// it, fails. What the thread `own` asks for is not looked at.
pub fn run(listener: &Listener, policy: &Policy, own: i32) {
    let mut judge = Judge { policy, sight: Sight::Untried };
    let mut seen = Seen::default();
    loop {
        let served = listener.recv().and_then(|notice| {
            let verdict = match notice.thread {
                thread if thread == own => FINE,
                _ => judge.weigh(listener, &notice),
            };
            if let Some(tried) = verdict.tried {
                seen.record(tried);
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

/// Whether memory can be read.
enum Sight {
    Untried,
    Clear,
    /// The system forbids it to everybody.
    Blind,
}

struct Judge<'a> {
    policy: &'a Policy,
    sight: Sight,
}

impl Judge<'_> {
    /// The first to ask is not `bw` yet, but what will become it.
    fn weigh(&mut self, listener: &Listener, notice: &Notice) -> Verdict {
        let request = match (&self.sight, Request::of(notice)) {
            // What is not in memory is known all the same.
            (_, Ok(request)) => request,
            (Sight::Blind, Err(_)) => return FINE,
            // A thread that is gone asks for nothing.
            (_, Err(_)) if !listener.waits(notice) => return FINE,
            (Sight::Untried, Err(error)) => {
                tracing::warn!(%error, "what bw tries and may not cannot be recorded here");
                self.sight = Sight::Blind;
                return FINE;
            }
            // Memory that we cannot read, but the kernel could.
            (Sight::Clear, Err(_)) => {
                let tried = format!("call {} with what cannot be read", call::name(notice.call));
                return Verdict { tried: Some(tried), answer: Answer::Refuse(libc::EFAULT) };
            }
        };
        if matches!((&self.sight, &request), (Sight::Untried, Request::Files(..))) {
            self.sight = Sight::Clear;
        }
        self.policy.judge(&request, notice.thread)
    }
}

/// What has been recorded, and how often each kind.
#[derive(Default)]
struct Seen {
    lines: BTreeSet<String>,
    kinds: BTreeMap<String, usize>,
}

impl Seen {
    fn record(&mut self, tried: String) {
        let kind = tried.split(' ').next().unwrap_or_default();
        let count = self.kinds.entry(kind.to_owned()).or_default();
        if *count == MOST || self.lines.contains(&tried) {
            return;
        }
        tracing::warn!(%tried, "bw tried what it may not: refused");
        *count += 1;
        if *count == MOST {
            tracing::warn!(
                kind,
                "bw tried more than {MOST} things of this kind: no more of them is recorded"
            );
        }
        self.lines.insert(tried);
    }
}

/// A thread that ended or was interrupted.
fn is_passing(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Interrupted)
}
