//! A tracer for a confined process: the call is made, so that seccomp judges it
//! as it is, but with a descriptor that is none, and its result is replaced.

use anyhow::{Context, Result, bail, ensure};
use colibri_proofs::{Outcome, reports, start};
use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

fn number(name: &str) -> Result<u64> {
    let numbers = [("read", 0), ("write", 1), ("close", 3), ("fsync", 74), ("fchown", 93), ("openat", 257)];
    let more = [
        ("newfstatat", 262),
        ("fstat", 5),
        ("mkdirat", 258),
        ("unlinkat", 263),
        ("renameat", 264),
        ("symlinkat", 266),
    ];
    let found = numbers.iter().chain(&more).find(|(known, _)| *known == name);
    Ok(found.with_context(|| format!("{name} has no number"))?.1)
}

fn errno(name: &str) -> Result<Errno> {
    let known = [Errno::EIO, Errno::ENOSPC, Errno::EINTR, Errno::EDQUOT];
    known.into_iter().find(|errno| format!("{errno:?}") == name).context("an unknown error")
}

/// Runs the writer, with `error` as the result of the `nth` call of that name.
pub fn run(writer: &Command, frames: &[u8], name: &str, nth: usize, error: &str) -> Result<Outcome> {
    // The shell waits, in the writer's place, until it is traced.
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "read -r _ && exec \"$0\" \"$@\""]).arg(writer.get_program()).args(writer.get_args());
    let (mut child, mut socket) = start(shell)?;
    let pid = Pid::from_raw(child.id().cast_signed());
    let options = Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_EXITKILL | Options::PTRACE_O_TRACEEXEC;
    ptrace::seize(pid, options)?;
    ptrace::interrupt(pid)?;
    waitpid(pid, None)?;
    socket.write_all(b"\n")?;
    let _ = socket.write_all(frames);
    // The end of the frames is the end of the stream, as with any fetcher.
    drop(socket);
    let status = trace(pid, number(name)?, nth, errno(error)?)?;
    let (mut report, mut log) = (Vec::new(), String::new());
    child.stdout.take().context("no report")?.read_to_end(&mut report)?;
    child.stderr.take().context("no log")?.read_to_string(&mut log)?;
    Ok(Outcome { status, reports: reports(&mut report.as_slice()), log })
}

fn trace(pid: Pid, call: u64, nth: usize, error: Errno) -> Result<ExitStatus> {
    let (mut writer, mut entering, mut seen, mut spoilt) = (false, true, 0, false);
    loop {
        ptrace::syscall(pid, None)?;
        match waitpid(pid, None)? {
            WaitStatus::PtraceSyscall(_) => {
                let mut registers = ptrace::getregs(pid)?;
                if entering && writer && registers.orig_rax == call {
                    seen += 1;
                    spoilt = seen == nth;
                    if spoilt {
                        // symlinkat's descriptor is its second argument.
                        let symlinkat = call == number("symlinkat")?;
                        let descriptor = if symlinkat { &mut registers.rsi } else { &mut registers.rdi };
                        *descriptor = u64::from(u32::MAX);
                        ptrace::setregs(pid, registers)?;
                    }
                } else if !entering && spoilt {
                    ensure!(
                        registers.rax.cast_signed() == -(Errno::EBADF as i64),
                        "the call was not spoilt: {}",
                        registers.rax.cast_signed()
                    );
                    registers.rax = (-(error as i64)).cast_unsigned();
                    ptrace::setregs(pid, registers)?;
                    spoilt = false;
                }
                entering = !entering;
            }
            // Between the two stops of execve.
            WaitStatus::PtraceEvent(_, _, event) if event == nix::libc::PTRACE_EVENT_EXEC => {
                (writer, entering) = (true, false);
            }
            WaitStatus::PtraceEvent(..) => {}
            WaitStatus::Exited(_, code) => {
                ensure!(seen >= nth, "the call did not come");
                return Ok(ExitStatus::from_raw(code << 8));
            }
            WaitStatus::Signaled(_, signal, _) => return Ok(ExitStatus::from_raw(signal as i32)),
            other => bail!("stopped: {other:?}"),
        }
    }
}
