//! The routing table: what a pool serves at one moment.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, open, openat};

use crate::release::Release;

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
    /// What tells it from all others in an `ETag`.
    pub tag: String,
}

impl Served {
    /// Opens a release.
    pub(super) fn open(release: &Release, document_root: &str) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = open(&release.path, flags, Mode::empty())?;
        let found = Release::of(&dir, &release.path)?;
        if found != *release {
            return Err(io::Error::other("another directory has its name now"));
        }
        let root = if document_root.is_empty() { "." } else { document_root };
        let document_root = openat(&dir, root, flags, Mode::empty())?;
        let mut hasher = DefaultHasher::new();
        (&release.path, release.dev, release.ino).hash(&mut hasher);
        let tag = format!("{:x}", hasher.finish());
        Ok(Self { release: release.clone(), dir, document_root, tag })
    }
}
