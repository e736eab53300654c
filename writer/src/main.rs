//! colibri-writer: harden, open, confine, serve. Standard input is the pair's
//! socket, standard output the report to the daemon, standard error the log;
//! the arguments are the order.

use colibri_ipc::{Failure, Report, encode, send};
use colibri_order::{Order, Verb};
use colibri_writer::Error;
use colibri_writer::harden::harden;
use colibri_writer::receive::receive;
use colibri_writer::sandbox::confine;
use colibri_writer::store::{Put, Store};
use colibri_writer::target::{clean, open_target, temporary};
use std::io::{Read, Write, stdin, stdout};
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
    harden(order.seconds)?;
    let Some(target) = open_target(&order)? else { return Ok(Report::Absent) };
    clean(&target.dir)?;
    let temporary = temporary();
    let confined = confine(target, &order)?;
    let store = Store::open(&confined, order.owner, &temporary);
    match order.verb {
        Verb::Put => {
            tell(&Report::Ready)?;
            put(&order, &store)
        }
        Verb::Compare => Err(Error::new(Failure::ProtocolViolation, "compare is not built yet")),
        Verb::Remove if store.remove(order.file.as_os_str())? => Ok(Report::Removed),
        Verb::Remove => Ok(Report::Absent),
    }
}

fn put(order: &Order, store: &Store<'_>) -> Result<Report, Error> {
    let committed = receive(&mut Socket, order.format, &order.allow)?;
    let keys = committed.keys;
    match store.put(order.file.as_os_str(), committed.file.as_bytes())? {
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
