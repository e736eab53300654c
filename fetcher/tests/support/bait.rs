//! What a hostile `bw` would like to have, really there to be had.

use crate::driver::Place;
use serde_json::{Value, json};
use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What the malware is after, and proof that it is there to be had.
pub struct Bait {
    dir: PathBuf,
    udp: UdpSocket,
    tcp: TcpListener,
    unix: UnixListener,
    nameless: [UnixListener; 2],
    victim: Child,
}

impl Bait {
    pub fn put(place: &Place) -> Self {
        let dir = place.path().canonicalize().unwrap().join("node_modules");
        fs::create_dir(&dir).unwrap();
        let here = place.path().canonicalize().unwrap();
        fs::write(here.join("secret"), "secret").unwrap();
        let script = dir.join("bw.js");
        fs::write(&script, include_str!("hostile.js")).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let abstract_name = format!("colibri-test-{}", tcp.local_addr().unwrap().port());
        let unix = UnixListener::bind(here.join("socket")).unwrap();
        // Node fills such a name up with zeros, before its version 22.
        let mut padded = abstract_name.clone().into_bytes();
        padded.resize(107, 0);
        let nameless = [padded, abstract_name.clone().into_bytes()]
            .map(|name| UnixListener::bind_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap());
        let victim = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap();
        let plan = json!({
            "tcp": tcp.local_addr().unwrap().port(), "udp": udp.local_addr().unwrap().port(),
            "unix": here.join("socket"), "abstract": abstract_name, "file": here.join("secret"),
            "pid": std::process::id(), "victim": victim.id(), "target": here.join("target"),
            "door": here.join("door"),
            "control": here.join("control.json"),
        });
        fs::write(dir.join("plan.json"), plan.to_string()).unwrap();
        for socket in nameless.iter().chain([&unix]) {
            socket.set_nonblocking(true).unwrap();
        }
        tcp.set_nonblocking(true).unwrap();
        udp.set_nonblocking(true).unwrap();
        Self { dir, udp, tcp, unix, nameless, victim }
    }

    pub fn bw(&self) -> PathBuf {
        self.dir.join("bw.js")
    }

    /// Of the host's TCP socket that it may not reach.
    pub fn port(&self) -> u16 {
        self.tcp.local_addr().unwrap().port()
    }

    /// What the log has to say of each attempt.
    pub fn attempts(&self) -> Vec<String> {
        let here = self.dir.parent().unwrap().display();
        let (tcp, udp) = (self.port(), self.udp.local_addr().unwrap().port());
        let victim = self.victim.id();
        vec![
            format!("reach 127.0.0.1 port {tcp}"),
            "reach 192.0.2.1 port 443".into(),
            format!("reach 127.0.0.1 port {udp}"),
            "ask the name server 127.0.0.1 port 53".into(),
            format!("reach the Unix socket {here}/socket"),
            format!("reach the Unix socket @colibri-test-{tcp}"),
            "open /etc/passwd".into(),
            format!("open {here}/secret"),
            format!("open {here}"),
            format!("open /proc/{}/cmdline", std::process::id()),
            "look for /usr/bin/env".into(),
            "call clone".into(),
            format!("send signal 9 to process {victim}"),
            format!("write to {here}/target"),
            format!("write to {here}/secret"),
            format!("write to {here}/door"),
            format!("write to {here}/node_modules/bw.js"),
            "write to /x".into(),
        ]
    }

    /// Nobody came, and the victim lives.
    pub fn assert_untouched(&mut self) {
        assert!(self.tcp.accept().is_err() && self.udp.recv(&mut [0]).is_err());
        assert!(self.unix.accept().is_err() && self.nameless.iter().all(|it| it.accept().is_err()));
        assert!(self.victim.try_wait().unwrap().is_none());
    }

    /// The same attempts without a cage: they succeed.
    pub fn control(&self, place: &Place) -> Value {
        let echo = self.udp.try_clone().unwrap();
        echo.set_nonblocking(false).unwrap();
        let answering = std::thread::spawn(move || {
            let (count, from) = echo.recv_from(&mut [0]).unwrap();
            echo.send_to(&[0][..count], from).unwrap();
        });
        let status = Command::new("node")
            .arg(self.bw())
            .arg("--control")
            .env("BITWARDENCLI_APPDATA_DIR", "/")
            .status();
        assert_eq!(status.unwrap().code(), Some(1));
        answering.join().unwrap();
        serde_json::from_slice(&fs::read(place.path().join("control.json")).unwrap()).unwrap()
    }
}

impl Drop for Bait {
    fn drop(&mut self) {
        // Dead already after the control.
        let _ = self.victim.kill();
        let _ = self.victim.wait();
    }
}

/// What the malware wrote into the directory that only it has; then it may end.
pub fn found(place: &Place) -> Value {
    let base = place.base();
    let until = Instant::now() + Duration::from_secs(60);
    while Instant::now() < until {
        for (pid, _) in place.processes() {
            let inside = format!("/proc/{pid}/root{}", base.display());
            for own in fs::read_dir(inside).into_iter().flatten().flatten() {
                let found = fs::read(own.path().join("found.json")).unwrap_or_default();
                if let Ok(found) = serde_json::from_slice(&found) {
                    fs::write(own.path().join("read"), "").unwrap();
                    return found;
                }
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("the malware wrote down nothing: {}", place.log());
}
