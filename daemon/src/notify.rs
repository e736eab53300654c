//! Tells the service manager how far the daemon is, as sd_notify(3) does: to the
//! socket that `NOTIFY_SOCKET` names, or to nobody.

#[cfg_attr(target_os = "linux", path = "notify/linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "notify/elsewhere.rs")]
mod platform;

use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;

/// It answers.
pub const READY: &str = "READY=1";
/// It was told to end.
pub const STOPPING: &str = "STOPPING=1";

/// Says it. A manager that does not listen is its own affair.
pub fn tell(state: &str) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let sent = platform::address(socket.as_bytes())
        .and_then(|address| UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address));
    if let Err(error) = sent {
        tracing::warn!("cannot tell the service manager: {error}");
    }
}

/// Its last words, one line for `systemctl status`.
pub fn last_words(error: &str) {
    tell(&format!("STATUS={}", error.replace(['\n', '\r'], " ")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_hears_by_a_path_and_by_an_abstract_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let abstract_name = format!("@colibri-notify-{}", std::process::id());
        for name in [path.as_os_str().as_bytes(), abstract_name.as_bytes()] {
            let Ok(address) = platform::address(name) else { continue };
            let manager = UnixDatagram::bind_addr(&address).unwrap();
            UnixDatagram::unbound().unwrap().send_to_addr(READY.as_bytes(), &address).unwrap();
            let mut said = [0; 32];
            let length = manager.recv(&mut said).unwrap();
            assert_eq!(&said[..length], b"READY=1");
        }
        assert!(platform::address(path.as_os_str().as_bytes()).is_ok());
        assert_eq!(platform::address(b"@name").is_ok(), cfg!(target_os = "linux"));
    }
}
