//! Init makes what is missing, with its modes from birth, and leaves alone what
//! is there. Below a directory of the test, where it makes no user.

use std::error::Error;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

#[cfg(target_os = "freebsd")]
const PROVIDER: &str = "usr/local/etc/colibri/provider.env";
#[cfg(not(target_os = "freebsd"))]
const PROVIDER: &str = "etc/colibri/provider.env";

/// Standard output, with the directory's name taken out of it.
fn init(dir: &Path, words: &[&str]) -> Outcome<String> {
    let run = Command::new(colibri_test_host::program("colibri")?)
        .args(["init", "--prefix"])
        .arg(dir)
        .args(words)
        .stdin(Stdio::null())
        .output()?;
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    Ok(String::from_utf8(run.stdout)?.replace(&dir.display().to_string(), "/DIR"))
}

fn mode(path: &Path) -> Outcome<u32> {
    Ok(fs::symlink_metadata(path)?.permissions().mode() & 0o7777)
}

#[test]
fn what_is_missing_is_made_and_what_is_there_stays() -> Outcome {
    let dir = tempfile::tempdir()?;
    let provider = dir.path().join(PROVIDER);
    let planned = init(dir.path(), &["--dry-run"])?;
    assert!(planned.contains(&format!("missing  /DIR/{PROVIDER}")), "{planned}");
    assert_eq!(fs::read_dir(dir.path())?.count(), 0, "a dry run makes nothing");

    let made = init(dir.path(), &[])?;
    assert!(made.contains(&format!("made     /DIR/{PROVIDER}")) && made.contains("colibri doctor"), "{made}");
    assert_eq!(mode(&provider)?, 0o600);
    assert_eq!(mode(&dir.path().join("var/log/colibri"))?, 0o700);

    fs::write(&provider, "BW_PASSWORD=filled-in")?;
    let again = init(dir.path(), &[])?;
    assert!(again.contains(&format!("there    /DIR/{PROVIDER}")), "{again}");
    assert_eq!(fs::read_to_string(&provider)?, "BW_PASSWORD=filled-in");
    Ok(())
}

#[test]
fn a_link_in_the_files_place_is_not_followed() -> Outcome {
    let dir = tempfile::tempdir()?;
    let provider = dir.path().join(PROVIDER);
    fs::create_dir_all(provider.parent().ok_or("no parent")?)?;
    symlink("elsewhere", &provider)?;
    init(dir.path(), &[])?;
    assert!(!provider.with_file_name("elsewhere").exists());
    assert_eq!(fs::symlink_metadata(&provider)?.uid(), nix::unistd::geteuid().as_raw());
    Ok(())
}

#[test]
fn without_root_the_host_itself_is_left_alone() -> Outcome {
    if nix::unistd::geteuid().is_root() {
        colibri_test_host::skip("this would make the user and the directories here");
        return Ok(());
    }
    let run =
        Command::new(colibri_test_host::program("colibri")?).arg("init").stdin(Stdio::null()).output()?;
    assert_eq!(run.status.code(), Some(1));
    assert!(String::from_utf8(run.stderr)?.contains("as root"));
    Ok(())
}

/// What a jail's root makes setuid there is root's, where root in a jail is root.
#[cfg(target_os = "freebsd")]
#[test]
fn others_do_not_pass_through_the_base() -> Outcome {
    let dir = tempfile::tempdir()?;
    // Else this closes it.
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
    let base = dir.path().join("usr/local/bastille/jails");
    init(dir.path(), &[])?;
    assert_eq!(mode(&base)?, 0o700);
    fs::set_permissions(&base, fs::Permissions::from_mode(0o755))?;
    let planned = init(dir.path(), &["--dry-run"])?;
    assert!(planned.contains("open     /DIR/usr/local/bastille/jails"), "{planned}");
    assert_eq!(mode(&base)?, 0o755, "a dry run changes nothing");
    let closed = init(dir.path(), &[])?;
    assert!(closed.contains("closed   /DIR/usr/local/bastille/jails"), "{closed}");
    assert_eq!(mode(&base)?, 0o744, "and nothing else of its mode");
    assert!(init(dir.path(), &[])?.contains("there    /DIR/usr/local/bastille/jails"));
    Ok(())
}
