//! The daemon's own children, fetcher and writers: what they print goes into
//! the daemon's log, bounded and with nothing that could forge another line.

use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::Instant;
use tracing::Instrument;

const MAX_LINE: u64 = 4096;
/// Most lines of a child in a spell; what is more is counted, so that a child
/// cannot fill the disk.
const MAX_LINES: u32 = 1000;
const SPELL: Duration = Duration::from_secs(10);

/// A command with nothing of the daemon's environment.
pub fn command(program: &std::path::Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().current_dir("/").kill_on_drop(true);
    if let Ok(filter) = std::env::var("COLIBRI_LOG") {
        command.env("COLIBRI_LOG", filter);
    }
    command
}

/// Takes root's supplementary groups from what is started; it stays root's.
pub fn without_groups(command: &mut Command) {
    if nix::unistd::geteuid().is_root() {
        // With a uid, std clears the supplementary groups.
        command.uid(0).gid(nix::unistd::getegid().as_raw());
    }
}

/// Copies the lines of a child's standard error into the log.
pub fn log(name: &'static str, pid: Option<u32>, stderr: impl AsyncRead + Unpin + Send + 'static) {
    let copy = async move {
        let mut lines = BufReader::new(stderr);
        let mut line = Vec::new();
        let (mut since, mut said) = (Instant::now(), 0_u32);
        let mut whole = true;
        loop {
            line.clear();
            match (&mut lines).take(MAX_LINE).read_until(b'\n', &mut line).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {
                    // What is over the bound is no line of its own.
                    let rest = !std::mem::replace(&mut whole, line.ends_with(b"\n"));
                    if rest {
                        continue;
                    }
                    if since.elapsed() >= SPELL {
                        if said > MAX_LINES {
                            tracing::warn!(from = name, pid, "{} more lines in {SPELL:?}", said - MAX_LINES);
                        }
                        (since, said) = (Instant::now(), 0);
                    }
                    said = said.saturating_add(1);
                    if said > MAX_LINES {
                        continue;
                    }
                    let text = String::from_utf8_lossy(line.trim_ascii_end());
                    relay(name, pid, colibri_tenant::plain(&text).trim_start());
                }
            }
        }
    };
    // A writer's lines belong to the provision that it is for.
    tokio::spawn(copy.in_current_span());
}

/// The fetcher's lines begin with their level; other lines are worth a look.
fn relay(from: &str, pid: Option<u32>, text: &str) {
    match text.split_once(' ') {
        Some(("TRACE" | "DEBUG", rest)) => tracing::debug!(from, pid, "{rest}"),
        Some(("INFO", rest)) => tracing::info!(from, pid, "{rest}"),
        Some(("ERROR", rest)) => tracing::error!(from, pid, "{rest}"),
        Some(("WARN", rest)) => tracing::warn!(from, pid, "{rest}"),
        _ => tracing::warn!(from, pid, "{text}"),
    }
}

/// Asks a child to end, then makes it, and reaps it.
pub async fn end(mut child: Child, grace: Duration) {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).map(nix::unistd::Pid::from_raw);
    if tokio::time::timeout(grace, child.wait()).await.is_ok() {
        return;
    }
    if let Some(pid) = pid {
        let _gone = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
    }
    if tokio::time::timeout(grace, child.wait()).await.is_err() {
        let _gone = child.kill().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_line_over_its_bound_does_not_become_two() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
        let _default = tracing::subscriber::set_default(subscriber);
        let long = "x".repeat(usize::try_from(MAX_LINE).unwrap());
        let said = format!("WARN {long}ERROR forged\nINFO next\n");
        super::log("bw", None, std::io::Cursor::new(said.into_bytes()));
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert!(!log.contains("forged") && log.contains("next"), "{log}");
        assert_eq!(log.lines().count(), 2);
    }
}
