//! The daemon's order to one writer, as the arguments that an operator sees
//! in ps(1): verb, base, root, inode, dir, file, owner, format, seconds, medium, tenant,
//! mode, id, allowed keys. Everything in it is fixed before the fetcher can say a byte.

use crate::EnvKey;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

/// An enum of which each variant has a word, in arguments and in settings.
macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$why:meta])* $variant:ident = $word:literal),* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$why])* $variant),* }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its word.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }

            /// The one of that word.
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.as_str() == text)
            }
        }
    };
}

words! {
    /// What the writer shall do.
    Verb {
        /// Replace the file by what the fetcher sends.
        Put = "put",
        /// Tell how it differs from what the fetcher sends; write nothing.
        Compare = "compare",
        /// Unlink the file.
        Remove = "remove",
        /// Tell what the jail root is, and hand its descriptor over.
        Look = "look"
    }
}

words! {
    /// How the file is written; docs name what each can carry.
    #[derive(Default)]
    Format {
        /// Read alike by POSIX sh and systemd's `EnvironmentFile=`.
        #[default]
        Env = "env",
        /// What all dotenv libraries read alike; anything else is refused.
        Dotenv = "dotenv",
        /// `--env-file` of docker and podman, which know no quoting.
        Docker = "docker",
        /// One JSON object.
        Json = "json",
        /// A directory with a file per key.
        Dir = "dir",
        /// One value and nothing else.
        Raw = "raw"
    }
}

words! {
    /// Where a file may be made.
    #[derive(Default)]
    Medium {
        /// Anywhere.
        #[default]
        Any = "any",
        /// On a memory file system only.
        Memory = "tmpfs"
    }
}

words! {
    /// Who may read the file, beside root. There is no wider mode.
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
        GroupRead = "0440"
    }
}

impl FileMode {
    /// Its bits.
    pub const fn bits(self) -> u16 {
        match self {
            Self::Owner => 0o600,
            Self::OwnerRead => 0o400,
            Self::Group => 0o640,
            Self::GroupRead => 0o440,
        }
    }
}

/// A numeric owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// One name in a directory: not empty, not `.` or `..`, no slash, no NUL, at
/// most 255 bytes; and not the name of a temporary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileName(OsString);

/// A path below something: one name or more, no `..`, not absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelPath(PathBuf);

/// The order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// What to do.
    pub verb: Verb,
    /// The canonical directory that all jail roots lie under.
    pub base: PathBuf,
    /// The jail root below the base.
    pub root: RelPath,
    /// What the jail root must be, as `DEVICE:INODE`, or [`ANY`].
    pub inode: String,
    /// The target directory below the jail root.
    pub dir: RelPath,
    /// The file in the target directory.
    pub file: FileName,
    /// Who shall own it.
    pub owner: Owner,
    /// How it is written.
    pub format: Format,
    /// Seconds until the writer gives up by itself; at least 1.
    pub seconds: u32,
    /// What the target directory must lie on.
    pub medium: Medium,
    /// The tenant's name, for a comment in the file; empty for none. It has nothing
    /// that could end the comment.
    pub tenant: String,
    /// What the file's mode is, once it is whole.
    pub mode: FileMode,
    /// Which of the tenant's files it is; 0 for the first, whose directory is its own.
    pub id: u32,
    /// Reserved keys that this tenant allows by name.
    pub allow: Vec<EnvKey>,
}

