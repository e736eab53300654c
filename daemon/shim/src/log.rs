//! The log of one agent: what comes on standard input is appended to the log,
//! standard output, and never makes it longer than its bound: before that, the
//! log moves to the older one, standard error. The agent has a pipe, and so no
//! way to the files.

use crate::run::{become_user, user};
use std::error::Error;
use std::ffi::OsString;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, Write, stderr, stdin, stdout};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

/// Longest log, and longest older one, in bytes.
const MOST: u64 = 5 * 1024 * 1024;
const PART: usize = 64 * 1024;

#[cfg_attr(target_os = "freebsd", path = "log/freebsd.rs")]
#[cfg_attr(target_os = "linux", path = "log/linux.rs")]
mod platform;

/// Reads until nobody is left who could write.
///
/// # Errors
/// If USER is missing or cannot be become, or standard input cannot be read.
pub fn run(mut words: impl Iterator<Item = OsString>) -> Result<(), Box<dyn Error>> {
    if let Some(user) = user(&mut words)? {
        become_user(user, None)?;
    }
    platform::hide()?;
    let input = file(stdin())?;
    Log { now: file(stdout())?, old: file(stderr())? }.keep(input)
}

fn file(stream: impl AsFd) -> std::io::Result<File> {
    stream.as_fd().try_clone_to_owned().map(File::from)
}

struct Log {
    now: File,
    old: File,
}

impl Log {
    fn keep(mut self, mut input: impl Read) -> Result<(), Box<dyn Error>> {
        let mut part = vec![0; PART];
        loop {
            match input.read(&mut part) {
                Ok(0) => return Ok(()),
                // With a full disk output is lost; the agent goes on.
                Ok(count) => drop(self.append(part.get(..count).unwrap_or_default())),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Its length is asked for each time: a command after a change writes, too.
    fn append(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let most = MOST.saturating_sub(bytes.len() as u64);
        if self.now.metadata()?.len() > most {
            // Kept or not, it ends here.
            let kept = self.move_to_older();
            self.now.set_len(0)?;
            kept?;
        }
        self.now.write_all(bytes)
    }

    fn move_to_older(&mut self) -> std::io::Result<()> {
        self.old.set_len(0)?;
        self.old.rewind()?;
        let (mut part, mut at) = (vec![0; PART], 0);
        while at < MOST {
            let count = self.now.read_at(&mut part, at)?;
            if count == 0 {
                break;
            }
            self.old.write_all(part.get(..count).unwrap_or_default())?;
            at = at.saturating_add(count as u64);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::OpenOptions;
    use std::path::Path;

    fn log(dir: &Path) -> Log {
        let open = |name: &str| {
            OpenOptions::new().read(true).append(true).create(true).open(dir.join(name)).unwrap()
        };
        Log { now: open("now"), old: open("old") }
    }

    #[test]
    fn what_is_more_than_the_bound_goes_and_the_newest_stays() {
        let dir = tempfile::tempdir().unwrap();
        let lines = 2_000_000_u64;
        let text: String = (0..lines).map(|number| format!("{number:07}\n")).collect();
        assert!(text.len() as u64 > 3 * MOST);
        log(dir.path()).keep(text.as_bytes()).unwrap();
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        let (now, old) = (read("now"), read("old"));
        assert!(now.len() as u64 <= MOST && old.len() as u64 <= MOST);
        let kept = old + &now;
        assert!(text.ends_with(&kept) && kept.len() as u64 > MOST);
    }

    #[test]
    fn a_log_that_was_long_already_is_moved_too() {
        let dir = tempfile::tempdir().unwrap();
        let grown = usize::try_from(2 * MOST).unwrap();
        std::fs::write(dir.path().join("now"), vec![b'x'; grown]).unwrap();
        log(dir.path()).keep(&b"new"[..]).unwrap();
        assert_eq!(std::fs::read(dir.path().join("now")).unwrap(), b"new");
        assert_eq!(std::fs::metadata(dir.path().join("old")).unwrap().len(), MOST);
    }

    #[test]
    fn an_agent_goes_on_while_nothing_can_be_written() {
        let (mut read, mut write) = std::io::pipe().unwrap();
        let full = OpenOptions::new().read(true).write(true).open("/dev/full").unwrap();
        let log = Log { now: full.try_clone().unwrap(), old: full };
        let agent = std::thread::spawn(move || write.write_all(&vec![b'x'; 3 * PART]));
        log.keep(&mut read).unwrap();
        agent.join().unwrap().unwrap();
    }
}
