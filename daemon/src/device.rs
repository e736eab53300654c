//! The id by which the vault knows this host as one device. It is random, made
//! once, and kept in the state directory: a new one with each session would fill
//! the vault's list of devices, and its account's mailbox.

use crate::whole;
use anyhow::Context;
use std::fs::{File, Permissions, set_permissions};
use std::io::{ErrorKind, Read, Result};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

const NAME: &str = "device";
/// Of a UUID as text.
const LENGTH: usize = 36;

/// The host's id, made if there is none. A file that holds none is replaced: it
/// costs a device more at the vault, and an error would cost all jails their secrets.
///
/// # Errors
/// When a new one cannot be kept.
pub fn load(state_dir: &Path) -> anyhow::Result<String> {
    let file = state_dir.join(NAME);
    match read(&file) {
        Ok(Some(id)) => return Ok(id),
        Ok(None) => {
            tracing::warn!("{} holds no UUID: this host is a new device at the vault", file.display())
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => tracing::warn!("{}: {error}: this host is a new device at the vault", file.display()),
    }
    let id = uuid(rand::random());
    whole::write(state_dir, NAME, &format!("{id}\n"))
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(id)
}

fn read(file: &Path) -> Result<Option<String>> {
    let found = file.symlink_metadata()?;
    if !found.is_file() {
        return Ok(None);
    }
    if found.mode() & 0o077 != 0 {
        set_permissions(file, Permissions::from_mode(0o600))?;
    }
    let mut text = String::new();
    File::open(file)?.take(LENGTH as u64 + 2).read_to_string(&mut text)?;
    let id = text.strip_suffix('\n').unwrap_or(&text);
    Ok(is_uuid(id).then(|| id.to_owned()))
}

fn is_uuid(text: &str) -> bool {
    let fits = |(at, byte): (usize, u8)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
    };
    text.len() == LENGTH && text.bytes().enumerate().all(fits)
}

/// A random UUID, version 4.
pub fn uuid(random: u128) -> String {
    let bits = random & !(0xf << 76 | 0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let hex = format!("{bits:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_host_is_the_same_device_after_every_start() {
        let dir = tempfile::tempdir().unwrap();
        let id = load(dir.path()).unwrap();
        assert!(is_uuid(&id), "{id}");
        assert_eq!(load(dir.path()).unwrap(), id);
        let file = dir.path().join(NAME);
        let mode = || file.metadata().unwrap().mode() & 0o777;
        assert_eq!(mode(), 0o600);
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        assert_eq!((load(dir.path()).unwrap(), mode()), (id, 0o600));
    }

    #[test]
    fn a_file_that_holds_no_id_is_replaced_and_nothing_else_is_touched() {
        let dir = tempfile::tempdir().unwrap();
        let (file, other) = (dir.path().join(NAME), dir.path().join("other"));
        let good = uuid(rand::random());
        for text in
            ["", "\n", "x", &good[1..], &format!("{good}\n\n"), &format!("{good} "), &good.to_uppercase()]
        {
            fs::write(&file, text).unwrap();
            // A crash may leave one.
            fs::write(dir.path().join("device.new"), "x").unwrap();
            let id = load(dir.path()).unwrap();
            assert!(is_uuid(&id) && id != good, "{text:?}");
            assert_eq!(load(dir.path()).unwrap(), id);
        }
        fs::write(&file, [0xff; 36]).unwrap();
        assert!(is_uuid(&load(dir.path()).unwrap()));
        fs::write(&other, &good).unwrap();
        fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink(&other, &file).unwrap();
        assert_ne!(load(dir.path()).unwrap(), good);
        assert_eq!(fs::read_to_string(&other).unwrap(), good);
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        assert!(format!("{:#}", load(dir.path()).unwrap_err()).contains("cannot write"));
    }
}
