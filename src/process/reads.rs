//! Processes that the kernel has put to sleep in read(2) of a socket.

use std::fs;

use nix::libc::SYS_read;

use super::{Process, child_pids, inode_of_socket, status_field};

/// A child that waits in read(2) of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    /// The pid of the child.
    pub pid: i32,
    /// The inode of the socket.
    pub socket: u64,
    /// How many times the child has gone to sleep. If the number has not grown, the child has not
    /// woken up in between.
    pub sleeps: u64,
}

impl Process {
    /// Its children that wait in read(2) of a socket. Two kinds of children are left out: those that
    /// this user may not inspect (`/proc/PID/syscall` takes the right to trace the process), and
    /// those that have ended meanwhile.
    pub fn reading_children(&self) -> Vec<Read> {
        child_pids(self.pid).into_iter().filter_map(read_of).collect()
    }
}

fn read_of(pid: i32) -> Option<Read> {
    let sleeps = || status_field(pid, "voluntary_ctxt_switches:")?.parse::<u64>().ok();
    let before = sleeps()?;
    let fd = descriptor(&fs::read_to_string(format!("/proc/{pid}/syscall")).ok()?)?;
    let socket = inode_of_socket(&fs::read_link(format!("/proc/{pid}/fd/{fd}")).ok()?)?;
    // If the number has grown, the child was awake in between, and may read another socket now.
    (sleeps()? == before).then_some(Read { pid, socket, sleeps: before })
}

/// The descriptor of read(2) in a line of `/proc/PID/syscall` (`proc_pid_syscall(5)`). The line has
/// the number of the system call, and its arguments in hexadecimal. None: it is another system call,
/// or the process runs.
fn descriptor(line: &str) -> Option<u32> {
    let mut fields = line.split_ascii_whitespace();
    let is_read = fields.next()?.parse() == Ok(SYS_read);
    let fd = u32::from_str_radix(fields.next()?.strip_prefix("0x")?, 16).ok()?;
    is_read.then_some(fd)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::{AsRawFd, OwnedFd};
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::UnixStream;
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    #[test]
    fn only_read_has_a_descriptor() {
        let line = format!("{SYS_read} 0x4 0x7ffc 0x8 0xffffffff 0x1 0x0 0x7ffc 0x7f13\n");
        assert_eq!(descriptor(&line), Some(4));
        for other in ["running\n", "-1 0x7ffc 0x7f13\n", "", "100000 0x4 0x0\n", "0 zz"] {
            assert_eq!(descriptor(other), None, "{other}");
        }
    }

    #[test]
    fn child_that_waits_for_a_socket_is_found() {
        let (mut ours, its) = UnixStream::pair().unwrap();
        let inode = fs::metadata(format!("/proc/self/fd/{}", its.as_raw_fd())).unwrap().ino();
        let mut child = Command::new("sh")
            .args(["-c", "read line; read line"])
            .stdin(OwnedFd::from(its))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        let reads = |after: u64| loop {
            let found = read_of(pid).filter(|it| it.socket == inode && it.sleeps > after);
            if let Some(found) = found {
                return found.sleeps;
            }
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(2));
        };
        let first = reads(0);
        ours.write_all(b"x\n").unwrap();
        assert!(reads(first) > first);
        drop(ours);
        child.wait().unwrap();
        assert_eq!(read_of(pid), None);
    }
}
