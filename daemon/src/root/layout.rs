//! Directories that the host keeps a jail in, by the layouts of jail managers: the
//! files beside the root say what the host runs at the jail's next start, so nothing
//! but the root, or what is below it, is a place for an agent.

use super::{LOOK, Place, Roots, unresponsive};
use colibri_tenant::{ErrorName, Fault, JailName};
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::io::AsyncReadExt;
use tokio::process::{ChildStdout, Command};
use tokio::time::{Instant, timeout, timeout_at};

/// What stands beside a root, and the root's name there: bastille, iocage, AppJail.
const LAYOUTS: [(&str, &str); 4] =
    [("jail.conf", "root"), ("fstab", "root"), ("config.json", "root"), ("conf", "jail")];
/// Follows no link below where it begins, and hangs in a file system that does not
/// answer: it is a child, and counts as a look.
const FIND: &str = "/usr/bin/find";
/// Most bytes of names that are read; no host comes near.
const MOST: u64 = 1 << 20;

/// Proceeds where an agent may be: in no directory that keeps a jail's root and not
/// around one.
///
/// # Errors
/// `TargetEscapesRoot`, and `RootUnresponsive`.
pub async fn is_root(roots: &Roots, jail: &JailName, place: &Place) -> Result<(), Fault> {
    let (turn, end) = (roots.turns.of(jail), Instant::now() + LOOK);
    roots.leaving.none(jail)?;
    let _one = timeout(LOOK, turn.lock()).await.map_err(|_| unresponsive(jail))?;
    roots.leaving.none(jail)?;
    let dirs = directories(place);
    let mut names = Names::default();
    for (depth, begins) in [("1", dirs.as_slice()), ("2", dirs.get(dirs.len() - 1..).unwrap_or_default())] {
        names.0.extend(find(roots, jail, depth, begins, end).await?);
    }
    match misplaced(place, &names) {
        None => Ok(()),
        Some(why) => Err(Fault::new(ErrorName::TargetEscapesRoot, why)),
    }
}

/// The paths of what has a layout's name, so many levels below where it begins.
async fn find(
    roots: &Roots,
    jail: &JailName,
    depth: &str,
    begins: &[PathBuf],
    end: Instant,
) -> Result<HashSet<PathBuf>, Fault> {
    let failed = |why: String| Fault::new(ErrorName::WriteFailed, format!("{FIND}: {why}"));
    let mut command = Command::new(FIND);
    command.args(line(depth, begins)).env_clear().stdin(Stdio::null()).stdout(Stdio::piped());
    // What is not there, or goes meanwhile, is told: it is no layout.
    command.stderr(Stdio::null()).kill_on_drop(true);
    let begun = roots.looks.begin(jail).await;
    let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
    let output = child.stdout.take();
    tokio::select! {
        read = timeout_at(end, read(output)) => match read {
            Ok(Ok(paths)) => {
                roots.leaving.kill(jail, child).await?;
                Ok(paths)
            }
            Ok(Err(why)) => {
                roots.leaving.kill(jail, child).await?;
                Err(failed(why))
            }
            Err(_) => {
                roots.leaving.kill(jail, child).await?;
                Err(unresponsive(jail))
            }
        },
        () = begun.patience(end) => {
            roots.leaving.kill(jail, child).await?;
            Err(unresponsive(jail))
        }
    }
}

/// To its end: find(1) ends with its output.
async fn read(output: Option<ChildStdout>) -> Result<HashSet<PathBuf>, String> {
    let mut text = Vec::new();
    let output = output.ok_or("no output")?;
    output.take(MOST + 1).read_to_end(&mut text).await.map_err(|error| error.to_string())?;
    if text.len() as u64 > MOST {
        return Err("more names of jail managers than a host has".into());
    }
    Ok(text.split(|byte| *byte == 0).map(|path| PathBuf::from(OsStr::from_bytes(path))).collect())
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

fn line(depth: &str, begins: &[PathBuf]) -> Vec<OsString> {
    let mut line = vec![OsString::from("-P")];
    line.extend(begins.iter().map(OsString::from));
    line.extend(["-mindepth", depth, "-maxdepth", depth, "("].map(OsString::from));
    let mut names: Vec<_> = LAYOUTS.iter().flat_map(|(beside, root)| [*beside, *root]).collect();
    names.sort_unstable();
    names.dedup();
    for (number, name) in names.into_iter().enumerate() {
        line.extend((number > 0).then(|| "-o".into()));
        line.extend(["-name", name].map(OsString::from));
    }
    line.extend([")", "-print0"].map(OsString::from));
    line
}

/// What was found. A link is what it is called: where it leads is not asked.
#[derive(Debug, Default)]
struct Names(HashSet<PathBuf>);

impl Names {
    /// The names of roots that are kept in a directory.
    fn kept_in(&self, dir: &Path) -> Vec<&'static str> {
        let kept = |(beside, root): &(&str, &str)| {
            self.0.contains(&dir.join(beside)) && self.0.contains(&dir.join(root))
        };
        LAYOUTS.iter().filter(|layout| kept(layout)).map(|(_, root)| *root).collect()
    }
}

/// Why the place is no jail's root, by what was found.
fn misplaced(place: &Place, found: &Names) -> Option<String> {
    let (dirs, names) = (directories(place), place.below.names().collect::<Vec<_>>());
    let keeps = |at: &Path, root: &str| format!("{} keeps a jail, whose root is {root} in it", at.display());
    for (number, dir) in dirs.iter().enumerate() {
        let roots = found.kept_in(dir);
        let next = names.get(number + 1).and_then(|name| name.to_str());
        if let Some(root) = roots.first().filter(|_| next.is_none_or(|next| !roots.contains(&next))) {
            return Some(keeps(dir, root));
        }
    }
    let root = place.path();
    let inner = found.0.iter().filter_map(|path| path.parent());
    let mut inner = inner.filter(|dir| dir.parent() == Some(&root));
    let within = inner.any(|dir| !found.kept_in(dir).is_empty());
    within.then(|| format!("{} keeps jails in directories of their own", root.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Config, Settings};
    use clap::Parser;
    use colibri_pair::RelPath;
    use std::fs::{create_dir_all, write};
    use std::os::unix::fs::symlink;
    use std::sync::Arc;

    async fn refused(base: &Path, below: &str) -> bool {
        let below = RelPath::try_from(Path::new(below)).unwrap();
        let place = Place { base: base.into(), below };
        let words = ["colibrid", "--fetcher-user", "nobody", "--jail-root-base", base.to_str().unwrap()];
        let roots = Roots::new(Arc::new(Config::new(Settings::parse_from(words)).unwrap()));
        match is_root(&roots, &"x".parse().unwrap(), &place).await {
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

    /// It would lead out of the jail, and may lead to where nobody answers.
    #[tokio::test]
    async fn a_link_in_a_jail_s_root_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path();
        create_dir_all(base.join("other/root")).unwrap();
        write(base.join("other/jail.conf"), "").unwrap();
        create_dir_all(base.join("web/root/etc")).unwrap();
        symlink(base.join("other"), base.join("web/root/link")).unwrap();
        assert!(!refused(base, "web/root").await);
        // One that is called as a root or what is beside it counts, wherever it leads.
        symlink("/nowhere", base.join("web/jail.conf")).unwrap();
        assert!(refused(base, "web").await && !refused(base, "web/root").await);
    }
}
