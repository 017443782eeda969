//! One request and its response, on a stream of an HTTP/2 connection.
//!
//! A response is read as far as the client's window allows. What the script prints meanwhile is in the
//! [`response_buffer`](crate::gateway::response_buffer), so a closed window holds no child. A client that
//! does not open the window of a stream loses that stream, and keeps the others.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use hyper::body::Body as _;
use hyper::header::EXPECT;
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};

use super::flood::Traffic;
use super::{STREAMS, head};
use crate::gateway::client::Ends;
use crate::gateway::client_body::{ClientBody, Http2Body};
use crate::gateway::connection::activity::Busy;
use crate::gateway::handler;
use crate::gateway::pace::{Meter, Pace};
use crate::gateway::response_body::ResponseBody;
use crate::gateway::state::CurrentState;

/// How long a client may send the rest of a body that is not needed, before its stream is reset. Some
/// clients drop a response that arrives together with the reset: curl 7.88 does.
const LINGER: Duration = Duration::from_secs(1);

/// A request that begins.
#[derive(Debug)]
pub(super) struct Exchange {
    /// The stream for the response.
    pub respond: SendResponse<Bytes>,
    /// The addresses of the connection.
    pub ends: Ends,
    /// The pace at which the client must read.
    pub pace: Pace,
    /// The activity of the connection.
    pub busy: Busy,
    /// The counters of the connection.
    pub traffic: Arc<Traffic>,
    /// The permit of a further request. None: the connection had no other request when this one began.
    pub further: Option<OwnedSemaphorePermit>,
}

/// How a request has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// With a response, complete or not.
    Answered,
    /// The client has reset it, or broken the connection.
    Reset,
}

/// Why a response is not sent to its end.
enum Unsent {
    /// The client has reset the stream.
    Reset,
    /// The response is incomplete.
    Broken,
    /// The client does not read.
    Slow,
}

