//! The real readers of env files, asked what they read: shells, systemd, the
//! dotenv libraries, docker and podman, JSON parsers. The promises of each
//! format are tested against them, and `docs/env-formats.md` is made of them.

mod engine;
mod kind;
mod program;
mod random;
mod reader;
mod render;
mod table;

pub use kind::{Kind, edge_list, kinds};
pub use random::{every_scalar, every_text, values};
pub use reader::{Pairs, Reader};
pub use render::{NOTE, key, render};
pub use table::{table, updated};
