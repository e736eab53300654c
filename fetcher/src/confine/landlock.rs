//! Linux: Landlock.

use super::{Unconfined, View};
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, NetPort, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use std::io::ErrorKind;
use std::path::Path;

/// What we know how to restrict; an older kernel restricts what it can.
const KNOWN: ABI = ABI::V6;
/// What the C library reads to resolve names and check certificates.
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

/// What Node opens.
const DEVICES: [&str; 3] = ["/dev/null", "/dev/random", "/dev/urandom"];

pub fn bw(view: &View, relay: u16) -> Result<(), Unconfined> {
    restrict(Scope::from_all(KNOWN), |rules| {
        rules
            .add_rules(path_beneath_rules([&view.dir], AccessFs::from_all(KNOWN)))?
            .add_rules(path_beneath_rules(DEVICES, AccessFs::from_file(KNOWN)))?
            .add_rules(path_beneath_rules(&view.readable, AccessFs::from_read(KNOWN)))?
            .add_rule(NetPort::new(relay, AccessNet::ConnectTcp))?
            // What bw is refused goes into the kernel's audit log, from Linux
            // 6.15 on; by default only what this program is refused would.
            .log_new_exec(true)
    })
}

pub fn fetcher(dir: &Path, vault: u16) -> Result<(), Unconfined> {
    let read: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::ReadDir;
    let empty = read | AccessFs::RemoveDir | AccessFs::RemoveFile;
    // Signals are not scoped: the cage is outside, and has to be killed.
    restrict(Scope::AbstractUnixSocket.into(), |rules| {
        rules
            .add_rules(path_beneath_rules([dir], empty))?
            .add_rules(path_beneath_rules(dir.parent(), AccessFs::RemoveDir))?
            .add_rules(path_beneath_rules(RESOLVER, read))?
            // How much memory bw holds; what needs ptrace stays closed.
            .add_rules(path_beneath_rules(["/proc"], AccessFs::ReadFile))?
            .add_rule(NetPort::new(vault, AccessNet::ConnectTcp))
    })
}

/// Nothing is allowed but what `rules` adds; no new privileges.
fn restrict(
    scope: BitFlags<Scope>,
    rules: impl FnOnce(RulesetCreated) -> Result<RulesetCreated, RulesetError>,
) -> Result<(), Unconfined> {
    let all = Ruleset::default()
        .handle_access(AccessFs::from_all(KNOWN))
        .and_then(|set| set.handle_access(AccessNet::from_all(KNOWN)))
        .and_then(|set| set.scope(scope))
        .and_then(Ruleset::create);
    let status = all.and_then(rules).and_then(RulesetCreated::restrict_self);
    match status.map(|status| status.ruleset) {
        Ok(RulesetStatus::NotEnforced) => Err(Unconfined("this kernel has no Landlock".into())),
        Ok(_) => Ok(()),
        Err(error) => Err(Unconfined(error.to_string())),
    }
}

pub fn hide() -> Result<(), Unconfined> {
    // What is started from here can be dumped again, so it gets limits that it
    // inherits. A program that core_pattern pipes to gets a core at the limit 0,
    // and none at 1; where a hard limit of 0 forbids that, one without memory.
    let no_core = Rlimit { current: Some(1), maximum: Some(1) };
    if let Err(error) = setrlimit(Resource::Core, no_core) {
        tracing::warn!(%error, "cannot set the limit of core files to 1");
    }
    // In the cage there is no /proc, and the fetcher was here before.
    match std::fs::write("/proc/self/coredump_filter", "0") {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            tracing::warn!(%error, "cannot keep memory out of core files");
        }
        _ => {}
    }
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|error| Unconfined(error.to_string()))
}
