//! The routing table: what a pool serves at one moment.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::lookup::Lookup;
use super::refusal::Refusal;
use super::since::Since;
use crate::release::Release;

/// For how long a script is known to be there.
const REMEMBERED: Duration = Duration::from_secs(1);
/// How many scripts are remembered.
const SCRIPTS_MAX: usize = 4096;

/// What a pool serves at one moment. It is never changed, only exchanged; a request keeps the one
/// that it began with.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// The releases that its replicas serve: one; two while it goes from one to the next by
    /// rolling; none while nothing serves.
    pub served: Vec<Arc<Served>>,
}

/// A release, held open: its files are found though its path be moved.
#[derive(Debug)]
pub(super) struct Served {
    /// Which one.
    pub release: Release,
    /// Its directory.
    pub dir: OwnedFd,
    /// What visitors see of it.
    pub document_root: OwnedFd,
    /// The path of that below the release.
    pub below: String,
    /// What tells it from all others in an `ETag`.
    pub tag: String,
    /// The time since which clients get files of no other release.
    pub since: Since,
    /// Scripts that were there when they were last looked for.
    scripts: RwLock<HashMap<String, Instant>>,
}

impl Served {
    /// Opens a release.
    pub(super) fn open(release: &Release, below: &str) -> io::Result<Self> {
        let dir = release.open()?;
        let document_root = Release::open_below(&dir, below)?;
        let mut hasher = DefaultHasher::new();
        (&release.path, release.dev, release.ino).hash(&mut hasher);
        let tag = format!("{:x}", hasher.finish());
        let (release, below) = (release.clone(), below.to_owned());
        let (since, scripts) = (Since::default(), RwLock::default());
        Ok(Self { release, dir, document_root, below, tag, since, scripts })
    }

    /// Whether a script is there, or was a moment ago: a release does not lose its scripts, and
    /// looking costs as much as a tenth of a short request.
    pub(super) fn has_script(&self, lookup: Lookup, path: &str) -> Result<bool, Refusal> {
        let known = self.scripts.read().unwrap_or_else(PoisonError::into_inner);
        if known.get(path).is_some_and(|seen| seen.elapsed() < REMEMBERED) {
            return Ok(true);
        }
        drop(known);
        let is_there = lookup.is_file(&self.document_root, path)?;
        if is_there {
            let mut known = self.scripts.write().unwrap_or_else(PoisonError::into_inner);
            if known.len() >= SCRIPTS_MAX {
                known.clear();
            }
            known.insert(path.to_owned(), Instant::now());
        }
        Ok(is_there)
    }
}
