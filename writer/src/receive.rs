//! The writer's loop: frames from the fetcher, each checked, into the bytes of
//! a file. It knows no path and no descriptor but the stream it reads.

use colibri_envfile::{Document, is_barred, is_reserved};
use colibri_pair::Failure::{LimitExceeded, ProtocolViolation, ReservedKey, ValueNotCarried};
use colibri_pair::{
    EnvKey, Format, FrameError, FromFetcher, MAX_FRAME, MAX_PAIRS, MAX_TOTAL, MAX_VALUE, decode, recv_into,
};
use colibri_sandbox::Error;
use std::io::Read;

/// Reads pairs until the commit.
///
/// # Errors
/// Whatever is not ascending pairs within the bounds and one commit with their
/// number; nothing after the commit is read.
pub fn receive(from: &mut impl Read, format: Format, allow: &[EnvKey]) -> Result<Document, Error> {
    let (mut document, mut total) = (Document::new(format), 0);
    let mut frame = Vec::with_capacity(MAX_FRAME);
    loop {
        let (key, value) = match next(from, &mut frame)? {
            FromFetcher::Pair(pair) => (pair.key, pair.value.expose()),
            FromFetcher::Commit(_) if format == Format::Raw && document.keys() != 1 => {
                return Err(violation("a raw file has one value"));
            }
            FromFetcher::Commit(count) if usize::try_from(count) == Ok(document.keys()) => {
                return Ok(document);
            }
            FromFetcher::Commit(_) => return Err(violation("the commit does not count the pairs that came")),
        };
        total += key.as_str().len() + value.len();
        if document.pairs().next_back().is_some_and(|(last, _)| *last >= key) {
            return Err(violation("keys do not ascend"));
        }
        if value.len() > MAX_VALUE {
            return Err(Error::new(LimitExceeded, format!("the value of {key} is longer than 64 KiB")));
        }
        if document.keys() == MAX_PAIRS || total > MAX_TOTAL {
            return Err(Error::new(LimitExceeded, "more than 1,024 pairs or 1 MiB in all"));
        }
        if is_barred(&key) || (is_reserved(&key) && !allow.contains(&key)) {
            return Err(Error::new(ReservedKey, format!("{key} would take over its reader")));
        }
        document.push(key, value).map_err(|refused| Error::new(ValueNotCarried, refused.to_string()))?;
    }
}

fn next<'a>(from: &mut impl Read, frame: &'a mut Vec<u8>) -> Result<FromFetcher<'a>, Error> {
    let frame = recv_into(from, MAX_FRAME, frame).map_err(|error| match error {
        FrameError::TooLong(_) => Error::new(LimitExceeded, "a frame is over its bound"),
        FrameError::Truncated => violation("the fetcher ended inside a frame"),
        FrameError::Io(_) => violation("cannot read from the fetcher"),
    })?;
    let frame = frame.ok_or_else(|| violation("the fetcher ended without a commit"))?;
    decode(frame).map_err(|_| violation("a frame is no message"))
}

fn violation(step: &'static str) -> Error {
    Error::new(ProtocolViolation, step)
}
