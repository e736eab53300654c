//! What the bell cannot do once it is confined, tried by a program that can before.
//! One test: on FreeBSD it confines the whole process.

#![cfg(test)]

use std::fs::File;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;

/// What succeeds, of all that is tried.
fn attempts(dir: &Path, port: u16) -> Vec<&'static str> {
    let all: [(&str, bool); 8] = [
        ("read a file", File::open("/etc/passwd").is_ok()),
        ("make a file", File::create(dir.join("made")).is_ok()),
        ("list a directory", std::fs::read_dir("/").is_ok()),
        ("connect", TcpStream::connect(("127.0.0.1", port)).is_ok()),
        ("listen", TcpListener::bind("127.0.0.1:0").is_ok()),
        ("datagrams", UdpSocket::bind("127.0.0.1:0").is_ok_and(|it| it.send_to(b"x", "127.0.0.1:9").is_ok())),
        (
            "a socket by its path",
            UnixDatagram::unbound().is_ok_and(|it| it.connect(dir.join("socket")).is_ok()),
        ),
        ("start a program", Command::new("/bin/sh").args(["-c", ":"]).status().is_ok_and(|it| it.success())),
    ];
    all.into_iter().filter(|(_, done)| *done).map(|(what, _)| what).collect()
}

#[test]
fn nothing_that_worked_before_works_after() {
    let dir = tempfile::tempdir().unwrap();
    let vault = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = vault.local_addr().unwrap().port();
    let _socket = UnixDatagram::bind(dir.path().join("socket")).unwrap();
    assert_eq!(attempts(dir.path(), port).len(), 8, "the control");
    std::fs::remove_file(dir.path().join("made")).unwrap();
    let path = dir.path().to_owned();
    let confined = std::thread::spawn(move || {
        colibri_bell::confine().unwrap();
        attempts(&path, port)
    });
    assert_eq!(confined.join().unwrap(), [""; 0]);
}
