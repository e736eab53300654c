//! Where attempts are made: a jail with a target directory, and beside it what
//! nothing may touch.

use colibri_pair::{ANY, FileMode, FileName, Format, Medium, Order, Owner, RelPath, Verb};
use nix::unistd::{getegid, geteuid};
use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What stands in the file that nothing may touch.
const CANARY: &str = "nothing may touch this\n";

/// What a killed writer left.
pub const LEFT: &str = ".colibri-2.tmp";

/// The directories of one series of attempts; removed when dropped.
#[derive(Debug)]
pub struct Place {
    base: PathBuf,
    /// Who owns the file.
    pub owner: Owner,
}

/// Who gets the file, and the case in words. Root has two: to give the file to
/// another user it keeps being root, with almost no capability; in a directory
/// of the file's owner it becomes that owner.
pub fn owners() -> Vec<(Owners, &'static str)> {
    if !geteuid().is_root() {
        let me = Owner { uid: geteuid().as_raw(), gid: getegid().as_raw() };
        return vec![(Owners { dir: me, file: me }, "an ordinary user, with a file of its own")];
    }
    let (root, other) = (Owner { uid: 0, gid: 0 }, Owner { uid: 65534, gid: 65534 });
    vec![
        (Owners { dir: root, file: other }, "root, with a file of another user in a directory of root's"),
        (Owners { dir: root, file: root }, "root, with a file and a directory of root's"),
        (Owners { dir: other, file: other }, "root that becomes the file's and directory's owner"),
    ]
}

/// Owners of the target directory and of the file.
#[derive(Clone, Copy, Debug)]
pub struct Owners {
    /// The directory's.
    pub dir: Owner,
    /// The file's.
    pub file: Owner,
}

impl Place {
    /// Makes the directories; for a directory of files there is one already, and
    /// one that a killed writer left.
    pub fn new(owners: Owners, format: Format) -> io::Result<Self> {
        let top = std::env::temp_dir().join(format!("colibri-sandbox-check.{}", std::process::id()));
        DirBuilder::new().mode(0o700).create(&top)?;
        let place = Self { base: fs::canonicalize(top)?, owner: owners.file };
        DirBuilder::new().recursive(true).mode(0o755).create(place.dir())?;
        fs::write(place.beside(), CANARY)?;
        fs::write(place.dir().join("own"), "own\n")?;
        symlink(place.beside(), place.dir().join("absolute"))?;
        symlink("../beside", place.dir().join("climbing"))?;
        for path in [place.dir(), place.dir().join("own"), place.beside()] {
            chown(path, Some(owners.dir.uid), Some(owners.dir.gid))?;
        }
        if format == Format::Dir {
            symlink(".colibri-1.tmp", place.dir().join("env"))?;
            for name in [".colibri-1.tmp", LEFT] {
                let tree = place.dir().join(name);
                DirBuilder::new().mode(0o700).create(&tree)?;
                fs::write(tree.join("A"), "1")?;
                // Of the two, what was left is the younger.
                let age = if name == LEFT { SystemTime::now() } else { SystemTime::UNIX_EPOCH };
                fs::File::open(&tree)?.set_modified(age)?;
                for path in [tree.join("A"), tree] {
                    chown(path, Some(owners.file.uid), Some(owners.file.gid))?;
                }
            }
        }
        Ok(place)
    }

    /// The same place, seen by a process that tries something there.
    pub fn order(base: &Path, owner: Owner, format: Format) -> Option<Order> {
        Some(Order {
            verb: Verb::Put,
            base: base.into(),
            root: RelPath::try_from(Path::new("jail")).ok()?,
            inode: ANY.into(),
            dir: RelPath::try_from(Path::new("target")).ok()?,
            file: FileName::try_from(OsStr::new("env")).ok()?,
            owner,
            format,
            seconds: 60,
            medium: Medium::Any,
            tenant: String::new(),
            // What asks for most.
            mode: FileMode::GroupRead,
            id: 0,
            allow: Vec::new(),
        })
    }

    /// The jail's base.
    pub fn base(&self) -> &Path {
        &self.base
    }

    fn dir(&self) -> PathBuf {
        self.base.join("jail/target")
    }

    fn beside(&self) -> PathBuf {
        self.base.join("jail/beside")
    }

    /// Whether what nothing may touch is as it was, and alone.
    pub fn untouched(&self) -> bool {
        let names = fs::read_dir(self.base.join("jail")).map(Iterator::count);
        fs::read_to_string(self.beside()).is_ok_and(|text| text == CANARY) && matches!(names, Ok(2))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.base);
    }
}
