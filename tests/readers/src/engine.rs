//! docker and podman parse `--env-file` in their clients and send the result to
//! the engine. Here a stand-in for the engine listens on a socket, answers as
//! much as the clients ask before `create`, and keeps what `create` brought: so
//! the real parsers are tested without an image, a daemon or root.

use crate::{Pairs, program};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use tempfile::TempDir;

/// The clients ask for nothing longer than their files, which are bounded.
const MAX_BODY: usize = 64 * 1024 * 1024;

pub(crate) fn docker(dir: &Path, files: &[String]) -> Result<Vec<Pairs>> {
    Engine::start()?.create(files, &|socket| {
        let mut command = client("docker", dir);
        command.env("DOCKER_HOST", format!("unix://{}", socket.display())).arg("create");
        command
    })
}

pub(crate) fn podman(dir: &Path, files: &[String]) -> Result<Vec<Pairs>> {
    Engine::start()?.create(files, &|socket| {
        let mut command = client("podman", dir);
        command.arg("--remote").arg("--url").arg(format!("unix://{}", socket.display()));
        command.args(["create", "--pull", "never"]);
        command
    })
}

/// The unpacked client if there is one, else the system's.
fn client(name: &str, dir: &Path) -> Command {
    let unpacked = program::installed().join("engines");
    let program = unpacked.join("usr/bin").join(name);
    let mut command = match program.exists() {
        true => program::command(program, dir),
        false => program::command(name, dir),
    };
    let libraries = format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    command.env("LD_LIBRARY_PATH", unpacked.join(libraries)).env("HOME", dir);
    command
}

/// The stand-in: where it listens, and what clients wanted to create.
struct Engine {
    home: TempDir,
    bodies: Receiver<Value>,
}

impl Engine {
    fn start() -> Result<Self> {
        let home = tempfile::tempdir()?;
        let listener = UnixListener::bind(home.path().join("engine"))?;
        let (sender, bodies) = mpsc::channel();
        thread::spawn(move || serve(&listener, &sender));
        Ok(Self { home, bodies })
    }

    /// Gives a client all files at once, and the halves where it refuses. The
    /// keys of the files must differ.
    fn create(&self, files: &[String], client: &dyn Fn(&Path) -> Command) -> Result<Vec<Pairs>> {
        let mut command = client(&self.home.path().join("engine"));
        command.args(files.iter().map(|file| format!("--env-file={file}"))).arg("image");
        let output = program::output(&mut command)?;
        // A client has its answer, so what it sent is in the channel already.
        if let Some(body) = self.bodies.try_iter().last() {
            return Ok(vec![environment(&body); files.len()]);
        }
        let complaints = String::from_utf8_lossy(&output.stderr);
        ensure!(!complaints.contains("shared libraries"), "{complaints}: run `make readers`");
        if files.len() < 2 {
            return Ok(vec![Pairs::new(); files.len()]);
        }
        let (left, right) = files.split_at(files.len() / 2);
        Ok([self.create(left, client)?, self.create(right, client)?].concat())
    }
}

/// docker sends a list of assignments, podman an object.
fn environment(body: &Value) -> Pairs {
    let docker = body["Env"].as_array().into_iter().flatten();
    let docker = docker.filter_map(|text| text.as_str()?.split_once('='));
    let podman = body["env"].as_object().into_iter().flatten();
    let podman = podman.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)));
    docker.chain(podman).map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec())).collect()
}

/// One thread a connection: clients keep theirs open until they end.
fn serve(listener: &UnixListener, bodies: &Sender<Value>) {
    for stream in listener.incoming().flatten() {
        let bodies = bodies.clone();
        thread::spawn(move || converse(&stream, &bodies));
    }
}

fn converse(stream: &UnixStream, bodies: &Sender<Value>) -> Result<()> {
    let mut reader = BufReader::new(stream);
    while let Some((request, body)) = receive(&mut reader)? {
        if request.contains("/containers/create") {
            bodies.send(serde_json::from_slice(&body)?)?;
        }
        answer(stream, &request)?;
    }
    Ok(())
}

/// The request's line and its body.
fn receive(reader: &mut impl BufRead) -> Result<Option<(String, Vec<u8>)>> {
    let mut request = String::new();
    if reader.read_line(&mut request)? == 0 {
        return Ok(None);
    }
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().context("the length of a body")?;
        }
    }
    let mut body = vec![0; length.min(MAX_BODY)];
    reader.read_exact(&mut body)?;
    Ok(Some((request, body)))
}

fn answer(mut stream: &UnixStream, request: &str) -> Result<()> {
    let body = if request.starts_with("HEAD") { "" } else { r#"{"Id":"1","Warnings":[]}"# };
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nLibpod-Api-Version: 4.3.1\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    Ok(())
}
