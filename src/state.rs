//! The state file of a pool, `pid/POOL.state.json`: what cannot be read back from the system.
//!
//! What runs is read from the kernel each time. Only the history of rollouts, the replicas that the
//! operator has stopped, and the supervisor's note of a crash loop must be stored. The holder of the
//! pool's lock writes a whole new file, calls fsync, and renames the new file into place. A damaged
//! file is moved away, never overwritten.

mod crash_loop;
mod entry;

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

pub use crash_loop::CrashLoop;
pub use entry::{Entry, Outcome};

use crate::error::Error;
use crate::failpoint;
use crate::file;
use crate::lock::Lock;

/// The version of the file's format that this program writes.
const VERSION: u64 = 1;

/// The most rollouts in the history: a year of working days.
const ENTRIES_MAX: usize = 200;

/// The most bytes of a valid file: far more than that many entries take.
const BYTES_MAX: u64 = 8 << 20;

/// The stored state of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    version: u64,
    /// The replicas that the operator has stopped, and not started again.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub stopped: BTreeSet<u32>,
    /// Whether its replicas do not stay up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crash_loop: Option<CrashLoop>,
    /// Its rollouts, newest last.
    pub history: Vec<Entry>,
}

impl Default for State {
    fn default() -> Self {
        Self { version: VERSION, stopped: BTreeSet::new(), crash_loop: None, history: Vec::new() }
    }
}

/// Why a state file cannot be used.
#[derive(Debug)]
pub enum Trouble {
    /// A newer pools-manager has written it, in this version of the format.
    Newer(u64),
    /// It is damaged, or not a state file.
    Bad(String),
    /// It cannot be read.
    Unreadable(io::Error),
}

impl Trouble {
    /// The error of a command that needs the file.
    pub fn into_error(self, path: &Path) -> Error {
        let path = path.display();
        match self {
            Self::Newer(version) => Error::failed(format!(
                "{path} was written by a newer pools-manager (version {version} of the format)"
            ))
            .hint("use the newer pools-manager; this one does not change the file"),
            Self::Bad(why) => Error::failed(format!("{path} is no state file: {why}"))
                .hint("the next rollout moves it away, and begins a new history"),
            Self::Unreadable(error) => Error::failed(format!("cannot read {path}: {error}")),
        }
    }
}

/// The part that a file has in every version.
#[derive(Deserialize)]
struct Versioned {
    version: u64,
}

impl State {
    /// Reads the file. If it does not exist, the state is empty.
    pub fn read(path: &Path) -> Result<Self, Trouble> {
        let metadata = match fs::symlink_metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            metadata => metadata.map_err(Trouble::Unreadable)?,
        };
        if !metadata.is_file() {
            return Err(Trouble::Bad("it is not a regular file".to_owned()));
        }
        if metadata.len() > BYTES_MAX {
            return Err(Trouble::Bad(format!("it has {} bytes", metadata.len())));
        }
        let mut bytes = Vec::new();
        // The file may have been replaced since: these options follow no link and do not block on a
        // FIFO.
        file::options()
            .read(true)
            .open(path)
            .and_then(|file| file.take(BYTES_MAX).read_to_end(&mut bytes))
            .map_err(Trouble::Unreadable)?;
        Self::parse(&bytes)
    }

    /// Adds a rollout, and removes the oldest ones above the limit.
    pub fn add(&mut self, entry: Entry) {
        self.history.push(entry);
        let surplus = self.history.len().saturating_sub(ENTRIES_MAX);
        self.history.drain(..surplus);
    }

    /// Removes the newest rollout, if it is this one.
    pub fn take_back(&mut self, entry: &Entry) {
        self.history.pop_if(|newest| newest == entry);
    }

    fn parse(bytes: &[u8]) -> Result<Self, Trouble> {
        let bad = |error: serde_json::Error| Trouble::Bad(error.to_string());
        match serde_json::from_slice(bytes).map_err(bad)? {
            Versioned { version: VERSION } => serde_json::from_slice(bytes).map_err(bad),
            Versioned { version: 0 } => Err(Trouble::Bad("it has no such version as 0".to_owned())),
            Versioned { version } => Err(Trouble::Newer(version)),
        }
    }

    /// Writes the file: a reader finds the old one or the new one, also after a crash of the
    /// machine. The directory is not synced, so a crash may restore the old one: a rollout writes
    /// twice, and each sync takes 2 ms.
    fn write(&self, path: &Path) -> io::Result<()> {
        let new = with_suffix(path, ".new");
        file::remove(&new)?;
        let written = self.write_new(&new);
        failpoint::hit("the history written, not in its place");
        let written = written.and_then(|()| fs::rename(&new, path));
        if written.is_err() {
            let _ = file::remove(&new);
        }
        written
    }

    fn write_new(&self, new: &Path) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        // create_new: a link that another user creates there is not followed.
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(new)?;
        file.write_all(&text)?;
        file.sync_all()
    }
}

/// Changes the stored state of a pool, under the pool's lock. Returns a warning for the operator,
/// if there is one. The error says why the state could not be stored. An unchanged state is not
/// written.
pub fn change(
    _held: &Lock,
    path: &Path,
    change: impl FnOnce(&mut State),
) -> Result<Option<String>, String> {
    let (before, warning) = match State::read(path) {
        Ok(state) => (state, None),
        Err(Trouble::Bad(why)) => {
            let what = format!("{} is no state file ({why})", path.display());
            let moved_to = move_away(path)
                .map_err(|error| format!("{what}, and cannot be moved away: {error}"))?;
            (State::default(), Some(format!("{what}: it is now {}", moved_to.display())))
        }
        Err(trouble) => return Err(trouble.into_error(path).message),
    };
    let mut after = before.clone();
    change(&mut after);
    if after != before {
        after.write(path).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(warning)
}

/// Renames a damaged state file, so that its content is not lost.
fn move_away(path: &Path) -> io::Result<PathBuf> {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let stamp = format!(".bad-{}", now.replace(['-', ':'], ""));
    // Only the holder of the lock creates these names.
    let suffixes = std::iter::once(stamp.clone()).chain((2..).map(|n| format!("{stamp}.{n}")));
    let mut names = suffixes.map(|suffix| with_suffix(path, &suffix));
    let is_free = |name: &PathBuf| matches!(fs::symlink_metadata(name), Err(error) if error.kind() == ErrorKind::NotFound);
    let free = names.by_ref().take(1000).find(is_free).ok_or(ErrorKind::AlreadyExists)?;
    fs::rename(path, &free)?;
    Ok(free)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests;
