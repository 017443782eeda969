//! The target release of a rollout.

mod before;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::observe::{SpecQuery, observe};
use super::refusals::Current;
use super::repair;
use crate::error::{Error, Result};
use crate::pool::{Pinning, Pool};
use crate::release::{self, Release};
use crate::state::State;

/// The target of a rollout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The release that the symlink names.
    Current,
    /// This directory; the rollout moves the symlink to it. A bare name is a sibling of the release
    /// that the symlink names. If there is no symlink yet, a bare name is a sibling of the symlink's
    /// own path.
    Release(PathBuf),
    /// The release that the replicas serve; the symlink stays.
    Kept,
    /// The previous release, from the history; the rollout moves the symlink to it.
    Before,
}

impl Target {
    /// Whether the rollout moves the symlink.
    pub(super) fn moves_symlink(&self) -> bool {
        matches!(self, Self::Release(_) | Self::Before)
    }

    /// The release's real directory; None: releases are not pinned.
    pub(super) async fn resolve(&self, pool: &Arc<Pool>) -> Result<Option<Release>> {
        let Some(pinning @ Pinning { symlink, current_dir, .. }) = &pool.settings.pinning else {
            return match self {
                Self::Current | Self::Kept => Ok(None),
                Self::Release(_) | Self::Before => Err(pins_none(pool)),
            };
        };
        if *self == Self::Current {
            return Current::read(pinning).accepted().map(Some);
        }
        release::check_mount_point(current_dir)?;
        let release = match self {
            Self::Current => Release::resolve(symlink),
            Self::Release(path) => named(symlink, current_dir, path),
            Self::Kept => repair::kept(pool, symlink, current_dir).await,
            Self::Before => before(pool, symlink, current_dir).await,
        }?;
        release.check(current_dir)?;
        pinning.siblings(&release)?;
        Ok(Some(release))
    }
}

fn pins_none(pool: &Pool) -> Error {
    Error::config(format!("the pool \"{}\" pins no releases, so it cannot switch", pool.name))
        .hint("set current_release_symlink and current_dir in its [php] or [command]")
}

fn named(symlink: &Path, current_dir: &Path, path: &Path) -> Result<Release> {
    let dir = if release::is_missing(symlink) {
        symlink.parent().unwrap_or(Path::new("/")).to_owned()
    } else {
        release::parent_of_current(symlink)?
    };
    let path = dir.join(path);
    let real = fs::canonicalize(&path).map_err(|error| {
        Error::config(format!("the release {}: {error}", path.display())).hint(
            "a bare name is a sibling of the present release, or of the symlink before the first deploy; write ./NAME for one in the working directory",
        )
    })?;
    let found = Release::at(&real)?;
    if Release::at(current_dir).is_ok_and(|mount_point| mount_point == found) {
        return Err(Error::config(format!("{} is current_dir", path.display()))
            .hint("releases are mounted there: it is no release itself"));
    }
    Ok(found)
}

async fn before(pool: &Arc<Pool>, symlink: &Path, current_dir: &Path) -> Result<Release> {
    release::read_link(symlink)?;
    let path = pool.state_file();
    let state = State::read(&path).map_err(|trouble| trouble.into_error(&path))?;
    let seen = observe(pool, async { Ok(Vec::new()) }, SpecQuery::default()).await?;
    let mut runs: Vec<Release> =
        seen.replicas.iter().filter_map(|replica| replica.release(current_dir)).collect();
    if runs.is_empty() {
        runs.extend(Release::resolve(symlink).ok());
    }
    before::before(&state.history, pool.replica_count, &runs).map_err(|skipped| {
        let why = if skipped.is_empty() {
            "the history names none".to_owned()
        } else {
            skipped.join("; ")
        };
        Error::config(format!("the pool \"{}\" has no release to roll back to: {why}", pool.name))
            .hint("name one: pools-manager switch POOL RELEASE")
    })
}
