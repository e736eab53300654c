//! `colibri jail-conf --write`, with a stand-in for jail(8): the line is put into the
//! jail's block, and a file that jail(8) does not read stays as it was.

use std::error::Error;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const CONF: &str =
    "web01 {\n  exec.created += \"zfs jail web01 zroot/data\";\n  path = /jails/web01/root;\n}\n";

fn jail_conf(dir: &Path, words: &[&str]) -> Outcome<Output> {
    Ok(Command::new(colibri_test_host::program("colibri")?)
        .args(["jail-conf", "web01", "--file"])
        .arg(dir.join("jail.conf"))
        .args(words)
        .env("COLIBRI_SOCKET", dir.join("none"))
        .env("COLIBRI_JAIL", dir.join("jail"))
        .stdin(Stdio::null())
        .output()?)
}

/// A jail(8) that shows the file, or fails.
fn stand_in(dir: &Path, name: &str, script: &str) -> Outcome {
    let text = format!("#!/bin/sh\n{script}\n");
    // Written by another process: this one may be forking meanwhile.
    let write = format!("cat > {0} <<'END'\n{text}END\nchmod 755 {0}", dir.join(name).display());
    assert!(Command::new("sh").args(["-c", &write]).status()?.success());
    Ok(())
}

#[test]
fn the_line_is_written_where_it_belongs_and_only_if_jail_reads_it() -> Outcome {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("jail.conf");
    fs::write(&file, CONF)?;
    fs::set_permissions(&file, Permissions::from_mode(0o640))?;
    let shown = jail_conf(dir.path(), &[])?;
    // By where the program is.
    let own = colibri_test_host::program("colibri")?.canonicalize()?;
    let line = format!("exec.created += \"{} hook $name $path || true\";", own.display());
    let line = line.as_str();
    assert!(String::from_utf8(shown.stdout)?.contains(line));
    assert_eq!(fs::read_to_string(&file)?, CONF, "it was only shown");

    stand_in(dir.path(), "jail", "echo 'jail: syntax error' >&2; exit 1")?;
    let refused = jail_conf(dir.path(), &["--write"])?;
    let said = String::from_utf8(refused.stderr)?;
    assert!(said.contains("/jail does not read it: jail: syntax error"), "{said}");
    assert!(said.starts_with("colibri: cannot change ") && said.contains("by hand"), "{said}");
    assert_eq!((refused.status.code(), fs::read_to_string(&file)?.as_str()), (Some(1), CONF));

    stand_in(dir.path(), "jail", "[ \"$1\" = -e ] && [ \"$3\" = -f ] && cat \"$4\"")?;
    let written = jail_conf(dir.path(), &["--write"])?;
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    let text = fs::read_to_string(&file)?;
    assert!(text.contains(line) && text.contains("zfs jail"), "{text}");
    assert_eq!(fs::metadata(&file)?.permissions().mode() & 0o777, 0o640);
    assert!(String::from_utf8(jail_conf(dir.path(), &["--write"])?.stdout)?.contains("the line is there"));
    assert_eq!(fs::read_to_string(&file)?, text);
    let left: Vec<_> = fs::read_dir(dir.path())?.collect::<Result<_, _>>()?;
    assert_eq!(left.len(), 2, "no file is left over");
    Ok(())
}

/// AppJail's template has a grammar of its own, and appjail-config(1) reads it.
#[test]
fn a_template_of_appjail_gets_its_own_line() -> Outcome {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("web01/conf/template.conf");
    fs::create_dir_all(file.parent().ok_or("no directory")?)?;
    let text = "exec.start: \"/bin/sh /etc/rc\"\nexec.created+: \"appjail limits on ${name}\"\n";
    fs::write(&file, text)?;
    let run = |words: &[&str]| {
        Command::new(colibri_test_host::program("colibri")?)
            .args(["jail-conf", "web01", "--file"])
            .arg(&file)
            .args(words)
            .env("COLIBRI_SOCKET", dir.path().join("none"))
            .env("COLIBRI_APPJAIL_CONFIG", dir.path().join("appjail-config"))
            .stdin(Stdio::null())
            .output()
            .map_err(Box::<dyn Error>::from)
    };
    let own = colibri_test_host::program("colibri")?.canonicalize()?;
    let line = format!("exec.created+: \"{} hook ${{name}} ${{path}} || true\"\n", own.display());
    assert!(String::from_utf8(run(&[])?.stdout)?.ends_with(&line));
    stand_in(dir.path(), "appjail-config", "echo 'syntax error' >&2; exit 65")?;
    let refused = run(&["--write"])?;
    assert!(String::from_utf8(refused.stderr)?.contains("appjail-config does not read it: syntax error"));
    assert_eq!(fs::read_to_string(&file)?, text);
    let script = "[ \"$1 $2 $3 $4\" = 'jailConf -n web01 -t' ] && echo \"$3 {\" && cat \"$5\"";
    stand_in(dir.path(), "appjail-config", script)?;
    let written = run(&["--write"])?;
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    assert_eq!(fs::read_to_string(&file)?, format!("{text}{line}"));
    Ok(())
}
