//! Ends a cage whose processes together take more than `bw` could have a use for.
//! Each process has limits of its own, which the kernel holds it to.

use super::platform;
use crate::memory::Gauge;
use colibri_session::Failure;
use colibri_tenant::ErrorName::BwCrashed;
use rustix::fs::fstatvfs;
use rustix::process::{Pid, test_kill_process};
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::sleep;

/// Most memory of all processes, in KiB; `bw` holds 0.2 to 0.6 GiB.
const MEMORY: u64 = 2 << 20;
/// Most files; `bw` makes three. Each takes memory of the kernel's.
const FILES: u64 = 10_000;
/// Between two looks.
const TICK: Duration = Duration::from_millis(500);

/// Why a cage was ended, once it was.
#[derive(Clone, Debug, Default)]
pub struct Excess(Arc<OnceLock<String>>);

impl Excess {
    /// The failure, or what was behind it.
    pub fn explain(&self, failure: Failure) -> Failure {
        self.0.get().map_or(failure, |why| Failure::new(BwCrashed, why.clone()))
    }

    /// Looks at the cage of the process `top` until it has ended; at `files` only
    /// where they are a file system of their own.
    pub fn watch(&self, top: u32, gauge: Gauge, files: Option<OwnedFd>) {
        let excess = self.clone();
        let Some(top) = i32::try_from(top).ok().and_then(Pid::from_raw) else { return };
        tokio::spawn(async move {
            let what = loop {
                sleep(TICK).await;
                let over = match gauge.held().await {
                    Some(memory) => over(memory, files.as_ref().and_then(count)),
                    None if test_kill_process(top).is_err() => return,
                    None => Some("its memory cannot be counted any more".into()),
                };
                if let Some(what) = over {
                    break what;
                }
            };
            tracing::error!("ending bw's cage: {what}");
            let _once = excess.0.set(format!("bw was ended: {what}"));
            if let Err(error) = platform::end(top) {
                tracing::error!(%error, "cannot end the cage");
            }
        });
    }
}

fn count(files: &OwnedFd) -> Option<u64> {
    fstatvfs(files).ok().map(|found| found.f_files.saturating_sub(found.f_ffree))
}

fn over(memory: u64, files: Option<u64>) -> Option<String> {
    if memory > MEMORY {
        return Some(format!("it held {} MiB of memory, of {} at most", memory >> 10, MEMORY >> 10));
    }
    let files = files.filter(|files| *files > FILES)?;
    Some(format!("it made {files} files, of {FILES} at most"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_bw_needs_is_no_excess() {
        assert_eq!(over(600 << 10, Some(10)), None);
        assert_eq!(over(MEMORY, None), None);
        assert!(over(MEMORY + 1, None).is_some_and(|what| what.contains("memory")));
        assert!(over(0, Some(FILES + 1)).is_some_and(|what| what.contains("files")));
    }
}
