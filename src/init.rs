//! pid 1 of a container.
//!
//! The kernel makes pid 1 the parent of each process whose own parent has ended. Each php-fpm master is
//! such a process: the process that launches it exits. Pid 1 has to wait for its children, or they stay as
//! zombies. `serve` cannot simply wait for all its children: other parts of `serve` would lose the exit
//! statuses that they wait for. So `serve` runs as a child of pid 1. Pid 1 does nothing but this: it waits
//! for all processes, passes signals on to `serve`, and ends with the exit status of `serve`.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use nix::sys::signal::{SigSet, Signal};
use rustix::process::{Pid, WaitOptions, WaitStatus, kill_process, wait};

/// The signals that are passed on: those that mean something to `serve`, and those that it logs.
const PASSED_ON: [Signal; 6] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

/// Whether this process is pid 1.
pub fn is_init() -> bool {
    std::process::id() == 1
}

/// Whether the parent of this process is [`run`].
pub fn is_parent() -> bool {
    let program = |pid: &str| {
        let found = fs::metadata(format!("/proc/{pid}/exe")).ok()?;
        Some((found.dev(), found.ino()))
    };
    std::os::unix::process::parent_id() == 1
        && program("1").is_some_and(|first| program("self") == Some(first))
}

/// Unblocks all signals in the calling thread. The child inherits the blocked signals of pid 1, and php-fpm
/// would inherit them from the child.
pub fn unblock_signals() -> io::Result<()> {
    Ok(SigSet::all().thread_unblock()?)
}

/// Runs the same command in a child, and returns the exit status of the child: 128 plus the number of the
/// signal, if a signal has ended the child. Error: the child cannot be started.
///
/// Only for a process with one thread: the signals are blocked in the calling thread.
pub fn run() -> io::Result<ExitCode> {
    let mut signals: SigSet = PASSED_ON.into_iter().collect();
    signals.add(Signal::SIGCHLD);
    signals.thread_block()?;
    let mut args = env::args_os();
    let mut command = Command::new("/proc/self/exe");
    command.arg0(args.next().unwrap_or_default()).args(args);
    // In the same group, `serve` would get a Ctrl-C of the terminal twice: from the terminal and from pid 1.
    // The second INT makes it stop at once.
    command.process_group(0);
    let child = Pid::from_child(&command.spawn()?);
    loop {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if pid == child {
                return Ok(exit_code(status));
            }
        }
        match signals.wait() {
            Ok(Signal::SIGCHLD) | Err(_) => {}
            Ok(signal) => {
                // The child is not reaped yet, so no other process can have its pid.
                let signal = rustix::process::Signal::from_named_raw(signal as i32);
                let _ = signal.map(|signal| kill_process(child, signal));
            }
        }
    }
}

fn exit_code(status: WaitStatus) -> ExitCode {
    let code = status.exit_status().or(status.terminating_signal().map(|signal| 128 + signal));
    ExitCode::from(u8::try_from(code.unwrap_or(1)).unwrap_or(1))
}
