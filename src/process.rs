//! Processes that pools-manager signals: each is kept by a pidfd, and identified by the listening
//! socket that it holds.
//!
//! A pid file can be stale or wrong. So a pid counts only if `/proc/PID/fd` shows that the process
//! holds the socket that the kernel lists for the generation's path. The pidfd is opened before
//! that directory is read, and checked afterwards. So the pid cannot belong to another process in
//! between.

mod of_command;
mod reads;
mod usage;

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

pub use of_command::{MASTER, RECORD, SOCKET_VARIABLE, belonging_to};
pub use reads::Read;
pub use rustix::process::Signal;

use crate::file;

/// A process, kept by a pidfd: it never becomes another process with the same pid.
#[derive(Debug)]
pub struct Process {
    pid: i32,
    fd: OwnedFd,
}

impl Process {
    /// Opens the process that has this pid now.
    pub fn open(pid: i32) -> io::Result<Self> {
        let number = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self { pid, fd: pidfd_open(number, PidfdFlags::empty())? })
    }

    /// Returns another pidfd of the same process.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { pid: self.pid, fd: self.fd.try_clone()? })
    }

    /// Its pid.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Sends it a signal. No error if it has ended already.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match pidfd_send_signal(&self.fd, signal) {
            Err(rustix::io::Errno::SRCH) | Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether it has not ended. A zombie has ended here, although kill(pid, 0) still finds it.
    pub fn is_alive(&self) -> bool {
        let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
        !matches!(poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(1..))
    }

    /// Waits until it has ended; false after `timeout`.
    pub async fn wait(&self, timeout: Duration) -> io::Result<bool> {
        let fd = register(self.fd.try_clone()?)?;
        match tokio::time::timeout(timeout, fd.readable()).await {
            Ok(ready) => ready.map(|_| true),
            Err(_) => Ok(false),
        }
    }

    /// Whether a signal has halted it: it does nothing until SIGCONT.
    pub fn is_stopped(&self) -> io::Result<bool> {
        Ok(stat_field(self.pid, 0)?.is_some_and(|state| state == "T"))
    }

    /// Whether it runs as this user. Any process can set its own title, so the title alone proves
    /// nothing.
    fn is_ours(&self) -> bool {
        let owner = fs::metadata(format!("/proc/{}", self.pid)).map(|owned| owned.uid());
        owner.is_ok_and(|owner| owner == rustix::process::geteuid().as_raw())
    }

    /// Whether its title is that of a php-fpm master: "php-fpm: master process (FILE)".
    pub fn is_php_fpm_master(&self) -> io::Result<bool> {
        Ok(self.title()?.starts_with(b"php-fpm: master process"))
    }

    /// Whether its title is that of a master of any kind.
    pub fn is_master(&self) -> io::Result<bool> {
        Ok(self.is_php_fpm_master()? || self.is_command_master()?)
    }

    /// The path of the file that a master was started with. The file may have been removed since.
    pub fn configuration(&self) -> io::Result<Option<PathBuf>> {
        let Some(file) = self.configuration_file()? else { return Ok(None) };
        let Ok(opened) = fs::read_link(&file) else { return Ok(Some(file)) };
        let opened = opened.into_os_string().into_vec();
        let path = opened.strip_suffix(b" (deleted)").unwrap_or(&opened);
        Ok(Some(PathBuf::from(OsStr::from_bytes(path))))
    }

    /// A path that opens the same file: the path in the process's command line or title, or that of
    /// its inherited descriptor. The descriptor opens the file even after its removal.
    pub fn configuration_file(&self) -> io::Result<Option<PathBuf>> {
        let title = self.title()?;
        let Some(named) = configuration_in(&title) else { return Ok(None) };
        let named = Path::new(OsStr::from_bytes(named));
        Ok(Some(match named.strip_prefix("/proc/self/fd") {
            Ok(fd) => Path::new("/proc").join(self.pid.to_string()).join("fd").join(fd),
            Err(_) => named.to_owned(),
        }))
    }

    /// Its title; empty if it is exiting or has ended.
    fn title(&self) -> io::Result<Vec<u8>> {
        Ok(unless_gone(fs::read(format!("/proc/{}/cmdline", self.pid)))?.unwrap_or_default())
    }

    /// Whether it holds one of the sockets with these inodes.
    pub fn holds(&self, sockets: &[u64]) -> io::Result<bool> {
        Ok(holds(self.pid, sockets)? && self.is_alive())
    }
}

