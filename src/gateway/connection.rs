//! One client connection: HTTP/1 by hyper, from the first byte to the end of the connection.

mod activity;
mod escape;
mod parked;
mod proxy_protocol;
mod stream;

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::Request;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::timeout;

use super::client::Ends;
use super::handler;
use super::pace::Pace;
use super::response_body::ResponseBody;
use super::state::CurrentState;
use crate::config::Front;
use activity::Busy;
pub(super) use activity::SharedLimits;
use escape::Escaped;
use parked::{Parked, Parking};
use stream::{ClientStream, Socket};

/// The most that hyper buffers of a response, and of a request body, in bytes. A slow client gets
/// less: see [`activity`].
const BUFFER: usize = 128 * 1024;

/// An accepted connection.
#[derive(Debug)]
pub(super) struct Accepted {
    /// In non-blocking mode.
    pub socket: OwnedFd,
    /// None: a unix socket.
    pub ends: Option<Ends>,
    /// Its share of `max_connections`.
    pub permit: OwnedSemaphorePermit,
}

/// Serves a connection until it ends. The connection keeps the limits of the moment at which it was
/// accepted. Each request uses the settings of the moment at which it begins.
pub(super) async fn serve(
    state: &CurrentState,
    limits: &Arc<SharedLimits>,
    accepted: Accepted,
    mut drain: watch::Receiver<bool>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let Accepted { socket, ends, permit: _permit } = accepted;
    let front = Arc::clone(&state.get().front);
    let http = http(&front);
    let (socket, ends) = match ends {
        Some(ends) => (tcp(socket)?, ends),
        None => (unix(socket)?, Ends::unix()),
    };
    let pace = Pace { timeout: front.send_timeout, min_rate: front.min_rate };
    let mut stream = ClientStream::new(socket, pace, limits);
    let ends = if front.proxy_protocol {
        timeout(front.header_timeout, proxy_protocol::read(&mut stream, ends)).await??
    } else {
        ends
    };
    let parking = Parking::default();
    let mut is_let_through = false;
    loop {
        // The head of a request that was held is there. It gets its response, even if the gateway ends.
        if !std::mem::take(&mut is_let_through) {
            tokio::select! {
                ready = timeout(front.header_timeout, stream.readable()) => ready??,
                () = draining(&mut drain) => return Ok(()),
            }
        }
        let activity = stream.activity();
        let escaped = Escaped::new(stream);
        let notes = escaped.notes();
        let service = service_fn(|mut request: Request<Incoming>| {
            notes.begin(&mut request);
            let busy = activity.begin_request(request.body().is_end_stream());
            let current = state.get();
            let (parts, body) = request.into_parts();
            let is_parked = parking.begin(&current, &ends, &parts, !body.is_end_stream());
            let request = Request::from_parts(parts, body);
            let pass = parking.take_pass();
            let response = (!is_parked).then(|| handler::respond(current, ends, request, pass));
            async move {
                let response = match response {
                    Some(response) => response.await,
                    None => pending().await,
                };
                Ok::<_, Infallible>(response.map(|body| SentBody { body, busy }))
            }
        });
        let mut connection = http.serve_connection(TokioIo::new(escaped), service);
        let event = tokio::select! {
            // hyper first: it reads a request that was let through before anything else happens.
            biased;
            ended = &mut connection => return Ok(ended?),
            parked = parking.parked() => Event::Parked(parked),
            () = draining(&mut drain) => Event::Draining,
            () = activity.idle() => Event::Idle,
        };
        let mut parked = None;
        match event {
            Event::Idle => {}
            Event::Parked(request) => parked = Some(request),
            Event::Draining => {
                Pin::new(&mut connection).graceful_shutdown();
                tokio::select! {
                    ended = &mut connection => return Ok(ended?),
                    request = parking.parked() => parked = Some(request),
                }
            }
        }
        // The connection is idle, or its request is held: hyper's buffers are freed until the client sends
        // again, or the request goes on.
        let parts = connection.into_parts();
        let (inner, unread) = parts.io.into_inner().into_parts();
        stream = inner;
        stream.put_back([parts.read_buf, unread].concat().into());
        if let Some(Parked { head, wait }) = parked {
            let pass = tokio::select! {
                pass = wait.ended() => pass,
                () = stream.closed() => return Ok(()),
            };
            parking.let_through(pass);
            stream.put_before(&head);
            is_let_through = true;
        }
    }
}

/// What happens to a connection.
enum Event {
    Idle,
    /// Its request is held.
    Parked(Parked),
    /// The gateway ends.
    Draining,
}

fn http(front: &Front) -> http1::Builder {
    let mut http = http1::Builder::new();
    let max_header = usize::try_from(front.max_header).unwrap_or(usize::MAX);
    http.timer(TokioTimer::new())
        .header_read_timeout(front.header_timeout)
        .max_header_size(max_header)
        // The buffer must also hold the head of a request.
        .max_buf_size(max_header.max(BUFFER));
    http
}

/// Waits until connections must end.
async fn draining(drain: &mut watch::Receiver<bool>) {
    let _ = drain.wait_for(|drain| *drain).await;
}

fn tcp(socket: OwnedFd) -> io::Result<Socket> {
    tokio::net::TcpStream::from_std(socket.into()).map(Socket::Tcp)
}

fn unix(socket: OwnedFd) -> io::Result<Socket> {
    tokio::net::UnixStream::from_std(UnixStream::from(socket)).map(Socket::Unix)
}

/// A response body that gives hyper its next part only when the connection can take it. The connection
/// is busy as long as it exists.
#[derive(Debug)]
struct SentBody {
    body: ResponseBody,
    busy: Busy,
}

impl Body for SentBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        ready!(self.busy.poll_may_give(cx));
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            self.busy.gave(frame.data_ref().map_or(0, Bytes::len));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
