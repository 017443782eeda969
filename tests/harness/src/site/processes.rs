//! The processes of a site, from `/proc`.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};

use super::{POLL, Site, wait_for};

/// How long killed processes may take to leave.
const PATIENCE: Duration = Duration::from_secs(20);

/// A process of a site.
#[derive(Debug, Clone)]
pub struct Process {
    pub pid: Pid,
    /// Its parent; None if the parent is in a namespace that the test does not see.
    pub parent: Option<Pid>,
    pub uid: u32,
    /// Its command line, with the path of php-fpm's configuration.
    pub title: String,
}

impl Process {
    /// Halts the process, and waits until it is halted: until then it can accept a connection.
    pub fn halt(&self) {
        kill_process(self.pid, Signal::STOP).unwrap();
        wait_for("the halt of a process", || (state(self.pid) == 'T').then_some(()));
    }
}

impl Site {
    /// All php-fpm processes of the site, masters and children.
    pub fn php_fpm(&self) -> Vec<Process> {
        let mut all = self.processes();
        all.retain(|process| process.title.starts_with("php-fpm"));
        all
    }

    /// All processes of the site.
    pub fn processes(&self) -> Vec<Process> {
        of_root(self.root())
    }

    /// All running masters, with or without a record.
    pub fn all_masters(&self) -> Vec<Pid> {
        let all = self.php_fpm();
        // The title does not distinguish them: a new child has the title of its master for a moment.
        let is_child =
            |process: &&Process| all.iter().any(|other| Some(other.pid) == process.parent);
        all.iter().filter(|process| !is_child(process)).map(|process| process.pid).collect()
    }

    /// Kills these processes, in this order, and waits until they have ended.
    pub fn kill(&self, pids: &[Pid]) {
        let killed: Vec<OwnedFd> = pids.iter().filter_map(|pid| kill(*pid, self.root())).collect();
        for process in killed {
            await_end(&process);
        }
    }

    /// Kills the master of a generation, by the name of its record, and its children.
    pub fn kill_generation(&self, record: &str) {
        let all = self.php_fpm();
        let is_master = |it: &&Process| it.title.ends_with(&format!("/pid/{record}.conf)"));
        let master = all.iter().find(is_master).unwrap().pid;
        let children = all.iter().filter(|it| it.parent == Some(master)).map(|it| it.pid);
        self.kill(&[master].into_iter().chain(children).collect::<Vec<_>>());
    }

    /// Kills the master of a replica, and all of its children.
    pub fn kill_replica(&self, replica: usize) {
        self.kill_replicas(&[replica]);
    }

    /// The same for several replicas, which must run.
    pub fn kill_replicas(&self, replicas: &[usize]) {
        self.kill(&replicas.iter().map(|replica| self.master(*replica)).collect::<Vec<_>>());
        // A child that was forked just now still has its master's title, which names the file.
        let is_of = |process: &Process, replica: &usize| {
            process.title == format!("php-fpm: pool www{replica}")
                || process.title.contains(&format!("/www.{replica}.g"))
        };
        wait_for("the end of the replicas", || {
            let mut left = self.php_fpm();
            left.retain(|process| replicas.iter().any(|replica| is_of(process, replica)));
            self.kill(&left.iter().map(|it| it.pid).collect::<Vec<_>>());
            left.is_empty().then_some(())
        });
    }
}

/// All processes with the root as working directory or in their arguments, except this test.
fn of_root(root: &Path) -> Vec<Process> {
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(Pid::from_raw)
        .filter(|pid| *pid != rustix::process::getpid() && belongs(*pid, root))
        .filter_map(read)
        .collect()
}

/// The state of a process, as the kernel shows it: `T` means halted.
pub(super) fn state(pid: Pid) -> char {
    let stat = fs::read_to_string(proc(pid).join("stat")).unwrap();
    // The name in parentheses can contain parentheses: the state follows the last one.
    stat.rsplit_once(") ").unwrap().1.chars().next().unwrap()
}

/// What the kernel says of a process; None once it has ended.
fn read(pid: Pid) -> Option<Process> {
    let status = fs::read_to_string(proc(pid).join("status")).ok()?;
    let field = |name: &str| {
        status.lines().find_map(|line| line.strip_prefix(name)?.split_ascii_whitespace().next())
    };
    let title = fs::read(proc(pid).join("cmdline")).ok()?;
    let title = String::from_utf8_lossy(&title).trim_end_matches('\0').replace('\0', " ");
    Some(Process {
        pid,
        parent: field("PPid:")?.parse().ok().and_then(Pid::from_raw),
        uid: field("Uid:")?.parse().ok()?,
        title: with_configuration(pid, title),
    })
}

/// The title of a master, with the path of its configuration in place of the descriptor by which the master
/// got that file.
fn with_configuration(pid: Pid, title: String) -> String {
    const FD: &str = "/proc/self/fd/";
    let Some((before, after)) = title.split_once(FD) else { return title };
    let digits = after.len() - after.trim_start_matches(|it: char| it.is_ascii_digit()).len();
    let (fd, after) = after.split_at(digits);
    match fs::read_link(proc(pid).join("fd").join(fd)) {
        Ok(file) => {
            format!("{before}{}{after}", file.display().to_string().replace(" (deleted)", ""))
        }
        Err(_) => title,
    }
}

/// Kills all that belong to the root, and returns those that do not end.
pub(super) fn end_all(root: &Path) -> Vec<Process> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = of_root(root);
        if left.is_empty() || Instant::now() > deadline {
            return left;
        }
        for process in left {
            drop(kill(process.pid, root));
        }
        thread::sleep(POLL);
    }
}

/// Returns the pidfd of the process, unless it is none of the root. The pidfd is opened before the last
/// check, so that the pid cannot belong to a new process.
fn kill(pid: Pid, root: &Path) -> Option<OwnedFd> {
    let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    belongs(pid, root).then(|| {
        // It may have ended meanwhile.
        let _ = pidfd_send_signal(&process, Signal::KILL);
        process
    })
}

/// Waits for the end of a process by its pidfd: a process that ends loses its command line before its
/// sockets are closed (`do_exit` in kernel/exit.c).
fn await_end(process: &OwnedFd) {
    let patience = Timespec { tv_sec: PATIENCE.as_secs().cast_signed(), tv_nsec: 0 };
    let mut ends = [PollFd::new(process, PollFlags::IN)];
    let ended = retry_on_intr(|| poll(&mut ends, Some(&patience))).unwrap();
    assert_eq!(ended, 1, "a killed process does not end");
}

fn belongs(pid: Pid, root: &Path) -> bool {
    let works_there = fs::read_link(proc(pid).join("cwd")).is_ok_and(|cwd| cwd.starts_with(root));
    works_there || fs::read(proc(pid).join("cmdline")).is_ok_and(|line| contains(&line, root))
}

fn contains(command_line: &[u8], root: &Path) -> bool {
    let mut inside = root.as_os_str().as_bytes().to_vec();
    inside.push(b'/');
    command_line.windows(inside.len()).any(|part| part == inside)
}

fn proc(pid: Pid) -> PathBuf {
    PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()))
}
