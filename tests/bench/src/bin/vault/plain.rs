//! `bw serve` with nothing around it: no relay, no sandbox, a socket pair and
//! the least of HTTP that it understands.

use crate::fleet::Fleet;
use crate::script::environment;
use anyhow::{Context, Result, ensure};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A login and an unlocked `bw serve` of its own.
pub struct Plain {
    serve: Child,
    stream: BufReader<UnixStream>,
}

impl Plain {
    pub fn open(fleet: &Fleet) -> Result<Self> {
        fs::create_dir_all(fleet.host.path("plain"))?;
        let environment = environment(fleet, "plain")?;
        let command = || {
            let mut command = Command::new(fleet.host.path("product/lib/bw/node_modules/.bin/bw"));
            command.env_clear().envs(environment.iter().map(|(name, value)| (*name, value)));
            command.stdout(Stdio::null());
            command
        };
        let server = environment.iter().find(|(name, _)| *name == "BW_SERVER").context("no server")?;
        for args in [&["config", "server", &server.1][..], &["login", "--apikey"]] {
            let status = command().args(args).stdin(Stdio::null()).status()?;
            ensure!(status.success(), "bw {args:?}: {status}");
        }
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_read_timeout(Some(Duration::from_secs(60)))?;
        let serve = command()
            .args(["serve", "--hostname", "fd+connected://0"])
            .stdin(OwnedFd::from(theirs))
            .spawn()?;
        let mut plain = Self { serve, stream: BufReader::new(ours) };
        let password = environment.iter().find(|(name, _)| *name == "BW_PASSWORD").context("no password")?;
        plain.ask("POST", "/unlock", &format!("{{\"password\":\"{}\"}}", password.1))?;
        Ok(plain)
    }

    /// One request and its answer's body.
    pub fn ask(&mut self, method: &str, path: &str, body: &str) -> Result<String> {
        let length = body.len();
        write!(
            self.stream.get_mut(),
            "{method} {path} HTTP/1.1\r\nHost: localhost:8087\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        )?;
        let mut length = None;
        let mut status = String::new();
        self.stream.read_line(&mut status)?;
        loop {
            let mut line = String::new();
            ensure!(self.stream.read_line(&mut line)? > 0, "bw serve hung up");
            let line = line.trim().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = Some(value.trim().parse()?);
            }
        }
        let mut answer = vec![0; length.context("bw serve announced no length")?];
        self.stream.read_exact(&mut answer)?;
        ensure!(status.contains(" 200 "), "{path}: {status}");
        Ok(String::from_utf8(answer)?)
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        let _ = self.serve.kill();
        let _ = self.serve.wait();
    }
}
