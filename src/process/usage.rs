//! The memory and the age of a process.

use std::fs;
use std::io;
use std::time::Duration;

use super::{Process, child_pids, stat_field, unless_gone};

impl Process {
    /// The memory of it and its descendants, in bytes: their proportional set sizes (`proc(5)`). A
    /// page that several processes share is divided among them.
    pub fn memory(&self) -> io::Result<u64> {
        let mut sum = 0;
        for pid in descendants(self.pid) {
            match unless_gone(fs::read_to_string(format!("/proc/{pid}/smaps_rollup")))? {
                Some(text) => sum += proportional(&text).ok_or(io::ErrorKind::InvalidData)?,
                None if pid == self.pid && self.is_alive() => {
                    return Err(io::ErrorKind::PermissionDenied.into());
                }
                None => {}
            }
        }
        Ok(sum)
    }

    /// The time since its start; None: it has ended.
    pub fn age(&self) -> io::Result<Option<Duration>> {
        // Field 22 of proc_pid_stat(5), in clock ticks after the boot of the machine.
        let Some(ticks) = stat_field(self.pid, 19)? else { return Ok(None) };
        let ticks: u64 = ticks.parse().map_err(|_| io::ErrorKind::InvalidData)?;
        let millis = ticks.saturating_mul(1000) / rustix::param::clock_ticks_per_second();
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
        Ok(Some(Duration::from_secs(seconds).saturating_sub(Duration::from_millis(millis))))
    }
}

/// A process and all its descendants. A process that has ended has no descendants.
fn descendants(of: i32) -> Vec<i32> {
    let mut found = vec![of];
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        found.extend(child_pids(*pid));
        next += 1;
    }
    found
}

/// `Pss` of `smaps_rollup`, in bytes.
fn proportional(smaps: &str) -> Option<u64> {
    let line = smaps.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn memory_is_that_of_the_whole_tree() {
        let mut child = Command::new("sh")
            .args(["-c", "sleep 60 & wait"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        while descendants(pid).len() < 2 {
            assert!(std::time::Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(2));
        }
        let grandchild = Process::open(descendants(pid)[1]).unwrap();
        let (all, part) =
            (Process::open(pid).unwrap().memory().unwrap(), grandchild.memory().unwrap());
        assert!(part > 0 && all > part, "{part} of {all}");
        child.kill().unwrap();
        grandchild.signal(crate::process::Signal::KILL).unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn age_counts_from_the_start_of_the_process() {
        let this = Process::open(i32::try_from(std::process::id()).unwrap()).unwrap();
        let init = Process::open(1).unwrap();
        let (young, old) = (this.age().unwrap().unwrap(), init.age().unwrap().unwrap());
        assert!(young < old, "{young:?} {old:?}");
    }

    #[test]
    fn process_that_has_ended_takes_nothing() {
        let mut child = Command::new("true").spawn().unwrap();
        let process = Process::open(i32::try_from(child.id()).unwrap()).unwrap();
        child.wait().unwrap();
        assert_eq!(process.memory().unwrap(), 0);
        assert_eq!(process.age().unwrap(), None);
    }

    #[test]
    fn proportional_set_size_is_read_in_kilobytes() {
        let text =
            "5600 rw-p 0 [rollup]\nRss:  9 kB\nPss:                  12 kB\nPss_Dirty: 3 kB\n";
        assert_eq!(proportional(text), Some(12 * 1024));
        assert_eq!(proportional("Pss: many kB"), None);
    }
}
