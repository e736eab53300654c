//! Linux: Landlock around the target directory, a seccomp allow-list, and no
//! capability but the one that gives a file away.

use crate::Error;
use caps::{CapSet, Capability, CapsHashSet};
use colibri_ipc::Failure::SandboxUnavailable;
use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope,
};
use nix::libc;
use nix::sys::prctl::set_keepcaps;
use nix::unistd::{Gid, Uid, setresgid, setresuid};
use seccompiler::SeccompCmpArgLen::Dword;
use seccompiler::SeccompCmpOp::{Eq, MaskedEq, Ne};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCondition, SeccompFilter, SeccompRule, TargetArch, apply_filter,
};
use std::os::fd::OwnedFd;

/// One thing that the confined writer may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// In the target directory.
    File(AccessFs),
    /// Any of these system calls, if its arguments are as the rule says.
    Call(&'static str, &'static [i64], Rule),
}

/// What a system call's arguments must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Anything.
    Any,
    /// The first is a descriptor, not "the working directory".
    Beneath,
    /// The second is F_GETFD.
    GetFd,
    /// The third has no PROT_EXEC.
    NoExec,
}

/// Everything that the confined writer may do, and why.
pub const RIGHTS: &[Right] = &[
    // The new file.
    Right::File(AccessFs::MakeReg),
    Right::File(AccessFs::WriteFile),
    // The comparison with the old one.
    Right::File(AccessFs::ReadFile),
    // The old name, at rename; the temporary, after a failure; the verb remove.
    Right::File(AccessFs::RemoveFile),
    // The fetcher's frames and the old file.
    Right::Call("read", &[libc::SYS_read], Rule::Any),
    // The new file, the report and the log.
    Right::Call("write", &[libc::SYS_write], Rule::Any),
    Right::Call("openat", &[libc::SYS_openat], Rule::Beneath),
    Right::Call("close", &[libc::SYS_close], Rule::Any),
    // Rust's debug builds make sure of a descriptor before they close it.
    Right::Call("fcntl", &[libc::SYS_fcntl], Rule::GetFd),
    // Type, links, owner and size of the old file; glibc has three ways to ask.
    Right::Call("stat", &[libc::SYS_newfstatat, libc::SYS_fstat, libc::SYS_statx], Rule::Any),
    // Who gets the file, when it is not the one that this process became.
    Right::Call("fchown", &[libc::SYS_fchown], Rule::Any),
    Right::Call("fsync", &[libc::SYS_fsync], Rule::Any),
    Right::Call("rename", &[libc::SYS_renameat, libc::SYS_renameat2], Rule::Beneath),
    Right::Call("unlinkat", &[libc::SYS_unlinkat], Rule::Beneath),
    // Memory for what is rendered; none of it can be executed.
    Right::Call("mmap", &[libc::SYS_mmap], Rule::NoExec),
    Right::Call("memory", &[libc::SYS_brk, libc::SYS_munmap, libc::SYS_mremap], Rule::Any),
    // The end: Rust's runtime frees its signal stack.
    Right::Call("exit", &[libc::SYS_exit_group, libc::SYS_sigaltstack], Rule::Any),
];

/// The user to become: the directory's owner needs no capability to write there.
pub fn user_for(owner: Uid, _same: bool) -> u32 {
    owner.as_raw()
}

/// Becomes that user, with no capability but, where the file goes to another
/// user, to give it away and to compare it.
pub fn set_ids(uid: Uid, gid: Gid, same: bool) -> Result<(), Error> {
    let refused = Error::system(SandboxUnavailable, "cannot change the user");
    let mut needed = CapsHashSet::new();
    if !same {
        needed.extend([Capability::CAP_CHOWN, Capability::CAP_DAC_READ_SEARCH]);
    }
    let dropped = |_| Error::new(SandboxUnavailable, "cannot drop capabilities");
    caps::clear(None, CapSet::Bounding).map_err(dropped)?;
    set_keepcaps(!same).map_err(&refused)?;
    setresgid(gid, gid, gid).map_err(&refused)?;
    setresuid(uid, uid, uid).map_err(&refused)?;
    for set in [CapSet::Effective, CapSet::Inheritable] {
        caps::clear(None, set).map_err(dropped)?;
    }
    for set in [CapSet::Permitted, CapSet::Effective] {
        caps::set(None, set, &needed).map_err(dropped)?;
    }
    Ok(())
}

/// Confines this process to `dir`.
pub fn enclose(dir: &OwnedFd, keep: &dyn Fn(&Right) -> bool) -> Result<(), Error> {
    restrict_files(dir, keep).map_err(|_| Error::new(SandboxUnavailable, "cannot set up Landlock"))?;
    let filter =
        filter(keep).map_err(|_| Error::new(SandboxUnavailable, "cannot build the seccomp filter"))?;
    apply_filter(&filter).map_err(|_| Error::new(SandboxUnavailable, "cannot apply the seccomp filter"))
}

/// The first ABI already forbids every file outside `dir`, and is required. What
/// later ones add is taken where it is there; on older kernels the seccomp list
/// forbids the same by leaving out the calls: truncate (ABI 3), sockets (4),
/// ioctl (5), signals and abstract sockets (6).
fn restrict_files(dir: &OwnedFd, keep: &dyn Fn(&Right) -> bool) -> Result<(), Box<dyn std::error::Error>> {
    let mut granted = landlock::BitFlags::empty();
    for right in RIGHTS.iter().filter(|right| keep(right)) {
        if let Right::File(access) = right {
            granted |= *access;
        }
    }
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V1))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI::V9))?
        .handle_access(AccessNet::from_all(ABI::V9))?
        .scope(Scope::from_all(ABI::V9))?
        .create()?
        .add_rule(PathBeneath::new(dir, granted))?
        .restrict_self()?;
    match status.ruleset {
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced if status.no_new_privs => Ok(()),
        _ => Err("not enforced".into()),
    }
}

fn filter(keep: &dyn Fn(&Right) -> bool) -> Result<BpfProgram, seccompiler::Error> {
    let mut calls = std::collections::BTreeMap::new();
    for right in RIGHTS.iter().filter(|right| keep(right)) {
        if let Right::Call(_, numbers, rule) = right {
            for number in *numbers {
                calls.insert(*number, rules(*rule)?);
            }
        }
    }
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    Ok(SeccompFilter::new(calls, SeccompAction::KillProcess, SeccompAction::Allow, arch)?.try_into()?)
}

/// The conditions of a rule; none means any arguments.
fn rules(rule: Rule) -> Result<Vec<SeccompRule>, seccompiler::Error> {
    let condition = match rule {
        Rule::Any => return Ok(Vec::new()),
        Rule::Beneath => SeccompCondition::new(0, Dword, Ne, u64::from(libc::AT_FDCWD.cast_unsigned()))?,
        Rule::GetFd => SeccompCondition::new(1, Dword, Eq, u64::from(libc::F_GETFD.cast_unsigned()))?,
        Rule::NoExec => {
            let exec = u64::from(libc::PROT_EXEC.cast_unsigned());
            SeccompCondition::new(2, Dword, MaskedEq(exec), 0)?
        }
    };
    Ok(vec![SeccompRule::new(vec![condition])?])
}
