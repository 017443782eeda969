//! A gateway from its start to its end.

use std::future::Future;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{RwLock, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::access_log::AccessLog;
use super::blocking::run_blocking;
use super::configuration::Configuration;
use super::control_answers::ControlAnswers;
use super::control_server::ControlServer;
use super::drain::Drain;
use super::gate;
use super::paused_pools::PausedPools;
use super::probe;
use super::refresh::{Reason, keep_canary, refresh, refresh_on_request};
use super::reload::{Reload, Reloads};
use super::replaced::Replaced;
use super::sockets::Sockets;
use super::state::{CurrentState, State};
use super::tasks::Tasks;
use super::tls::Tls;
use super::upgrades::Upgrades;
use super::workers::Workers;
use crate::error::{Error, Result};
use crate::inherited::Inherited;
use crate::root::Root;
use crate::upgrade::{Passed, Predecessor};

/// The time between two searches for idle connections to close.
const IDLE_CHECK: Duration = Duration::from_secs(1);
/// How long idle connections may take to end when a drain closes them.
const IDLE_END: Duration = Duration::from_secs(1);

/// Runs a gateway until `shutdown` completes and its requests have ended.
///
/// - `reloads`: each request makes the gateway open its access log again and read its
///   configuration again. An error in the configuration is logged, and the gateway keeps the previous
///   one.
/// - `ready`: called once, with the addresses, when the gateway answers requests.
///
/// After `shutdown` the gateway accepts no more connections, and waits up to `shutdown_timeout` for the
/// requests that it has. To stop at once, drop the future: this cuts all connections.
///
/// This function installs no signal handler and changes nothing of the process, so one process can run
/// several gateways, each on a root of its own. The caller raises the limit of open files, where that is
/// needed.
///
/// # Errors
///
/// The configuration cannot be read, has no pool with a usable `[gateway]`, or names an address that cannot
/// be bound; or connections were cut because they did not end within `shutdown_timeout`.
pub async fn serve(
    root: &Root,
    shutdown: impl Future<Output = ()> + Send,
    reloads: Arc<Reloads>,
    ready: impl FnOnce(&[String]) + Send,
) -> Result<()> {
    let mut shutdown = pin!(shutdown);
    let start = Start { reloads, ..Start::default() };
    let mut gateway = tokio::select! {
        gateway = Gateway::start(root, start) => gateway?,
        () = &mut shutdown => return Ok(()),
    };
    gateway.open();
    ready(gateway.addresses());
    shutdown.await;
    gateway.shut_down().await
}

/// What a gateway starts with.
#[derive(Debug, Default)]
pub struct Start {
    /// Requests of reloads.
    pub reloads: Arc<Reloads>,
    /// Requests of upgrades.
    pub upgrades: Option<Upgrades>,
    /// Sockets of another process.
    pub inherited: Inherited,
    /// The process that this one replaces.
    pub predecessor: Option<Arc<Predecessor>>,
    /// In a child: what its parent has given it.
    pub given: Option<Given>,
}

/// What a gateway in a child gets from its parent.
#[derive(Debug)]
pub struct Given {
    /// The sockets of the clients, each with whether it is for TLS.
    pub sockets: Vec<(OwnedFd, bool)>,
    /// Whether the parent replaces another process.
    pub is_successor: bool,
}

/// A gateway. Dropping it ends its tasks and threads, and cuts its connections.
#[derive(Debug)]
pub struct Gateway {
    addresses: Vec<String>,
    state: Arc<CurrentState>,
    accept_loops: JoinSet<()>,
    control: ControlServer<ControlAnswers>,
    control_loop: JoinSet<()>,
    max_connections: usize,
    /// One permit for each connection.
    connections: Arc<Semaphore>,
    drain: watch::Sender<Drain>,
    /// None: another process has the sockets.
    sockets: Option<Sockets>,
    paused: PausedPools,
    workers: Arc<Workers>,
    _tasks: Tasks,
    flush: FlushOnDrop,
}

impl Gateway {
    /// Starts a gateway that listens and accepts no connection yet.
    pub async fn start(root: &Root, start: Start) -> Result<Self> {
        let Start { reloads, upgrades, mut inherited, predecessor, given } = start;
        let configuration = Configuration::read(root).await?;
        let access_log = AccessLog::open(root, &configuration.global, None)?;
        // First the control socket, then the observation of the pools. If a command publishes a name and then
        // finds no control socket, the observation comes later, and sees that name.
        let is_successor = given.as_ref().is_some_and(|given| given.is_successor);
        let mut sockets = match given {
            Some(given) => Sockets::given(given.sockets, &configuration.global)?,
            None => Sockets::control(&configuration.global.control, &mut inherited)?,
        };
        let (global, hosts) = configuration.into_hosts(None).await?;
        let tasks = Tasks::new();
        let front = global.front.clone();
        let tls = run_blocking(move || Tls::start(&front)).await??;
        let state = State::new(hosts, &global, access_log, tls.clone());
        let replaced = predecessor.map(Replaced::ByThis);
        let replaced = replaced.or(is_successor.then_some(Replaced::ByParent));
        let state = CurrentState::new(state, tasks.spawner(), replaced);
        let flush = FlushOnDrop(Some(Arc::clone(&state)));
        if sockets.control.is_some() {
            sockets.bind(&global, inherited)?;
        }
        let max_connections =
            global.front.max_connections.clamp(1, Semaphore::MAX_PERMITS.min(1 << 30));
        let connections = Arc::new(Semaphore::new(max_connections));
        let (drain, draining) = watch::channel(Drain::No);
        let workers = Workers::start(&state, &draining)?;
        let global = Arc::new(global);
        let answers = ControlAnswers {
            root: root.clone(),
            started: Arc::clone(&global),
            state: Arc::clone(&state),
            reloads: Arc::clone(&reloads),
        };
        let control = ControlServer {
            answers,
            socket: global.control.clone(),
            spawner: tasks.spawner(),
            upgrades,
            is_handed_over: Arc::new(RwLock::new(false)),
        };
        state.spawn(close_idle(Arc::clone(&state)));
        for vhost in state.get().hosts.all() {
            refresh_on_request(&state, vhost);
            state.spawn(gate::keep(&vhost.gate, vhost.pool.traffic_file()));
            keep_canary(&state, vhost);
        }
        if let Some(tls) = tls {
            state.spawn(tls.follow_files());
        }
        let reloading = Reload { root: root.clone(), started: global, state: Arc::clone(&state) };
        state.spawn(reloading.run(reloads));
        Ok(Self {
            addresses: sockets.urls(),
            state,
            accept_loops: JoinSet::new(),
            control,
            control_loop: JoinSet::new(),
            max_connections,
            connections,
            drain,
            sockets: Some(sockets),
            paused: PausedPools::default(),
            workers,
            _tasks: tasks,
            flush,
        })
    }

    /// The URLs on which it listens.
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Accepts connections from now on. No effect if it does so already.
    pub fn open(&mut self) {
        if !self.accept_loops.is_empty() {
            return;
        }
        self.open_control();
        let Some(sockets) = &mut self.sockets else { return };
        sockets.take_files();
        for bound in &sockets.listeners {
            let (workers, connections) = (Arc::clone(&self.workers), Arc::clone(&self.connections));
            let listener = Arc::clone(&bound.listener);
            self.accept_loops.spawn(listener.accept(bound.is_tls, workers, connections));
        }
    }

    fn open_control(&mut self) {
        if let Some(control) = self.sockets.as_ref().and_then(|it| it.control.clone()) {
            self.control_loop.spawn(self.control.clone().listen(control));
        }
    }

    /// What answers commands.
    pub(super) fn control_answers(&self) -> ControlAnswers {
        self.control.answers.clone()
    }

    /// Tests with a request to itself, before it is opened, whether it can serve. Error: it does not answer,
    /// or it cannot serve one of these pools, though the pool is in its configuration.
    pub async fn probe(&self, pools: &[String]) -> Result<()> {
        let proxy_protocol = self.state.get().front.proxy_protocol;
        let unavailable =
            probe::unavailable(&self.workers, &self.connections, proxy_protocol).await?;
        match unavailable.iter().find(|pool| pools.contains(pool)) {
            None => Ok(()),
            Some(pool) => Err(Error::failed(format!(
                "the pool \"{pool}\" is served now, and could not be served any more"
            ))
            .hint("`pools-manager check` shows why, or the log of serve")),
        }
    }

    /// Observes all pools again, before it is opened: public names may have moved since its start.
    pub async fn observe(&self) {
        for vhost in self.state.get().hosts.all() {
            // An error is logged, and the observation repeated.
            let _ = refresh(vhost, Reason::Serve).await;
        }
    }

    /// How long its successor may take to start.
    pub fn upgrade_timeout(&self) -> Duration {
        self.state.get().front.upgrade_timeout
    }

    /// What its successor gets: copies of the listening sockets, and the pools that this gateway can serve.
    pub fn pass(&self) -> Result<Passed> {
        let sockets = self.sockets.as_ref().map_or_else(|| Ok(Vec::new()), Sockets::copies)?;
        let state = self.state.get();
        let vhosts = state.hosts.all().iter();
        let served = vhosts.filter(|vhost| !vhost.is_broken() && vhost.upstream.can_serve());
        let pools = served.map(|vhost| vhost.pool.name.clone()).collect();
        Ok(Passed { sockets, pools, drain_limit: state.front.shutdown_timeout })
    }

    /// Answers no command from now on: another process is about to answer them. New commands wait in the
    /// control socket.
    pub async fn close_control(&mut self) {
        self.control_loop.shutdown().await;
        *self.control.is_handed_over.write().await = true;
    }

    /// Answers commands again.
    pub async fn reopen_control(&mut self) {
        *self.control.is_handed_over.write().await = false;
        if self.control_loop.is_empty() {
            self.open_control();
        }
    }

    /// Accepts no more connections: another process has the sockets. The connections end after their next
    /// request.
    pub async fn hand_over(&mut self) {
        self.accept_loops.shutdown().await;
        self.sockets.take().into_iter().for_each(Sockets::leave);
        self.end_holds(self.state.get().front.shutdown_timeout);
        self.state.get().is_draining.store(true, Ordering::Relaxed);
        let _ = self.drain.send(Drain::AfterNext);
    }

    /// Begins no request of a pool from now on.
    pub async fn pause(&mut self, pool: &str) -> Result<()> {
        self.paused.pause(&self.state, pool).await
    }

    /// Observes a pool that it has paused, and serves it again.
    pub async fn unpause(&mut self, pool: &str) -> Result<()> {
        self.paused.unpause(&self.state, pool).await
    }

    /// Observes all pools that it has paused, and serves them again.
    pub async fn unpause_all(&mut self) {
        self.paused.unpause_all(&self.state).await;
    }

    /// Completes when the connections have ended, or after `shutdown_timeout`. In the second case, idle
    /// connections are closed first.
    pub fn drained(&self) -> impl Future<Output = ()> + use<> {
        let (connections, all) = (Arc::clone(&self.connections), self.all());
        let (limit, drain) = (self.state.get().front.shutdown_timeout, self.drain.clone());
        async move {
            if timeout(limit, connections.acquire_many(all)).await.is_err() {
                let _ = drain.send(Drain::Now);
                let _ = timeout(IDLE_END, connections.acquire_many(all)).await;
            }
        }
    }

    /// Closes idle connections.
    pub fn close_idle(&self) {
        let _ = self.drain.send(Drain::Now);
    }

    fn all(&self) -> u32 {
        u32::try_from(self.max_connections).unwrap_or(u32::MAX)
    }

    /// Closes the listeners, and waits for the connections to end, up to `shutdown_timeout`. Error: some
    /// connections did not end, and were cut.
    pub async fn shut_down(mut self) -> Result<()> {
        self.accept_loops.shutdown().await;
        let limit = self.state.get().front.shutdown_timeout;
        self.end_holds(limit);
        self.finish(limit).await
    }

    /// Held requests are refused shortly before the end of `limit`, the time in which connections may end.
    fn end_holds(&self, limit: Duration) {
        self.state.get().hosts.all().iter().for_each(|vhost| vhost.gate.end_within(limit));
    }

    /// Ends the gateway after [`Gateway::drained`]. Error: some connections did not end, and were cut.
    pub async fn end(self) -> Result<()> {
        self.finish(Duration::ZERO).await
    }

    async fn finish(self, limit: Duration) -> Result<()> {
        let all = self.all();
        drop(self.sockets);
        self.state.get().is_draining.store(true, Ordering::Relaxed);
        let _ = self.drain.send(Drain::Now);
        let is_drained = timeout(limit, self.connections.acquire_many(all)).await.is_ok();
        let left = self.max_connections - self.connections.available_permits();
        drop(self.workers);
        self.flush.flush().await;
        if is_drained {
            return Ok(());
        }
        Err(Error::failed(format!(
            "{left} connections did not end within shutdown_timeout and were cut"
        )))
    }
}

/// Writes the queued lines of the access log when it is dropped. This may block for a while.
#[derive(Debug)]
struct FlushOnDrop(Option<Arc<CurrentState>>);

impl FlushOnDrop {
    /// Writes the lines without blocking the runtime.
    async fn flush(mut self) {
        if let Some(log) = self.take_log() {
            let _ = run_blocking(move || log.flush()).await;
        }
    }

    fn take_log(&mut self) -> Option<Arc<AccessLog>> {
        self.0.take()?.get().access_log.clone()
    }
}

impl Drop for FlushOnDrop {
    fn drop(&mut self) {
        if let Some(log) = self.take_log() {
            log.flush();
        }
    }
}

/// Closes upstream connections that are idle for too long, because each occupies a child. Also closes
/// releases whose assets are no longer kept.
async fn close_idle(state: Arc<CurrentState>) {
    loop {
        sleep(IDLE_CHECK).await;
        for vhost in state.get().hosts.all() {
            vhost.upstream.close_stale();
            vhost.canary.close_stale();
            vhost.kept_assets.close_stale(&vhost.settings);
        }
    }
}
