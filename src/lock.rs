//! The pool's lock: one hand at a time, and it says whose.
//!
//! An flock(2) on `pid/POOL.lock`; the kernel drops it when its holder dies,
//! however it dies. The text in the file is for people, never trusted.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::file;

/// How long a command waits for the lock: longer than anything that a holder
/// waits for with the default timeouts.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
const POLL: Duration = Duration::from_millis(5);
/// How long a holder may take to write its name into the file, until it is told what stands there.
const NAMING: Duration = Duration::from_millis(100);

/// Who holds a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its process.
    pub pid: u32,
    /// What it was told to do.
    pub command: String,
    /// Since when, as RFC 3339 in UTC.
    pub since: String,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "pid {}, \"{}\", since {}", self.pid, self.command, self.since)
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
            let holder = read_holder(&mut file);
            let is_named = held_by(&file).is_none_or(|pid| pid == holder.pid);
            if !is_named && began.elapsed() < NAMING {
                tokio::time::sleep(POLL).await;
                continue;
            }
            if !wait || began.elapsed() > PATIENCE {
                let message = format!("the pool \"{pool}\" is locked by {holder}");
                return Err(Error::locked(message));
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
/// would refuse.
pub fn holder(path: &Path) -> Option<Holder> {
    let mut file = file::open(path).ok()?;
    held_by(&file).map(|_| read_holder(&mut file))
}

/// The process that holds the lock of a file, as the kernel tells it.
fn held_by(file: &File) -> Option<u32> {
    let inode = file.metadata().ok()?.ino().to_string();
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
    let opened = options.read(true).write(true).create(true).truncate(false).mode(0o644).open(path);
    let is_stranger = || path.symlink_metadata().is_ok_and(|found| !found.is_file());
    let file = match opened {
        Ok(file) => file,
        Err(_) if is_stranger() => return Err(stranger(path)),
        Err(error) => return Err(cannot(path, &error)),
    };
    // A link could lead anywhere: what is written must not go there.
    if file::is_alone(&file).map_err(|error| cannot(path, &error))? {
        Ok(file)
    } else {
        Err(stranger(path))
    }
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
    file.set_len(0)?;
    file.rewind()?;
    serde_json::to_writer(&mut *file, &holder)?;
    file.write_all(b"\n")
}

/// The holder writes its name just after it has got the lock, so for a moment there may be an old
/// one or none.
fn read_holder(file: &mut File) -> Holder {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| file.take(4096).read_to_string(&mut text));
    read.ok().and_then(|_| serde_json::from_str(&text).ok()).unwrap_or_else(|| Holder {
        pid: 0,
        command: "unknown".to_owned(),
        since: "unknown".to_owned(),
    })
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
    async fn a_symlink_in_its_place_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("www.lock");
        std::os::unix::fs::symlink("/etc/hostname", &path).unwrap();
        assert!(Lock::take(&path, "www", false, |_| ()).await.is_err());
    }
}
