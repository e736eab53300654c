//! The controls: in the whole sandbox the writer's own work succeeds, and with
//! any one of its rights taken away it fails, so no right is there for nothing.

use crate::place::Owners;
use crate::trial::{self, Sandbox};
use colibri_ipc::Order;
use colibri_writer::Error;
use colibri_writer::sandbox::{Confined, RIGHTS};
use colibri_writer::store::{Put, Store};
use std::ffi::{OsStr, OsString};
use std::io;

#[cfg_attr(target_os = "freebsd", path = "control/freebsd.rs")]
#[cfg_attr(target_os = "linux", path = "control/linux.rs")]
mod platform;

/// The name of the trial.
pub const WORK: &str = "the writer's own work";

/// All that the writer does: a file of the largest size, the same again, a put
/// that fails, and a removal.
pub fn work(confined: &Confined, order: &Order, temporary: &OsString) -> String {
    let store = Store::open(confined, order.owner, temporary);
    series(&store, order.file.as_os_str()).map_or_else(|error| error.line(), |()| "done".into())
}

fn series(store: &Store<'_>, name: &OsStr) -> Result<(), Error> {
    let wrong = |what: &'static str| Err(Error::new(colibri_ipc::Failure::WriteFailed, what));
    // Taken now: memory, too, is a right.
    let content = vec![b'x'; 1024 * 1024];
    if store.put(name, &content)? != Put::Written {
        return wrong("not written");
    }
    if store.put(name, &content)? != Put::Unchanged {
        return wrong("not known again");
    }
    // A name of a directory cannot be replaced, and the temporary goes.
    if store.put(OsStr::new(".."), &content).is_ok() {
        return wrong("replaced a directory");
    }
    if !store.remove(name)? {
        return wrong("not removed");
    }
    Ok(())
}

/// Prints the table; false as soon as one row is not as expected.
pub fn table(owners: Owners, rows: &mut usize) -> io::Result<bool> {
    println!("{:<38} {:<16} got", "control", "expected");
    let whole = trial::make(owners, Sandbox::Whole, WORK)?;
    println!("{WORK:<38} {:<16} {}", "done", whole.word);
    *rows += 1;
    if whole.word != "done" {
        return Ok(false);
    }
    for (place, right) in RIGHTS.iter().enumerate() {
        let got = trial::make(owners, Sandbox::Without(place), WORK)?;
        let spare = platform::spare(right, owners);
        let expected = spare.map_or("fails", |_| "done or fails");
        let why = spare.map_or_else(String::new, |why| format!("  ({why})"));
        println!("{:<38} {expected:<16} {}{why}", format!("without {}", platform::name(right)), got.word);
        *rows += 1;
        if got.word == "done" && spare.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}
