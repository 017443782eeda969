//! A virtual host: a pool with a `[gateway]`, under one configuration.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, OwnedMutexGuard};

use super::access::AccessRules;
use super::canary::Canary;
use super::gate::Gate;
use super::kept_assets::KeptAssets;
use super::log_throttle::LogThrottle;
use super::upstream::Upstream;
use crate::config;
use crate::error::{Error, Result};
use crate::pool::{Pool, Protocol};

/// A virtual host. Each configuration has its own.
#[derive(Debug)]
pub(super) struct VirtualHost {
    /// The pool.
    pub pool: Arc<Pool>,
    /// Its `[gateway]`.
    pub settings: config::Gateway,
    /// Its access rules; None: it has none.
    pub access: Option<AccessRules>,
    /// Its endpoints. The virtual host of the next configuration takes them over.
    pub upstream: Arc<Upstream>,
    /// Where its requests wait during a hold. The virtual host of the next configuration takes it over.
    pub gate: Arc<Gate>,
    /// The releases whose assets are kept. The virtual host of the next configuration takes them over.
    pub kept_assets: Arc<KeptAssets>,
    /// The canary by share. The virtual host of the next configuration takes it over.
    pub canary: Arc<Canary>,
    /// The path of the release in PHP's mount namespace.
    pub release_dir: String,
    /// For log lines about error pages that cannot be sent.
    pub left_out_pages: LogThrottle,
    /// Whether its servers speak HTTP, not FastCGI.
    pub speaks_http: bool,
    /// The state of the refreshes of its endpoints. The virtual host of the next configuration takes it over.
    pub refresh: Arc<RefreshState>,
}

/// The private sockets of running replicas that cannot be served.
pub(super) type Unservable = Vec<PathBuf>;

/// The requests for refreshes of the endpoints of a pool, and the result of the last refresh.
#[derive(Debug, Default)]
pub(super) struct RefreshState {
    /// Allows one refresh at a time.
    turn: Arc<tokio::sync::Mutex<Unservable>>,
    requested: Notify,
    /// The error of the last refresh.
    error: Mutex<Option<String>>,
}

impl VirtualHost {
    /// The virtual host of a pool; None: the pool has no `[gateway]`. `before`: the virtual host of the
    /// previous configuration.
    pub(super) fn of(pool: Pool, before: Option<&Self>) -> Result<Option<Arc<Self>>> {
        let Some(settings) = pool.settings.backend.gateway().cloned() else { return Ok(None) };
        let dir = match pool.settings.current_dir() {
            Some(current_dir) => current_dir,
            None => pool.root.path(),
        };
        let Some(release_dir) = dir.to_str().map(str::to_owned) else {
            return Err(Error::config(format!("the path {} is not UTF-8", dir.display())));
        };
        let (upstream, refresh, kept_assets) = match before {
            Some(before) => {
                let kept_assets = Arc::clone(&before.kept_assets);
                (Arc::clone(&before.upstream), Arc::clone(&before.refresh), kept_assets)
            }
            None => (Upstream::new(&settings), Arc::default(), Arc::default()),
        };
        let gate = match before {
            Some(before) => Arc::clone(&before.gate),
            None => Gate::new(&pool.name, &upstream, settings.hold_queue),
        };
        let canary = before.map(|before| Arc::clone(&before.canary)).unwrap_or_default();
        let access = AccessRules::of(&pool, &settings, before.and_then(|it| it.access.as_ref()))?;
        let pool = Arc::new(pool);
        let speaks_http =
            pool.settings.command().is_some_and(|command| command.protocol == Protocol::Http);
        Ok(Some(Arc::new(Self {
            pool,
            settings,
            access,
            upstream,
            gate,
            kept_assets,
            canary,
            release_dir,
            left_out_pages: LogThrottle::default(),
            speaks_http,
            refresh,
        })))
    }

    /// Whether both find the document root of a release in the same way.
    pub(super) fn has_document_root_of(&self, other: &Self) -> bool {
        let (a, b) = (&self.settings, &other.settings);
        self.release_dir == other.release_dir
            && a.configured_root() == b.configured_root()
            && a.front_controller.get_ref() == b.front_controller.get_ref()
            && a.index.get_ref() == b.index.get_ref()
            && a.scripts.get_ref() == b.scripts.get_ref()
            && a.deny_defaults == b.deny_defaults
    }

    /// Requests a refresh of the endpoints.
    pub(super) fn request_refresh(&self) {
        self.refresh.request();
    }

    /// Whether nothing can be served until an operator corrects an error.
    pub(super) fn is_broken(&self) -> bool {
        self.upstream.table().releases.is_empty() && self.refresh.has_failed()
    }
}

impl RefreshState {
    /// Waits until no other refresh runs. No other refresh begins while the guard exists. The guard contains
    /// the replicas that the last refresh could not serve.
    pub(super) async fn turn(&self) -> OwnedMutexGuard<Unservable> {
        Arc::clone(&self.turn).lock_owned().await
    }

    /// Requests a refresh.
    pub(super) fn request(&self) {
        self.requested.notify_one();
    }

    /// Waits until a refresh is requested.
    pub(super) async fn requested(&self) {
        self.requested.notified().await;
    }

    /// Whether the last refresh failed.
    pub(super) fn has_failed(&self) -> bool {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Records the error of a refresh, and logs it if it is new.
    pub(super) fn failed(&self, pool: &str, error: &Error) {
        let error = error.in_one_line();
        let before = self.set(Some(error.clone()));
        if before.as_ref() != Some(&error) {
            tracing::error!(pool = %pool, "{error}");
        }
    }

    /// Records that a refresh succeeded, and logs that if the last one failed.
    pub(super) fn succeeded(&self, pool: &str) {
        if self.set(None).is_some() {
            tracing::info!(pool = %pool, "it can be served again");
        }
    }

    fn set(&self, error: Option<String>) -> Option<String> {
        let mut current = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *current, error)
    }
}
