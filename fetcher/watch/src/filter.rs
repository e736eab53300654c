//! Which system calls are heard of. All others pass.

use crate::call::{self, KIND};
use crate::policy::{FAMILIES, RAW};
use nix::libc::{self, c_long, sock_filter};
use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};
use std::collections::BTreeMap;

/// A mark that is replaced: seccompiler knows no notices.
const MARK: u32 = 0x7ff0_0000;
/// The first call that is not known here: those since Linux 6.13. Numbers are the
/// same on all architectures since 424. The x32 calls are far above.
const UNKNOWN: u32 = 463;
/// What clone makes a namespace by.
const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// The filter's instructions.
///
/// # Errors
/// seccompiler's.
pub fn program() -> Result<Vec<sock_filter>, Error> {
    let rules = call::watched().map(|watched| Ok((watched.number, rules(watched.number)?)));
    let rules = rules.collect::<Result<BTreeMap<_, _>, Error>>()?;
    let arch = std::env::consts::ARCH.try_into()?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Trace(0), arch)?;
    let program: BpfProgram = filter.try_into()?;
    let rest = program.into_iter().map(|it| {
        let k = if it.code == RETURN && it.k == MARK { libc::SECCOMP_RET_USER_NOTIF } else { it.k };
        sock_filter { code: it.code, jt: it.jt, jf: it.jf, k }
    });
    Ok(no_others().into_iter().chain(rest).collect())
}

/// Without conditions a call is always heard of.
fn rules(number: c_long) -> Result<Vec<SeccompRule>, Error> {
    let is_not = |argument, value: i32| {
        let value = u64::from(value.cast_unsigned());
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, value)
    };
    let has = |argument, mask: i32, value: i32| {
        let mask = SeccompCmpOp::MaskedEq(u64::from(mask.cast_unsigned()));
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, mask, u64::from(value.cast_unsigned()))
    };
    let alternatives = match number {
        libc::SYS_socket => {
            let other =
                FAMILIES.into_iter().map(|family| is_not(0, family)).collect::<Result<Vec<_>, _>>()?;
            let mut alternatives = vec![other];
            for raw in RAW {
                alternatives.push(vec![has(1, KIND, raw)?]);
            }
            alternatives
        }
        // Threads are let be made; a process of its own would escape what is
        // bounded for each process, such as memory.
        libc::SYS_clone => std::iter::once((libc::CLONE_THREAD, 0))
            .chain(NAMESPACES.map(|flag| (flag, flag)))
            .map(|(mask, value)| Ok(vec![has(0, mask, value)?]))
            .collect::<Result<_, Error>>()?,
        // Without an address it goes where the socket is connected to.
        libc::SYS_sendto => {
            vec![vec![SeccompCondition::new(4, SeccompCmpArgLen::Qword, SeccompCmpOp::Ne, 0)?]]
        }
        _ => return Ok(Vec::new()),
    };
    alternatives.into_iter().map(|all| Ok(SeccompRule::new(all)?)).collect()
}

const RETURN: u16 = 0x06;
const LOAD: u16 = 0x20;
const IS: u16 = 0x15;
const IS_AT_LEAST: u16 = 0x35;

/// Answers calls that are newer than what is known here, and the x32 calls, as a
/// kernel without them; also clone3, whose flags are in memory, and rings of
/// requests: the C library and Node, which try both, then do without.
fn no_others() -> [sock_filter; 5] {
    let enosys = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();
    let (clone3, ring) = (libc::SYS_clone3 as u32, libc::SYS_io_uring_setup as u32);
    [
        sock_filter { code: LOAD, jt: 0, jf: 0, k: 0 },
        sock_filter { code: IS_AT_LEAST, jt: 2, jf: 0, k: UNKNOWN },
        sock_filter { code: IS, jt: 1, jf: 0, k: clone3 },
        sock_filter { code: IS, jt: 0, jf: 1, k: ring },
        sock_filter { code: RETURN, jt: 0, jf: 0, k: enosys },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_watched_call_ends_in_a_notice_and_none_is_traced() {
        let program = program().unwrap();
        let ends = |k| program.iter().filter(|it| it.code == RETURN && it.k == k).count();
        assert!(ends(libc::SECCOMP_RET_USER_NOTIF) >= call::watched().count());
        assert_eq!(ends(MARK), 0);
    }
}
