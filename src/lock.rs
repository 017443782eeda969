//! The pool's lock: one command at a time changes a pool. The lock names its holder.
//!
//! The lock is an flock(2) on `pid/POOL.lock`; the kernel releases it when the holder dies. The
//! text in the file is for the operator, and is never trusted.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::file;
use crate::process::Process;

/// How long a command waits for the lock: longer than any command holds it with the default
/// timeouts.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
const POLL: Duration = Duration::from_millis(5);
/// How long a new holder may take to write its name into the file. Until then the file may name an
/// earlier one.
const NAMING: Duration = Duration::from_millis(100);

/// The mode of the lock's file. Others must not read it: an open file is enough for flock(2).
const MODE: u32 = 0o600;

/// The holder of a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its process; 0: unknown.
    pub pid: u32,
    /// The command and its arguments; the whole command line if it is not pools-manager. May be
    /// empty.
    pub command: String,
    /// The start of the lock, as RFC 3339 in UTC; may be empty.
    pub since: String,
}

impl Holder {
    /// A process that has not written its name into the file, if it is alive.
    fn unnamed(pid: u32) -> Option<Self> {
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        Some(Self { pid, command: line.trim_end().to_owned(), since: String::new() })
    }

    fn unknown() -> Self {
        Self { pid: 0, command: String::new(), since: String::new() }
    }

    fn is_known(&self) -> bool {
        self.pid != 0
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { pid, command, since } = self;
        if !self.is_known() {
            return f.write_str("a process that cannot be named");
        }
        write!(f, "pid {pid}, \"{command}\"")?;
        if since.is_empty() { Ok(()) } else { write!(f, ", since {since}") }
    }
}

/// A lock. Dropping it releases the lock.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "closing the file is what releases the lock")] File);

impl Lock {
    /// Takes the lock of `pool`. If another process holds it: an error if `wait` is false; else
    /// calls `on_wait` once with the holder, and waits.
    pub async fn take(
        path: &Path,
        pool: &str,
        wait: bool,
        mut on_wait: impl FnMut(&Holder),
    ) -> Result<Self> {
        let mut file = open(path)?;
        let began = Instant::now();
        let mut is_reported = false;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(cannot(path, &error)),
                Err(TryLockError::WouldBlock) => {}
            }
            let holder = name_holder(path, &mut file);
            let is_named = holder.is_known() && !holder.since.is_empty();
            if !is_named && began.elapsed() < NAMING {
                tokio::time::sleep(POLL).await;
                continue;
            }
            if !wait || began.elapsed() > PATIENCE {
                let message = format!("the pool \"{pool}\" is locked by {holder}");
                let hint = format!("see which process has it open: fuser {}", path.display());
                let error = Error::locked(message);
                return Err(if is_named { error } else { error.hint(hint) });
            }
            if !is_reported {
                on_wait(&holder);
                is_reported = true;
            }
            tokio::time::sleep(POLL).await;
        }
        write_holder(&mut file).map_err(|error| cannot(path, &error))?;
        Ok(Self(file))
    }
}

/// The holder of a lock. Does not take the lock even for a moment, because a command with
/// `--no-wait` would fail then. The file need not be readable.
pub fn holder(path: &Path) -> Option<Holder> {
    held_by(path)?;
    Some(match file::open(path) {
        Ok(mut file) => name_holder(path, &mut file),
        Err(_) => held_by(path).and_then(Holder::unnamed).unwrap_or_else(Holder::unknown),
    })
}

/// Why a lock cannot be taken, apart from a process that holds it. Neither creates the lock's file nor takes
/// the lock.
pub fn refusal(path: &Path) -> Option<Error> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.is_file() || found.nlink() != 1 => Some(not_a_lock_file(path)),
        Ok(_) => {
            file::options().read(true).write(true).open(path).err().map(|it| cannot(path, &it))
        }
        Err(_) => file::can_append(path).err().map(|error| cannot(path, &error)),
    }
}

/// The process that holds a lock, from `/proc/locks`. It may have ended, and have left the lock to
/// a child.
fn held_by(path: &Path) -> Option<u32> {
    let inode = fs::symlink_metadata(path).ok()?.ino().to_string();
    fs::read_to_string("/proc/locks").ok()?.lines().find_map(|line| lock_of(line, &inode))
}

/// `1: FLOCK  ADVISORY  WRITE 706 00:1a:1234 0 EOF`, of `proc_locks(5)`. The device is ignored:
/// some filesystems show another one here than in stat(2).
fn lock_of(line: &str, inode: &str) -> Option<u32> {
    let mut fields = line.split_ascii_whitespace();
    let is_held = fields.nth(1) == Some("FLOCK"); // the line of a waiting process has an arrow there
    let pid = fields.nth(2)?.parse().ok()?;
    let place = fields.next()?.rsplit(':').next();
    (is_held && place == Some(inode)).then_some(pid)
}

fn open(path: &Path) -> Result<File> {
    let mut options = file::options();
    let opened = options.read(true).write(true).create(true).truncate(false).mode(MODE).open(path);
    let is_other_file = || path.symlink_metadata().is_ok_and(|found| !found.is_file());
    let file = match opened {
        Ok(file) => file,
        Err(_) if is_other_file() => return Err(not_a_lock_file(path)),
        Err(error) => return Err(cannot(path, &error)),
    };
    // Refuses a link: it could lead to any file, and the lock's file is written to.
    if !file::is_alone(&file).map_err(|error| cannot(path, &error))? {
        return Err(not_a_lock_file(path));
    }
    tighten(&file).map_err(|error| cannot(path, &error))?;
    Ok(file)
}

