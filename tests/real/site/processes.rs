//! The processes that belong to a root, told by what the kernel says of them.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::POLL;

/// How long killed processes may take to leave.
const PATIENCE: Duration = Duration::from_secs(20);

/// All that work in the root, or were told its path; never this test itself.
pub(super) fn of_root(root: &Path) -> Vec<Pid> {
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(Pid::from_raw)
        .filter(|pid| *pid != rustix::process::getpid() && belongs(*pid, root))
        .collect()
}

/// Kills all that belong to the root, and returns those that do not end.
pub(super) fn end_all(root: &Path) -> Vec<Pid> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = of_root(root);
        if left.is_empty() || Instant::now() > deadline {
            return left;
        }
        for pid in left {
            kill(pid, root);
        }
        thread::sleep(POLL);
    }
}

/// The pidfd is opened before the last look: the number cannot have gone to somebody else then.
fn kill(pid: Pid, root: &Path) {
    if let Ok(process) = pidfd_open(pid, PidfdFlags::empty())
        && belongs(pid, root)
    {
        // That it has ended meanwhile is as well.
        let _ = pidfd_send_signal(process, Signal::KILL);
    }
}

fn belongs(pid: Pid, root: &Path) -> bool {
    let proc = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
    let works_there = fs::read_link(proc.join("cwd")).is_ok_and(|cwd| cwd.starts_with(root));
    works_there || fs::read(proc.join("cmdline")).is_ok_and(|line| contains(&line, root))
}

fn contains(command_line: &[u8], root: &Path) -> bool {
    let mut inside = root.as_os_str().as_bytes().to_vec();
    inside.push(b'/');
    command_line.windows(inside.len()).any(|part| part == inside)
}

/// The programs that may be installed.
pub(super) fn programs() -> impl Iterator<Item = PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
    dirs.push(PathBuf::from("/usr/sbin")); // often not in an ordinary user's PATH
    let entries = dirs.into_iter().filter_map(|dir| fs::read_dir(dir).ok()).flatten().flatten();
    entries.map(|entry| entry.path())
}

/// Fails where there is no php-fpm: a test that was skipped would pass for one that was run.
pub(super) fn need_php_fpm() {
    let is_php_fpm = |path: PathBuf| {
        path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"php-fpm"))
    };
    let found = programs().any(is_php_fpm);
    assert!(found, "php-fpm is missing: install it (Debian: apt-get install php-fpm)");
}
