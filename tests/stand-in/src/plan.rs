//! Attempts that malware in `bw`'s place would make: a line each in PROGRAM.plan,
//! `NAME VERB TARGET`, and what came of each.

use crate::vault::named;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{Error, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What an attempt gives that is not refused.
const REACHED: &str = "reached";
/// Longest wait for an answer of the network.
const PATIENCE: Duration = Duration::from_secs(3);

/// What came of each attempt, by its name; nothing without a plan.
pub fn results(program: &Path) -> Result<BTreeMap<String, String>> {
    let plan = match fs::read_to_string(named(program, ".plan")) {
        Ok(plan) => plan,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).context("cannot read the plan"),
    };
    plan.lines().map(result).collect()
}

fn result(line: &str) -> Result<(String, String)> {
    let [name, verb, target] = line.splitn(3, ' ').collect::<Vec<_>>()[..] else {
        bail!("no attempt: {line}")
    };
    let came = attempt(verb, target)?.map_or_else(|error| error.to_string(), |()| REACHED.into());
    Ok((name.to_owned(), came))
}

/// The outer failure is the plan's.
fn attempt(verb: &str, target: &str) -> Result<std::io::Result<()>> {
    Ok(match verb {
        "read" => fs::read(target).map(drop),
        "list" => fs::read_dir(target).map(drop),
        "look" => fs::symlink_metadata(target).map(drop),
        "write" => OpenOptions::new().append(true).open(target).map(drop),
        "create" => OpenOptions::new().write(true).create_new(true).open(target).map(drop),
        "run" => Command::new(target).stdin(Stdio::null()).stdout(Stdio::null()).status().map(drop),
        "unix" => UnixStream::connect(target).map(drop),
        "tcp" => tcp(target).map(drop),
        "udp" => udp(target),
        "resolve" => (target, 443).to_socket_addrs().map(drop),
        "relay" => relay(target),
        "signal" => signal(target.parse()?),
        _ => bail!("no such attempt: {verb}"),
    })
}

fn tcp(target: &str) -> std::io::Result<TcpStream> {
    let address = target.to_socket_addrs()?.next().ok_or(ErrorKind::NotFound)?;
    TcpStream::connect_timeout(&address, PATIENCE)
}

/// Whether somebody answers.
fn udp(target: &str) -> std::io::Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send_to(b"x", target)?;
    socket.recv(&mut [0]).map(drop)
}

/// Whether the relay dials that.
fn relay(target: &str) -> std::io::Result<()> {
    let proxy = std::env::var("https_proxy").map_err(Error::other)?;
    let mut relay = tcp(proxy.trim_start_matches("http://").trim_end_matches('/'))?;
    relay.set_read_timeout(Some(PATIENCE))?;
    write!(relay, "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n")?;
    let mut head = [0; 12];
    relay.read_exact(&mut head)?;
    if head.ends_with(b" 200") { Ok(()) } else { Err(Error::other("refused by the relay")) }
}

/// Whether such a process is there to be signalled.
fn signal(pid: i32) -> std::io::Result<()> {
    Ok(nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_is_made_and_its_failure_named() {
        let own = std::process::id();
        assert_eq!(result(&format!("OWN signal {own}")).unwrap(), ("OWN".into(), REACHED.into()));
        assert_eq!(result("SHELL run /bin/sh").unwrap().1, REACHED);
        assert_ne!(result("NONE read /no/such/file").unwrap().1, REACHED);
        assert!(result("NONE").is_err() && result("X fly /").is_err());
    }
}