impl Exchange {
    /// Begins the request. The returned future sends the response. The future is small, because it holds
    /// neither the request nor the head of the response: a task is moved several times until it runs.
    pub(super) fn begin(
        mut self,
        state: &CurrentState,
        request: Request<RecvStream>,
    ) -> impl Future<Output = Outcome> + use<> {
        let (mut head, stream) = request.into_parts();
        head::normalize(&mut head);
        let method = head.method.clone();
        let awaits = head.headers.get(EXPECT);
        if awaits.is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
            self.send_continue();
        }
        let useful = self.traffic.useful();
        let body = Http2Body::new(stream, head::length(&head), useful);
        let is_left = body.is_left();
        let request = Request::from_parts(head, ClientBody::Http2(body));
        let response = handler::respond(state.get(), self.ends, request, None);
        async move {
            let _further = self.further.take();
            let response = tokio::select! {
                response = response => response,
                _ = poll_fn(|cx| self.respond.poll_reset(cx)) => return Outcome::Reset,
            };
            let sent = match self.send_head(&method, response) {
                Ok(Some((mut stream, mut body))) => self.send_body(&mut stream, &mut body).await,
                Ok(None) => Ok(()),
                Err(unsent) => Err(unsent),
            };
            self.end(sent, &is_left).await
        }
    }

    async fn end(&mut self, sent: Result<(), Unsent>, is_left: &AtomicBool) -> Outcome {
        match sent {
            Ok(()) => {
                if is_left.load(Ordering::Relaxed) {
                    // The stream is reset when the last handle of it is dropped.
                    let _ = timeout(LINGER, poll_fn(|cx| self.respond.poll_reset(cx))).await;
                }
                Outcome::Answered
            }
            Err(Unsent::Reset) => Outcome::Reset,
            Err(Unsent::Broken) => {
                self.respond.send_reset(Reason::INTERNAL_ERROR);
                Outcome::Answered
            }
            Err(Unsent::Slow) => {
                self.respond.send_reset(Reason::CANCEL);
                Outcome::Answered
            }
        }
    }

    fn send_continue(&mut self) {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::CONTINUE;
        // If this fails, the stream has failed, and so does the response.
        let _ = self.respond.send_informational(response);
    }

    /// Sends the head. Returns the stream and the body; None: there is no body.
    fn send_head(
        &mut self,
        method: &Method,
        response: Response<ResponseBody>,
    ) -> Result<Option<(SendStream<Bytes>, ResponseBody)>, Unsent> {
        let (mut head, body) = response.into_parts();
        let is_empty = head::complete(&mut head, method, &body);
        let headers: usize =
            head.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        self.traffic.add_useful(headers);
        let sent = self.respond.send_response(Response::from_parts(head, ()), is_empty);
        let stream = sent.map_err(|_| Unsent::Reset)?;
        Ok((!is_empty).then_some((stream, body)))
    }

    async fn send_body(
        &mut self,
        stream: &mut SendStream<Bytes>,
        body: &mut ResponseBody,
    ) -> Result<(), Unsent> {
        // All streams of a connection share the rate that a client must keep.
        let min_rate = self.pace.min_rate / u64::from(STREAMS);
        let mut meter = Meter::new(Pace { min_rate, ..self.pace });
        loop {
            self.window(stream, 1, &mut meter).await?;
            let Some(mut chunk) = next_chunk(stream, body).await? else {
                // Without a length, the end is known only now.
                return stream.send_data(Bytes::new(), true).map_err(|_| Unsent::Reset);
            };
            while !chunk.is_empty() {
                let window = self.window(stream, chunk.len(), &mut meter).await?;
                poll_fn(|cx| self.busy.poll_may_give(cx)).await;
                let part = chunk.split_to(window.min(chunk.len()));
                self.busy.gave(part.len());
                self.traffic.add_useful(part.len());
                let is_last = chunk.is_empty() && body.size_hint().exact() == Some(0);
                stream.send_data(part, is_last).map_err(|_| Unsent::Reset)?;
                if is_last {
                    return Ok(());
                }
            }
        }
    }

    /// Waits until the client takes data: at most `wanted` bytes. Returns how many.
    async fn window(
        &self,
        stream: &mut SendStream<Bytes>,
        wanted: usize,
        meter: &mut Meter,
    ) -> Result<usize, Unsent> {
        stream.reserve_capacity(wanted);
        let available = stream.capacity();
        if available > 0 {
            meter.add(available.min(wanted) as u64, Duration::ZERO);
            return Ok(available);
        }
        let begun = Instant::now();
        let capacity = timeout(self.pace.timeout, poll_fn(|cx| stream.poll_capacity(cx)));
        match capacity.await {
            Err(_) => Err(Unsent::Slow),
            Ok(None | Some(Err(_))) => Err(Unsent::Reset),
            Ok(Some(Ok(available))) => {
                let is_kept = meter.add(available.min(wanted) as u64, begun.elapsed());
                if is_kept { Ok(available) } else { Err(Unsent::Slow) }
            }
        }
    }
}

/// The next part of the body; None at the end.
async fn next_chunk(
    stream: &mut SendStream<Bytes>,
    body: &mut ResponseBody,
) -> Result<Option<Bytes>, Unsent> {
    poll_fn(|cx| match Pin::new(&mut *body).poll_frame(cx) {
        Poll::Ready(frame) => Poll::Ready(data(frame)),
        Poll::Pending => stream.poll_reset(cx).map(|_| Err(Unsent::Reset)),
    })
    .await
}

fn data(frame: Option<io::Result<hyper::body::Frame<Bytes>>>) -> Result<Option<Bytes>, Unsent> {
    match frame {
        None => Ok(None),
        Some(Err(_)) => Err(Unsent::Broken),
        Some(Ok(frame)) => Ok(Some(frame.into_data().unwrap_or_default())),
    }
}
