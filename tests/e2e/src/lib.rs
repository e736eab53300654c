//! A host for end-to-end tests: the built programs, the real `bw`, a vault, a
//! daemon with a state of its own, and what looks at them from outside.

pub mod host;
pub mod process;
pub mod tree;
