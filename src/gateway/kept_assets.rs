//! Assets of releases that were replaced (`keep_assets`). A browser may load a page before a release switch,
//! and request the scripts, styles and images of this page after the switch.
//!
//! An asset is a file whose name has an extension, whose media type is not HTML, and which is no code. A file
//! is looked up in other releases only if the routed release does not have it: first in the releases that the
//! pool serves at the moment (during a rolling restart or beside a canary), then in those that the pool
//! served within `keep_assets`, the newest first. So a new page and all of its assets come from the new release.
//!
//! The gateway records a release when it replaces the routing table. After a start, it reads the releases
//! from the history of the pool. Their directories are held open. A release that is removed has no files any
//! more, and takes no space.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use hyper::Method;

use super::file_lookup::{FileLookup, Found, OpenFile};
use super::http_error::HttpError;
use super::routing_table::ServedRelease;
use super::static_file::is_page;
use super::url_path::UrlPath;
use crate::config::{Gateway, is_code};
use crate::release::Release;
use crate::state::{Entry, State};

/// The most releases that are kept: each takes two descriptors.
const RELEASES_MAX: usize = 16;

/// The releases that a pool served before.
#[derive(Debug, Default)]
pub(super) struct KeptAssets {
    /// The newest first.
    past: ArcSwap<Vec<Past>>,
    /// The history of the pool was read.
    has_history: AtomicBool,
}

/// A release that was replaced.
#[derive(Debug, Clone)]
struct Past {
    served: Arc<ServedRelease>,
    until: SystemTime,
}

impl Past {
    /// A time in the future counts as now: the clock has been set back since.
    fn is_within(&self, time: Duration) -> bool {
        self.until.elapsed().unwrap_or_default() < time
    }
}

/// An asset, and the release that it belongs to.
#[derive(Debug)]
pub(super) struct Asset {
    pub served: Arc<ServedRelease>,
    pub file: OpenFile,
}

impl KeptAssets {
    /// Notes which releases are replaced. To be called before the next table is used. Calls must not overlap.
    ///
    /// - `before`, `now`: the releases of the current and of the next table
    /// - `history`: the state file of the pool
    pub(super) fn update(
        &self,
        settings: &Gateway,
        before: &[Arc<ServedRelease>],
        now: &[&Arc<ServedRelease>],
        history: impl FnOnce() -> PathBuf,
    ) {
        let time = settings.keep_assets;
        if time.is_zero() {
            self.past.store(Arc::default());
            self.has_history.store(false, Ordering::Relaxed);
            return;
        }
        let until = SystemTime::now();
        let replaced = before.iter().map(|served| Past { served: Arc::clone(served), until });
        let mut all: Vec<Past> = replaced.chain(self.past.load().iter().cloned()).collect();
        if !self.has_history.swap(true, Ordering::Relaxed) {
            let entries = State::read(&history()).unwrap_or_default().history;
            all.extend(from_history(&entries, settings));
        }
        let mut past: Vec<Past> = Vec::new();
        for it in all {
            let is_it = |other: &Arc<ServedRelease>| other.release == it.served.release;
            let is_known = past.iter().any(|other| is_it(&other.served));
            let is_live = now.iter().any(|other| is_it(other));
            // With another document root, the same paths name other files.
            let is_root_same = settings.document_root(&it.served.dir).below == it.served.root.below;
            if !is_known && !is_live && is_root_same && it.is_within(time) {
                past.push(it);
            }
        }
        past.truncate(RELEASES_MAX);
        self.past.store(Arc::new(past));
    }

    /// Closes the releases whose time is over. To be called regularly.
    pub(super) fn close_stale(&self, settings: &Gateway) {
        let past = self.past.load();
        if past.iter().any(|it| !it.is_within(settings.keep_assets)) {
            let left = past.iter().filter(|it| it.is_within(settings.keep_assets));
            let left = Arc::new(left.cloned().collect());
            // If another thread has replaced the list meanwhile, that later list stays.
            self.past.compare_and_swap(&past, left);
        }
    }

    /// The asset that a path names in another release than the routed one. `live`: the releases that the
    /// pool serves now; `canary`: the release of its canary.
    pub(super) fn find(
        &self,
        settings: &Gateway,
        live: &[Arc<ServedRelease>],
        canary: Option<&Arc<ServedRelease>>,
        routed: &ServedRelease,
        method: &Method,
        path: &UrlPath,
    ) -> Result<Option<Asset>, HttpError> {
        let may_be_file = matches!(*method, Method::GET | Method::HEAD) && !path.is_directory;
        if settings.keep_assets.is_zero() || !may_be_file || path.is_hidden() {
            return Ok(None);
        }
        let name = String::from_utf8_lossy(path.relative());
        if !is_asset(settings, &name) || settings.denies(&name) {
            return Ok(None);
        }
        let lookup = FileLookup { follow_symlinks: settings.follow_symlinks };
        let live = live.iter().chain(canary).filter(|it| it.release != routed.release);
        let past = self.past.load();
        let past = past.iter().filter(|it| it.is_within(settings.keep_assets)).map(|it| &it.served);
        let allows =
            |served: &&Arc<ServedRelease>| !settings.denies_by_default(&served.root, &name);
        for served in live.chain(past).filter(allows) {
            if let Found::File(file, stat) = lookup.open(&served.document_root, path.relative())? {
                let file = OpenFile { path: name.clone().into_owned(), file, stat };
                return Ok(Some(Asset { served: Arc::clone(served), file }));
            }
        }
        Ok(None)
    }
}

fn is_asset(settings: &Gateway, path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let has_extension = name.rsplit_once('.').is_some_and(|(_, it)| !it.is_empty());
    has_extension && !is_code(path) && !is_page(settings, path)
}

/// The releases of the rollouts that ended within `keep_assets`, the newest first. Both releases of a rollout,
/// the old one and the new one, count as served until its end: it may not have kept the new one.
fn from_history(entries: &[Entry], settings: &Gateway) -> Vec<Past> {
    let past = |entry: &Entry| {
        let begun = humantime::parse_rfc3339(&entry.when).ok();
        let Some(until) = begun.and_then(|it| it.checked_add(Duration::from_millis(entry.ms)))
        else {
            return Vec::new();
        };
        let releases = [&entry.to, &entry.from].into_iter().flatten();
        let open = |path: &PathBuf| {
            let release = Release::at(path).ok()?;
            // No script of it runs, so its path for PHP is not needed.
            let served = Arc::new(ServedRelease::open(&release, settings, "").ok()?);
            Some(Past { served, until }).filter(|it| it.is_within(settings.keep_assets))
        };
        releases.filter_map(open).collect()
    };
    entries.iter().rev().take(RELEASES_MAX).flat_map(past).collect()
}

#[cfg(test)]
mod tests;
