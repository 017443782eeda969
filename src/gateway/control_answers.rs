//! The answers of a gateway to commands.
//!
//! A command that has published names uses the current settings of the pool. If the gateway still has
//! other settings, it reloads first. So a command never succeeds while the gateway serves by old settings.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::blocking::run_blocking;
use super::refresh::{Reason, refresh_both};
use super::reload::Reloads;
use super::state::CurrentState;
use super::virtual_host::VirtualHost;
use crate::config::Global;
use crate::control::{PoolState, Request, Response, SettingsState};
use crate::error::Result;
use crate::file::Stamp;
use crate::pool;
use crate::root::Root;

/// The time limit for a reload that a command needs. A command waits for 10 s.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(8);

/// Answers commands.
#[derive(Debug, Clone)]
pub(super) struct ControlAnswers {
    /// The root with the pools.
    pub root: Root,
    /// The global settings at the start.
    pub started: Arc<Global>,
    /// The state of the gateway.
    pub state: Arc<CurrentState>,
    /// Requests reloads.
    pub reloads: Arc<Reloads>,
}

impl ControlAnswers {
    /// Carries out a request. [`Request::Upgrade`] concerns the process, not the gateway: it is refused here.
    pub(super) async fn answer(&self, request: Request) -> Response {
        match request {
            Request::Sync { pool, stamp } => self.sync(&pool, stamp).await,
            Request::Traffic(pool) => self.traffic(&pool).await,
            Request::Show(pool) => self.show(&pool).await,
            Request::Settings => Response::Settings(self.settings().await),
            Request::Upgrade => Response::Failed("this process cannot be replaced".to_owned()),
        }
    }

    async fn sync(&self, pool: &str, stamp: Stamp) -> Response {
        let vhost = match self.up_to_date(pool, stamp).await {
            Ok(Some(vhost)) => vhost,
            // The gateway does not serve the pool.
            Ok(None) => return Response::Done,
            Err(why) => return Response::Failed(why),
        };
        match refresh_both(&self.state, &vhost, Reason::Command).await {
            Ok(()) => Response::Done,
            Err(error) => {
                vhost.request_refresh();
                Response::Failed(error.message)
            }
        }
    }

    /// The virtual host of a pool with the settings that have this stamp. None: the pool has no
    /// `[gateway]`, or is gone.
    async fn up_to_date(
        &self,
        pool: &str,
        stamp: Stamp,
    ) -> std::result::Result<Option<Arc<VirtualHost>>, String> {
        let find = || self.state.get().hosts.of_pool(pool).cloned();
        let before = find();
        if before.as_ref().is_some_and(|vhost| vhost.pool.stamp == stamp) {
            return Ok(before);
        }
        if before.is_none() && !self.is_wanted(pool).await {
            return Ok(None);
        }
        let is_done = timeout(RELOAD_TIMEOUT, self.reloads.reload_by_command()).await.is_ok();
        let what = match find() {
            Some(vhost) if vhost.pool.stamp == stamp => return Ok(Some(vhost)),
            None if is_done && !self.is_wanted(pool).await => return Ok(None),
            _ if is_done => "cannot apply them".to_owned(),
            _ => format!("has not applied them within {RELOAD_TIMEOUT:?}"),
        };
        Err(format!(
            "the settings of the pool \"{pool}\" have changed, and the gateway {what}: see its log"
        ))
    }

    /// Whether the files of a pool, as they are now, have a `[gateway]`.
    async fn is_wanted(&self, pool: &str) -> bool {
        let (root, name) = (self.root.clone(), pool.to_owned());
        let loaded = run_blocking(move || pool::load(&root, &name)).await;
        loaded
            .and_then(|loaded: Result<_>| loaded)
            .is_ok_and(|it| it.settings.backend.gateway().is_some())
    }

    async fn show(&self, pool: &str) -> Response {
        let Some(vhost) = self.state.get().hosts.of_pool(pool).cloned() else {
            return self.not_served(pool).await;
        };
        let (mut replicas, waiting) = vhost.upstream.show();
        let (canary, endpoints) = vhost.canary.show();
        replicas.extend(endpoints);
        let (held, stamp) = (vhost.gate.waiting(), Some(vhost.pool.stamp));
        Response::State(PoolState { replicas, waiting, held, stamp, canary })
    }

    /// The response for a pool without a virtual host. If its files have no `[gateway]`, nothing is to be
    /// done.
    async fn not_served(&self, pool: &str) -> Response {
        if !self.is_wanted(pool).await {
            return Response::Done;
        }
        Response::Failed(format!(
            "the gateway does not serve the pool \"{pool}\": send it SIGHUP, so that it reads its configuration again, and look into its log"
        ))
    }

    /// Applies the hold and the maintenance of a pool, as its file has them. They apply to every request
    /// that begins after the return.
    async fn traffic(&self, pool: &str) -> Response {
        let Some(vhost) = self.state.get().hosts.of_pool(pool).cloned() else {
            return self.not_served(pool).await;
        };
        let file = vhost.pool.traffic_file();
        let read = run_blocking(move || vhost.gate.read(&file)).await.and_then(|read| read);
        let applied = match read {
            Ok(()) => self.make_predecessor_read(pool).await,
            failed => failed,
        };
        match applied {
            Ok(()) => Response::Done,
            Err(error) => Response::Failed(error.message),
        }
    }

    /// Makes the process that this one replaces read the file of a pool too: that process reads the file
    /// when it serves the pool again after a pause.
    async fn make_predecessor_read(&self, pool: &str) -> Result<()> {
        let Some(predecessor) = self.state.predecessor() else { return Ok(()) };
        predecessor.pause(pool).await?;
        predecessor.unpause(pool).await
    }

    async fn settings(&self) -> SettingsState {
        let root = self.root.clone();
        let now = run_blocking(move || Global::read(&root)).await.and_then(|read| read);
        let keys = |now: Global| {
            let keys = self.started.gateway_restart_keys(&now).into_iter();
            keys.chain(self.started.serve_restart_keys(&now)).map(str::to_owned).collect()
        };
        SettingsState {
            pid: std::process::id(),
            stamp: self.state.get().stamp,
            listen: self.started.front.all_listen().map(|(listen, _)| listen.to_string()).collect(),
            restart_keys: now.map(keys).unwrap_or_default(),
            user: None,
        }
    }
}
