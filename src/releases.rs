//! `releases`: the release directories of a pool, and the generations that use them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::lock;
use crate::pool::{Pinning, Pool};
use crate::process;
use crate::release::{self, Pinned, Release};
use crate::rollout::{SpecQuery, observe};
use crate::runtime::{self, Running};
use crate::step::GenerationId;

/// How many times the pool is observed at most. It is observed again if a generation ends meanwhile.
const ATTEMPTS: usize = 8;

/// The release directories of one pool.
#[derive(Debug, Serialize)]
pub struct Releases {
    /// The pool's name.
    pub pool: String,
    /// The directories in use, then their siblings.
    pub releases: Vec<Directory>,
}

/// One release directory.
#[derive(Debug, Serialize)]
pub struct Directory {
    /// Its path; if it was deleted, its last path.
    pub path: PathBuf,
    /// Whether `current_release_symlink` names it.
    pub current: bool,
    /// Whether it was deleted while it was in use.
    pub deleted: bool,
    /// Whether it must not be removed.
    pub in_use: bool,
    /// The generations that use it: those that run and, during a rollout, those that the rollout is
    /// about to start or may have to start again.
    pub generations: Vec<GenerationId>,
    #[serde(skip)]
    release: Option<Release>,
}

/// Observes a pool, and lists its release directories.
pub async fn releases(pool: &Arc<Pool>) -> Result<Releases> {
    let Some(Pinning { symlink, current_dir, .. }) = &pool.settings.pinning else {
        return Err(Error::config(format!("the pool \"{}\" pins no releases", pool.name))
            .hint("set current_release_symlink and current_dir in its [php] or [command]"));
    };
    let mut found = Found::default();
    // The symlink is resolved before and after the observation: a rollout that begins meanwhile
    // uses one of these two releases.
    let current = Release::resolve(symlink);
    if let Ok(release) = &current {
        found.of(release).current = true;
    }
    for (id, pinned) in pins(pool, current_dir).await? {
        match pinned {
            Pinned::Release(release) => found.of(&release).generations.push(id),
            Pinned::Deleted(path) => found.deleted(&path).generations.push(id),
            Pinned::Nothing => {}
        }
    }
    if let Ok(release) = Release::resolve(symlink) {
        found.of(&release).current = true;
    }
    for directory in &mut found.0 {
        directory.in_use = true;
    }
    let beside = release::parent_of_current(symlink)?;
    for sibling in siblings(&beside, current_dir) {
        found.of(&sibling);
    }
    Ok(Releases { pool: pool.name.clone(), releases: found.0 })
}

#[derive(Default)]
struct Found(Vec<Directory>);

impl Found {
    fn of(&mut self, release: &Release) -> &mut Directory {
        let known = self.0.iter().position(|it| it.release.as_ref() == Some(release));
        self.at(known, &release.path, Some(release.clone()))
    }

    fn deleted(&mut self, path: &Path) -> &mut Directory {
        let known = self.0.iter().position(|it| it.deleted && it.path == path);
        let directory = self.at(known, path, None);
        directory.deleted = true;
        directory
    }

    fn at(&mut self, known: Option<usize>, path: &Path, is: Option<Release>) -> &mut Directory {
        let at = known.unwrap_or_else(|| {
            self.0.push(Directory {
                path: path.to_owned(),
                current: false,
                deleted: false,
                in_use: false,
                generations: Vec::new(),
                release: is,
            });
            self.0.len() - 1
        });
        &mut self.0[at]
    }
}

/// The release of each generation. Fails if one cannot be read: a script must not remove a release
/// because of a failed read.
async fn pins(pool: &Arc<Pool>, current_dir: &Path) -> Result<Vec<(GenerationId, Pinned)>> {
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let under_way = lock::holder(&pool.lock_file()).is_some();
        // Records are read first: a generation that is about to start has a record, but does not
        // listen yet.
        let records = if under_way { runtime::discover(pool)? } else { Vec::new() };
        let observation = observe(pool, async { Ok(Vec::new()) }, SpecQuery::default()).await?;
        let running = observation.replicas.iter().flat_map(|replica| &replica.running);
        let mut pins = Vec::new();
        last = None;
        for running in running {
            let generation = &running.generation;
            let id = generation.id();
            match seen_by(running, current_dir) {
                Some(pinned) => pins.push((id, pinned)),
                None => last = Some(id),
            }
        }
        for record in records {
            let id = record.id();
            let seen = pins.iter().any(|(running, _)| *running == id);
            if let Some(release) = record.release.filter(|it| !seen && it.still_exists()) {
                pins.push((id, Pinned::Release(release)));
            }
        }
        if last.is_none() {
            return Ok(pins);
        }
    }
    let who = last.map(|id| id.to_string()).unwrap_or_default();
    Err(Error::failed(format!("cannot read the release of {who}"))
        .hint("run pools-manager as the user who started it, or as root"))
}

/// What a generation sees, read from its master or, if that is dead, from its children.
fn seen_by(running: &Running, current_dir: &Path) -> Option<Pinned> {
    running.pinned(current_dir).or_else(|| {
        let children = process::holders(&running.sockets).ok()?.children;
        children.iter().find_map(|child| release::pinned_by(child.pid(), current_dir).ok())
    })
}

/// The directories beside the current release, sorted; without symlinks, hidden directories, and
/// the mount point.
fn siblings(parent: &Path, current_dir: &Path) -> Vec<Release> {
    let mount_point = Release::at(current_dir).ok();
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let visible = entries.filter(|entry| {
        let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        !is_hidden && entry.file_type().is_ok_and(|kind| kind.is_dir())
    });
    let mut found: Vec<Release> =
        visible.filter_map(|entry| Release::at(&entry.path()).ok()).collect();
    found.retain(|release| Some(release) != mount_point.as_ref());
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}
