//! Linux: Landlock, and for what it does not decide, seccomp.

mod seccomp;

use self::seccomp::For;
use super::{Confinement, Part, Unconfined, View};
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, NetPort, PathBeneath, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

/// What we know how to restrict; an older kernel restricts what it can.
const KNOWN: ABI = ABI::V6;
/// What an older kernel leaves open: the first ABI that closes it, and what it is.
const SINCE: [(ABI, &str); 4] = [
    (ABI::V3, "truncating files (Linux 6.2)"),
    (ABI::V4, "the port of connections (Linux 6.7)"),
    (ABI::V5, "requests to devices (Linux 6.10)"),
    (ABI::V6, "abstract Unix sockets (Linux 6.12)"),
];
/// What the C library reads to resolve names.
const RESOLVER: [&str; 9] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/run/systemd/resolve",
    "/usr/lib",
    "/lib",
];
/// Where name servers answer what is too long for a datagram.
const DNS: u16 = 53;

/// What Node opens.
const DEVICES: [&str; 3] = ["/dev/null", "/dev/random", "/dev/urandom"];

/// What `bw` and the warden may use up, each process or all together; `bw` can
/// start no process but threads, and make no memory that is not counted.
const BOUNDS: [(Resource, u64, &str); 3] = [
    (Resource::Nproc, 64, "threads and processes of this user in the cage; bw has a dozen"),
    (Resource::Data, 2 << 30, "memory of a process; bw holds 0.2 to 0.6 GiB"),
    (Resource::Fsize, crate::warden::DISK, "a file"),
];

pub fn bw(view: &View, relay: u16) -> Result<Confinement, Unconfined> {
    if !view.insecure {
        bound().map_err(|error| Unconfined(error.to_string()))?;
    }
    let confinement = restrict(Part::Bw, Scope::from_all(KNOWN), |rules| {
        rules
            .add_rules(path_beneath_rules([&view.dir], AccessFs::from_all(KNOWN)))?
            .add_rules(path_beneath_rules(DEVICES, AccessFs::from_file(KNOWN)))?
            .add_rules(path_beneath_rules(&view.readable, AccessFs::from_read(KNOWN)))?
            .add_rule(NetPort::new(relay, AccessNet::ConnectTcp))?
            // What bw is refused goes into the kernel's audit log, from Linux
            // 6.15 on; by default only what this program is refused would.
            .log_new_exec(true)
    })?;
    filter(confinement, For::Bw)
}

pub fn hand_out(dir: &Path) -> std::io::Result<Option<OwnedFd>> {
    File::open(dir).map(|dir| Some(dir.into()))
}

