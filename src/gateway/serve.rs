//! A gateway from its start to its end.

use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::access_log::AccessLog;
use super::blocking::run_blocking;
use super::configuration::Configuration;
use super::control_server::ControlServer;
use super::gate;
use super::listen::{self, Listener};
use super::refresh::refresh_on_request;
use super::reload::{Reload, Reloads};
use super::state::{CurrentState, State};
use super::tasks::Tasks;
use super::tls::Tls;
use super::workers::Workers;
use crate::config::{Global, Listen};
use crate::error::{Error, Result};
use crate::file;
use crate::root::Root;

/// The time between two searches for idle connections to close.
const IDLE_CHECK: Duration = Duration::from_secs(1);

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
/// It installs no signal handler and changes nothing of the process, so one process can run several
/// gateways, each on a root of its own. The caller raises the limit of open files, where that is
/// needed.
///
/// # Errors
///
/// The configuration cannot be read, has no pool that can be served, or names an address that cannot be
/// bound; or connections were cut because they did not end within `shutdown_timeout`.
pub async fn serve(
    root: &Root,
    shutdown: impl Future<Output = ()> + Send,
    reloads: Arc<Reloads>,
    ready: impl FnOnce(&[String]) + Send,
) -> Result<()> {
    let mut shutdown = pin!(shutdown);
    let running = tokio::select! {
        running = Running::start(root, reloads) => running?,
        () = &mut shutdown => return Ok(()),
    };
    ready(&running.addresses);
    shutdown.await;
    running.shut_down().await
}

/// A gateway that answers requests. Dropping it ends its tasks and threads, and cuts its connections.
struct Running {
    addresses: Vec<String>,
    state: Arc<CurrentState>,
    accept_loops: JoinSet<()>,
    max_connections: usize,
    /// One permit for each connection.
    connections: Arc<Semaphore>,
    /// True: a connection ends after its current request.
    drain: watch::Sender<bool>,
    socket_files: SocketFiles,
    workers: Arc<Workers>,
    _tasks: Tasks,
    flush: FlushOnDrop,
}

impl Running {
    async fn start(root: &Root, reloads: Arc<Reloads>) -> Result<Self> {
        let configuration = Configuration::read(root).await?;
        let access_log = AccessLog::open(root, &configuration.global, None)?;
        // First the control socket, then the observation of the pools. A command that publishes a name
        // and finds no control socket has published it before the observation.
        let control = listen::control_socket(&configuration.global.control)?;
        let mut socket_files = SocketFiles(vec![configuration.global.control.clone()]);
        let (global, hosts) = configuration.into_hosts(None).await?;
        let tasks = Tasks::new();
        let front = global.front.clone();
        let tls = run_blocking(move || Tls::start(&front)).await??;
        let state = State::new(hosts, &global, access_log, tls.clone());
        let state = CurrentState::new(state, tasks.spawner());
        let flush = FlushOnDrop(Some(Arc::clone(&state)));
        let listeners = bind(&global, &mut socket_files)?;
        let addresses = listeners.iter().zip(global.front.all_listen()).map(url).collect();
        let max_connections =
            global.front.max_connections.clamp(1, Semaphore::MAX_PERMITS.min(1 << 30));
        let connections = Arc::new(Semaphore::new(max_connections));
        let (drain, draining) = watch::channel(false);
        let workers = Workers::start(&state, &draining)?;
        let global = Arc::new(global);
        let control = ControlServer {
            root: root.clone(),
            started: Arc::clone(&global),
            state: Arc::clone(&state),
            reloads: Arc::clone(&reloads),
        }
        .listen(control);
        state.spawn(control);
        state.spawn(close_idle(Arc::clone(&state)));
        for vhost in state.get().hosts.all() {
            refresh_on_request(&state, vhost);
            state.spawn(gate::keep(&vhost.gate, vhost.pool.traffic_file()));
        }
        let mut accept_loops = JoinSet::new();
        for (listener, (_, is_tls)) in listeners.into_iter().zip(global.front.all_listen()) {
            let (workers, connections) = (Arc::clone(&workers), Arc::clone(&connections));
            accept_loops.spawn(listener.accept(is_tls, workers, connections));
        }
        if let Some(tls) = tls {
            state.spawn(tls.follow_files());
        }
        let reloading = Reload { root: root.clone(), started: global, state: Arc::clone(&state) };
        state.spawn(reloading.run(reloads));
        Ok(Self {
            addresses,
            state,
            accept_loops,
            max_connections,
            connections,
            drain,
            socket_files,
            workers,
            _tasks: tasks,
            flush,
        })
    }

    /// Closes the listeners, and waits for the connections to end.
    async fn shut_down(mut self) -> Result<()> {
        self.accept_loops.shutdown().await;
        drop(self.socket_files);
        self.state.get().is_draining.store(true, Ordering::Relaxed);
        let _ = self.drain.send(true);
        let all = u32::try_from(self.max_connections).unwrap_or(u32::MAX);
        let limit = self.state.get().front.shutdown_timeout;
        self.state.get().hosts.all().iter().for_each(|vhost| vhost.gate.end_within(limit));
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
struct FlushOnDrop(Option<Arc<CurrentState>>);

impl FlushOnDrop {
    /// Does so without blocking the runtime.
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

/// The socket files of this gateway. They are deleted when it is dropped, so that no program finds a
/// socket on which nothing listens.
struct SocketFiles(Vec<PathBuf>);

impl Drop for SocketFiles {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = file::remove(path);
        }
    }
}

fn bind(global: &Global, socket_files: &mut SocketFiles) -> Result<Vec<Listener>> {
    let mut listeners = Vec::new();
    for (listen, _) in global.front.all_listen() {
        listeners.push(Listener::bind(listen, global)?);
        if let Listen::Unix(path) = listen {
            socket_files.0.push(path.clone());
        }
    }
    Ok(listeners)
}

fn url((listener, (listen, is_tls)): (&Listener, (&Listen, bool))) -> String {
    match listener.address() {
        Some(address) if is_tls => format!("https://{address}"),
        Some(address) => format!("http://{address}"),
        None => listen.to_string(),
    }
}

/// Closes idle upstream connections, which hold children, after a while, and releases whose assets are no
/// longer kept.
async fn close_idle(state: Arc<CurrentState>) {
    loop {
        sleep(IDLE_CHECK).await;
        for vhost in state.get().hosts.all() {
            vhost.upstream.close_stale();
            vhost.kept_assets.close_stale(&vhost.settings);
        }
    }
}
