//! What a program that is taken over is after, and proof that it is there to be
//! had without confinement.

use crate::driver::Place;
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Whom it is after.
pub struct Prey {
    code: PathBuf,
    tcp: TcpListener,
    udp: UdpSocket,
    unix: [UnixListener; 2],
    datagram: UnixDatagram,
}

impl Prey {
    pub fn put(dir: &Path) -> Self {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (port, own) = (tcp.local_addr().unwrap().port(), udp.local_addr().unwrap().port());
        let name = format!("colibri-hostile-{port}");
        let hidden = SocketAddr::from_abstract_name(&name).unwrap();
        let (path, datagram) = (dir.join("unix"), dir.join("datagram"));
        let unix = [UnixListener::bind(&path).unwrap(), UnixListener::bind_addr(&hidden).unwrap()];
        let code = dir.join("hostile.so");
        let source = colibri_test_host::tree().join("fetcher/tests/support/hostile.c");
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&code).arg(source);
        cc.arg(format!("-DTCP_PORT={port}")).arg(format!("-DUDP_PORT={own}"));
        cc.arg(format!("-DABSTRACT_NAME={name:?}"));
        cc.arg(format!("-DUNIX_PATH={path:?}")).arg(format!("-DDATAGRAM_PATH={datagram:?}"));
        assert!(cc.arg("-ldl").status().expect("no C compiler").success());
        tcp.set_nonblocking(true).unwrap();
        udp.set_nonblocking(true).unwrap();
        unix.iter().for_each(|it| it.set_nonblocking(true).unwrap());
        let datagram = UnixDatagram::bind(datagram).unwrap();
        datagram.set_nonblocking(true).unwrap();
        Self { code, tcp, udp, unix, datagram }
    }

    /// What takes a program over that it is preloaded into.
    pub fn code(&self) -> &Path {
        &self.code
    }

    /// How many of them somebody came to.
    pub fn visited(&self) -> usize {
        let came = |kind: std::io::Result<()>| match kind {
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            came => came.map(|()| 1).unwrap(),
        };
        came(self.tcp.accept().map(drop))
            + came(self.udp.recv(&mut [0]).map(drop))
            + came(self.datagram.recv(&mut [0]).map(drop))
            + self.unix.iter().map(|it| came(it.accept().map(drop))).sum::<usize>()
    }

    /// The same without confinement.
    pub fn control(&self) -> BTreeMap<String, i32> {
        let output = Command::new("true").env("LD_PRELOAD", &self.code).env("HOSTILE_NOW", "1").output();
        attempts(&String::from_utf8(output.unwrap().stderr).unwrap())
    }
}

/// Each attempt with its error number.
pub fn attempts(text: &str) -> BTreeMap<String, i32> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("ATTEMPT ")?.rsplit_once(' '));
    lines.map(|(name, number)| (name.to_owned(), number.parse().unwrap())).collect()
}

/// A `bw` that takes so much of something that only a bound ends it. It says how
/// far it came by what it looks for, which is recorded.
pub fn greedy(place: &Place, takes: &str) -> PathBuf {
    let bw = place.path().join("greedy.js");
    let script = format!(
        "#!/usr/bin/env node
        const fs = require('fs');
        const own = process.env.BITWARDENCLI_APPDATA_DIR;
        const tell = (what) => {{ console.log(what); fs.existsSync('/told/' + what); process.exit(3); }};
        {takes}"
    );
    fs::write(&bw, script).unwrap();
    fs::set_permissions(&bw, fs::Permissions::from_mode(0o755)).unwrap();
    bw
}

/// What it came to without a cage.
pub fn ungoverned(place: &Place, bw: &Path) -> String {
    let own = place.path().join("own");
    fs::create_dir(&own).unwrap();
    let output = Command::new("node").arg(bw).env("BITWARDENCLI_APPDATA_DIR", &own).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
