//! What whoever started the writer left open, where it cannot be counted and so
//! is closed instead of refused.

use crate::jail::{Jail, next, start};
use colibri_pair::Report;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;

#[test]
fn no_inherited_descriptor_stays_open_whatever_its_number() {
    let jail = Jail::new();
    let fifo = jail.outside().join("fifo");
    mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    let mut reader =
        OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&fifo).unwrap();
    let writer = jail.command();
    for script in ["exec \"$@\" 5>\"$0\" 7>\"$0\" 9>\"$0\"", "ulimit -S -n 64; exec \"$@\" 5>\"$0\""] {
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(&fifo).arg(writer.get_program()).args(writer.get_args());
        let (mut child, socket) = start(command);
        assert_eq!(next(child.stdout.as_mut().unwrap()), Some(Report::Ready));
        // The end of the fifo is there when nobody has it open for writing.
        assert_eq!(reader.read(&mut [0]).map_err(|error| error.kind()), Ok(0), "{script}");
        drop(socket);
        child.wait().unwrap();
    }
    // The control: one that is open is not at its end.
    let _held = OpenOptions::new().write(true).open(&fifo).unwrap();
    assert_eq!(reader.read(&mut [0]).map_err(|error| error.kind()), Err(ErrorKind::WouldBlock));
}
