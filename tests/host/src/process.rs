//! Processes as the system shows them: /proc on Linux, ps(1) and procstat(1) on
//! FreeBSD.

#[cfg_attr(target_os = "freebsd", path = "process/procstat.rs")]
#[cfg_attr(not(target_os = "freebsd"), path = "process/procfs.rs")]
mod platform;

#[cfg(target_os = "freebsd")]
pub use platform::confined;
pub use platform::{all, arguments, descriptors, environment, ids, resident};

/// Whom a process acts as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ids {
    /// Effective, real and saved.
    pub users: [u32; 3],
    /// The same.
    pub groups: [u32; 3],
    /// Those of its list; on FreeBSD the effective one is the first.
    pub supplementary: Vec<u32>,
}

/// The processes whose arguments name that.
pub fn naming(what: &str) -> Vec<(u32, String)> {
    all().into_iter().filter(|(_, line)| line.contains(what)).collect()
}

/// Whether there is such a process, ended but not waited for or not.
pub fn exists(pid: u32) -> bool {
    all().iter().any(|(found, _)| *found == pid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_process_is_shown_as_it_was_started() {
        let mut sleep = Command::new("sleep");
        sleep.args(["4711.25"]).env_clear().env("MARK", "of the test").stdin(Stdio::null());
        let mut sleep = sleep.spawn().unwrap();
        let pid = sleep.id();
        // Until exec it is a copy of this test.
        while !arguments(pid).is_some_and(|line| line.contains("4711.25")) {
            std::thread::yield_now();
        }
        assert!(naming("4711.25").iter().any(|(found, _)| *found == pid) && exists(pid));
        assert_eq!(environment(pid).unwrap(), "MARK=of the test");
        let ours = ids(std::process::id()).unwrap();
        assert_eq!(ids(pid).unwrap(), ours);
        assert!(resident(pid).unwrap() > 0);
        assert!(descriptors(pid).unwrap().contains_key(&0));
        sleep.kill().unwrap();
        sleep.wait().unwrap();
        assert!(!exists(pid) && ids(pid).is_none());
    }
}
