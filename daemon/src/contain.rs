//! Which directories may be a jail's root: those strictly under the base, after
//! all links and `..` are resolved. It looks only, and creates nothing.

use colibri_control::{ErrorName, Fault};
use colibri_order::RelPath;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A jail root that is strictly under the base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contained {
    base: PathBuf,
    below: RelPath,
}

/// Why a path is no jail root.
#[derive(Debug, thiserror::Error)]
pub enum Escape {
    /// Resolved, it is the base or lies elsewhere.
    #[error("{} is not strictly under {}", .0.display(), .1.display())]
    Outside(PathBuf, PathBuf),
    /// It is not there, or cannot be looked at.
    #[error("{} cannot be resolved", .0.display())]
    Unresolved(PathBuf, #[source] std::io::Error),
    /// It is not absolute, no directory, or not UTF-8.
    #[error("{} is no absolute path of a directory", .0.display())]
    NoDirectory(PathBuf),
}

impl Contained {
    /// The canonical base.
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// The root as seen from the base.
    pub fn below(&self) -> &RelPath {
        &self.below
    }

    /// The canonical root.
    pub fn root(&self) -> PathBuf {
        self.base.join(self.below.as_path())
    }
}

impl From<Escape> for Fault {
    fn from(escape: Escape) -> Self {
        let cause = std::error::Error::source(&escape).map(|cause| format!(": {cause}")).unwrap_or_default();
        let fault = Self::new(ErrorName::TargetEscapesRoot, format!("{escape}{cause}"));
        match escape {
            Escape::Unresolved(_, error) if error.kind() == ErrorKind::NotFound => Self {
                advice:
                    "make the jail, or correct its path with `colibri update-tenant NAME --jail-root ROOT`"
                        .into(),
                ..fault
            },
            _ => fault,
        }
    }
}

/// Resolves `root` and proves that it is a directory strictly under `base`.
///
/// # Errors
/// [`Escape`]; nothing was created in any case.
pub fn contain(base: &Path, root: &Path) -> Result<Contained, Escape> {
    let canonical = resolve(root)?;
    if !canonical.is_dir() {
        return Err(Escape::NoDirectory(root.into()));
    }
    below(&resolve(base)?, canonical)
}

/// The same for a root that may not be there yet: what is missing of it is
/// taken as it is written, and may hold no `..`.
///
/// # Errors
/// As [`contain`].
pub fn contain_planned(base: &Path, root: &Path) -> Result<Contained, Escape> {
    match root.symlink_metadata() {
        Ok(_) => contain(base, root),
        Err(error) if error.kind() == ErrorKind::NotFound => below(&resolve(base)?, resolve_planned(root)?),
        Err(error) => Err(Escape::Unresolved(root.into(), error)),
    }
}

fn below(base: &Path, root: PathBuf) -> Result<Contained, Escape> {
    let below = root.strip_prefix(base).ok().and_then(|below| RelPath::try_from(below).ok());
    match below {
        Some(below) if root.to_str().is_some() => Ok(Contained { base: base.into(), below }),
        Some(_) => Err(Escape::NoDirectory(root)),
        None => Err(Escape::Outside(root, base.into())),
    }
}

fn resolve(path: &Path) -> Result<PathBuf, Escape> {
    if !path.is_absolute() {
        return Err(Escape::NoDirectory(path.into()));
    }
    path.canonicalize().map_err(|error| Escape::Unresolved(path.into(), error))
}

fn resolve_planned(path: &Path) -> Result<PathBuf, Escape> {
    match (path.symlink_metadata(), path.parent(), path.file_name()) {
        (Err(error), Some(parent), Some(name)) if error.kind() == ErrorKind::NotFound => {
            Ok(resolve_planned(parent)?.join(name))
        }
        (Err(error), ..) => Err(Escape::Unresolved(path.into(), error)),
        (Ok(_), ..) => resolve(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{create_dir_all, write};
    use std::os::unix::fs::symlink;

    fn tree() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().canonicalize().unwrap().join("jails");
        create_dir_all(base.join("web/root")).unwrap();
        create_dir_all(dir.path().join("outside")).unwrap();
        symlink(dir.path().join("outside"), base.join("out")).unwrap();
        symlink(base.join("web"), base.join("alias")).unwrap();
        symlink(dir.path().join("missing"), base.join("broken")).unwrap();
        write(base.join("file"), "").unwrap();
        (dir, base)
    }

    #[test]
    fn a_directory_under_the_base_is_contained() {
        let (_dir, base) = tree();
        let contained = contain(&base, &base.join("alias/../alias/root")).unwrap();
        assert_eq!(contained.root(), base.join("web/root"));
        assert_eq!(contained.below().as_path(), Path::new("web/root"));
    }

    #[test]
    fn climbing_linking_out_and_the_base_itself_are_escapes() {
        let (_dir, base) = tree();
        for root in ["..", ".", "", "web/../..", "out", "out/../web", "../outside", "broken", "file", "none"]
        {
            assert!(contain(&base, &base.join(root)).is_err(), "{root}");
        }
        assert!(contain(&base, Path::new("web")).is_err());
    }

    #[test]
    fn a_root_that_is_planned_is_judged_by_what_exists_of_it() {
        let (_dir, base) = tree();
        let planned = contain_planned(&base, &base.join("alias/new/root")).unwrap();
        assert_eq!(planned.root(), base.join("web/new/root"));
        for root in ["out/new", "new/../../outside", "broken", "broken/new", "../new"] {
            assert!(contain_planned(&base, &base.join(root)).is_err(), "{root}");
        }
    }
}
