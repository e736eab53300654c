//! Linux: a container is entered without any program that gains rights, and without
//! a way to the kernel's keys.

use nix::libc::{EPERM, SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO};
use rustix::process::{getpriority_process, setpriority_process};
use seccompiler::{Error, apply_filter, sock_filter};
use std::fs::{read_to_string, write};

/// What the kernel calls a kind of processor, and the first of its three calls for keys:
/// `add_key`, `request_key`, `keyctl`.
const CALLS: [(u32, u32); 5] = [
    // x86_64, i386, aarch64, arm, riscv64.
    (0xc000_003e, 248),
    (0x4000_0003, 286),
    (0xc000_00b7, 217),
    (0x4000_0028, 309),
    (0xc000_00f3, 217),
];
/// In the number of a call of x32, beside that of x86_64.
const X32: u32 = 0x4000_0000;
/// Where the kernel puts a call's number, and its kind of processor.
const NUMBER: u32 = 0;
const KIND: u32 = 4;

const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const IS: u16 = 0x15;
const IS_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

/// Whom the kernel kills when the host has no memory left: below 0 others first.
const KILLED_LAST: &str = "/proc/self/oom_score_adj";

/// What the operator has given colibrid before others, whoever starts a program hands
/// on: an agent that takes all memory would be killed last.
pub fn no_preference() -> std::io::Result<()> {
    if read_to_string(KILLED_LAST)?.trim_start().starts_with('-') {
        write(KILLED_LAST, "0")?;
    }
    if getpriority_process(None)? < 0 {
        setpriority_process(None, 0)?;
    }
    Ok(())
}

/// For this process and all that come of it.
pub fn no_new_privileges() -> nix::Result<()> {
    nix::sys::prctl::set_no_new_privs()
}

/// Keys have no namespace: whoever starts a program hands on its session's, and all
/// agents would have one keyring between them.
pub fn no_keys() -> Result<(), Error> {
    apply_filter(&refusing_keys())
}

fn refusing_keys() -> Vec<sock_filter> {
    let line = |code, k, jt, jf| sock_filter { code, jt, jf, k };
    let mut lines = Vec::new();
    for (kind, first) in CALLS {
        lines.extend([
            line(LOAD, KIND, 0, 0),
            line(IS, kind, 0, 5),
            line(LOAD, NUMBER, 0, 0),
            line(AND, !X32, 0, 0),
            line(IS_AT_LEAST, first, 0, 2),
            line(IS_AT_LEAST, first + 3, 1, 0),
            line(RETURN, SECCOMP_RET_ERRNO | EPERM.cast_unsigned(), 0, 0),
        ]);
    }
    lines.push(line(RETURN, SECCOMP_RET_ALLOW, 0, 0));
    lines
}
