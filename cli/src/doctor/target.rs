//! Where a tenant's file is to be, looked at as the writer will find it: each name
//! on the way down, following no link, and whether there is room. Nothing is read.

use super::Finding;
use crate::stray::DIRECTORY;
use colibri_control::TenantView;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use nix::sys::statvfs::{FsFlags, Statvfs, fstatvfs};
use nix::unistd::geteuid;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path};

/// What would keep the file from being written; `None` where nothing would, or where
/// that cannot be seen.
pub fn finding(tenant: &TenantView) -> Option<Finding> {
    let name = format!("file of {}", tenant.tenant);
    let (dir, file) = (tenant.settings.dir.as_deref()?, tenant.settings.file.as_deref()?);
    let (found, mend) = trouble(tenant, dir, file)?;
    Some(Finding::failure(&name, found, mend))
}

type Trouble = (String, String);

fn trouble(tenant: &TenantView, dir: &Path, file: &str) -> Option<Trouble> {
    let mut path = tenant.root.clone();
    let mut at = open(&path, DIRECTORY, Mode::empty()).ok()?;
    for part in dir.components() {
        let Component::Normal(part) = part else { return None };
        path.push(part);
        at = match openat(&at, part, DIRECTORY, Mode::empty()) {
            Ok(next) => next,
            // It will be made.
            Err(Errno::ENOENT) => return room(&at, &path, tenant),
            Err(Errno::ENOTDIR | Errno::ELOOP | Errno::EMLINK) => {
                let shown = path.display();
                return Some((
                    format!("{shown} is a link, or no directory: no secret is written through it"),
                    format!("remove {shown}; a directory is made in its place"),
                ));
            }
            Err(_) => return None,
        };
    }
    let found = fstat(&at).ok()?;
    shared(&found, &path, tenant).or_else(|| occupied(&at, &path, file)).or_else(|| room(&at, &path, tenant))
}

/// A directory that others can write to, or somebody else's.
fn shared(found: &FileStat, path: &Path, tenant: &TenantView) -> Option<Trouble> {
    let (shown, mode) = (path.display(), Mode::from_bits_truncate(found.st_mode));
    if mode.intersects(Mode::S_IWGRP | Mode::S_IWOTH) {
        let mend = format!("chmod go-w {shown}");
        return Some((format!("{shown} has mode {:04o}: others may write there", mode.bits()), mend));
    }
    let whose = [Some(0), owner(tenant), tenant.agent_uid, Some(geteuid().as_raw())];
    (!whose.contains(&Some(found.st_uid))).then(|| {
        (
            format!("{shown} is user {}'s, and not its file's owner's", found.st_uid),
            format!("chown root {shown}"),
        )
    })
}

fn owner(tenant: &TenantView) -> Option<u32> {
    tenant.settings.owner.as_deref()?.split(':').next()?.parse().ok()
}

fn occupied(dir: &OwnedFd, path: &Path, file: &str) -> Option<Trouble> {
    let found = fstatat(dir, file, AtFlags::AT_SYMLINK_NOFOLLOW).ok()?;
    let is_dir = SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR;
    let shown = path.join(file);
    is_dir.then(|| (format!("{} is a directory", shown.display()), format!("move {} away", shown.display())))
}

fn room(at: &OwnedFd, path: &Path, tenant: &TenantView) -> Option<Trouble> {
    let shown = path.display();
    let system = fstatvfs(at).ok()?;
    if system.flags().contains(FsFlags::ST_RDONLY) {
        return Some((
            format!("{shown} is on a file system that is read-only"),
            "mount it read-write".into(),
        ));
    }
    let is_root = tenant.agent_uid.is_none() && owner(tenant) == Some(0);
    is_full(&system, is_root)
        .then(|| (format!("{shown} is on a file system that is full"), "make room there".into()))
}

/// What only root may still take is room for root.
fn is_full(system: &Statvfs, is_root: bool) -> bool {
    let blocks = if is_root { system.blocks_free() } else { system.blocks_available() };
    let files = if is_root { system.files_free() } else { system.files_available() };
    // Some file systems do not count files.
    blocks == 0 || (system.files() > 0 && files == 0)
}

/// A directory of the daemon's own, which has to be there and to have room.
pub fn room_of(name: &str, dir: &Path) -> Option<Finding> {
    let shown = dir.display();
    match open(dir, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()) {
        Err(Errno::ENOENT | Errno::ENOTDIR) => {
            Some(Finding::failure(name, format!("{shown} is no directory"), format!("mkdir -p {shown}")))
        }
        Err(_) => None,
        Ok(at) => {
            let full = fstatvfs(at.as_fd()).is_ok_and(|system| is_full(&system, true));
            let mend = "make room there";
            full.then(|| Finding::failure(name, format!("{shown} is on a file system that is full"), mend))
        }
    }
}
