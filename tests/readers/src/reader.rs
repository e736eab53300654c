//! Who reads an env file, and how each is asked.

use crate::{engine, program};
use anyhow::{Result, ensure};
use std::collections::BTreeMap;
use std::path::Path;

/// What a reader found in one file. A file it refused gives nothing.
pub type Pairs = BTreeMap<String, Vec<u8>>;

/// One program or library that reads files of variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reader {
    /// `set -a; . FILE` in dash, FreeBSD's and Debian's kind of sh.
    Dash,
    /// The same in bash.
    Bash,
    /// The same in mksh.
    Mksh,
    /// The same in busybox.
    Busybox,
    /// The same in zsh.
    Zsh,
    /// The parser of systemd's `EnvironmentFile=`.
    Systemd,
    /// python-dotenv.
    PythonDotenv,
    /// dotenv for Node.
    NodeDotenv,
    /// The second parser of dotenv for Node, which it calls fast.
    NodeDotenvFast,
    /// Node's own parser.
    NodeParseEnv,
    /// Node's own parser as `--env-file` runs it.
    NodeEnvFile,
    /// dotenvy.
    Dotenvy,
    /// `docker create --env-file`.
    Docker,
    /// `podman create --env-file`.
    Podman,
    /// serde_json.
    SerdeJson,
    /// Python's json.
    PythonJson,
    /// Node's JSON.
    NodeJson,
}

/// The readers that the `env` format promises every value to.
#[cfg(target_os = "linux")]
const ENV: &[Reader] =
    &[Reader::Dash, Reader::Bash, Reader::Mksh, Reader::Busybox, Reader::Zsh, Reader::Systemd];
#[cfg(not(target_os = "linux"))]
const ENV: &[Reader] = &[Reader::Dash, Reader::Bash, Reader::Mksh, Reader::Busybox, Reader::Zsh];

/// The clients of the container engines.
#[cfg(target_os = "linux")]
const ENGINES: &[Reader] = &[Reader::Docker, Reader::Podman];
#[cfg(not(target_os = "linux"))]
const ENGINES: &[Reader] = &[];

impl Reader {
    /// The shells, and systemd where it runs.
    pub const ENV: &[Self] = ENV;
    /// The shells.
    pub const SHELLS: &[Self] = &[Self::Dash, Self::Bash, Self::Mksh, Self::Busybox, Self::Zsh];
    /// The dotenv libraries.
    pub const DOTENV: &[Self] =
        &[Self::PythonDotenv, Self::NodeDotenv, Self::NodeDotenvFast, Self::NodeParseEnv, Self::Dotenvy];
    /// docker and podman where they run.
    pub const ENGINES: &[Self] = ENGINES;
    /// The JSON parsers.
    pub const JSON: &[Self] = &[Self::SerdeJson, Self::PythonJson, Self::NodeJson];

    /// Its name in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dash => "dash",
            Self::Bash => "bash",
            Self::Mksh => "mksh",
            Self::Busybox => "busybox",
            Self::Zsh => "zsh",
            Self::Systemd => "systemd",
            Self::PythonDotenv => "python-dotenv",
            Self::NodeDotenv => "dotenv (npm)",
            Self::NodeDotenvFast => "dotenv `fast`",
            Self::NodeParseEnv => "Node",
            Self::NodeEnvFile => "Node `--env-file`",
            Self::Dotenvy => "dotenvy",
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::SerdeJson => "serde_json",
            Self::PythonJson => "Python json",
            Self::NodeJson => "Node JSON",
        }
    }

    /// What it reads in each of the files of `dir`, in their order.
    ///
    /// # Errors
    /// The reader is not there or failed as a whole; a file that it refuses is
    /// no error.
    pub fn read(self, dir: &Path, files: &[String]) -> Result<Vec<Pairs>> {
        let found = match self {
            Self::Dash => program::shell(&["dash"], dir, files),
            Self::Bash => program::shell(&["bash"], dir, files),
            Self::Mksh => program::shell(&["mksh"], dir, files),
            Self::Busybox => program::shell(&["busybox", "sh"], dir, files),
            Self::Zsh => program::shell(&["zsh", "-f"], dir, files),
            Self::Systemd => program::python("systemd", dir, files),
            Self::PythonDotenv => program::python("dotenv", dir, files),
            Self::PythonJson => program::python("json", dir, files),
            Self::NodeDotenv => program::node("dotenv", dir, files),
            Self::NodeDotenvFast => program::node("fast", dir, files),
            Self::NodeParseEnv => program::node("node", dir, files),
            Self::NodeJson => program::node("json", dir, files),
            Self::NodeEnvFile => program::node_env_file(dir, files),
            Self::Docker => engine::docker(dir, files),
            Self::Podman => engine::podman(dir, files),
            Self::Dotenvy => files.iter().map(|file| Ok(dotenvy_pairs(&dir.join(file)))).collect(),
            Self::SerdeJson => files.iter().map(|file| json_pairs(&dir.join(file))).collect(),
        }?;
        ensure!(found.len() == files.len(), "{}: {} files of {}", self.name(), found.len(), files.len());
        Ok(found)
    }
}

/// dotenvy stops at the first line that it cannot read.
fn dotenvy_pairs(file: &Path) -> Pairs {
    let pairs = dotenvy::from_path_iter(file).into_iter().flatten();
    pairs.map_while(Result::ok).map(|(key, value)| (key, value.into_bytes())).collect()
}

fn json_pairs(file: &Path) -> Result<Pairs> {
    let object: BTreeMap<String, String> = serde_json::from_slice(&std::fs::read(file)?)?;
    Ok(object.into_iter().map(|(key, value)| (key, value.into_bytes())).collect())
}
