//! The state file of a pool, `pid/POOL.state.json`: what cannot be read back from the system.
//!
//! What runs is asked of the kernel each time; only the history of rollouts, and which replicas the
//! operator has stopped, has to be remembered. The file is written whole, fsynced, and renamed into
//! place, by whoever holds the pool's lock. A file that makes no sense is set aside, never
//! overwritten.

mod entry;

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

pub use entry::{Entry, Outcome};

use crate::error::Error;
use crate::failpoint;
use crate::file;
use crate::lock::Lock;

/// The version of the file's format that this program writes.
const VERSION: u64 = 1;

/// How many rollouts are remembered: a year of working days.
const ENTRIES_MAX: usize = 200;

/// Far more than so many entries take: a larger file is not ours.
const BYTES_MAX: u64 = 8 << 20;

/// What is remembered of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    version: u64,
    /// The replicas that the operator has stopped, and not started again.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub stopped: BTreeSet<u32>,
    /// Its rollouts, the newest last.
    pub history: Vec<Entry>,
}

impl Default for State {
    fn default() -> Self {
        Self { version: VERSION, stopped: BTreeSet::new(), history: Vec::new() }
    }
}

/// Why a state file cannot be used.
#[derive(Debug)]
pub enum Trouble {
    /// A newer program has written it, in this version of the format.
    Newer(u64),
    /// It is not what this program has written.
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
            .hint("use that one; this one leaves the file as it is"),
            Self::Bad(why) => Error::failed(format!("{path} is no state file: {why}"))
                .hint("the next rollout sets it aside, and begins a new history"),
            Self::Unreadable(error) => Error::failed(format!("cannot read {path}: {error}")),
        }
    }
}

/// Only what a file must have in every version.
#[derive(Deserialize)]
struct Versioned {
    version: u64,
}

impl State {
    /// Reads the file; one that is absent remembers nothing.
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
        // It may have been replaced since: nothing is followed, and no FIFO is waited for.
        file::options()
            .read(true)
            .open(path)
            .and_then(|file| file.take(BYTES_MAX).read_to_end(&mut bytes))
            .map_err(Trouble::Unreadable)?;
        Self::parse(&bytes)
    }

    /// Adds a rollout, and forgets the oldest ones.
    pub fn add(&mut self, entry: Entry) {
        self.history.push(entry);
        let surplus = self.history.len().saturating_sub(ENTRIES_MAX);
        self.history.drain(..surplus);
    }

    /// Forgets the newest rollout, if it is this one.
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
    /// machine. Which of them is not waited for: a rollout writes twice, and each wait takes 2 ms.
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
        // Only a file that did not exist: a link that somebody puts there is not followed.
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(new)?;
        file.write_all(&text)?;
        file.sync_all()
    }
}

/// Changes what is remembered of the pool whose lock is held, and says what the operator should know
/// of it; or why nothing is remembered. Nothing is written where nothing has changed.
pub fn change(
    _held: &Lock,
    path: &Path,
    change: impl FnOnce(&mut State),
) -> Result<Option<String>, String> {
    let (before, warning) = match State::read(path) {
        Ok(state) => (state, None),
        Err(Trouble::Bad(why)) => {
            let what = format!("{} is no state file ({why})", path.display());
            let aside = set_aside(path)
                .map_err(|error| format!("{what}, and cannot be set aside: {error}"))?;
            (State::default(), Some(format!("{what}: it is now {}", aside.display())))
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

/// Renames what stands in the place of the state file, so that nothing of it is lost.
fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let stamp = format!(".bad-{}", now.replace(['-', ':'], ""));
    // Whoever holds the lock is the only one who makes these names.
    let suffixes = std::iter::once(stamp.clone()).chain((2..).map(|n| format!("{stamp}.{n}")));
    let mut names = suffixes.map(|suffix| with_suffix(path, &suffix));
    let is_free = |name: &PathBuf| matches!(fs::symlink_metadata(name), Err(error) if error.kind() == ErrorKind::NotFound);
    let aside = names.by_ref().take(1000).find(is_free).ok_or(ErrorKind::AlreadyExists)?;
    fs::rename(path, &aside)?;
    Ok(aside)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests;
