//! How `bw` is started: which interpreter, and which files it has to be able
//! to read.

use colibri_session::Failure;
use colibri_tenant::ErrorName::BwUnusable;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What every program needs; missing ones are passed over. Nothing of a user's
/// is among them, and not /etc/passwd.
const SYSTEM: [&str; 8] = [
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/share/nodejs",
    "/etc/ld.so.cache",
    "/etc/ssl/openssl.cnf",
];
/// Where programs are looked for when PATH is not set.
const SEARCH: &str = "/usr/local/bin:/usr/bin:/bin";

/// `bw`, ready to be started.
#[derive(Debug)]
pub struct Program {
    /// The interpreter and its arguments, if any, and `bw`.
    pub argv: Vec<PathBuf>,
    /// What it reads.
    pub readable: Vec<PathBuf>,
    /// Its version, where the package says it.
    pub version: Option<String>,
    /// That package's directory.
    pub package: Option<PathBuf>,
}

impl Program {
    /// Looks at the program `bw`.
    ///
    /// # Errors
    /// `BwUnusable` when it or its interpreter is not there.
    pub fn find(bw: &Path) -> Result<Self, Failure> {
        let script = bw.canonicalize().map_err(|error| unusable(bw, &error))?;
        let mut argv = interpreter(&script)?;
        let package =
            script.ancestors().filter(|path| path.file_name() == Some(OsStr::new("node_modules"))).last();
        let mut readable: Vec<PathBuf> =
            SYSTEM.iter().map(PathBuf::from).filter(|path| path.exists()).collect();
        readable.extend(argv.first().cloned());
        readable.push(package.unwrap_or(&script).to_owned());
        let known = script.ancestors().find_map(|dir| Some((dir.to_owned(), version(dir)?)));
        let (package, version) = known.unzip();
        argv.push(script);
        Ok(Self { argv, readable, version, package })
    }
}

/// The first program of that name in PATH.
pub fn search(name: &OsStr) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from(SEARCH));
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|path| path.is_file())
}

fn interpreter(script: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut head = Vec::new();
    let file = fs::File::open(script).map_err(|error| unusable(script, &error))?;
    file.take(256).read_to_end(&mut head).map_err(|error| unusable(script, &error))?;
    let Some(line) = head.strip_prefix(b"#!").and_then(|rest| rest.split(|&byte| byte == b'\n').next())
    else {
        return Ok(Vec::new());
    };
    let mut words =
        line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).map(OsStr::from_bytes);
    let mut program = words.next().map(PathBuf::from).unwrap_or_default();
    if program.file_name() == Some(OsStr::new("env")) {
        let name = words.find(|word| *word != "-S").unwrap_or_default();
        program = search(name)
            .ok_or_else(|| Failure::new(BwUnusable, format!("{} is not in PATH", name.to_string_lossy())))?;
    }
    let program = program.canonicalize().map_err(|error| unusable(&program, &error))?;
    Ok(std::iter::once(program).chain(words.map(PathBuf::from)).collect())
}

fn version(dir: &Path) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Package {
        name: String,
        version: String,
    }
    let package: Package = serde_json::from_slice(&fs::read(dir.join("package.json")).ok()?).ok()?;
    (package.name == "@bitwarden/cli").then_some(package.version)
}

fn unusable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(BwUnusable, format!("cannot run {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn the_package_tells_interpreter_files_and_version() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap().join("node_modules");
        let package = root.join("@bitwarden/cli");
        fs::create_dir_all(package.join("build")).unwrap();
        fs::write(package.join("build/bw.js"), "#!/usr/bin/env sh -e\n").unwrap();
        fs::write(package.join("package.json"), r#"{"name":"@bitwarden/cli","version":"2026.8.0"}"#).unwrap();
        symlink(package.join("build/bw.js"), dir.path().join("bw")).unwrap();
        let program = Program::find(&dir.path().join("bw")).unwrap();
        let sh = Path::new("/bin/sh").canonicalize().unwrap();
        assert_eq!(program.argv, [sh.clone(), "-e".into(), package.join("build/bw.js")]);
        assert!(program.readable.contains(&root) && program.readable.contains(&sh));
        assert_eq!(program.version.as_deref(), Some("2026.8.0"));
    }

    #[test]
    fn a_missing_program_or_interpreter_has_a_name() {
        let dir = tempfile::tempdir().unwrap();
        let bw = dir.path().join("bw");
        assert_eq!(Program::find(&bw).unwrap_err().name, BwUnusable);
        for head in ["#!/usr/bin/env no-such-node\n", "#!/no/such/node\n", "#!\n"] {
            fs::write(&bw, head).unwrap();
            assert_eq!(Program::find(&bw).unwrap_err().name, BwUnusable, "{head}");
        }
        fs::write(&bw, [0x7f, b'E', b'L', b'F']).unwrap();
        assert_eq!(Program::find(&bw).unwrap().argv, [bw.canonicalize().unwrap()]);
    }
}
