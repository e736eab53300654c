//! The conversation of the pair: the daemon's arguments for the writer, the pairs that
//! the fetcher sends it, its report to the daemon, and the bounds of all. Part of the writer's trusted base, so it
//! opens nothing, waits for nothing and decides nothing.

mod arguments;
mod codec;
mod frame;
mod key;
mod pair;
mod report;
mod secret;

pub use arguments::{
    ANY, FileMode, FileName, Format, Medium, Order, OrderError, Owner, RelPath, TEMPORARY, TENANT, Verb,
};
pub use codec::{CodecError, decode, encode};
pub use frame::{FrameError, recv, recv_into, send};
pub use key::{EnvKey, KeyError};
pub use pair::{FromFetcher, MAX_FRAME, MAX_KEY, MAX_PAIRS, MAX_TOTAL, MAX_VALUE, Pair, RAW, ToWriter, Word};
pub use report::{Change, Failure, MAX_REPORT, Report};
pub use secret::{Secret, SecretStr};