/// An argument is missing or has a value that it cannot have.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("argument {0} is missing or malformed")]
pub struct OrderError(&'static str);

impl Order {
    /// The order as arguments.
    pub fn to_args(&self) -> Vec<OsString> {
        let mut args: Vec<OsString> = vec![
            self.verb.as_str().into(),
            self.base.clone().into(),
            self.root.0.clone().into(),
            self.inode.clone().into(),
            self.dir.0.clone().into(),
            self.file.0.clone(),
            format!("{}:{}", self.owner.uid, self.owner.gid).into(),
            self.format.as_str().into(),
            self.seconds.to_string().into(),
            self.medium.as_str().into(),
            self.tenant.clone().into(),
            self.mode.as_str().into(),
            self.id.to_string().into(),
        ];
        args.extend(self.allow.iter().map(|key| key.as_str().into()));
        args
    }

    /// How the names of this file's temporaries begin: each writer removes only its own.
    pub fn temporary(&self) -> String {
        match self.id {
            0 => format!("{}-", TEMPORARY.0),
            id => format!("{}.{id}-", TEMPORARY.0),
        }
    }

    /// Reads the arguments that `to_args` wrote.
    ///
    /// # Errors
    /// The first argument that is missing or not as [`Order`] says, by name.
    pub fn from_args(mut args: impl Iterator<Item = OsString>) -> Result<Self, OrderError> {
        let next = &mut args;
        Ok(Self {
            verb: text(next, "verb", Verb::parse)?,
            base: read(next, "base", |path| Path::new(path).is_absolute().then(|| path.into()))?,
            root: read(next, "root", |path| RelPath::try_from(Path::new(path)).ok())?,
            inode: text(next, "inode", |text| Some(text.into()))?,
            dir: read(next, "dir", |path| RelPath::try_from(Path::new(path)).ok())?,
            file: read(next, "file", |name| FileName::try_from(name).ok())?,
            owner: text(next, "owner", Owner::parse)?,
            format: text(next, "format", Format::parse)?,
            seconds: text(next, "seconds", |text| text.parse().ok().filter(|seconds| *seconds > 0))?,
            medium: text(next, "medium", Medium::parse)?,
            tenant: text(next, "tenant", |name| name.bytes().all(is_plain).then(|| name.into()))?,
            mode: text(next, "mode", FileMode::parse)?,
            id: text(next, "id", |text| text.parse().ok())?,
            allow: args.map(key).collect::<Option<_>>().ok_or(OrderError("allow"))?,
        })
    }
}

type Args<'a> = &'a mut dyn Iterator<Item = OsString>;

fn read<T>(args: Args, name: &'static str, parse: impl Fn(&OsStr) -> Option<T>) -> Result<T, OrderError> {
    args.next().and_then(|arg| parse(&arg)).ok_or(OrderError(name))
}

fn text<T>(args: Args, name: &'static str, parse: impl Fn(&str) -> Option<T>) -> Result<T, OrderError> {
    read(args, name, |arg| arg.to_str().and_then(&parse))
}

const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

fn key(arg: OsString) -> Option<EnvKey> {
    EnvKey::try_from(arg.into_string().ok()?).ok()
}

/// As an order's `inode`: the jail root may be any directory.
pub const ANY: &str = "any";

/// How the comment with the tenant's name begins.
pub const TENANT: &str = "# Tenant: ";

/// How names of temporaries begin and end, which no file may have.
pub const TEMPORARY: (&str, &str) = (".colibri", ".tmp");

impl Owner {
    /// Reads `UID:GID`.
    pub fn parse(text: &str) -> Option<Self> {
        let (uid, gid) = text.split_once(':')?;
        let number = |text: &str| text.parse().ok().filter(|&id: &u32| id != u32::MAX);
        Some(Self { uid: number(uid)?, gid: number(gid)? })
    }
}

impl FileName {
    /// The name.
    pub fn as_os_str(&self) -> &OsStr {
        &self.0
    }
}

impl TryFrom<&OsStr> for FileName {
    type Error = OrderError;

    fn try_from(name: &OsStr) -> Result<Self, OrderError> {
        let bytes = name.as_bytes();
        let plain = !bytes.is_empty() && bytes.len() <= 255 && !bytes.iter().any(|&b| b == b'/' || b == 0);
        // A writer would remove it as a temporary that was left over.
        let temporary = bytes.starts_with(TEMPORARY.0.as_bytes()) && bytes.ends_with(TEMPORARY.1.as_bytes());
        if !plain || temporary || bytes == b"." || bytes == b".." {
            return Err(OrderError("file"));
        }
        Ok(Self(OsString::from_vec(bytes.to_vec())))
    }
}

impl RelPath {
    /// The path.
    pub fn as_path(&self) -> &Path {
        &self.0
    }

    /// Its names, from the top.
    pub fn names(&self) -> impl Iterator<Item = &OsStr> {
        self.0.iter()
    }
}

impl TryFrom<&Path> for RelPath {
    type Error = OrderError;

    fn try_from(path: &Path) -> Result<Self, OrderError> {
        let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
        if !plain || path.components().next().is_none() || path.as_os_str().as_bytes().contains(&0) {
            return Err(OrderError("dir"));
        }
        Ok(Self(path.components().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order() -> Order {
        Order {
            verb: Verb::Put,
            base: "/jails".into(),
            root: RelPath::try_from(Path::new("web 01/root")).unwrap(),
            inode: "64768:2".into(),
            dir: RelPath::try_from(Path::new("usr/local/etc/colibri")).unwrap(),
            file: FileName::try_from(OsStr::new("a=b")).unwrap(),
            owner: Owner { uid: 0, gid: 5 },
            format: Format::Env,
            seconds: 30,
            medium: Medium::Memory,
            tenant: "web-01.a".into(),
            mode: FileMode::GroupRead,
            id: 7,
            allow: vec![EnvKey::try_from("PATH".to_owned()).unwrap()],
        }
    }

    #[test]
    fn an_order_survives_its_arguments() {
        assert_eq!(Order::from_args(order().to_args().into_iter()).unwrap(), order());
    }

    #[test]
    fn paths_that_climb_are_no_paths_below() {
        for path in ["", "/", "/a", "..", "a/../b", "../a", "."] {
            assert!(RelPath::try_from(Path::new(path)).is_err(), "{path}");
        }
        for name in ["", ".", "..", "a/b", "a\0b", ".colibri-1.tmp", ".colibri.7-1.tmp", &"x".repeat(256)] {
            assert!(FileName::try_from(OsStr::new(name)).is_err(), "{name}");
        }
    }

    #[test]
    fn an_order_with_an_argument_missing_or_malformed_is_refused() {
        let names = [
            "verb", "base", "root", "inode", "dir", "file", "owner", "format", "seconds", "medium", "tenant",
            "mode", "id",
        ];
        for (place, name) in names.iter().enumerate() {
            let args = order().to_args().into_iter().take(place);
            assert!(Order::from_args(args).is_err(), "{name}");
        }
        for (place, bad) in [
            (0, "move"),
            (1, "jails"),
            (2, "/a"),
            (4, ".."),
            (5, "a/b"),
            (6, "0"),
            (6, "0:4294967295"),
            (7, "ini"),
            (8, "0"),
            (9, "maybe"),
            (10, "a b"),
            (10, "a\nPATH=x"),
            (11, "0644"),
            (11, "600"),
            (12, "-1"),
            (13, "a-b"),
        ] {
            let mut args = order().to_args();
            args[place] = bad.into();
            assert!(Order::from_args(args.into_iter()).is_err(), "{bad}");
        }
    }
}
