//! `pools-manager serve`, from its start to its end.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::access_log::AccessLog;
use super::control;
use super::front::Gateway;
use super::listen::{self, Listener};
use super::site::{Site, Sites};
use super::sync::sync;
use super::worker::Workers;
use crate::config::{Global, Listen};
use crate::error::{Error, Exit, Result};
use crate::file;
use crate::pool::Pool;
use crate::root::Root;

/// How often it is looked for connections that nobody uses.
const STALE: Duration = Duration::from_secs(1);
/// The least time between two looks at a pool whose replicas cannot be connected to.
const DOUBT: Duration = Duration::from_millis(100);

/// Serves until it is told to stop. `ready` is called once requests are answered, with the
/// addresses.
pub async fn serve(
    root: &Root,
    global: Global,
    pools: &[Arc<Pool>],
    ready: impl FnOnce(&[String]),
) -> Result<()> {
    global.listens()?;
    let sites = Sites::of(pools)?;
    let log = open_log(root, &global)?;
    let _flush = log.clone().map(Flush);
    let mut signals = Signals::listen()?;
    outlive_file_size_limit()?;
    raise_limit();
    // Before anything is looked at: who finds nobody here has moved his names by then.
    let control = control_socket(&global.control)?;
    let gateway = Arc::new(Gateway::new(sites, global.front.clone(), log));
    for site in gateway.sites.all() {
        sync(site).await.map_err(|error| error.within(format!("pool \"{}\"", site.pool.name)))?;
        tokio::spawn(look_again(Arc::clone(site)));
    }
    tokio::spawn(close_stale(Arc::clone(&gateway)));
    let listeners: Vec<Listener> = global
        .front
        .listen()
        .iter()
        .map(|it| Listener::bind(it, &global))
        .collect::<Result<_>>()?;
    let addresses: Vec<String> = listeners.iter().zip(global.front.listen()).map(named).collect();
    let (stop, stopped) = watch::channel(false);
    let workers = Workers::start(&gateway, &stopped)?;
    tokio::spawn(control::listen(control, Arc::clone(&gateway)));
    let max = global.front.max_connections.clamp(1, Semaphore::MAX_PERMITS.min(1 << 30));
    let places = Arc::new(Semaphore::new(max));
    let accepting: Vec<_> = listeners
        .into_iter()
        .map(|it| tokio::spawn(it.accept(Arc::clone(&workers), Arc::clone(&places))))
        .collect();
    ready(&addresses);
    let told = signals.next().await;
    // No new connections; those that there are end after the request that they have.
    for accept in accepting {
        accept.abort();
        let _ = accept.await;
    }
    remove_sockets(&global);
    let _ = stop.send(true);
    let all = u32::try_from(max).unwrap_or(u32::MAX);
    let drained = timeout(global.front.shutdown_timeout, places.acquire_many(all));
    tokio::select! {
        drained = drained => if drained.is_err() {
            let left = max - places.available_permits();
            return Err(Error::failed(format!("{left} connections did not end within shutdown_timeout and were cut")));
        },
        again = signals.next() => return Err(again),
    }
    match told.exit {
        Exit::Terminated => Ok(()),
        _ => Err(told),
    }
}

/// Has the access log written to its end, however the gateway ends.
struct Flush(Arc<AccessLog>);

impl Drop for Flush {
    fn drop(&mut self) {
        self.0.flush();
    }
}

fn open_log(root: &Root, global: &Global) -> Result<Option<Arc<AccessLog>>> {
    let front = &global.front;
    let path = match front.access_log.as_str() {
        "" => return Ok(None),
        "-" => Path::new("-").to_owned(),
        path => root.resolve(path),
    };
    AccessLog::open(&path, front.access_log_format).map(Some).map_err(|error| {
        Error::config(format!("cannot write the access log {}: {error}", path.display()))
            .hint(format!("correct access_log in {}", global.path.display()))
    })
}

/// As many file descriptors as we may have: each connection needs one, and each answer a second.
fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    // Where it cannot be raised, connections wait in the kernel.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// A write beyond `RLIMIT_FSIZE` is to be an error, and not the end of the process by `SIGXFSZ`
/// (setrlimit(2)). The handler stays when what it is registered for is dropped.
fn outlive_file_size_limit() -> Result<()> {
    let kind = SignalKind::from_raw(Signal::XFSZ.as_raw());
    let registered = signal(kind).map(drop);
    registered.map_err(|error| Error::failed(format!("cannot listen for signals: {error}")))
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

/// Nobody else is to find a socket on which nobody listens.
fn remove_sockets(global: &Global) {
    let own = global.front.listen().iter().filter_map(|listen| match listen {
        Listen::Unix(path) => Some(path),
        Listen::Tcp(_) => None,
    });
    for path in own.chain([&global.control]) {
        let _ = file::remove(path);
    }
}

/// Where replicas cannot be connected to, somebody may have moved names and told nobody.
async fn look_again(site: Arc<Site>) {
    loop {
        site.doubted().await;
        if let Err(error) = sync(&site).await {
            eprintln!("pool \"{}\": {error}", site.pool.name);
        }
        sleep(DOUBT).await;
    }
}

/// Kept connections hold children: where there is nothing to do, they are let go.
async fn close_stale(gateway: Arc<Gateway>) {
    loop {
        sleep(STALE).await;
        gateway.sites.all().iter().for_each(|site| site.upstream.close_stale());
    }
}

/// What a `serve` is told to end by.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> Result<Self> {
        let listen = |kind| {
            signal(kind)
                .map_err(|error| Error::failed(format!("cannot listen for signals: {error}")))
        };
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> Error {
        let (exit, name) = tokio::select! {
            _ = self.terminate.recv() => (Exit::Terminated, "SIGTERM"),
            _ = self.interrupt.recv() => (Exit::Interrupted, "SIGINT"),
        };
        Error { exit, message: format!("told to stop by {name}"), hint: None }
    }
}
