//! The threads that serve: each has an event loop of its own, and the connections that it was given.

use std::convert::Infallible;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::Request;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::timeout;

use super::client::Ends;
use super::escape::Escaped;
use super::live::Live;
use super::pace::Pace;
use super::proxy;
use super::stream::{Socket, Stream};
use crate::config::Front;
use crate::error::{Error, Result};

/// The most that hyper holds of an answer, and of a body that comes in, in bytes. For slow clients
/// [`Activity`](super::rest::Activity) gives it less.
const BUFFER: usize = 128 * 1024;

/// All threads that serve.
#[derive(Debug)]
pub(super) struct Workers(Vec<Worker>);

#[derive(Debug)]
struct Worker {
    connections: mpsc::UnboundedSender<Accepted>,
    /// How many connections it has.
    busy: Arc<AtomicUsize>,
}

/// A connection that has come in, and its place among all of them.
#[derive(Debug)]
pub(super) struct Accepted {
    /// Not blocking.
    pub socket: OwnedFd,
    /// None: a unix socket.
    pub ends: Option<Ends>,
    /// Given back when it has ended.
    pub permit: OwnedSemaphorePermit,
}

impl Workers {
    /// Starts them. When `stop` becomes true, each connection ends after the request that it has.
    pub(super) fn start(live: &Arc<Live>, stop: &watch::Receiver<bool>) -> Result<Arc<Self>> {
        let workers = (0..threads(&live.gateway().front)).map(|number| {
            let (connections, given) = mpsc::unbounded_channel();
            let busy = Arc::new(AtomicUsize::new(0));
            let work = work(Arc::clone(live), given, Arc::clone(&busy), stop.clone());
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let cannot = |error| Error::failed(format!("cannot start a thread: {error}"));
            let runtime = runtime.map_err(cannot)?;
            std::thread::Builder::new()
                .name(format!("gateway-{number}"))
                .spawn(move || runtime.block_on(work))
                .map_err(cannot)?;
            Ok(Worker { connections, busy })
        });
        workers.collect::<Result<_>>().map(|workers| Arc::new(Self(workers)))
    }

    /// Gives a connection to the thread that has the fewest.
    pub(super) fn hand_over(&self, accepted: Accepted) {
        let fewest = self.0.iter().min_by_key(|worker| worker.busy.load(Ordering::Relaxed));
        if let Some(worker) = fewest {
            worker.busy.fetch_add(1, Ordering::Relaxed);
            // It ends with the process only.
            let _ = worker.connections.send(accepted);
        }
    }
}

/// PHP needs the other cores; and a slot that one thread gives back to the other is dear.
fn threads(front: &Front) -> usize {
    match front.threads {
        0 => std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1)),
        threads => threads,
    }
}

async fn work(
    live: Arc<Live>,
    mut given: mpsc::UnboundedReceiver<Accepted>,
    busy: Arc<AtomicUsize>,
    stop: watch::Receiver<bool>,
) {
    while let Some(accepted) = given.recv().await {
        let (live, busy, stop) = (Arc::clone(&live), Arc::clone(&busy), stop.clone());
        tokio::spawn(async move {
            // A client that breaks off, or the protocol, is no event.
            let _ = converse(&live, accepted, stop).await;
            busy.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

fn http(front: &Front) -> http1::Builder {
    let mut http = http1::Builder::new();
    let max_header = usize::try_from(front.max_header).unwrap_or(usize::MAX);
    http.timer(TokioTimer::new())
        .header_read_timeout(front.header_timeout)
        .max_header_size(max_header)
        // A request's head has to fit as well.
        .max_buf_size(max_header.max(BUFFER));
    http
}

/// How fast a client has to take its answer.
fn pace(front: &Front) -> Pace {
    Pace { timeout: front.send_timeout, min_rate: front.min_rate }
}

/// Serves a connection until it ends: with the limits of the moment when it was accepted, each
/// request with the settings of the moment when that begins.
async fn converse(
    live: &Live,
    accepted: Accepted,
    mut stop: watch::Receiver<bool>,
) -> std::result::Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let Accepted { socket, ends, permit: _permit } = accepted;
    let front = Arc::clone(&live.gateway().front);
    let http = http(&front);
    let (socket, ends) = match ends {
        Some(ends) => (tcp(socket)?, ends),
        None => (unix(socket)?, Ends::unix()),
    };
    let mut stream = Stream::new(socket, pace(&front));
    let ends = if front.proxy_protocol {
        timeout(front.header_timeout, proxy::read(&mut stream, ends)).await??
    } else {
        ends
    };
    loop {
        tokio::select! {
            ready = timeout(front.header_timeout, stream.readable()) => ready??,
            () = told(&mut stop) => return Ok(()),
        }
        let activity = stream.activity();
        let escaped = Escaped::new(stream);
        let notes = escaped.notes();
        let service = service_fn(|mut request: Request<Incoming>| {
            notes.begin(&mut request);
            let busy = activity.request(request.body().is_end_stream());
            let answer = live.gateway().answer(ends, request);
            async move { Ok::<_, Infallible>(answer.await.map(|body| body.busy(busy))) }
        });
        let mut connection = http.serve_connection(TokioIo::new(escaped), service);
        let is_told = tokio::select! {
            ended = &mut connection => return Ok(ended?),
            () = activity.rest() => false,
            () = told(&mut stop) => true,
        };
        if is_told {
            Pin::new(&mut connection).graceful_shutdown();
            return Ok(connection.await?);
        }
        let parts = connection.into_parts();
        let (inner, unread) = parts.io.into_inner().into_parts();
        stream = inner;
        stream.put_back([parts.read_buf, unread].concat().into());
    }
}

/// Waits until connections are to end.
async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

fn tcp(socket: OwnedFd) -> std::io::Result<Socket> {
    tokio::net::TcpStream::from_std(socket.into()).map(Socket::Tcp)
}

fn unix(socket: OwnedFd) -> std::io::Result<Socket> {
    tokio::net::UnixStream::from_std(UnixStream::from(socket)).map(Socket::Unix)
}
