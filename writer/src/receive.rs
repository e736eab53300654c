//! The writer's loop: frames from the fetcher, each checked, into the bytes of
//! a file. It knows no path and no descriptor but the stream it reads.

use crate::Error;
use colibri_envfile::{Document, is_reserved};
use colibri_ipc::Failure::{LimitExceeded, ProtocolViolation, ReservedKey, ValueNotCarried};
use colibri_ipc::{
    EnvKey, FrameError, MAX_FRAME, MAX_PAIRS, MAX_TOTAL, MAX_VALUE, Pair, ToWriter, decode, recv,
};
use colibri_order::Format;
use std::io::Read;
use zeroize::Zeroizing;

/// Largest file, in bytes: values may double when they are quoted.
pub const MAX_FILE: usize = 3 * 1024 * 1024;

/// What the fetcher committed.
#[derive(Debug)]
pub struct Committed {
    /// The file.
    pub file: Zeroizing<String>,
    /// Number of pairs.
    pub keys: u32,
}

/// Reads pairs until the commit.
///
/// # Errors
/// Whatever is not ascending pairs within the bounds and one commit with their
/// number; nothing after the commit is read.
pub fn receive(from: &mut impl Read, format: Format, allow: &[EnvKey]) -> Result<Committed, Error> {
    if format == Format::Dir {
        return Err(Error::new(ValueNotCarried, "the format dir is not built yet"));
    }
    let mut pairs = Pairs { allow, last: None, count: 0, total: 0 };
    let mut document = Document::new(format);
    loop {
        match next(from)? {
            ToWriter::Pair(pair) => {
                pairs.check(&pair)?;
                document.push(&pair).map_err(|refused| Error::new(ValueNotCarried, refused.to_string()))?;
                if document.len() > MAX_FILE {
                    return Err(Error::new(LimitExceeded, "the file would be too large"));
                }
                pairs.last = Some(pair.key);
            }
            ToWriter::Commit(count) if count == pairs.count => {
                return Ok(Committed { file: document.finish(), keys: count });
            }
            ToWriter::Commit(_) => return Err(violation("the commit does not count the pairs that came")),
        }
    }
}

fn next(from: &mut impl Read) -> Result<ToWriter, Error> {
    let frame = recv(from, MAX_FRAME).map_err(|error| match error {
        FrameError::TooLong(_) => Error::new(LimitExceeded, "a frame is over its bound"),
        FrameError::Truncated => violation("the fetcher ended inside a frame"),
        FrameError::Io(_) => violation("cannot read from the fetcher"),
    })?;
    let frame = frame.ok_or_else(|| violation("the fetcher ended without a commit"))?;
    decode(&frame).map_err(|_| violation("a frame is no message"))
}

fn violation(step: &'static str) -> Error {
    Error::new(ProtocolViolation, step)
}

struct Pairs<'a> {
    allow: &'a [EnvKey],
    last: Option<EnvKey>,
    count: u32,
    total: usize,
}

impl Pairs<'_> {
    fn check(&mut self, pair: &Pair) -> Result<(), Error> {
        let size = pair.value.expose().len();
        self.count += 1;
        self.total += pair.key.as_str().len() + size;
        if self.last.as_ref().is_some_and(|last| *last >= pair.key) {
            return Err(violation("keys do not ascend"));
        }
        if size > MAX_VALUE {
            return Err(Error::new(
                LimitExceeded,
                format!("the value of {} is longer than 64 KiB", pair.key),
            ));
        }
        if self.count as usize > MAX_PAIRS || self.total > MAX_TOTAL {
            return Err(Error::new(LimitExceeded, "more than 1,024 pairs or 1 MiB in all"));
        }
        if is_reserved(&pair.key) && !self.allow.contains(&pair.key) {
            return Err(Error::new(ReservedKey, format!("{} would take over its reader", pair.key)));
        }
        Ok(())
    }
}
