//! Linux: what Landlock does not decide, such as which kinds of sockets there
//! are. What is refused fails with an error, so that it can be named.

use nix::libc::{self, c_long};
use seccompiler::SeccompCmpArgLen::Dword;
use seccompiler::SeccompCmpOp::{Eq, MaskedEq, Ne};
use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter_all_threads, sock_filter,
};
use std::collections::BTreeMap;

/// Who is confined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For {
    /// TCP to the vault, and socketpairs.
    Fetcher,
    /// What name servers and the system's resolvers are asked with.
    Resolver,
    /// Everything but memory that no limit counts.
    Bw,
}

/// Where in a socket's kind no flags are: the kernel's `SOCK_TYPE_MASK`.
const KIND: u64 = 0xf;
/// The first call that is not known here: those since Linux 6.13. Numbers are the
/// same on all architectures since 424. The x32 calls are far above.
const UNKNOWN: u32 = 463;

/// What neither has a use for, whatever its arguments.
const NEVER: &[c_long] = &[
    // Other programs, and a look into other processes or their descriptors.
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    // A socket of its making is reached by nobody.
    libc::SYS_listen,
    // Whatever it asks for, no filter sees it.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    // Another view of the system.
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_fsopen,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    // What other processes of this user could be spoken to by.
    libc::SYS_mq_open,
    libc::SYS_shmget,
    libc::SYS_msgget,
    libc::SYS_semget,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    // Where the kernel's own holes have been.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
];
/// Processes, where these are calls of their own.
#[cfg(target_arch = "x86_64")]
const FORK: &[c_long] = &[libc::SYS_fork, libc::SYS_vfork];
#[cfg(not(target_arch = "x86_64"))]
const FORK: &[c_long] = &[];

/// What makes memory that `RLIMIT_DATA` does not count.
const UNCOUNTED: &[c_long] =
    &[libc::SYS_memfd_create, libc::SYS_memfd_secret, libc::SYS_shmget, libc::SYS_mq_open];

/// Confines all threads of this process, and those to come.
///
/// # Errors
/// When the kernel has no seccomp, or a filter cannot be made here.
pub fn confine(whom: For) -> Result<(), Error> {
    apply_filter_all_threads(&program(whom)?)
}

fn program(whom: For) -> Result<BpfProgram, Error> {
    let rules = if whom == For::Bw { uncounted()? } else { calls(whom)? };
    let arch = std::env::consts::ARCH.try_into()?;
    let refused = SeccompAction::Errno(libc::EACCES.cast_unsigned());
    let filter: BpfProgram = SeccompFilter::new(rules, SeccompAction::Allow, refused, arch)?.try_into()?;
    Ok(unknown().into_iter().chain(filter).collect())
}

/// What is refused, by the call's number; without alternatives always.
type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

fn uncounted() -> Result<Rules, Error> {
    let mut rules: Rules = UNCOUNTED.iter().map(|number| (*number, Vec::new())).collect();
    let shared = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    rules.insert(libc::SYS_mmap, vec![rule(&[(3, flag(shared), shared)])?]);
    Ok(rules)
}

fn calls(whom: For) -> Result<Rules, Error> {
    let mut rules: Rules = NEVER.iter().chain(FORK).map(|number| (*number, Vec::new())).collect();
    rules.insert(libc::SYS_clone, vec![rule(&[(0, flag(libc::CLONE_THREAD), 0)])?]);
    rules.insert(libc::SYS_socket, sockets(whom)?);
    rules.insert(libc::SYS_socketpair, pairs()?);
    // Connects without a connect, which Landlock would decide.
    for (number, argument) in [(libc::SYS_sendto, 3), (libc::SYS_sendmsg, 2), (libc::SYS_sendmmsg, 3)] {
        let fast = (argument, flag(libc::MSG_FASTOPEN), libc::MSG_FASTOPEN);
        rules.insert(number, vec![rule(&[fast])?]);
    }
    // A TCP socket that becomes one of another kind.
    let other = [(1, Eq, libc::SOL_TCP), (2, Eq, libc::TCP_ULP)];
    // One that holds up whoever closes it, such as the daemon that it is sent to.
    let lingering = [(1, Eq, libc::SOL_SOCKET), (2, Eq, libc::SO_LINGER)];
    rules.insert(libc::SYS_setsockopt, vec![rule(&other)?, rule(&lingering)?]);
    if whom == For::Fetcher {
        rules.insert(libc::SYS_bind, Vec::new());
    }
    Ok(rules)
}

