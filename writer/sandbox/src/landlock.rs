//! Linux: Landlock around the target directory, a seccomp allow-list, and no
//! capability but the one to write in a directory of another user's.

use crate::{Error, For};
use caps::{CapSet, Capability};
use colibri_pair::Failure::SandboxUnavailable;
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

/// One thing that the confined writer may do, and for which orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Right(pub Grant, pub For);

/// What is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
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
    file(AccessFs::MakeReg, For::Put),
    file(AccessFs::WriteFile, For::Put),
    // The comparison with the old one.
    file(AccessFs::ReadFile, For::All),
    // The old name, at rename; the temporary, after a failure; the verb remove.
    file(AccessFs::RemoveFile, For::Change),
    // A new directory of files, the link to it, and what came before.
    file(AccessFs::MakeDir, For::PutDir),
    file(AccessFs::MakeSym, For::PutDir),
    file(AccessFs::ReadDir, For::Dir),
    file(AccessFs::RemoveDir, For::RemoveDir),
    // The fetcher's frames and the old file.
    call("read", &[libc::SYS_read], Rule::Any, For::All),
    // The new file, the report and the log.
    call("write", &[libc::SYS_write], Rule::Any, For::All),
    call("openat", &[libc::SYS_openat], Rule::Beneath, For::All),
    call("close", &[libc::SYS_close], Rule::Any, For::All),
    // Rust's debug builds make sure of a descriptor before they close it.
    call("fcntl", &[libc::SYS_fcntl], Rule::GetFd, For::All),
    // Type, links, owner and size of the old file; glibc has three ways to ask.
    call("stat", &[libc::SYS_newfstatat, libc::SYS_fstat, libc::SYS_statx], Rule::Any, For::All),
    // The file's group, where the directory hands on its own.
    call("fchown", &[libc::SYS_fchown], Rule::Any, For::Put),
    // The mode, once all is written.
    call("fchmod", &[libc::SYS_fchmod], Rule::Any, For::Mode),
    call("fsync", &[libc::SYS_fsync], Rule::Any, For::Change),
    call("rename", &[libc::SYS_renameat, libc::SYS_renameat2], Rule::Beneath, For::Put),
    call("unlinkat", &[libc::SYS_unlinkat], Rule::Beneath, For::Change),
    call("mkdirat", &[libc::SYS_mkdirat], Rule::Beneath, For::PutDir),
    // Landlock lets the link be made beneath only; it is never followed.
    call("symlinkat", &[libc::SYS_symlinkat], Rule::Any, For::PutDir),
    // Memory for what is rendered; none of it can be executed.
    call("mmap", &[libc::SYS_mmap], Rule::NoExec, For::All),
    call("memory", &[libc::SYS_brk, libc::SYS_munmap, libc::SYS_mremap], Rule::Any, For::All),
    // The end: Rust's runtime frees its signal stack.
    call("exit", &[libc::SYS_exit_group, libc::SYS_sigaltstack], Rule::Any, For::All),
];

const fn file(access: AccessFs, orders: For) -> Right {
    Right(Grant::File(access), orders)
}

const fn call(name: &'static str, numbers: &'static [i64], rule: Rule, orders: For) -> Right {
    Right(Grant::Call(name, numbers, rule), orders)
}

/// Becomes the file's owner, so that a file is that user's from birth, without
/// a capability but, in a directory of somebody else's, the one to write there.
pub fn step_down(user: Uid, group: Gid, own_dir: bool) -> Result<(), Error> {
    let refused = Error::system(SandboxUnavailable, "cannot give up root");
    let dropped = |_| Error::refused("cannot drop capabilities");
    let needed = if own_dir { None } else { Some(Capability::CAP_DAC_OVERRIDE) };
    caps::clear(None, CapSet::Bounding).map_err(dropped)?;
    set_keepcaps(!own_dir).map_err(&refused)?;
    setresgid(group, group, group).map_err(&refused)?;
    setresuid(user, user, user).map_err(&refused)?;
    for set in [CapSet::Effective, CapSet::Inheritable] {
        caps::clear(None, set).map_err(dropped)?;
    }
    for set in [CapSet::Permitted, CapSet::Effective] {
        caps::set(None, set, &needed.into_iter().collect()).map_err(dropped)?;
    }
    Ok(())
}

/// Confines this process to `dir`.
pub fn enclose(dir: &OwnedFd, keep: &dyn Fn(&Right) -> bool) -> Result<(), Error> {
    restrict_files(dir, keep).map_err(|_| Error::refused("cannot set up Landlock"))?;
    let filter = filter(keep).map_err(|_| Error::refused("cannot build the seccomp filter"))?;
    apply_filter(&filter).map_err(|_| Error::refused("cannot apply the seccomp filter"))
}

/// The first ABI already forbids every file outside `dir`, and is required. What
/// later ones add is taken where it is there; on older kernels the seccomp list
/// forbids the same by leaving out the calls: truncate (ABI 3), sockets (4),
/// ioctl (5), signals and abstract sockets (6).
fn restrict_files(dir: &OwnedFd, keep: &dyn Fn(&Right) -> bool) -> Result<(), Box<dyn std::error::Error>> {
    let mut granted = landlock::BitFlags::empty();
    for Right(grant, _) in RIGHTS.iter().filter(|right| keep(right)) {
        if let Grant::File(access) = grant {
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
    for Right(grant, _) in RIGHTS.iter().filter(|right| keep(right)) {
        if let Grant::Call(_, numbers, rule) = grant {
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