/// Corrects the mode: earlier versions let every user read the file, and so lock it.
fn tighten(file: &File) -> std::io::Result<()> {
    let metadata = file.metadata()?;
    let is_ours = metadata.uid() == nix::unistd::geteuid().as_raw();
    if is_ours && metadata.mode() & 0o7777 != MODE {
        file.set_permissions(fs::Permissions::from_mode(MODE))?;
    }
    Ok(())
}

fn not_a_lock_file(path: &Path) -> Error {
    Error::config(format!(
        "{} is not a regular file of its own, so it cannot be the lock",
        path.display()
    ))
    .hint("move it away: pools-manager writes this file itself")
}

fn cannot(path: &Path, error: &std::io::Error) -> Error {
    Error::config(format!("cannot lock {}: {error}", path.display())).hint(
        "the directory pid/ in the root has to be there, and it and the file writable for you",
    )
}

/// The program's arguments.
pub fn command_line() -> String {
    // An argument need not be UTF-8.
    let words = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
    words.collect::<Vec<_>>().join(" ")
}

fn write_holder(file: &mut File) -> std::io::Result<()> {
    let holder = Holder {
        pid: std::process::id(),
        command: command_line(),
        since: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
    };
    let mut text = serde_json::to_vec(&holder)?;
    text.push(b'\n');
    file.rewind()?;
    file.write_all(&text)?;
    // Truncate after writing, never to length 0: ext4 writes a file that was truncated to 0 to disk
    // on close (mount option auto_da_alloc), which takes milliseconds.
    file.set_len(text.len() as u64)
}

/// Reads the holder's name. The holder writes it just after it has taken the lock, so the file may
/// still have an old name or none. The name counts only if its process is alive, and the kernel
/// shows the same process or none (a process in another namespace).
fn name_holder(path: &Path, file: &mut File) -> Holder {
    let named = read_holder(file);
    let by_kernel = held_by(path);
    let is_it = |named: &Holder| match by_kernel {
        Some(pid) => named.pid == pid,
        None => true,
    };
    let named = named.filter(|named| is_it(named) && is_alive(named.pid));
    let unnamed = || by_kernel.and_then(Holder::unnamed);
    named.or_else(unnamed).unwrap_or_else(Holder::unknown)
}

fn is_alive(pid: u32) -> bool {
    i32::try_from(pid).is_ok_and(|pid| Process::open(pid).is_ok_and(|it| it.is_alive()))
}

fn read_holder(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.take(4096).read_to_string(&mut text));
    read.ok().and_then(|_| serde_json::from_str(&text).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;

    #[tokio::test]
    async fn second_command_learns_the_holder() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("www.lock");
        let first = Lock::take(&path, "www", false, |_| ()).await.unwrap();
        let error = Lock::take(&path, "www", false, |_| ()).await.unwrap_err();
        assert_eq!(error.exit, Exit::Locked);
        assert!(error.message.contains(&format!("pid {}", std::process::id())), "{error}");
        assert_eq!(holder(&path).unwrap().pid, std::process::id());

        let mut calls = 0;
        let second = Lock::take(&path, "www", true, |_| calls += 1);
        let release = async { drop(first) };
        let (second, ()) = tokio::join!(second, release);
        drop(second.unwrap());
        assert_eq!(calls, 1);
        assert_eq!(holder(&path), None);
    }

    #[tokio::test]
    async fn lock_file_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("www.lock");
        let mode = || fs::metadata(&path).unwrap().mode() & 0o7777;
        drop(Lock::take(&path, "www", false, |_| ()).await.unwrap());
        assert_eq!(mode(), 0o600);
        // The mode of an earlier version.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        drop(Lock::take(&path, "www", false, |_| ()).await.unwrap());
        assert_eq!(mode(), 0o600);
    }

    /// flock(1) holds the lock, and writes no name into the file.
    #[tokio::test]
    async fn dead_holder_is_not_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("www.lock");
        let dead = {
            let mut child = std::process::Command::new("true").spawn().unwrap();
            child.wait().unwrap();
            child.id()
        };
        let text = format!("{{\"pid\":{dead},\"command\":\"restart\",\"since\":\"2026\"}}\n");
        fs::write(&path, text).unwrap();
        let refused = || async {
            let error = Lock::take(&path, "www", false, |_| ()).await.unwrap_err();
            assert!(error.hint.unwrap().starts_with("see which process has it open: fuser "));
            error.message
        };
        // flock(1) holds the lock while its command runs. The command inherits the lock.
        let mut command = std::process::Command::new("flock");
        let mut other = command.arg(&path).args(["sleep", "60"]).spawn().unwrap();
        let is_held = || holder(&path).is_some_and(|it| it.command.starts_with("flock "));
        let deadline = Instant::now() + Duration::from_secs(60);
        while !is_held() {
            assert!(Instant::now() < deadline);
            tokio::time::sleep(POLL).await;
        }
        let pid = other.id();
        let by = format!("the pool \"www\" is locked by pid {pid}, \"flock ");
        assert!(refused().await.starts_with(&by));
        let sleep = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        other.kill().unwrap();
        other.wait().unwrap();
        let message = "the pool \"www\" is locked by a process that cannot be named";
        assert_eq!(refused().await, message);
        for pid in sleep.split_ascii_whitespace() {
            let sleep = Process::open(pid.parse().unwrap()).unwrap();
            sleep.signal(crate::process::Signal::KILL).unwrap();
            sleep.wait(Duration::from_secs(60)).await.unwrap();
        }
        Lock::take(&path, "www", false, |_| ()).await.unwrap();
    }

    #[tokio::test]
    async fn symlink_instead_of_lock_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("www.lock");
        std::os::unix::fs::symlink("/etc/hostname", &path).unwrap();
        assert!(Lock::take(&path, "www", false, |_| ()).await.is_err());
    }
}
