//! A small server that the real `bw` takes for a Vaultwarden: it logs in,
//! unlocks, syncs and lists, and it misbehaves when told to. For the tests and
//! the demo; every secret in it is made up and it protects none of them.

mod account;
mod answer;
mod bw_list;
mod change;
mod cipher;
mod credentials;
mod crypto;
mod fault;
mod file;
mod fixture;
mod hub;
mod limit;
mod route;
mod server;
mod tls;
mod token;
mod vault;
mod world;

pub mod admin;
pub mod bw;

pub use credentials::Credentials;
pub use fault::{Fault, Times};
pub use fixture::{
    Access, Account, Attachment, Collection, Content, Field, FieldKind, Fixture, Item, Login, Organization,
    SshKey,
};
pub use limit::LoginLimit;
pub use route::Route;
pub use server::Transport;
pub use vault::{Options, UserKeyId, Vault};
pub use world::Backup;