#[allow(unsafe_code)]
fn register(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd keeps its file open, and is the same one throughout.
    Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?)
}

/// The pid in a pid file; None: no file, or no pid in it.
pub fn read_pid_file(path: &Path) -> Option<i32> {
    file::read(path).ok()?.trim().parse().ok().filter(|&pid| pid > 0)
}

/// The processes that hold a listening socket.
#[derive(Debug, Default)]
pub struct Holders {
    /// The master; None: it has died and left its children.
    pub master: Option<Process>,
    /// The others: its children.
    pub children: Vec<Process>,
}

impl Holders {
    /// Whether no holder was found. A process that this user may not inspect is not found.
    pub fn is_empty(&self) -> bool {
        self.master.is_none() && self.children.is_empty()
    }

    /// Whether all holders run another program. An exiting process has no title, and does not
    /// count. `socket`: the private socket of the generation.
    pub fn are_foreign(&self, socket: &Path) -> io::Result<bool> {
        let mut any = false;
        for process in self.master.iter().chain(&self.children) {
            let title = process.title()?;
            if title.is_empty() {
                continue;
            }
            let is_ours = title.starts_with(b"php-fpm: ")
                || process.is_command_master()?
                || process.belongs_to(socket)?;
            if is_ours {
                return Ok(false);
            }
            any = true;
        }
        Ok(any)
    }
}

/// The holders of the sockets with these inodes. Scans all processes. To be called if a pid file is
/// missing or wrong, or to stop all holders.
pub fn holders(sockets: &[u64]) -> io::Result<Holders> {
    let mut all = Vec::new();
    for pid in all_pids()? {
        // None: it has ended meanwhile.
        if holds(pid, sockets)?
            && let Some(process) = unless_gone(Process::open(pid))?
            && process.holds(sockets)?
        {
            all.push(process);
        }
    }
    let pids: HashSet<i32> = all.iter().map(Process::pid).collect();
    let mut found = Holders::default();
    for process in all {
        // The parent of a child is a holder too. The parent of the master is init or a supervisor.
        let from_a_holder = parent(process.pid)?.is_some_and(|parent| pids.contains(&parent));
        // A child that was just forked still has the master's title.
        if found.master.is_none() && !from_a_holder && process.is_master()? {
            found.master = Some(process);
        } else {
            found.children.push(process);
        }
    }
    Ok(found)
}

/// The children of a process, each with a pidfd.
pub fn children(of: &Process) -> io::Result<Vec<Process>> {
    let mut children = Vec::new();
    for pid in all_pids()? {
        if parent(pid)? == Some(of.pid) {
            children.extend(unless_gone(Process::open(pid))?);
        }
    }
    Ok(children)
}

/// The path in the title of a master, or in the arguments of a process that is about to become one.
fn configuration_in(title: &[u8]) -> Option<&[u8]> {
    let mut words = title.split(|byte| *byte == 0);
    if let Some(rest) = words.clone().next()?.strip_prefix(b"php-fpm: master process (") {
        return rest.strip_suffix(b")");
    }
    let is_option = |word: &[u8]| word == b"--fpm-config" || word == RECORD.as_bytes();
    words.by_ref().skip_while(|word| !is_option(word)).nth(1)
}

/// This user's masters that were started with this file, and processes that are about to become
/// one.
pub fn started_with(conf: &Path) -> io::Result<Vec<Process>> {
    let mut started = Vec::new();
    for pid in all_pids()? {
        let Some(process) = unless_gone(Process::open(pid))? else { continue };
        let is_it = process.configuration()?.is_some_and(|it| it == conf);
        if is_it && process.is_ours() && process.is_alive() {
            started.push(process);
        }
    }
    Ok(started)
}

/// The resident memory of a process in bytes.
pub fn memory(pid: i32) -> Option<u64> {
    let size = status_field(pid, "VmRSS:")?;
    let kib: u64 = size.strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// The value of a line in `/proc/PID/status` (`proc_pid_status(5)`); None: there is no such line, or
/// the process has ended.
fn status_field(pid: i32, name: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(status.lines().find_map(|line| line.strip_prefix(name))?.trim().to_owned())
}

/// The pids of the children of a process; none, if it has ended.
fn child_pids(of: i32) -> Vec<i32> {
    let children = fs::read_to_string(format!("/proc/{of}/task/{of}/children"));
    let children = children.unwrap_or_default();
    children.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn all_pids() -> io::Result<impl Iterator<Item = i32>> {
    let entries = fs::read_dir("/proc")?.collect::<io::Result<Vec<_>>>()?;
    Ok(entries.into_iter().filter_map(|entry| entry.file_name().to_str()?.parse().ok()))
}

/// The result of a read; None if the process has ended, or belongs to another user. Other errors,
/// such as no free descriptor, stay errors.
fn unless_gone<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::NOENT | Errno::SRCH | Errno::ACCESS | Errno::PERM) => Ok(None),
            _ => Err(error),
        },
    }
}

