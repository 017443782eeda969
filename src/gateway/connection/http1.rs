//! HTTP/1 on a connection, by hyper.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::Request;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::watch;
use tokio::time::timeout;

use super::activity::Busy;
use super::escape::Escaped;
use super::parked::{Parked, Parking};
use super::transport::Transport;
use super::{Ended, draining_fresh};
use crate::config::Front;
use crate::gateway::client::Ends;
use crate::gateway::client_body::ClientBody;
use crate::gateway::drain::Drain;
use crate::gateway::handler;
use crate::gateway::response_body::ResponseBody;
use crate::gateway::state::CurrentState;

/// The most that hyper buffers of a response, and of a request body, in bytes. For a slow client, hyper
/// buffers less: see [`super::activity`].
const BUFFER: usize = 128 * 1024;

/// Serves a connection until it ends.
pub(super) async fn serve(
    state: &CurrentState,
    front: &Front,
    ends: Ends,
    mut transport: Transport,
    mut drain: watch::Receiver<Drain>,
) -> Ended {
    let http = http(front);
    let parking = Parking::default();
    tokio::select! {
        biased;
        ready = timeout(front.header_timeout, transport.readable()) => ready??,
        () = draining_fresh(&mut drain) => return Ok(()),
    }
    loop {
        let activity = transport.activity();
        let escaped = Escaped::new(transport);
        let notes = escaped.notes();
        let service = service_fn(|mut request: Request<Incoming>| {
            notes.begin(&mut request);
            let busy = activity.begin_request(request.body().is_end_stream());
            let current = state.get();
            let (parts, body) = request.into_parts();
            let is_parked = parking.begin(&current, &ends, &parts, !body.is_end_stream());
            let request = Request::from_parts(parts, ClientBody::Http1(body));
            let pass = parking.take_pass();
            let response = (!is_parked).then(|| handler::respond(current, ends, request, pass));
            let drain = drain.clone();
            async move {
                let response = match response {
                    Some(response) => response.await,
                    None => pending().await,
                };
                let mut response = response.map(|body| SentBody { body, busy });
                if *drain.borrow() != Drain::No {
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(CONNECTION, close);
                }
                Ok::<_, Infallible>(response)
            }
        });
        let mut ending = drain.clone();
        let mut connection = http.serve_connection(TokioIo::new(escaped), service);
        let event = tokio::select! {
            // hyper comes first. So it reads a request that was let through, before anything else
            // happens.
            biased;
            ended = &mut connection => return Ok(ended?),
            parked = parking.parked() => Event::Parked(parked),
            () = Drain::now(&mut ending) => Event::Draining,
            () = activity.idle() => Event::Idle,
        };
        let parked = match event {
            Event::Idle => None,
            Event::Parked(request) => Some(request),
            Event::Draining => {
                Pin::new(&mut connection).graceful_shutdown();
                tokio::select! {
                    ended = &mut connection => return Ok(ended?),
                    request = parking.parked() => Some(request),
                }
            }
        };
        // The connection is idle, or its request is held: hyper's buffers are freed until the client sends
        // again, or the request goes on.
        let parts = connection.into_parts();
        let (inner, unread) = parts.io.into_inner().into_parts();
        transport = inner;
        transport.put_back([parts.read_buf, unread].concat().into());
        let Some(Parked { head, wait }) = parked else {
            tokio::select! {
                // A request that has arrived is served.
                biased;
                ready = timeout(front.header_timeout, transport.readable()) => ready??,
                () = Drain::now(&mut drain) => return Ok(()),
            }
            continue;
        };
        // A held request gets its response, even if the gateway ends.
        let pass = tokio::select! {
            pass = wait.ended() => pass,
            () = transport.closed() => return Ok(()),
        };
        parking.let_through(pass);
        transport.put_before(&head);
    }
}

/// What happens to a connection.
enum Event {
    Idle,
    /// The request of the connection is held.
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

/// A response body that gives hyper its next part only when the connection can take it. The connection is
/// busy as long as this body exists.
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
