//! HTTP/2 on a connection (RFC 9113), by the crate h2.
//!
//! hyper's own server is not used: it hands over a response without a look at the client's window, has no
//! deadline for a stream whose window is closed, and does not report what a client resets. Here each
//! response waits for the window of its stream, with the deadlines of a slow client. Each connection is
//! watched for floods.
//!
//! What a client can cost:
//!
//! - A connection has at most [`STREAMS`] requests at a time. All connections together have at most
//!   `max_connections` beyond the first request of each. Further requests are refused (`REFUSED_STREAM`).
//!   A client may send a refused request again.
//! - A connection holds at most [`WINDOW`] bytes of request bodies that the gateway has not taken yet,
//!   and a small part of each response: see [`super::activity`].
//! - A connection without a request is closed after `header_timeout`, whatever else the client sends.
//! - Frames that serve no request, and requests that are reset, are counted: see [`flood`].
//!
//! The gateway sends no pings to find out whether a client is still there: each wait for a client has a
//! deadline.

mod exchange;
mod flood;
mod gathered;
mod head;

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use h2::server::{Builder, Connection, SendResponse};
use hyper::Request;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::Ended;
use super::activity::{Activity, SharedLimits};
use super::transport::Transport;
use crate::config::Front;
use crate::gateway::client::Ends;
use crate::gateway::drain::Drain;
use crate::gateway::pace::Pace;
use crate::gateway::state::CurrentState;
use exchange::{Exchange, Outcome};
use flood::{Counted, Flood, Traffic};
use gathered::{Flusher, Gathered};

/// The most requests of a connection at a time.
const STREAMS: u32 = 100;
/// The most bytes of request bodies of a connection that the gateway has not taken yet.
const WINDOW: u32 = 256 * 1024;
/// The most bytes of a response that h2 holds.
const SEND_BUFFER: usize = 128 * 1024;
/// How long a connection without requests stays open after the announcement of its end: the client may
/// have sent a request meanwhile.
const LINGER: Duration = Duration::from_secs(1);

type Stream = Counted<Transport>;
type Server = Connection<Gathered<Stream>, Bytes>;

/// Serves a connection until it ends.
pub(super) async fn serve(
    state: &Arc<CurrentState>,
    front: &Front,
    limits: &Arc<SharedLimits>,
    ends: Ends,
    transport: Transport,
    drain: watch::Receiver<Drain>,
) -> Ended {
    let traffic = Arc::<Traffic>::default();
    let activity = transport.activity();
    let (stream, flusher) = Gathered::new(Counted::new(transport, Arc::clone(&traffic)));
    let mut handshake = pin!(builder(front).handshake(stream));
    let handshake = poll_fn(|cx| flusher.poll(cx, |cx| handshake.as_mut().poll(cx)));
    let server = timeout(front.header_timeout, handshake).await???;
    let serving = Serving {
        state,
        limits,
        ends,
        pace: Pace { timeout: front.send_timeout, min_rate: front.min_rate },
        idle_timeout: front.header_timeout,
        activity,
        traffic,
        flusher,
        exchanges: JoinSet::new(),
    };
    serving.run(server, drain).await
}

fn builder(front: &Front) -> Builder {
    let mut builder = Builder::new();
    builder
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(u32::try_from(front.max_header).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER)
        // A browser that leaves a page resets all its requests at once.
        .max_pending_accept_reset_streams(STREAMS as usize);
    builder
}

struct Serving<'a> {
    state: &'a Arc<CurrentState>,
    limits: &'a Arc<SharedLimits>,
    ends: Ends,
    pace: Pace,
    idle_timeout: Duration,
    activity: Arc<Activity>,
    traffic: Arc<Traffic>,
    flusher: Flusher<Stream>,
    /// The requests in progress. Dropping the set cancels them.
    exchanges: JoinSet<Outcome>,
}