fn bound() -> rustix::io::Result<()> {
    for (resource, most, _why) in BOUNDS {
        let most = getrlimit(resource).maximum.map_or(most, |hard| hard.min(most));
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    Ok(())
}

pub fn fetcher(dir: &Path, inside: BorrowedFd<'_>, vault: u16) -> Result<Confinement, Unconfined> {
    let read: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::ReadDir;
    let empty = read | AccessFs::RemoveDir | AccessFs::RemoveFile;
    // Signals are not scoped: the cage is outside, and has to be killed.
    let confinement = restrict(Part::Fetcher, Scope::AbstractUnixSocket.into(), |rules| {
        rules
            .add_rules(path_beneath_rules([dir], empty))?
            .add_rules(path_beneath_rules(dir.parent(), AccessFs::RemoveDir))?
            .add_rule(PathBeneath::new(inside, read))?
            .add_rule(NetPort::new(vault, AccessNet::ConnectTcp))
    })?;
    filter(confinement, For::Fetcher)
}

/// What needs ptrace stays closed.
pub fn gauge() -> Result<(), Unconfined> {
    let read: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::ReadDir;
    enforce(Scope::from_all(KNOWN), |rules| rules.add_rules(path_beneath_rules(["/proc"], read)))?;
    seccomp::confine(For::Fetcher).map_err(|error| Unconfined(error.to_string()))
}

pub fn resolver() -> Result<Confinement, Unconfined> {
    let read: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::ReadDir;
    let confinement = restrict(Part::Resolver, Scope::from_all(KNOWN), |rules| {
        rules
            .add_rules(path_beneath_rules(RESOLVER, read))?
            .add_rule(NetPort::new(DNS, AccessNet::ConnectTcp))
    })?;
    filter(confinement, For::Resolver)
}

fn filter(mut confinement: Confinement, whom: For) -> Result<Confinement, Unconfined> {
    seccomp::confine(whom).map_err(|error| Unconfined(error.to_string()))?;
    confinement.by.push("seccomp".into());
    Ok(confinement)
}

/// Has one process enforce it, and says what this kernel does not.
fn restrict(
    part: Part,
    scope: BitFlags<Scope>,
    rules: impl FnOnce(RulesetCreated) -> Result<RulesetCreated, RulesetError>,
) -> Result<Confinement, Unconfined> {
    let lacking = enforce(scope, rules)?;
    if !lacking.is_empty() {
        tracing::warn!(process = ?part, lacking = lacking.join(", "), "this kernel does not enforce all");
    }
    Ok(Confinement { process: part, by: vec!["Landlock".into()], lacking })
}

/// Nothing is allowed but what `rules` adds; no new privileges.
fn enforce(
    scope: BitFlags<Scope>,
    rules: impl FnOnce(RulesetCreated) -> Result<RulesetCreated, RulesetError>,
) -> Result<Vec<String>, Unconfined> {
    let all = Ruleset::default()
        .handle_access(AccessFs::from_all(KNOWN))
        .and_then(|set| set.handle_access(AccessNet::from_all(KNOWN)))
        .and_then(|set| set.scope(scope))
        .and_then(Ruleset::create);
    let status = all.and_then(rules).and_then(RulesetCreated::restrict_self);
    let status = status.map_err(|error| Unconfined(error.to_string()))?;
    match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, _) => Err(Unconfined("this kernel has no Landlock".into())),
        (_, LandlockStatus::Available { effective_abi, .. }) => Ok(lacking(effective_abi)),
        (_, LandlockStatus::NotEnabled | LandlockStatus::NotImplemented) => Ok(lacking(ABI::Unsupported)),
    }
}

/// What a kernel of that ABI does not enforce.
fn lacking(abi: ABI) -> Vec<String> {
    SINCE.iter().filter(|(first, _)| abi < *first).map(|(_, what)| (*what).to_owned()).collect()
}

pub fn hide() -> Result<(), Unconfined> {
    // What is started from here can be dumped again, so it gets limits that it
    // inherits. A program that core_pattern pipes to gets a core at the limit 0,
    // and none at 1; where a hard limit of 0 forbids that, one without memory.
    let no_core = Rlimit { current: Some(1), maximum: Some(1) };
    if let Err(error) = setrlimit(Resource::Core, no_core) {
        tracing::warn!(%error, "cannot set the limit of core files to 1");
    }
    own("coredump_filter", "0", "cannot keep memory out of core files");
    // The operator may have colibrid killed last when memory is short; bw takes most.
    let adjusted = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_default();
    if adjusted.starts_with('-') {
        own("oom_score_adj", "0", "cannot give up what spares colibrid when memory is short");
    }
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|error| Unconfined(error.to_string()))
}

/// What the kernel asks of this process and all that it starts. In the cage there is no
/// /proc, and the fetcher was here before.
fn own(file: &str, value: &str, cannot: &str) {
    match std::fs::write(format!("/proc/self/{file}"), value) {
        Err(error) if error.kind() != ErrorKind::NotFound => tracing::warn!(%error, "{cannot}"),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_older_kernel_leaves_open_is_named() {
        assert_eq!(lacking(KNOWN), [""; 0]);
        assert_eq!(lacking(ABI::V7), [""; 0]);
        assert_eq!(lacking(ABI::V5), ["abstract Unix sockets (Linux 6.12)"]);
        assert!(lacking(ABI::V3).contains(&"the port of connections (Linux 6.7)".to_owned()));
        assert_eq!(lacking(ABI::V1).len(), SINCE.len());
    }
}
