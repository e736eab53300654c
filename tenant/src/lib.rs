//! What a tenant is: its names and its settings, the names of all that can go wrong
//! with it, and what is to be done about each.

mod base;
mod error;
mod fault;
mod file;
mod name;
mod plain;
mod settings;

pub use base::{ROOT_INSIDE_IS_ROOT, keeps_others_out};
pub use error::{ErrorName, Retry, UnknownName};
pub use fault::Fault;
pub use file::{FileMode, FilePath, FilePathError, FileSettings, MAX_FILES};
pub use name::{CollectionName, JailName, NameError, OWN_JAILS, TenantId};
pub use plain::plain;
pub use settings::{
    AgentNetwork, Format, KeyCase, Notes, OnChange, OnDuplicate, Settings, Status, UnknownWord,
};
