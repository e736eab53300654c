//! What an operator sets for one of a tenant's further files.

use crate::{Format, OnChange, words};
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::path::{Component, Path};

/// Most files of a tenant, with its first: each costs a descriptor and a writer.
pub const MAX_FILES: usize = 32;
/// Longest path of a file, in bytes.
const MAX_PATH: usize = 512;

/// A file's name: its path below the jail's root, in the one spelling that it has.
/// It has a directory, and no control character.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FilePath(String);

/// Why a text is no such path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilePathError {
    /// Over the bound.
    #[error("the path is longer than {MAX_PATH} bytes")]
    TooLong,
    /// Not below the root, or not in its one spelling.
    #[error("the path is not of the form DIR/FILE below the jail's root, without `.`, `..` and `//`")]
    Form,
    /// A control character.
    #[error("the path has a control character")]
    Control,
}

impl FilePath {
    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The directory that it is in.
    pub fn dir(&self) -> &Path {
        Path::new(&self.0).parent().unwrap_or(Path::new(""))
    }

    /// Its name there.
    pub fn file(&self) -> &OsStr {
        Path::new(&self.0).file_name().unwrap_or_default()
    }
}

impl TryFrom<String> for FilePath {
    type Error = FilePathError;

    fn try_from(path: String) -> Result<Self, FilePathError> {
        let parts: Vec<_> = Path::new(&path).components().collect();
        let plain = parts.iter().all(|part| matches!(part, Component::Normal(_)));
        // `a//b`, `a/./b` and `a/b/` would be other names of one file.
        let spelled = parts.iter().collect::<std::path::PathBuf>().as_os_str() == path.as_str();
        match path.len() {
            length if length > MAX_PATH => Err(FilePathError::TooLong),
            _ if path.chars().any(char::is_control) => Err(FilePathError::Control),
            _ if !plain || !spelled || parts.len() < 2 => Err(FilePathError::Form),
            _ => Ok(Self(path)),
        }
    }
}

impl std::str::FromStr for FilePath {
    type Err = FilePathError;

    fn from_str(text: &str) -> Result<Self, FilePathError> {
        Self::try_from(text.to_owned())
    }
}

impl std::fmt::Display for FilePath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<FilePath> for String {
    fn from(path: FilePath) -> Self {
        path.0
    }
}

words! {
    /// Who may read a file, beside root. There is no wider mode.
    #[derive(Default)]
    FileMode {
        /// Its owner, who may write it, too.
        #[default]
        Owner = "0600",
        /// Its owner.
        OwnerRead = "0400",
        /// Its owner, who may write it, and its group.
        Group = "0640",
        /// Its owner and its group.
        GroupRead = "0440",
    }
}

/// The settings of one further file. How items become keys, the tenant's settings say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct FileSettings {
    /// `UID:GID`; by default the tenant's.
    pub owner: Option<String>,
    /// Who may read it.
    pub mode: FileMode,
    /// How it is written.
    pub format: Format,
    /// The item whose value a raw file is; it is then no key of the other files.
    pub item: Option<String>,
    /// Globs; with any, only keys that match one are taken. A raw file without an item
    /// is the one key that is left.
    pub only: Vec<String>,
    /// Keys that must be there.
    pub expect: Vec<String>,
    /// What to do when its content has changed; by default what the tenant says.
    pub on_change: Option<OnChange>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_one_spelling_below_the_root() {
        for path in ["etc/a", "usr/local/etc/nginx/tls.key", "etc/a b", "etc/ü"] {
            let file: FilePath = path.parse().unwrap();
            assert_eq!(file.dir().join(file.file()), Path::new(path));
        }
        for (path, error) in [
            ("", FilePathError::Form),
            ("env", FilePathError::Form),
            ("/etc/a", FilePathError::Form),
            ("etc/../a", FilePathError::Form),
            ("etc/./a", FilePathError::Form),
            ("./etc/a", FilePathError::Form),
            ("etc//a", FilePathError::Form),
            ("etc/a/", FilePathError::Form),
            ("etc/a\n", FilePathError::Control),
            ("etc/a\0", FilePathError::Control),
        ] {
            assert_eq!(path.parse::<FilePath>(), Err(error), "{path:?}");
        }
        assert_eq!(format!("etc/{}", "a".repeat(MAX_PATH)).parse::<FilePath>(), Err(FilePathError::TooLong));
    }

    #[test]
    fn modes_that_others_could_read_are_none() {
        for mode in ["0644", "0660", "0666", "0700", "0601", "600", "4600", ""] {
            assert!(mode.parse::<FileMode>().is_err(), "{mode}");
            assert!(serde_json::from_value::<FileMode>(mode.into()).is_err(), "{mode}");
        }
        assert_eq!("0440".parse::<FileMode>().unwrap(), FileMode::GroupRead);
    }
}
