//! The privileged half of the pair, as a library: so that its loop can be
//! fuzzed and its store be tried out. It holds one directory, one socket and
//! its report pipe, and nothing else.

pub mod receive;
pub mod store;
