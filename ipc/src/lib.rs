//! The words of the pair: what the fetcher tells the writer, what the writer
//! answers, and the bounds of both. Part of the writer's trusted base, so it
//! opens nothing, waits for nothing and decides nothing.

mod codec;
mod frame;
mod key;
mod order;
mod pair;
mod report;
mod secret;

pub use codec::{CodecError, decode, encode};
pub use frame::{FrameError, recv, send};
pub use key::{EnvKey, KeyError};
pub use order::{FileName, Format, Order, OrderError, Owner, RelPath, TEMPORARY, Verb};
pub use pair::{MAX_FRAME, MAX_KEY, MAX_PAIRS, MAX_TOTAL, MAX_VALUE, Pair, ToWriter};
pub use report::{Failure, MAX_REPORT, Report};
pub use secret::Secret;
