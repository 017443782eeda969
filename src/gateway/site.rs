//! A pool as the gateway serves it.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, OwnedMutexGuard};

use super::sync::LeftOut;
use super::upstream::Upstream;
use crate::config;
use crate::error::{Error, Result};
use crate::pool::Pool;

/// A pool that the gateway serves, with the settings of one reading of its files.
#[derive(Debug)]
pub(super) struct Site {
    /// The pool.
    pub pool: Arc<Pool>,
    /// Its `[gateway]`.
    pub settings: config::Gateway,
    /// Its replicas. A site with newer settings has the same.
    pub upstream: Arc<Upstream>,
    /// The document root as PHP sees it.
    pub document_root: String,
    /// The directory of the release as PHP sees it.
    pub release_dir: String,
    /// How it is looked at what serves. A site with newer settings has the same.
    pub watch: Arc<Watch>,
}

/// When it is looked at what serves, and what came of it.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// One at a time looks.
    turn: Arc<tokio::sync::Mutex<LeftOut>>,
    doubt: Notify,
    /// Why the last look has failed.
    broken: Mutex<Option<String>>,
}

impl Site {
    /// A pool that has a `[gateway]`; None: it is not the gateway's. `before` is the same pool as it
    /// was configured before.
    pub(super) fn of(pool: Pool, before: Option<&Self>) -> Result<Option<Arc<Self>>> {
        let Some(settings) = pool.settings.backend.gateway().cloned() else { return Ok(None) };
        let dir = match pool.settings.current_dir() {
            Some(current_dir) => current_dir,
            None => pool.root.path(),
        };
        let Some(release_dir) = dir.to_str().map(str::to_owned) else {
            return Err(Error::config(format!("the path {} is not UTF-8", dir.display())));
        };
        let document_root = match settings.document_root.get_ref().as_str() {
            "" => release_dir.clone(),
            below => format!("{release_dir}/{below}"),
        };
        let (upstream, watch) = match before {
            Some(before) => (Arc::clone(&before.upstream), Arc::clone(&before.watch)),
            None => (Upstream::new(&settings), Arc::default()),
        };
        let pool = Arc::new(pool);
        Ok(Some(Arc::new(Self { pool, settings, upstream, document_root, release_dir, watch })))
    }

    /// A replica could not be connected to: what serves is to be looked at again.
    pub(super) fn doubt(&self) {
        self.watch.doubt.notify_one();
    }

    /// Whether nothing of it can be served before somebody mends something.
    pub(super) fn is_broken(&self) -> bool {
        self.upstream.table().served.is_empty() && self.watch.is_broken()
    }
}

impl Watch {
    /// The right to look, and what the last look has left out.
    pub(super) async fn turn(&self) -> OwnedMutexGuard<LeftOut> {
        Arc::clone(&self.turn).lock_owned().await
    }

    /// Waits until there is reason to look again.
    pub(super) async fn doubted(&self) {
        self.doubt.notified().await;
    }

    /// Whether the last look has failed.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Notes why a look has failed, and logs it where that is new.
    pub(super) fn is_wrong(&self, pool: &str, error: &Error) {
        let error = error.in_one_line();
        let before = self.set(Some(error.clone()));
        if before.as_ref() != Some(&error) {
            tracing::error!("pool \"{pool}\": {error}");
        }
    }

    /// Notes that a look has not failed, and logs it where that is new.
    pub(super) fn is_right(&self, pool: &str) {
        if self.set(None).is_some() {
            tracing::info!("pool \"{pool}\": it is in order again");
        }
    }

    fn set(&self, broken: Option<String>) -> Option<String> {
        let mut now = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *now, broken)
    }
}
