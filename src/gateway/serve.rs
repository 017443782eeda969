//! `pools-manager serve`, from its start to its end.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::UnixListener;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::access_log::AccessLog;
use super::control;
use super::front::Gateway;
use super::listen::{self, Listener};
use super::live::Live;
use super::reload::{self, Reload};
use super::settings::Settings;
use super::signals::Signals;
use super::worker::Workers;
use crate::config::Listen;
use crate::error::{Error, Exit, Result};
use crate::file;
use crate::root::Root;

/// How often it is looked for connections that nobody uses.
const STALE: Duration = Duration::from_secs(1);

/// Serves until it is told to stop. `ready` is called once requests are answered, with the
/// addresses.
pub async fn serve(root: &Root, ready: impl FnOnce(&[String])) -> Result<()> {
    let mut signals = Signals::listen()?;
    let reload = Arc::new(Notify::new());
    let serving = tokio::select! {
        serving = Serving::start(root, &reload) => serving?,
        told = signals.stop(&reload) => return ended(told),
    };
    ready(&serving.addresses);
    let told = signals.stop(&reload).await;
    tokio::select! {
        drained = serving.end() => drained?,
        again = signals.stop(&reload) => return Err(again),
    }
    ended(told)
}

fn ended(told: Error) -> Result<()> {
    match told.exit {
        Exit::Terminated => Ok(()),
        _ => Err(told),
    }
}

/// A gateway that answers requests.
struct Serving {
    addresses: Vec<String>,
    live: Arc<Live>,
    accepting: Vec<JoinHandle<()>>,
    /// How many connections there may be.
    max: usize,
    places: Arc<Semaphore>,
    stop: watch::Sender<bool>,
    /// Their threads end, and cut connections, when this is dropped.
    _workers: Arc<Workers>,
    paths: Paths,
    _flush: Flush,
}

impl Serving {
    async fn start(root: &Root, reload: &Arc<Notify>) -> Result<Self> {
        let settings = Settings::read(root).await?;
        let log = AccessLog::open(root, &settings.global, None)?;
        raise_limit();
        // Before anything is looked at: a command that finds no gateway has moved its names by then.
        let control = control_socket(&settings.global.control)?;
        let mut paths = Paths(vec![settings.global.control.clone()]);
        let (global, sites) = settings.sites(None).await?;
        let live = Live::new(Gateway::new(sites, global.front.clone(), log));
        let flush = Flush(Arc::clone(&live));
        let mut listeners = Vec::new();
        for listen in global.front.listen() {
            listeners.push(Listener::bind(listen, &global)?);
            paths.0.extend(path(listen));
        }
        let addresses = listeners.iter().zip(global.front.listen()).map(named).collect();
        let (stop, stopped) = watch::channel(false);
        let workers = Workers::start(&live, &stopped)?;
        tokio::spawn(control::listen(control, Arc::clone(&live)));
        tokio::spawn(close_stale(Arc::clone(&live)));
        live.gateway().sites.all().iter().for_each(|site| reload::watch(&live, site));
        let max = global.front.max_connections.clamp(1, Semaphore::MAX_PERMITS.min(1 << 30));
        let places = Arc::new(Semaphore::new(max));
        let accept =
            |it: Listener| tokio::spawn(it.accept(Arc::clone(&workers), Arc::clone(&places)));
        let accepting = listeners.into_iter().map(accept).collect();
        let again = Reload { root: root.clone(), started: global, live: Arc::clone(&live) };
        tokio::spawn(again.run(Arc::clone(reload)));
        Ok(Self {
            addresses,
            live,
            accepting,
            max,
            places,
            stop,
            _workers: workers,
            paths,
            _flush: flush,
        })
    }

    /// No new connections; those that there are end after the request that they have.
    async fn end(self) -> Result<()> {
        for accept in self.accepting {
            accept.abort();
            let _ = accept.await;
        }
        drop(self.paths);
        let _ = self.stop.send(true);
        let all = u32::try_from(self.max).unwrap_or(u32::MAX);
        let patience = self.live.gateway().front.shutdown_timeout;
        if timeout(patience, self.places.acquire_many(all)).await.is_err() {
            let left = self.max - self.places.available_permits();
            return Err(Error::failed(format!(
                "{left} connections did not end within shutdown_timeout and were cut"
            )));
        }
        Ok(())
    }
}

/// Has the access log written to its end, however the gateway ends.
struct Flush(Arc<Live>);

impl Drop for Flush {
    fn drop(&mut self) {
        if let Some(log) = &self.0.gateway().log {
            log.flush();
        }
    }
}

/// The sockets of its own: no other program is to find one on which nobody listens.
struct Paths(Vec<PathBuf>);

impl Drop for Paths {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = file::remove(path);
        }
    }
}

fn path(listen: &Listen) -> Option<PathBuf> {
    match listen {
        Listen::Unix(path) => Some(path.clone()),
        Listen::Tcp(_) => None,
    }
}

/// As many file descriptors as we may have: each connection needs one, and each answer a second.
fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    // Where it cannot be raised, connections wait in the kernel.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

fn control_socket(path: &Path) -> Result<UnixListener> {
    listen::unix(path, 0o600).map_err(|error| {
        let shown = path.display();
        let error_text = format!("cannot listen on {shown}: {error}");
        Error::config(error_text).hint(match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                "another `pools-manager serve` runs here: end that first"
            }
            _ => "its directory has to be there and writable for you: see [control] socket",
        })
    })
}

fn named((listener, listen): (&Listener, &Listen)) -> String {
    match listener.address() {
        Some(address) => format!("http://{address}"),
        None => listen.to_string(),
    }
}

/// Kept connections hold children: where there is nothing to do, they are let go.
async fn close_stale(live: Arc<Live>) {
    loop {
        sleep(STALE).await;
        live.gateway().sites.all().iter().for_each(|site| site.upstream.close_stale());
    }
}
