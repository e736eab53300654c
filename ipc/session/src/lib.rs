//! The conversation of the daemon and the fetcher, and of the fetcher and its warden:
//! their messages, and how these and descriptors travel on a socket.

mod bell;
mod messages;
mod server;
#[cfg(feature = "wire")]
mod wire;

pub use bell::{FromBell, Listen, MAX_TO_BELL, ToBell};
pub use messages::*;
pub use server::{Hub, Server};
#[cfg(feature = "wire")]
pub use wire::{Inbox, Wire, recv_from};
