//! The controls: in the whole sandbox the writer's own work succeeds, and with
//! any one of its rights taken away it fails, so no right is there for nothing.

use crate::place::{LEFT, Owners, Place};
use crate::rows::{Row, Rows};
use crate::trial::{self, Sandbox};
use colibri_envfile::Document;
use colibri_pair::{EnvKey, Format, MAX_VALUE, Order, Owner};
use colibri_sandbox::{Confined, Error, Leftovers, RIGHTS, Right};
use colibri_writer::store::{Put, Store};
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::fstatat;
use std::io;
use std::path::Path;

#[cfg_attr(target_os = "freebsd", path = "control/freebsd.rs")]
#[cfg_attr(target_os = "linux", path = "control/linux.rs")]
mod platform;

/// The name of the trial.
pub const WORK: &str = "the writer's own work";

/// All that the writer does: a content of the largest size, the same again, and
/// a removal; or a directory of files, after which what was left over is gone.
pub fn work(confined: &Confined, order: &Order, leftovers: Leftovers) -> String {
    let store = Store::open(confined, order, leftovers);
    let done = match order.format {
        Format::Dir => tree(&store, confined),
        _ => file(&store),
    };
    done.map_or_else(|error| error.line(), |()| "done".into())
}

/// Taken after confinement: memory, too, is a right.
fn document(format: Format) -> Result<Document, Error> {
    let mut document = Document::new(format);
    for number in 10..26 {
        let key = EnvKey::try_from(format!("K{number}")).map_err(|_| wrong("no key"))?;
        document.push(key, &"x".repeat(MAX_VALUE)).map_err(|_| wrong("not rendered"))?;
    }
    Ok(document)
}

fn wrong(what: &'static str) -> Error {
    Error::new(colibri_pair::Failure::WriteFailed, what)
}

fn file(store: &Store<'_>) -> Result<(), Error> {
    let document = document(Format::Env)?;
    let done = [
        (store.put(&document)? == Put::Written, "not written"),
        (store.put(&document)? == Put::Unchanged, "not known again"),
        (store.remove()?, "not removed"),
    ];
    done.iter().try_for_each(|(done, what)| if *done { Ok(()) } else { Err(wrong(what)) })
}

fn tree(store: &Store<'_>, confined: &Confined) -> Result<(), Error> {
    if !store.pairs()?.values().eq([b"1"]) {
        return Err(wrong("the old files were not read"));
    }
    if store.put(&document(Format::Dir)?)? != Put::Written {
        return Err(wrong("not written"));
    }
    match fstatat(confined.dir(), LEFT, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Err(Errno::ENOENT) => Ok(()),
        _ => Err(wrong("what was left over is still there")),
    }
}

/// Tries them; false as soon as one row is not as expected.
pub fn table(owners: Owners, format: Format, rows: &mut Rows) -> io::Result<bool> {
    let whole = trial::make(owners, format, Sandbox::Whole, WORK)?;
    let held = whole.word == "done";
    let what = format!("{WORK}, {}", format.as_str());
    if !rows.row(&Row { what: &what, expected: "done", got: &whole.word, without: None, note: None, held })? {
        return Ok(false);
    }
    let Some(order) = Place::order(Path::new("/"), Owner { uid: 0, gid: 0 }, format) else {
        return Ok(false);
    };
    let needed = |(_, right): &(usize, &Right)| right.1.is(&order, format == Format::Dir);
    for (place, right) in RIGHTS.iter().enumerate().filter(needed) {
        let got = trial::make(owners, format, Sandbox::Without(place), WORK)?;
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
