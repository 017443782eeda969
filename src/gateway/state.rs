//! What the requests of a gateway share: the configuration of the moment, and what belongs to it.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arc_swap::ArcSwap;

use super::access::Verifier;
use super::access_log::AccessLog;
use super::buffer_space::{self, BufferSpace};
use super::host_map::HostMap;
use super::pace::Pace;
use super::replaced::Replaced;
use super::request_body;
use super::request_id::RequestIds;
use super::static_file::Compressor;
use super::tasks::Spawner;
use super::tls::Tls;
use crate::config::{Front, Global};
use crate::file::Stamp;

/// The state of one configuration. A request keeps the state with which it began.
#[derive(Debug)]
pub(super) struct State {
    /// The virtual hosts.
    pub hosts: HostMap,
    /// The global `[gateway]`.
    pub front: Arc<Front>,
    /// The stamp of the global settings.
    pub stamp: Stamp,
    /// Whether the gateway is shutting down.
    pub is_draining: Arc<AtomicBool>,
    /// The limits of request bodies.
    pub body_limits: request_body::Limits,
    /// Buffers for bodies and responses.
    pub buffer_space: Arc<BufferSpace>,
    /// Compresses static files.
    pub compressor: Arc<Compressor>,
    /// Verifies passwords.
    pub verifier: Arc<Verifier>,
    /// The access log; None: there is none.
    pub access_log: Option<Arc<AccessLog>>,
    /// The source of request ids.
    pub request_ids: Arc<RequestIds>,
    /// TLS; None: the gateway has no address for TLS.
    pub tls: Option<Arc<Tls>>,
}

impl State {
    /// The state for the first configuration.
    pub(super) fn new(
        hosts: HostMap,
        global: &Global,
        access_log: Option<Arc<AccessLog>>,
        tls: Option<Arc<Tls>>,
    ) -> Self {
        let (front, stamp) = (global.front.clone(), global.stamp);
        Self {
            hosts,
            body_limits: body_limits(&front),
            buffer_space: BufferSpace::new(front.temp_dir.clone(), buffer_limits(&front)),
            compressor: Compressor::new(front.max_compressed),
            front: Arc::new(front),
            stamp,
            is_draining: Arc::default(),
            verifier: Arc::default(),
            access_log,
            request_ids: Arc::new(RequestIds::new()),
            tls,
        }
    }

    /// The state for the next configuration. Buffers and compressed files are kept, unless their settings
    /// change.
    pub(super) fn next(
        &self,
        hosts: HostMap,
        global: &Global,
        access_log: Option<Arc<AccessLog>>,
    ) -> Self {
        let (front, stamp) = (global.front.clone(), global.stamp);
        let limits = buffer_limits(&front);
        let keeps_space =
            self.front.temp_dir == front.temp_dir && buffer_limits(&self.front) == limits;
        let buffer_space = if keeps_space {
            Arc::clone(&self.buffer_space)
        } else {
            BufferSpace::new(front.temp_dir.clone(), limits)
        };
        let compressor = if self.front.max_compressed == front.max_compressed {
            Arc::clone(&self.compressor)
        } else {
            Compressor::new(front.max_compressed)
        };
        Self {
            hosts,
            body_limits: body_limits(&front),
            buffer_space,
            compressor,
            front: Arc::new(front),
            stamp,
            is_draining: Arc::clone(&self.is_draining),
            verifier: Arc::clone(&self.verifier),
            access_log,
            request_ids: Arc::clone(&self.request_ids),
            tls: self.tls.clone(),
        }
    }
}

fn body_limits(front: &Front) -> request_body::Limits {
    let pace = Pace { timeout: front.body_timeout, min_rate: front.min_rate };
    request_body::Limits { max: front.max_body, pace }
}

fn buffer_limits(front: &Front) -> buffer_space::Limits {
    let (pool, client) = (front.temp_of_pool(), front.temp_of_client());
    buffer_space::Limits { total: front.max_temp, pool, client }
}

/// The current [`State`] of a gateway. A reload replaces it.
#[derive(Debug)]
pub(super) struct CurrentState {
    state: ArcSwap<State>,
    spawner: Spawner,
    /// The process that this one replaces.
    replaced: Option<Replaced>,
}

impl CurrentState {
    /// Background tasks are started by `spawner`.
    pub(super) fn new(state: State, spawner: Spawner, replaced: Option<Replaced>) -> Arc<Self> {
        Arc::new(Self { state: ArcSwap::from_pointee(state), spawner, replaced })
    }

    /// The process that this one replaces, which may still have requests.
    pub(super) fn predecessor(&self) -> Option<&Replaced> {
        self.replaced.as_ref()
    }

    /// The current state.
    pub(super) fn get(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// Replaces the state for all requests that begin later.
    pub(super) fn replace(&self, state: State) {
        self.state.store(Arc::new(state));
    }

    /// Starts a background task, which ends with the gateway.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.spawner.spawn(task);
    }
}
