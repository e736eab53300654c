//! The words of the pair: what the fetcher tells the writer, what the writer
//! answers, and the bounds of both. Part of the writer's trusted base, so it
//! opens nothing, waits for nothing and decides nothing.

mod codec;
mod frame;
mod key;
mod pair;
mod report;
mod secret;

pub use codec::{CodecError, decode, encode};
pub use frame::{FrameError, recv, recv_into, send};
pub use key::{EnvKey, KeyError};
pub use pair::{FromFetcher, MAX_FRAME, MAX_KEY, MAX_PAIRS, MAX_TOTAL, MAX_VALUE, Pair, ToWriter, Word};
pub use report::{Change, Failure, MAX_REPORT, Report};
pub use secret::{Secret, SecretStr};
