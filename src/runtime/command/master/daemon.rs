//! Turns the launched process into a master: the process forks, the child goes on as the master, and
//! the parent exits when the master is up, or with the master's error.

use std::fs::File;
use std::io::{self, PipeWriter, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::unistd::{ForkResult, fork};
use rustix::io::FdFlags;
use rustix::process::{getpid, set_child_subreaper, setsid};

use super::{Master, listener};
use crate::file;
use crate::runtime::command::order::Order;

/// The number of the listening socket: `SD_LISTEN_FDS_START` of `sd-daemon(3)`.
pub(super) const LISTENER: RawFd = 3;
/// What the master writes when it is up.
const UP: &str = "up";

/// Starts a master in the background. An error is a sentence for the operator.
pub(super) fn start(record: Option<&str>) -> Result<(), String> {
    let record = record.and_then(|path| path.strip_prefix("/proc/self/fd/")?.parse::<RawFd>().ok());
    let Some(record) = record.filter(|fd| *fd > LISTENER) else {
        return Err("pools-manager itself starts this command".to_owned());
    };
    let failed = |what: &str, error: &dyn std::fmt::Display| format!("cannot {what}: {error}");
    close_others(record).map_err(|error| failed("close inherited files", &error))?;
    let order: Order = serde_json::from_reader(io::stdin().lock())
        .map_err(|error| failed("read what to start", &error))?;
    // Takes number 3 before any other file does.
    let third = File::open("/dev/null").map_err(|error| failed("open /dev/null", &error))?;
    let (mut reader, writer) = io::pipe().map_err(|error| failed("make a pipe", &error))?;
    // SAFETY: the process has one thread, so the child's memory is consistent.
    #[allow(unsafe_code)]
    let forked = unsafe { fork() };
    match forked.map_err(|error| failed("fork", &error))? {
        ForkResult::Child => {
            drop(reader);
            std::process::exit(serve(order, third.into(), writer));
        }
        ForkResult::Parent { .. } => {
            drop(writer);
            let mut said = String::new();
            let read = reader.read_to_string(&mut said);
            match read {
                Ok(_) if said == UP => Ok(()),
                Ok(_) if said.is_empty() => Err("its master has died at its start".to_owned()),
                Ok(_) => Err(said),
                Err(error) => Err(failed("read from the master", &error)),
            }
        }
    }
}

/// Closes what the command that starts the master has left open, such as a lock or a pipe of another
/// program. The record stays open.
#[allow(unsafe_code)]
fn close_others(record: RawFd) -> io::Result<()> {
    let names = std::fs::read_dir("/proc/self/fd")?.flatten();
    let open = names.filter_map(|name| name.file_name().to_str()?.parse::<RawFd>().ok());
    let mut open: Vec<RawFd> = open.filter(|fd| *fd > 2 && *fd != record).collect();
    // Not the directory that was read: it is closed by now.
    open.retain(|fd| std::fs::read_link(format!("/proc/self/fd/{fd}")).is_ok());
    for fd in open {
        // SAFETY: no object of this process owns a file yet.
        unsafe { rustix::io::close(fd) };
    }
    // SAFETY: the record is open, and nothing closes it. It is not for the server's processes.
    let record = unsafe { BorrowedFd::borrow_raw(record) };
    Ok(rustix::io::fcntl_setfd(record, FdFlags::CLOEXEC)?)
}

/// The master's life. Returns its exit status.
fn serve(order: Order, third: OwnedFd, mut report: PipeWriter) -> i32 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let started = runtime.map_err(|error| format!("no event loop: {error}")).and_then(|runtime| {
        let entered = runtime.enter();
        let master = begin(order, third)?;
        drop(entered);
        Ok((runtime, master))
    });
    match started {
        Err(message) => {
            let _ = report.write_all(message.as_bytes());
            1
        }
        Ok((runtime, master)) => {
            let _ = report.write_all(UP.as_bytes());
            drop(report);
            runtime.block_on(master.run())
        }
    }
}

fn begin(order: Order, mut third: OwnedFd) -> Result<Master, String> {
    let failed = |what: &str, error: &dyn std::fmt::Display| format!("cannot {what}: {error}");
    setsid().map_err(|error| failed("leave the session", &error))?;
    // If a process ends, its children become the master's, so that none outlives the generation.
    set_child_subreaper(Some(getpid())).map_err(|error| failed("adopt processes", &error))?;
    listener::bind(&order, &mut third)?;
    if third.as_raw_fd() != LISTENER {
        return Err("the listening socket has the wrong number".to_owned());
    }
    listener::make_sockets_dir(&order)?;
    redirect(&order.log)
        .map_err(|error| failed(&format!("write to {}", order.log.display()), &error))?;
    file::write_new(&order.pid_file, &format!("{}\n", getpid().as_raw_nonzero()))
        .map_err(|error| failed(&format!("write {}", order.pid_file.display()), &error))?;
    Master::start(order, third)
}

/// Standard input becomes `/dev/null`, standard output and error the log.
fn redirect(log: &Path) -> io::Result<()> {
    let null = File::open("/dev/null")?;
    let log = file::options().append(true).create(true).mode(0o640).open(log)?;
    // A FIFO or a device there would block the server, or has no end.
    if !log.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&log)?;
    rustix::stdio::dup2_stderr(&log)?;
    Ok(())
}
