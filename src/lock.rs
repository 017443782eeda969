//! The pool's lock: one hand at a time, and it says whose.
//!
//! An flock(2) on `pid/POOL.lock`; the kernel drops it when its holder dies,
//! however it dies. The text in the file is for people, never trusted.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::file;
use crate::process::Process;

/// How long a command waits for the lock: longer than anything that a holder
/// waits for with the default timeouts.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
const POLL: Duration = Duration::from_millis(5);
/// How long a holder may take to write its name into the file, until it is told what stands there.
const NAMING: Duration = Duration::from_millis(100);

/// Who may open the lock's file: to open it for reading is enough for flock(2).
const MODE: u32 = 0o600;

/// Who holds a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its process; 0: none that is alive and can be named.
    pub pid: u32,
    /// What it was told to do, or its command line where it is not pools-manager; may be empty.
    pub command: String,
    /// Since when, as RFC 3339 in UTC; may be empty.
    pub since: String,
}

impl Holder {
    /// A process that has written nothing into the file, if it is alive.
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

/// A lock that is held until this is dropped.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "closing the file is what releases the lock")] File);

impl Lock {
    /// Takes the lock of `pool`. While somebody else holds it, `on_wait` is
    /// told who, once, and then it is waited for, unless `wait` is false.
    pub async fn take(
        path: &Path,
        pool: &str,
        wait: bool,
        mut on_wait: impl FnMut(&Holder),
    ) -> Result<Self> {
        let mut file = open(path)?;
        let began = Instant::now();
        let mut told = false;
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
                let stranger = format!("see who has it open: fuser {}", path.display());
                let error = Error::locked(message);
                return Err(if is_named { error } else { error.hint(stranger) });
            }
            if !told {
                on_wait(&holder);
                told = true;
            }
            tokio::time::sleep(POLL).await;
        }
        write_holder(&mut file).map_err(|error| cannot(path, &error))?;
        Ok(Self(file))
    }
}

/// Who holds a lock, found out without taking it even for a moment: a command that may not wait
/// would refuse. It need not be readable.
pub fn holder(path: &Path) -> Option<Holder> {
    held_by(path)?;
    Some(match file::open(path) {
        Ok(mut file) => name_holder(path, &mut file),
        Err(_) => held_by(path).and_then(Holder::unnamed).unwrap_or_else(Holder::unknown),
    })
}

/// The process that holds a lock, as the kernel tells it. It may have ended, and have left the lock
/// to a child.
fn held_by(path: &Path) -> Option<u32> {
    let inode = fs::symlink_metadata(path).ok()?.ino().to_string();
    fs::read_to_string("/proc/locks").ok()?.lines().find_map(|line| lock_of(line, &inode))
}

/// `1: FLOCK  ADVISORY  WRITE 706 00:1a:1234 0 EOF`, of `proc_locks(5)`. The device is left out:
/// some filesystems tell another one here than in stat(2).
fn lock_of(line: &str, inode: &str) -> Option<u32> {
    let mut fields = line.split_ascii_whitespace();
    let is_held = fields.nth(1) == Some("FLOCK"); // a line of who waits has an arrow there
    let pid = fields.nth(2)?.parse().ok()?;
    let place = fields.next()?.rsplit(':').next();
    (is_held && place == Some(inode)).then_some(pid)
}

fn open(path: &Path) -> Result<File> {
    let mut options = file::options();
    let opened = options.read(true).write(true).create(true).truncate(false).mode(MODE).open(path);
    let is_stranger = || path.symlink_metadata().is_ok_and(|found| !found.is_file());
    let file = match opened {
        Ok(file) => file,
        Err(_) if is_stranger() => return Err(stranger(path)),
        Err(error) => return Err(cannot(path, &error)),
    };
    // A link could lead anywhere: what is written must not go there.
    if !file::is_alone(&file).map_err(|error| cannot(path, &error))? {
        return Err(stranger(path));
    }
    tighten(&file).map_err(|error| cannot(path, &error))?;
    Ok(file)
}