fn holds(pid: i32, sockets: &[u64]) -> io::Result<bool> {
    let Some(fds) = unless_gone(fs::read_dir(format!("/proc/{pid}/fd")))? else { return Ok(false) };
    for fd in fds {
        let target =
            unless_gone(fd)?.map(|fd| unless_gone(fs::read_link(fd.path()))).transpose()?.flatten();
        let inode = target.as_deref().and_then(inode_of_socket);
        if inode.is_some_and(|inode| sockets.contains(&inode)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The inode of the socket that a link in `/proc/PID/fd` names; None: it names no socket.
fn inode_of_socket(target: &Path) -> Option<u64> {
    target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// The parent of a process; None: the process has ended.
pub fn parent(pid: i32) -> io::Result<Option<i32>> {
    Ok(stat_field(pid, 1)?.and_then(|parent| parent.parse().ok()))
}

/// A field of `proc_pid_stat(5)`, counted from the first one after the name.
fn stat_field(pid: i32, nth: usize) -> io::Result<Option<String>> {
    let Some(stat) = unless_gone(fs::read_to_string(format!("/proc/{pid}/stat")))? else {
        return Ok(None);
    };
    // The name may contain parentheses: the fields follow the last one.
    let fields = stat.rsplit_once(')').map(|(_, fields)| fields.split_ascii_whitespace());
    Ok(fields.and_then(|mut fields| fields.nth(nth)).map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    fn this() -> i32 {
        i32::try_from(std::process::id()).unwrap()
    }

    #[test]
    fn only_the_holder_of_the_socket_is_identified() {
        use std::os::fd::AsRawFd;
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("a.sock")).unwrap();
        let fd = listener.as_raw_fd();
        let inode = fs::metadata(format!("/proc/self/fd/{fd}")).unwrap().ino();
        let this_process = Process::open(this()).unwrap();
        assert!(this_process.holds(&[inode]).unwrap());
        assert!(!this_process.holds(&[inode + 100_000]).unwrap());
        // The test process is no php-fpm master, so it counts as a child.
        let found = holders(&[inode]).unwrap();
        assert!(found.master.is_none());
        assert_eq!(found.children.len(), 1);
    }

    /// Children that were forked just before their master died. A stop must find each of them.
    #[test]
    fn children_with_the_title_of_a_master_are_all_found() {
        use std::os::fd::{AsFd, AsRawFd};
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("a.sock")).unwrap();
        let inode = fs::metadata(format!("/proc/self/fd/{}", listener.as_raw_fd())).unwrap().ino();
        let newborn = || {
            // The socket is descriptor 0, as in php-fpm's children.
            let socket = listener.as_fd().try_clone_to_owned().unwrap();
            let exec = "exec -a 'php-fpm: master process (a.conf)' sleep 60";
            let mut bash = std::process::Command::new("bash");
            bash.args(["-c", exec]).stdin(socket).spawn().unwrap()
        };
        let mut children = [newborn(), newborn()];
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        let is_named = |child: &std::process::Child| {
            let process = Process::open(i32::try_from(child.id()).unwrap()).unwrap();
            process.is_php_fpm_master().unwrap()
        };
        while !children.iter().all(is_named) {
            assert!(std::time::Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(2));
        }
        drop(listener); // the parent does not hold the socket any more
        let found = holders(&[inode]).unwrap();
        assert!(found.master.is_some());
        assert_eq!(found.children.len(), 1);
        for child in &mut children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    #[tokio::test]
    async fn zombie_counts_as_ended() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let process = Process::open(i32::try_from(child.id()).unwrap()).unwrap();
        assert!(process.wait(Duration::from_secs(10)).await.unwrap());
        assert!(!process.is_alive());
        process.signal(Signal::QUIT).unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn malformed_pid_file_has_no_pid() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (text, pid) in [("12\n", Some(12)), ("", None), ("-1", None), ("0", None), ("x", None)]
        {
            fs::write(file.path(), text).unwrap();
            assert_eq!(read_pid_file(file.path()), pid, "{text:?}");
        }
    }
}
