//! The start of an agent: everything that only root may do to a process, and
//! then that process is root's no more.

use nix::sys::resource::{Resource, rlim_t, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use std::error::Error;
use std::ffi::OsString;
use std::io::{ErrorKind, Read, stdin};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

#[cfg_attr(target_os = "freebsd", path = "run/freebsd.rs")]
#[cfg_attr(target_os = "linux", path = "run/linux.rs")]
mod platform;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Whom the agent is to be, and how much of the host it may have.
#[derive(Debug, PartialEq, Eq)]
struct Bounds {
    /// Nothing where the daemon has nothing to give up, or the line does it.
    user: Option<(Uid, Gid)>,
    /// Its one further group, to go through the directory of all jails.
    group: Option<Gid>,
    /// Most processes and threads of that user.
    processes: Option<rlim_t>,
}

/// Becomes what `words` say; returns only if it cannot, or if colibrid is gone.
///
/// # Errors
/// What the words lack, or the step that the system refused.
pub fn run(mut words: impl Iterator<Item = OsString>) -> Result<()> {
    let bounds = Bounds::read(&mut words)?;
    let program = words.next().ok_or("there is no program")?;
    if !told_to_go()? {
        return Ok(());
    }
    bounds.impose()?;
    // Agents make files as other programs do; the daemon's own mask is tighter.
    umask(Mode::from_bits_truncate(0o022));
    let error = Command::new(&program).args(words).stdin(Stdio::null()).exec();
    Err(format!("{}: {error}", program.display()).into())
}

/// Waits for one line, so that no agent runs that the database does not know:
/// if the daemon dies before it has written it down, there is no line.
fn told_to_go() -> Result<bool> {
    let mut byte = [0];
    loop {
        match stdin().lock().read(&mut byte) {
            Ok(0) => return Ok(false),
            Ok(_) if byte == *b"\n" => return Ok(true),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}

impl Bounds {
    fn read(words: &mut impl Iterator<Item = OsString>) -> Result<Self> {
        let user = user(words)?;
        let group = word(words, "GROUP", |text| text.parse().ok().map(Gid::from_raw))?;
        let processes = word(words, "PROCESSES", |text| text.parse::<u32>().ok().map(rlim_t::from))?;
        Ok(Self { user, group, processes })
    }

    fn impose(&self) -> Result<()> {
        platform::no_preference()?;
        platform::no_new_privileges()?;
        platform::no_keys()?;
        if let Some(most) = self.processes {
            setrlimit(Resource::RLIMIT_NPROC, most, most)?;
        }
        self.user.map_or(Ok(()), |user| become_user(user, self.group))
    }
}

/// Reads `UID:GID`; nothing where there is nothing to give up.
pub fn user(words: &mut impl Iterator<Item = OsString>) -> Result<Option<(Uid, Gid)>> {
    word(words, "USER", |text| {
        let (uid, gid) = text.split_once(':')?;
        Some((Uid::from_raw(uid.parse().ok()?), Gid::from_raw(gid.parse().ok()?)))
    })
}

/// Gives up root for good, with every group but that one.
pub fn become_user((uid, gid): (Uid, Gid), group: Option<Gid>) -> Result<()> {
    setgroups(group.as_slice())?;
    setresgid(gid, gid, gid)?;
    Ok(setresuid(uid, uid, uid)?)
}

/// A word of the order; `-` stands for none.
fn word<T>(
    words: &mut impl Iterator<Item = OsString>,
    name: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>> {
    let given = words.next().ok_or_else(|| format!("there is no {name}"))?;
    let text = given.to_str().ok_or_else(|| format!("{name} is no text"))?;
    if text == "-" {
        return Ok(None);
    }
    read(text).map(Some).ok_or_else(|| format!("{name} cannot be {text:?}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Bounds> {
        Bounds::read(&mut text.split_ascii_whitespace().map(OsString::from))
    }

    #[test]
    fn an_order_is_read_as_it_is_written_and_nothing_else_is() {
        let user = Some((Uid::from_raw(80), Gid::from_raw(81)));
        let group = Some(Gid::from_raw(7));
        assert_eq!(read("80:81 7 512").unwrap(), Bounds { user, group, processes: Some(512) });
        let none = Bounds { user: None, group: None, processes: None };
        assert_eq!(read("- - -").unwrap(), none);
        for text in ["", "80", "80 - -", ":81 - -", "root:root - -", "80:81 x -", "80:81 - -1", "80:81 -"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