/// Earlier versions let everybody read the file, and so lock it.
fn tighten(file: &File) -> std::io::Result<()> {
    let metadata = file.metadata()?;
    let is_ours = metadata.uid() == nix::unistd::geteuid().as_raw();
    if is_ours && metadata.mode() & 0o7777 != MODE {
        file.set_permissions(fs::Permissions::from_mode(MODE))?;
    }
    Ok(())
}

fn stranger(path: &Path) -> Error {
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

/// What the program was told to do.
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
    // Cut behind what is new, and never to nothing: a file that was, ext4 brings to the disk when
    // it is closed (its mount option auto_da_alloc), which takes milliseconds.
    file.set_len(text.len() as u64)
}

/// The holder writes its name just after it has got the lock, so for a moment there may be an old
/// one or none: what stands there counts only where the kernel says the same, or names nobody (its
/// process is in another namespace) and that process is alive.
fn name_holder(path: &Path, file: &mut File) -> Holder {
    let told = read_holder(file);
    let by_kernel = held_by(path);
    let is_it = |told: &Holder| match by_kernel {
        Some(pid) => told.pid == pid,
        None => true,
    };
    let told = told.filter(|told| is_it(told) && is_alive(told.pid));
    let unnamed = || by_kernel.and_then(Holder::unnamed);
    told.or_else(unnamed).unwrap_or_else(Holder::unknown)
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
    async fn a_second_hand_is_told_who_holds_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("www.lock");
        let first = Lock::take(&path, "www", false, |_| ()).await.unwrap();
        let error = Lock::take(&path, "www", false, |_| ()).await.unwrap_err();
        assert_eq!(error.exit, Exit::Locked);
        assert!(error.message.contains(&format!("pid {}", std::process::id())), "{error}");
        assert_eq!(holder(&path).unwrap().pid, std::process::id());

        let mut told = 0;
        let second = Lock::take(&path, "www", true, |_| told += 1);
        let release = async { drop(first) };
        let (second, ()) = tokio::join!(second, release);
        drop(second.unwrap());
        assert_eq!(told, 1);
        assert_eq!(holder(&path), None);
    }

    #[tokio::test]
    async fn nobody_else_may_open_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("www.lock");
        let mode = || fs::metadata(&path).unwrap().mode() & 0o7777;
        drop(Lock::take(&path, "www", false, |_| ()).await.unwrap());
        assert_eq!(mode(), 0o600);
        // As an earlier version has left it.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        drop(Lock::take(&path, "www", false, |_| ()).await.unwrap());
        assert_eq!(mode(), 0o600);
    }

    /// A process that has taken the lock with another program's means, and says nothing of itself.
    #[tokio::test]
    async fn a_holder_is_named_only_while_it_is_alive() {
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
            assert!(error.hint.unwrap().starts_with("see who has it open: fuser "));
            error.message
        };
        // flock(1) keeps the lock while its command runs, which inherits it.
        let mut command = std::process::Command::new("flock");
        let mut stranger = command.arg(&path).args(["sleep", "60"]).spawn().unwrap();
        let is_held = || holder(&path).is_some_and(|it| it.command.starts_with("flock "));
        let deadline = Instant::now() + Duration::from_secs(60);
        while !is_held() {
            assert!(Instant::now() < deadline);
            tokio::time::sleep(POLL).await;
        }
        let pid = stranger.id();
        let by = format!("the pool \"www\" is locked by pid {pid}, \"flock ");
        assert!(refused().await.starts_with(&by));
        let sleep = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        stranger.kill().unwrap();
        stranger.wait().unwrap();
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
    async fn a_symlink_in_its_place_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("www.lock");
        std::os::unix::fs::symlink("/etc/hostname", &path).unwrap();
        assert!(Lock::take(&path, "www", false, |_| ()).await.is_err());
    }
}
