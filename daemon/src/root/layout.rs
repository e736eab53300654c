//! Directories that the host keeps a jail in, by the layouts of jail managers: the
//! files beside the root say what the host runs at the jail's next start, so nothing
//! but the root, or what is below it, is a place for an agent.

use super::{LOOK, Place, unresponsive};
use crate::jail::run;
use colibri_tenant::{ErrorName, Fault, JailName};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use tokio::time::timeout;

/// What stands beside a root, and the root's name there: bastille, iocage, AppJail.
const LAYOUTS: [(&str, &str); 4] =
    [("jail.conf", "root"), ("fstab", "root"), ("config.json", "root"), ("conf", "jail")];

/// Prints for each directory by its number the names of roots that are kept in it;
/// for the last also `within` where a directory in it keeps one. The end of the
/// layouts is `--`.
const LOOK_FOR: &str = r#"
layouts=
while [ "$1" != -- ]; do layouts="$layouts $1"; shift; done
shift
keeps() {
	for layout in $layouts; do
		[ -e "$1/${layout%:*}" ] && [ -d "$1/${layout#*:}" ] && echo "$2 ${layout#*:}"
	done
}
number=0
for dir; do
	keeps "$dir" $number
	number=$((number + 1))
done
for inner in "$dir"/*/; do
	keeps "${inner%/}" within
done
:
"#;

/// Proceeds where an agent may be: in no directory that keeps a jail's root and not
/// around one.
///
/// # Errors
/// `TargetEscapesRoot`, and `RootUnresponsive`.
pub async fn is_root(jail: &JailName, place: &Place) -> Result<(), Fault> {
    let asked = timeout(LOOK, run(&line(place))).await.map_err(|_| unresponsive(jail))?;
    match misplaced(place, &asked?.unwrap_or_default()) {
        None => Ok(()),
        Some(why) => Err(Fault::new(ErrorName::TargetEscapesRoot, why)),
    }
}

/// From below the base down to the root.
fn directories(place: &Place) -> Vec<PathBuf> {
    let names = place.below.names();
    let down = names.scan(place.base.clone(), |at, name| {
        at.push(name);
        Some(at.clone())
    });
    down.collect()
}

fn line(place: &Place) -> Vec<OsString> {
    let mut line: Vec<OsString> = ["/bin/sh", "-c", LOOK_FOR, "sh"].map(OsString::from).into();
    line.extend(LAYOUTS.map(|(beside, root)| format!("{beside}:{root}").into()));
    line.push("--".into());
    line.extend(directories(place).into_iter().map(OsString::from));
    line
}

/// Why the place is no jail's root, by what was found.
fn misplaced(place: &Place, found: &str) -> Option<String> {
    let (dirs, names) = (directories(place), place.below.names().collect::<Vec<_>>());
    let found: Vec<_> = found.lines().filter_map(|line| line.split_once(' ')).collect();
    let keeps = |at: &Path, root: &str| format!("{} keeps a jail, whose root is {root} in it", at.display());
    for (number, dir) in dirs.iter().enumerate() {
        let here = found.iter().filter(|(at, _)| *at == number.to_string()).map(|(_, root)| *root);
        let roots: Vec<&str> = here.collect();
        let next = names.get(number + 1).and_then(|name| name.to_str());
        if let Some(root) = roots.first().filter(|_| next.is_none_or(|next| !roots.contains(&next))) {
            return Some(keeps(dir, root));
        }
    }
    let within = found.iter().any(|(at, _)| *at == "within");
    within.then(|| format!("{} keeps jails in directories of their own", place.path().display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use colibri_pair::RelPath;
    use std::fs::{create_dir_all, write};

    async fn refused(base: &Path, below: &str) -> bool {
        let below = RelPath::try_from(Path::new(below)).unwrap();
        let place = Place { base: base.into(), below };
        match is_root(&"x".parse().unwrap(), &place).await {
            Ok(()) => false,
            Err(fault) => {
                assert_eq!(fault.name, ErrorName::TargetEscapesRoot, "{fault:?}");
                true
            }
        }
    }

    #[tokio::test]
    async fn a_directory_that_keeps_a_jail_is_no_root() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path();
        for (beside, root) in LAYOUTS {
            let kept = base.join(format!("in {beside}"));
            create_dir_all(kept.join(root).join("usr")).unwrap();
            create_dir_all(kept.join("dev")).unwrap();
            write(kept.join(beside), "").unwrap();
            let at = |below: &str| format!("in {beside}/{below}");
            for below in ["dev", "dev/below", "none", ""] {
                assert!(refused(base, &at(below)).await, "{beside}: {below}");
            }
            for below in [root.to_owned(), format!("{root}/usr"), format!("{root}/none")] {
                assert!(!refused(base, &at(&below)).await, "{beside}: {below}");
            }
        }
        // Around them: the base itself is no root either.
        assert!(refused(base.parent().unwrap(), base.file_name().unwrap().to_str().unwrap()).await);
    }

    /// A root has its own /root, /etc/jail.conf and /etc/fstab.
    #[tokio::test]
    async fn a_jail_s_root_is_one_with_all_that_it_has() {
        let dir = tempfile::tempdir().unwrap();
        for below in ["web/root/etc", "web/root/root", "web/root/jail/conf"] {
            create_dir_all(dir.path().join(below)).unwrap();
        }
        for file in ["jail.conf", "fstab"] {
            write(dir.path().join("web/root/etc").join(file), "").unwrap();
        }
        for below in ["web", "web/root", "web/root/etc", "new", "new/root"] {
            assert!(!refused(dir.path(), below).await, "{below}");
        }
    }
}