/// What is refused, each alternative by itself.
fn sockets(whom: For) -> Result<Vec<SeccompRule>, Error> {
    let (inet, inet6) = (libc::AF_INET, libc::AF_INET6);
    let mut refused = Vec::new();
    let mut others = vec![(0, Ne, inet), (0, Ne, inet6)];
    if whom == For::Resolver {
        // nscd, systemd-resolved, and the system's own addresses.
        others.extend([(0, Ne, libc::AF_UNIX), (0, Ne, libc::AF_NETLINK)]);
        refused.push(rule(&[(0, Eq, libc::AF_NETLINK), (2, Ne, libc::NETLINK_ROUTE)])?);
    }
    refused.push(rule(&others)?);
    for family in [inet, inet6] {
        let mut protocols = vec![(libc::SOCK_STREAM, libc::IPPROTO_TCP)];
        if whom == For::Resolver {
            protocols.push((libc::SOCK_DGRAM, libc::IPPROTO_UDP));
        }
        for kind in 0..=KIND as i32 {
            let of_this_kind = [(0, Eq, family), (1, MaskedEq(KIND), kind)];
            match protocols.iter().find(|(known, _)| *known == kind) {
                // MPTCP, SCTP and others are kinds of streams, too.
                Some((_, protocol)) => {
                    let other = [(2, Ne, libc::IPPROTO_IP), (2, Ne, *protocol)];
                    refused.push(rule(&[of_this_kind, other].concat())?);
                }
                None => refused.push(rule(&of_this_kind)?),
            }
        }
    }
    Ok(refused)
}

/// A pair of datagram sockets can be connected to another one later.
fn pairs() -> Result<Vec<SeccompRule>, Error> {
    let mut refused = vec![rule(&[(0, Ne, libc::AF_UNIX)])?];
    for kind in (0..=KIND as i32).filter(|kind| *kind != libc::SOCK_STREAM) {
        refused.push(rule(&[(1, MaskedEq(KIND), kind)])?);
    }
    Ok(refused)
}

fn flag(flag: i32) -> SeccompCmpOp {
    MaskedEq(flag.cast_unsigned().into())
}

/// All of: the argument, how it is compared, and with what.
fn rule(all: &[(u8, SeccompCmpOp, i32)]) -> Result<SeccompRule, Error> {
    let condition = |(argument, how, value): &(u8, SeccompCmpOp, i32)| {
        SeccompCondition::new(*argument, Dword, how.clone(), value.cast_unsigned().into())
    };
    Ok(SeccompRule::new(all.iter().map(condition).collect::<Result<_, _>>()?)?)
}

const RETURN: u16 = 0x06;
const LOAD: u16 = 0x20;
const IS: u16 = 0x15;
const IS_AT_LEAST: u16 = 0x35;

/// Answers calls that are newer than what is known here, and the x32 calls, as a
/// kernel without them; also clone3, whose flags are in memory: the C library
/// then does without.
fn unknown() -> [sock_filter; 4] {
    let none = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();
    [
        sock_filter { code: LOAD, jt: 0, jf: 0, k: 0 },
        sock_filter { code: IS_AT_LEAST, jt: 1, jf: 0, k: UNKNOWN },
        sock_filter { code: IS, jt: 0, jf: 1, k: libc::SYS_clone3 as u32 },
        sock_filter { code: RETURN, jt: 0, jf: 0, k: none },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_filter_can_be_made() {
        for whom in [For::Fetcher, For::Resolver, For::Bw] {
            let program = program(whom).unwrap();
            assert!(program.len() > 10 && program.len() < 4096, "{}", program.len());
        }
    }
}
