//! Executes one process of the server.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::unistd::{Gid, Uid, execve, setgid, setgroups, setuid};
use rustix::io::FdFlags;
use rustix::process::{
    Pid, Resource, Rlimit, Signal, getpid, getppid, set_parent_process_death_signal, setrlimit,
};

use super::Shared;
use crate::pool::Listen;
use crate::runtime::command::order::Ids;

/// Starts a process, and returns when the program has been executed. `number`: from 1.
#[allow(unsafe_code)]
pub(super) fn exec(shared: &Shared, number: u32) -> io::Result<Pid> {
    let Shared { order, listener, .. } = shared;
    let server = Server::of(shared, number)?;
    let mut command = Command::new(&order.run[0]);
    command.current_dir(&order.directory).process_group(0);
    command.stdin(match order.listen {
        Listen::Fd0 => Stdio::from(listener.as_fd().try_clone_to_owned()?),
        _ => Stdio::null(),
    });
    // SAFETY: the master has one thread, so its child may allocate memory.
    unsafe {
        command.pre_exec(move || Err(server.become_it()));
    }
    let child = command.spawn()?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    pid.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// What the child needs to become the server.
struct Server {
    program: CString,
    args: Vec<CString>,
    environment: Vec<CString>,
    account: Option<Ids>,
    /// Whether it gets the listening socket as descriptor 3.
    inherits: bool,
    /// The signal that the child gets when the master ends: it gets no connections after that.
    orphaned: Option<Signal>,
    master: Pid,
    files: Rlimit,
}

impl Server {
    fn of(shared: &Shared, number: u32) -> io::Result<Self> {
        let Shared { order, port, .. } = shared;
        let port = *port;
        let text = |text: &str| c_string(OsStr::new(&order.fill(text, number, port)));
        let args = order.run.iter().map(|word| text(word)).collect::<io::Result<Vec<_>>>()?;
        let mut environment = Vec::new();
        for (name, value) in &order.environment {
            let value = order.fill(value, number, port);
            environment.push(c_string(OsStr::new(&format!("{name}={value}")))?);
        }
        let is_third = order.listen == Listen::Fd3;
        if is_third {
            environment.push(c_string(OsStr::new("LISTEN_FDS=1"))?);
        }
        Ok(Self {
            program: args[0].clone(),
            args,
            environment,
            account: order.account.clone(),
            inherits: is_third,
            orphaned: order.listen.is_relayed().then_some(Signal::TERM),
            master: getpid(),
            files: shared.files,
        })
    }

    /// Executes the program. Returns only if that fails.
    fn become_it(&self) -> io::Error {
        match self.try_to() {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    fn try_to(&self) -> io::Result<std::convert::Infallible> {
        setrlimit(Resource::Nofile, self.files)?;
        if let Some(Ids { uid, gid, groups }) = &self.account {
            let groups: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
            setgroups(&groups)?;
            setgid(Gid::from_raw(*gid))?;
            setuid(Uid::from_raw(*uid))?;
        }
        if let Some(signal) = self.orphaned {
            // Set after the change of the account, because that change resets it.
            set_parent_process_death_signal(Some(signal))?;
            if getppid() != Some(self.master) {
                return Err(io::Error::other("the master has ended"));
            }
        }
        let mut environment = self.environment.clone();
        if self.inherits {
            let pid = getpid().as_raw_nonzero();
            environment.push(c_string(OsStr::new(&format!("LISTEN_PID={pid}")))?);
            inherit_listener()?;
        }
        Ok(execve(&self.program, &self.args, &environment)?)
    }
}

/// Leaves descriptor 3 open in the program.
#[allow(unsafe_code)]
fn inherit_listener() -> io::Result<()> {
    // SAFETY: the master keeps its listening socket under this number as long as it runs.
    let listener = unsafe { std::os::fd::BorrowedFd::borrow_raw(super::daemon::LISTENER) };
    Ok(rustix::io::fcntl_setfd(listener, FdFlags::empty())?)
}

fn c_string(text: &OsStr) -> io::Result<CString> {
    CString::new(text.as_bytes()).map_err(|_| io::ErrorKind::InvalidInput.into())
}
