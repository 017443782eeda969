//! One client connection: HTTP/1 by hyper, from the first byte to the end of the connection.

mod activity;
mod escape;
mod proxy_protocol;
mod stream;

use std::convert::Infallible;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::Request;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::timeout;

use super::client::Ends;
use super::drain::Drain;
use super::handler;
use super::pace::Pace;
use super::response_body::ResponseBody;
use super::state::CurrentState;
use crate::config::Front;
use activity::Busy;
pub(super) use activity::SharedLimits;
use escape::Escaped;
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
    mut drain: watch::Receiver<Drain>,
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
    loop {
        tokio::select! {
            // A request that has arrived is served.
            biased;
            ready = timeout(front.header_timeout, stream.readable()) => ready??,
            () = Drain::now(&mut drain) => return Ok(()),
        }
        let activity = stream.activity();
        let escaped = Escaped::new(stream);
        let notes = escaped.notes();
        let service = service_fn(|mut request: Request<Incoming>| {
            notes.begin(&mut request);
            let busy = activity.begin_request(request.body().is_end_stream());
            let response = handler::respond(state.get(), ends, request);
            let drain = drain.clone();
            async move {
                let mut response = response.await.map(|body| SentBody { body, busy });
                if *drain.borrow() != Drain::No {
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(CONNECTION, close);
                }
                Ok::<_, Infallible>(response)
            }
        });
        let mut ending = drain.clone();
        let mut connection = http.serve_connection(TokioIo::new(escaped), service);
        let is_draining = tokio::select! {
            ended = &mut connection => return Ok(ended?),
            () = activity.idle() => false,
            () = Drain::now(&mut ending) => true,
        };
        if is_draining {
            Pin::new(&mut connection).graceful_shutdown();
            return Ok(connection.await?);
        }
        // The connection is idle: hyper's buffers are freed until the client sends again.
        let parts = connection.into_parts();
        let (inner, unread) = parts.io.into_inner().into_parts();
        stream = inner;
        stream.put_back([parts.read_buf, unread].concat().into());
    }
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
