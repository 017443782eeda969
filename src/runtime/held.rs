//! Holds a child process between fork and exec until it is in its systemd scope. So all that the
//! child does is done in the scope.

use std::io::{self, PipeReader, PipeWriter, Read, Write, pipe};
use std::os::fd::{AsRawFd, RawFd};
use std::thread;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::process::Command;

use crate::service_manager::scope::{Scope, Systemd};

/// How long the child waits at most: longer than systemd may take. After that, the child ends.
const PATIENCE: Timespec = Timespec { tv_sec: 20, tv_nsec: 0 };

/// Makes a child wait before its exec until systemd has put it into the scope. If systemd fails, the
/// child goes on without a scope, and the log says why. A release must not bounce because of systemd.
///
/// `Command::spawn` blocks meanwhile.
#[allow(unsafe_code)]
pub(super) fn hold(child: &mut Command, systemd: Systemd, scope: Scope) -> io::Result<()> {
    let (from_child, to_manager) = pipe()?;
    let (from_manager, to_child) = pipe()?;
    let held = Held { to_manager, from_manager, others_end: to_child.as_raw_fd() };
    let release = move || release(from_child, to_child, &systemd, &scope);
    thread::Builder::new().name("scope".to_owned()).spawn(release)?;
    // SAFETY: between fork and exec only system calls are made, on descriptors that the closure owns,
    // and on one that the thread keeps open until this child has written to it.
    unsafe {
        child.pre_exec(move || held.wait());
    }
    Ok(())
}

/// The side of pools-manager. If the fork has failed, there is no child, and the pipe is closed.
fn release(mut from_child: PipeReader, mut to_child: PipeWriter, systemd: &Systemd, scope: &Scope) {
    let mut pid = [0; 4];
    if from_child.read_exact(&mut pid).is_err() {
        return;
    }
    if let Err(error) = systemd.start(scope, i32::from_ne_bytes(pid)) {
        tracing::warn!(
            "pool \"{}\": replica {} has no scope of its own: {error}",
            scope.pool,
            scope.replica
        );
    }
    let _ = to_child.write_all(b"x");
}

/// The child's side.
struct Held {
    to_manager: PipeWriter,
    from_manager: PipeReader,
    /// The descriptor of pools-manager's end of the second pipe. The child has a copy of it.
    others_end: RawFd,
}

impl Held {
    fn wait(&self) -> io::Result<()> {
        // As long as this copy is open, the child does not notice the end of pools-manager.
        let _ = nix::unistd::close(self.others_end);
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        rustix::io::write(&self.to_manager, &pid.to_ne_bytes())?;
        let mut fds = [PollFd::new(&self.from_manager, PollFlags::IN)];
        let mut byte = [0];
        let is_released = poll(&mut fds, Some(&PATIENCE))? > 0
            && rustix::io::read(&self.from_manager, &mut byte)? > 0;
        if is_released { Ok(()) } else { Err(rustix::io::Errno::CANCELED.into()) }
    }
}
