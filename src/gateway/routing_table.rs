//! The routing table of a pool: the releases that it serves at one moment.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::file_lookup::FileLookup;
use super::http_error::HttpError;
use crate::config::{DocumentRoot, Gateway};
use crate::release::Release;

/// How long a script that was found counts as existing.
const SCRIPT_CACHE_TIME: Duration = Duration::from_secs(1);
/// The number of cached scripts.
const SCRIPT_CACHE_MAX: usize = 4096;

/// What a pool serves at one moment. It is replaced as a whole, and never changed. A request keeps the
/// release by which it was routed.
#[derive(Debug, Default)]
pub(super) struct RoutingTable {
    /// The releases of the endpoints: one; two during a rolling restart; none while nothing runs.
    pub releases: Vec<Arc<ServedRelease>>,
}

/// A release with its directories held open, so that its files are found even if its path is moved.
#[derive(Debug)]
pub(super) struct ServedRelease {
    /// The release.
    pub release: Release,
    /// Its directory.
    pub dir: OwnedFd,
    /// Its document root.
    pub document_root: OwnedFd,
    /// Where the document root is below the release.
    pub root: DocumentRoot,
    /// The path of the document root in PHP's mount namespace.
    pub script_root: String,
    /// Identifies the release in an `ETag`.
    pub tag: String,
    /// The earliest `Last-Modified` of its files.
    pub exclusive_since: ExclusiveSince,
    /// The scripts that were found, and when.
    scripts: RwLock<HashMap<String, Instant>>,
}

impl ServedRelease {
    /// Opens a release, with the document root that it has by these settings. `release_dir`: its path in
    /// PHP's mount namespace.
    pub(super) fn open(
        release: &Release,
        settings: &Gateway,
        release_dir: &str,
    ) -> io::Result<Self> {
        let dir = release.open()?;
        let root = settings.document_root(&dir);
        let document_root = Release::open_below(&dir, &root.below)?;
        let script_root = match root.below.as_str() {
            "" => release_dir.to_owned(),
            below => format!("{release_dir}/{below}"),
        };
        let mut hasher = DefaultHasher::new();
        (&release.path, release.dev, release.ino).hash(&mut hasher);
        let tag = format!("{:x}", hasher.finish());
        let release = release.clone();
        let (exclusive_since, scripts) = (ExclusiveSince::default(), RwLock::default());
        Ok(Self { release, dir, document_root, root, script_root, tag, exclusive_since, scripts })
    }

    /// Whether both are the same release with the same document root.
    pub(super) fn is_as(&self, other: &Self) -> bool {
        self.release == other.release
            && self.root == other.root
            && self.script_root == other.script_root
    }

    /// Whether a script exists. The result may be [`SCRIPT_CACHE_TIME`] old: scripts of a release are
    /// seldom deleted, and the lookup costs a tenth of a short request.
    pub(super) fn has_script(&self, lookup: FileLookup, path: &str) -> Result<bool, HttpError> {
        let known = self.scripts.read().unwrap_or_else(PoisonError::into_inner);
        if known.get(path).is_some_and(|found| found.elapsed() < SCRIPT_CACHE_TIME) {
            return Ok(true);
        }
        drop(known);
        let exists = lookup.is_file(&self.document_root, path)?;
        if exists {
            let mut known = self.scripts.write().unwrap_or_else(PoisonError::into_inner);
            if known.len() >= SCRIPT_CACHE_MAX {
                known.clear();
            }
            known.insert(path.to_owned(), Instant::now());
        }
        Ok(exists)
    }
}

/// The first second, since 1970, in which clients get files of this release only.
#[derive(Debug)]
pub(super) struct ExclusiveSince(AtomicU64);

impl ExclusiveSince {
    /// The value while clients get files of several releases, or the time is not known.
    pub(super) const UNKNOWN: u64 = u64::MAX;

    /// The second, or [`Self::UNKNOWN`].
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Sets the second.
    pub(super) fn set(&self, seconds: u64) {
        self.0.store(seconds, Ordering::Relaxed);
    }
}

impl Default for ExclusiveSince {
    fn default() -> Self {
        Self(AtomicU64::new(Self::UNKNOWN))
    }
}