impl Serving<'_> {
    async fn run(mut self, mut server: Server, mut drain: watch::Receiver<Drain>) -> Ended {
        let traffic = Arc::clone(&self.traffic);
        // These waits are registered once, and not again for each request.
        let mut stopped = pin!(traffic.stopped());
        let mut draining = pin!(Drain::begun(&mut drain));
        let mut idle_until = Instant::now() + self.idle_timeout;
        let mut idle = pin!(sleep_until(idle_until));
        let mut is_ending = false;
        // Whether the connection has already got more time to write the ends of its responses.
        let mut is_late = false;
        loop {
            let is_idle = self.exchanges.is_empty();
            tokio::select! {
                // All requests that have arrived begin before anything is written.
                biased;
                accepted = accept(&self.flusher, &mut server) => match accepted? {
                    None => return Ok(()),
                    Some(accepted) => {
                        let (request, respond) = accepted?;
                        self.begin(request, respond);
                        is_late = false;
                    }
                },
                Some(ended) = self.exchanges.join_next(), if !is_idle => {
                    let also_ended = std::iter::from_fn(|| self.exchanges.try_join_next());
                    for ended in std::iter::once(ended).chain(also_ended) {
                        self.traffic.ended(ended.is_ok_and(|it| it == Outcome::Reset));
                    }
                    let rest = if is_ending { LINGER } else { self.idle_timeout };
                    idle_until = Instant::now() + rest;
                    if is_ending {
                        idle.as_mut().reset(idle_until);
                    }
                }
                () = &mut idle, if is_idle => {
                    // A request changes only `idle_until`, not the timer. If the timer expires too early,
                    // it is set again.
                    if Instant::now() < idle_until {
                        idle.as_mut().reset(idle_until);
                        continue;
                    }
                    if server.has_streams() && !is_late {
                        (is_late, idle_until) = (true, Instant::now() + self.pace.timeout);
                        continue;
                    }
                    if is_ending {
                        return close(&self.flusher, server, Reason::NO_ERROR).await;
                    }
                    (is_ending, idle_until) = (true, Instant::now() + LINGER);
                    server.graceful_shutdown();
                }
                () = &mut draining, if !is_ending => {
                    (is_ending, idle_until) = (true, Instant::now() + LINGER);
                    idle.as_mut().reset(idle_until);
                    server.graceful_shutdown();
                }
                () = &mut stopped => stopped.set(traffic.stopped()),
            }
            if let Some(flood) = self.traffic.flood() {
                self.report(flood);
                return close(&self.flusher, server, Reason::ENHANCE_YOUR_CALM).await;
            }
        }
    }

    /// Starts a request, or refuses it.
    fn begin(&mut self, request: Request<h2::RecvStream>, mut respond: SendResponse<Bytes>) {
        let further = (!self.exchanges.is_empty())
            .then(|| Arc::clone(&self.limits.further_requests).try_acquire_owned());
        let further = match further {
            Some(Err(_)) => return respond.send_reset(Reason::REFUSED_STREAM),
            Some(Ok(permit)) => Some(permit),
            None => None,
        };
        let is_complete = request.body().is_end_stream();
        self.traffic.began(&request, !is_complete);
        let exchange = Exchange {
            respond,
            ends: self.ends,
            pace: self.pace,
            busy: self.activity.begin_request(is_complete),
            traffic: Arc::clone(&self.traffic),
            further,
        };
        self.exchanges.spawn(exchange.begin(self.state, request));
    }

    fn report(&self, flood: Flood) {
        if let Some(more) = self.limits.floods.pass() {
            let client = self.ends.remote();
            tracing::warn!(
                "client {client}: {flood}, and its HTTP/2 connection is closed; {more} more such events \
                 since the last such line"
            );
        }
    }
}

/// The next request; None: the connection has ended.
async fn accept(
    flusher: &Flusher<Stream>,
    server: &mut Server,
) -> io::Result<Option<Result<(Request<h2::RecvStream>, SendResponse<Bytes>), h2::Error>>> {
    poll_fn(|cx| flusher.poll(cx, |cx| server.poll_accept(cx))).await
}

/// Closes the connection at once. The reason is written, if the client takes it.
async fn close(flusher: &Flusher<Stream>, mut server: Server, reason: Reason) -> Ended {
    server.abrupt_shutdown(reason);
    let end = poll_fn(|cx| flusher.poll(cx, |cx| server.poll_closed(cx)));
    Ok(timeout(LINGER, end).await???)
}
