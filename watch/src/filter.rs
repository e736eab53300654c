//! Which system calls are heard of. All others pass.

use crate::call::{self, KIND};
use crate::policy::FAMILIES;
use nix::libc::{self, c_long, sock_filter};
use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};
use std::collections::BTreeMap;

/// A mark that is replaced: seccompiler knows no notices.
const MARK: u32 = 0x7ff0_0000;
/// Number by which the x32 calls begin, which seccompiler does not tell apart.
const X32: u32 = 0x4000_0000;

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
    Ok(no_x32().into_iter().chain(rest).collect())
}

/// Without conditions a call is always heard of.
fn rules(number: c_long) -> Result<Vec<SeccompRule>, Error> {
    let is_not = |argument, value: i32| {
        let value = u64::from(value.cast_unsigned());
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, value)
    };
    let alternatives = match number {
        libc::SYS_socket => {
            let other =
                FAMILIES.into_iter().map(|family| is_not(0, family)).collect::<Result<Vec<_>, _>>()?;
            let kind = SeccompCmpOp::MaskedEq(u64::from(KIND.cast_unsigned()));
            let raw = u64::from(libc::SOCK_RAW.cast_unsigned());
            vec![other, vec![SeccompCondition::new(1, SeccompCmpArgLen::Dword, kind, raw)?]]
        }
        // Without an address it goes where the socket is connected to.
        libc::SYS_sendto => {
            vec![vec![SeccompCondition::new(4, SeccompCmpArgLen::Qword, SeccompCmpOp::Ne, 0)?]]
        }
        _ => return Ok(Vec::new()),
    };
    alternatives.into_iter().map(|all| Ok(SeccompRule::new(all)?)).collect()
}

const RETURN: u16 = 0x06;

/// Answers x32 calls as a kernel without them: load the number, compare, return.
fn no_x32() -> [sock_filter; 3] {
    let enosys = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();
    [
        sock_filter { code: 0x20, jt: 0, jf: 0, k: 0 },
        sock_filter { code: 0x35, jt: 0, jf: 1, k: X32 },
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
