//! colibri-writer: harden, open, confine, serve. Standard input is the pair's
//! socket, standard output the report to the daemon, standard error the log;
//! the arguments are the order.

use colibri_envfile::differences;
use colibri_pair::{Failure, Order, Report, Verb, encode, send};
use colibri_sandbox::{Error, Leftovers, confine, harden, look, open_root, open_target};
use colibri_writer::receive::receive;
use colibri_writer::store::{Put, Store};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use nix::unistd::Uid;
use std::io::{IoSlice, Read, Write, stdin, stdout};
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Ok(report) => tell(&report).map_or_else(failed, |()| ExitCode::SUCCESS),
        Err(error) => failed(error),
    }
}

fn run() -> Result<Report, Error> {
    let order = Order::from_args(std::env::args_os().skip(1))
        .map_err(|error| Error::new(Failure::ProtocolViolation, error.to_string()))?;
    harden(&order)?;
    let root = open_root(&order)?;
    if order.verb == Verb::Look {
        return show(root, &order);
    }
    let Some(target) = open_target(root, &order)? else { return Ok(Report::Absent) };
    let leftovers = Leftovers::list(&target.dir, &order)?;
    let confined = confine(target.dir, target.owner, &order, leftovers.directories())?;
    let store = Store::open(&confined, &order, leftovers);
    match order.verb {
        Verb::Remove if store.remove()? => Ok(Report::Removed),
        Verb::Remove | Verb::Look => Ok(Report::Absent),
        Verb::Put | Verb::Compare => serve(&order, &store),
    }
}

/// Tells the daemon what the jail root is, and hands it over: nobody but the
/// daemon is at the other end of the socket.
fn show(root: OwnedFd, order: &Order) -> Result<Report, Error> {
    let seen = look(&root)?;
    let (byte, rights) = ([IoSlice::new(&[0])], [ControlMessage::ScmRights(&[root.as_raw_fd()])]);
    sendmsg::<()>(stdin().as_raw_fd(), &byte, &rights, MsgFlags::empty(), None)
        .map_err(Error::write("cannot hand the jail root over"))?;
    confine(root, Uid::from_raw(order.owner.uid), order, false).map(|_| seen)
}

fn serve(order: &Order, store: &Store<'_>) -> Result<Report, Error> {
    if order.verb == Verb::Put {
        store.clean()?;
    }
    tell(&Report::Ready)?;
    // Never dropped: the process ends, and its memory goes to nobody else.
    let document = ManuallyDrop::new(receive(&mut Socket, order.format, &order.allow)?);
    let keys = u32::try_from(document.keys()).unwrap_or(u32::MAX);
    if order.verb == Verb::Compare {
        let (differences, same) = differences(store.pairs()?, &document);
        return Ok(Report::Compared { differences, same, intact: store.holds(&document) });
    }
    match store.put(&document)? {
        Put::Written => Ok(Report::Written { keys }),
        Put::Unchanged => Ok(Report::Unchanged { keys }),
    }
}

/// Standard input without a buffer: what is read is only where it is looked at.
struct Socket;

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        Ok(nix::unistd::read(stdin(), buffer)?)
    }
}

fn tell(report: &Report) -> Result<(), Error> {
    let lost = || Error::new(Failure::ProtocolViolation, "cannot report to the daemon");
    let frame = encode(report).map_err(|_| lost())?;
    let mut pipe = stdout().lock();
    send(&mut pipe, &frame).map_err(|_| lost())?;
    pipe.flush().map_err(|_| lost())
}

/// Logs and reports; the exit status tells the daemon's reaper the same.
fn failed(error: Error) -> ExitCode {
    eprintln!("writer: {}", error.line());
    // A daemon that is gone cannot be told.
    let _ = tell(&error.report());
    ExitCode::FAILURE
}
