//! The controls: in the whole sandbox the writer's own work succeeds, and with
//! any one of its rights taken away it fails, so no right is there for nothing.

use crate::place::Owners;
use crate::rows::{Row, Rows};
use crate::trial::{self, Sandbox};
use colibri_order::Order;
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

/// Tries them; false as soon as one row is not as expected.
pub fn table(owners: Owners, rows: &mut Rows) -> io::Result<bool> {
    let whole = trial::make(owners, Sandbox::Whole, WORK)?;
    let held = whole.word == "done";
    if !rows.row(&Row { what: WORK, expected: "done", got: &whole.word, without: None, note: None, held })? {
        return Ok(false);
    }
    for (place, right) in RIGHTS.iter().enumerate() {
        let got = trial::make(owners, Sandbox::Without(place), WORK)?;
        let note = platform::spare(right, owners);
        let row = Row {
            what: &format!("the same without {}", platform::name(right)),
            expected: note.map_or("fails", |_| "done or fails"),
            got: &got.word,
            without: None,
            note,
            // A trial that did not even begin shows nothing.
            held: got.word != trial::SILENT && (got.word != "done" || note.is_some()),
        };
        if !rows.row(&row)? {
            return Ok(false);
        }
    }
    Ok(true)
}
