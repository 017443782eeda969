//! The record of a canary, `pid/POOL.canary.json`. The gateway reads it whenever it observes the pool.
//!
//! The command that started the canary holds a lock (flock(2)) on the file. The kernel releases the lock
//! when the command ends, however it ends. Then the canary is over for the gateway, even if the file is
//! left. The file is locked before it gets its name, so a record without a lock is never in force. Only
//! the owner of the file can open it, because a user who can open it can also lock it.

use std::fs::{self, File, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::Share;
use crate::error::{Error, Result};
use crate::failpoint;
use crate::file;
use crate::step::{GenerationId, Number};

/// The version of the file's format that this program writes.
const VERSION: u64 = 1;
/// The most bytes of a file.
const BYTES_MAX: u64 = 64 * 1024;

/// A canary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    version: u64,
    /// Names this canary, in the cookies of its visitors: 16 hexadecimal digits.
    pub id: String,
    /// The replica of the canary's generation.
    pub replica: u32,
    /// The number of the canary's generation.
    pub generation: Number,
    /// How many of the new visitors the canary gets.
    pub share: Share,
    /// When it began, as RFC 3339 in UTC.
    pub since: String,
    /// When the canary is judged, as RFC 3339 in UTC.
    pub until: String,
    /// When the canary is over in any case, as RFC 3339 in UTC. This is later than the command needs to
    /// go on with the rollout.
    pub expires: String,
}

impl Record {
    /// A canary that begins now. `time`: until the canary is judged. `rest`: the longest time from the
    /// verdict until the generation is published.
    pub fn new(id: GenerationId, share: Share, time: Duration, rest: Duration) -> Self {
        let now = SystemTime::now();
        let after = |time: Duration| {
            let then = now.checked_add(time).unwrap_or(now);
            humantime::format_rfc3339_millis(then).to_string()
        };
        Self {
            version: VERSION,
            id: format!("{:016x}", RandomState::new().hash_one(())),
            replica: id.replica,
            generation: id.generation,
            share,
            since: after(Duration::ZERO),
            until: after(time),
            expires: after(time.saturating_add(rest)),
        }
    }

    /// The generation of the canary.
    pub fn generation(&self) -> GenerationId {
        GenerationId { replica: self.replica, generation: self.generation }
    }

    /// How long the canary still lasts at most; None: it is over. A clock that was set back does not
    /// prolong the canary beyond its whole time.
    pub fn left(&self) -> Option<Duration> {
        let [since, expires] =
            [&self.since, &self.expires].map(|it| humantime::parse_rfc3339(it).ok());
        let (since, expires) = since.zip(expires)?;
        let whole = expires.duration_since(since).ok()?;
        let left = expires.duration_since(SystemTime::now()).ok()?;
        (!left.is_zero()).then_some(left.min(whole))
    }

    /// The canary of a pool, if it is in force: its command runs, and its time is not over.
    pub fn in_force(path: &Path) -> Result<Option<Self>> {
        let cannot = |error: &dyn std::fmt::Display| {
            Error::failed(format!("cannot read {}: {error}", path.display()))
        };
        let file = match file::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(cannot(&error)),
        };
        match file.try_lock_shared() {
            Ok(()) => return Ok(None),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(cannot(&error)),
        }
        let mut bytes = Vec::new();
        (&file).take(BYTES_MAX).read_to_end(&mut bytes).map_err(|error| cannot(&error))?;
        let record: Self = serde_json::from_slice(&bytes).map_err(|error| cannot(&error))?;
        if record.version != VERSION {
            let version = record.version;
            return Err(cannot(&format!(
                "this program does not know version {version} of the format"
            )));
        }
        Ok(Some(record).filter(|record| record.left().is_some()))
    }
}

/// A record in its place, and the lock that keeps it in force.
#[derive(Debug)]
pub struct Offer {
    /// The record.
    pub record: Record,
    path: PathBuf,
    _lock: File,
}

impl Offer {
    /// Writes the record of a canary.
    pub fn write(path: &Path, record: Record) -> io::Result<Self> {
        let new = path.with_extension("json.new");
        file::remove(&new)?;
        let written = write_new(&new, &record).and_then(|lock| {
            failpoint::hit("the record of a canary written, not in its place");
            fs::rename(&new, path).map(|()| lock)
        });
        match written {
            Ok(lock) => Ok(Self { record, path: path.to_owned(), _lock: lock }),
            Err(error) => {
                let _ = file::remove(&new);
                Err(error)
            }
        }
    }

    /// Ends the canary: removes its record.
    pub fn withdraw(self) -> io::Result<()> {
        // Even if this fails, the lock is released.
        file::remove(&self.path)
    }
}

fn write_new(new: &Path, record: &Record) -> io::Result<File> {
    let mut text = serde_json::to_vec_pretty(record)?;
    text.push(b'\n');
    let mut file = file::options().write(true).create_new(true).mode(0o600).open(new)?;
    file.try_lock()?;
    file.write_all(&text)?;
    Ok(file)
}

/// Removes the record that a killed command has left. To be called with the pool's lock.
pub fn forget(path: &Path) -> Result<()> {
    for path in [path, &path.with_extension("json.new")] {
        // Checked first: the directory may be read-only for this user.
        if path.symlink_metadata().is_ok() {
            file::remove(path).map_err(|error| {
                Error::failed(format!("cannot remove {}: {error}", path.display()))
            })?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(time: Duration) -> Record {
        let id = GenerationId { replica: 1, generation: Number::Started(7) };
        Record::new(id, Share::parse("10%").unwrap(), time, Duration::ZERO)
    }

    #[test]
    fn canary_is_in_force_as_long_as_its_command_holds_the_record() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("www.canary.json");
        assert_eq!(Record::in_force(&path).unwrap(), None);
        let minute = record(Duration::from_secs(60));
        let offer = Offer::write(&path, minute.clone()).unwrap();
        assert_eq!(Record::in_force(&path).unwrap(), Some(minute.clone()));
        assert_eq!(Record::in_force(&path).unwrap(), Some(minute.clone()), "a look has no effect");
        // As if the command was killed: the file stays.
        drop(offer);
        assert_eq!(Record::in_force(&path).unwrap(), None);
        let offer = Offer::write(&path, minute).unwrap();
        offer.withdraw().unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        forget(&path).unwrap();
    }

    #[test]
    fn canary_is_over_after_its_time_and_a_damaged_record_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("www.canary.json");
        let offer = Offer::write(&path, record(Duration::ZERO)).unwrap();
        assert_eq!(Record::in_force(&path).unwrap(), None);
        for text in ["", "{", "[]", "{\"version\":2}"] {
            fs::write(&path, text).unwrap();
            assert!(Record::in_force(&path).is_err(), "{text}");
        }
        drop(offer);
        forget(&path).unwrap();
        assert!(!path.exists());
        let far = Record { expires: "2999-01-01T00:00:00Z".to_owned(), ..record(Duration::ZERO) };
        let odd = Record { expires: "soon".to_owned(), ..far.clone() };
        assert!(far.left().is_some() && odd.left().is_none());
    }
}
