//! A request to a PHP script.
//!
//! A response that is complete at once is passed on as a whole, with its length. Any other response goes
//! through a [`response_buffer`](super::response_buffer): the gateway reads it as fast as the script
//! prints it, and the client gets it as fast as it reads.

mod pump;
mod stderr;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::CONTENT_LENGTH;
use hyper::{Method, Response, StatusCode};
use tokio::time::{Instant, sleep, timeout};

use super::buffer_space::ClientSpace;
use super::compress;
use super::fastcgi::{BadHead, Head, HeadParser, Part, Request};
use super::host::Host;
use super::http_error::HttpError;
use super::request_body::RequestBody;
use super::request_label::RequestLabel;
use super::response_body::ResponseBody;
use super::response_buffer::{MEMORY_MIN, response_buffer};
use super::routing_table::ServedRelease;
use super::upstream::{
    Exchange, Lease, NoLease, NotSent, UNRESPONSIVE_AFTER, Upstream, is_out_of_resources,
};
use super::virtual_host::VirtualHost;
use super::x_sendfile;
use pump::{Pump, discard, log_wrong_length};
use stderr::ScriptStderr;

/// The most that is collected of a response before it is passed on, in bytes.
const COLLECTED_MAX: usize = 256 * 1024;
/// The pause before the next attempt to connect, if the backlog of the endpoint is full, or the gateway
/// has no free descriptor.
const RETRY: Duration = Duration::from_millis(2);

/// A request that is ready to be sent.
#[derive(Debug)]
pub(super) struct ScriptRequest<'a> {
    /// The virtual host.
    pub vhost: &'a Arc<VirtualHost>,
    /// The endpoints: those of the virtual host, or of its canary.
    pub upstream: &'a Upstream,
    /// The release by which it was routed.
    pub served: &'a ServedRelease,
    /// The request line and the headers, as the client sent them.
    pub request: &'a hyper::http::request::Parts,
    /// The body.
    pub body: &'a RequestBody,
    /// The buffer space of the client.
    pub space: &'a ClientSpace,
    /// The request id.
    pub id: &'a str,
    /// The host.
    pub host: &'a Host<'a>,
    /// Until when the gateway may try to connect to an endpoint.
    pub deadline: Instant,
}

/// Why a request has no response of a script.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// The request was not sent to any endpoint: it may be routed again.
    NotSent,
    /// The request was sent, and the server has not read it: it may be sent again, on a new connection. After
    /// [`RESENDS_MAX`] repetitions, the error is the response.
    NotRead(HttpError),
    /// The response is an error.
    Failed(HttpError),
}

/// How often a request is sent again if the server has not read it.
const RESENDS_MAX: u32 = 2;

impl Unanswered {
    /// Ok: the request is to be routed and sent again. `resends`: how often the request was sent again because
    /// the server had not read it.
    pub(super) fn or_again(self, resends: &mut u32) -> Result<(), HttpError> {
        match self {
            Self::NotRead(_) if *resends < RESENDS_MAX => {
                *resends += 1;
                Ok(())
            }
            Self::NotRead(error) | Self::Failed(error) => Err(error),
            Self::NotSent => Ok(()),
        }
    }
}

impl From<HttpError> for Unanswered {
    fn from(error: HttpError) -> Self {
        Self::Failed(error)
    }
}

/// Whether a request may use an idle connection. php-fpm may close an idle connection at any moment. Then the
/// gateway can tell only for a request without a body whether the script has begun.
pub(super) fn may_reuse_connection(method: &Method, body: &RequestBody) -> bool {
    matches!(*method, Method::GET | Method::HEAD) && body.length() == 0
}

/// Ejects an endpoint that refuses a connection. Its pool is observed again.
pub(super) fn unreachable(vhost: &VirtualHost, lease: Lease, error: &io::Error) -> Unanswered {
    let (pool, socket) = (&vhost.pool.name, lease.socket());
    tracing::warn!(pool = %pool, "cannot connect to {}: {error}", socket.display());
    lease.eject_unreachable();
    vhost.request_refresh();
    Unanswered::NotSent
}

/// The error response if no endpoint has a free place; another attempt if the release is gone.
pub(super) fn no_lease(why: NoLease) -> Unanswered {
    match why {
        NoLease::ReleaseGone => Unanswered::NotSent,
        NoLease::QueueFull => unavailable("the queue is full").into(),
        NoLease::TimedOut => unavailable("no child was free within queue_timeout").into(),
    }
}

fn unavailable(reason: &str) -> HttpError {
    HttpError::new(StatusCode::SERVICE_UNAVAILABLE, reason)
}

impl ScriptRequest<'_> {
    fn label(&self) -> RequestLabel<'_> {
        RequestLabel::new(&self.vhost.pool.name, self.id, &self.host.name, self.request)
    }

    /// Sends the request, and returns the response of the script. `may_reuse`: see
    /// [`may_reuse_connection`].
    pub(super) async fn respond(
        &self,
        encoded: &mut Request,
        may_reuse: bool,
    ) -> Result<Response<ResponseBody>, Unanswered> {
        let mut exchange = self.send(encoded, may_reuse).await?;
        let mut stderr = ScriptStderr::new(self.label());
        let (head, rest) = match self.head(&mut exchange, &mut stderr).await {
            Ok((head, rest)) => {
                if let Some(bad) = &head.bad_length {
                    stderr.log(&format!("Content-Length {bad:?} is invalid"));
                }
                (head, rest)
            }
            Err(error) if exchange.was_unread() => return Err(Unanswered::NotRead(error)),
            Err(error) => return Err(error.into()),
        };
        if let Some(file) = x_sendfile::requested_file(&head, self.vhost, self.served)? {
            self.discard_rest(exchange, stderr);
            return Ok(x_sendfile::send(self.request, self.served, head, file)?);
        }
        if self.request.method == Method::HEAD {
            self.discard_rest(exchange, stderr);
            let mut head = head;
            // The same headers as for GET, as far as the length is known.
            if let Some(length) = head.length {
                drop(self.compression(&mut head, Some(length)));
            }
            return Ok(ResponseBody::omitted().response(head.status, head.headers));
        }
        Ok(self.body(head, rest, exchange, stderr).await?)
    }

    async fn send(&self, encoded: &mut Request, may_reuse: bool) -> Result<Exchange, Unanswered> {
        let request = may_reuse.then_some(&mut *encoded);
        let lease = self.upstream.acquire(self.served, request).await;
        let mut lease = lease.map_err(no_lease)?;
        loop {
            match Exchange::begin(lease, encoded, self.body.long(), self.body.length() == 0) {
                Ok(exchange) => return Ok(exchange),
                Err(NotSent { error, .. }) if Instant::now() >= self.deadline => {
                    let reason = format!("cannot connect to any replica: {error}");
                    return Err(unavailable(&reason).into());
                }
                Err(NotSent { lease: unused, error })
                    if error.kind() == ErrorKind::WouldBlock || is_out_of_resources(&error) =>
                {
                    lease = *unused;
                    sleep(RETRY).await;
                }
                Err(NotSent { lease, error }) => {
                    return Err(unreachable(self.vhost, *lease, &error));
                }
            }
        }
    }

    async fn head(
        &self,
        exchange: &mut Exchange,
        stderr: &mut ScriptStderr<'_>,
    ) -> Result<(Head, Bytes), HttpError> {
        let mut parser = HeadParser::default();
        loop {
            match self.part(exchange).await? {
                Part::Stdout(output) => {
                    if let Some(head) = parser.push(&output).map_err(bad_head)? {
                        return Ok(head);
                    }
                }
                Part::Stderr(text) => stderr.push(&text),
                Part::End => return Err(bad_head(BadHead::Missing)),
            }
        }
    }

    async fn part(&self, exchange: &mut Exchange) -> Result<Part, HttpError> {
        let limit = self.vhost.settings.request_timeout;
        let begun = Instant::now();
        loop {
            let left = limit.saturating_sub(begun.elapsed());
            match timeout(left.min(UNRESPONSIVE_AFTER), poll_fn(|cx| exchange.poll_part(cx))).await
            {
                Ok(part) => return part.map_err(|it| HttpError::bad_gateway(it.to_string())),
                Err(_) if begun.elapsed() < limit => exchange.suspect(),
                Err(_) => break,
            }
        }
        let reason = format!("the script sent nothing for {limit:?} (request_timeout)");
        Err(HttpError::new(StatusCode::GATEWAY_TIMEOUT, reason))
    }

    /// Collects what has arrived. Passes on a complete response; starts a [`Pump`] for any other.
    async fn body(
        &self,
        mut head: Head,
        rest: Bytes,
        mut exchange: Exchange,
        mut stderr: ScriptStderr<'_>,
    ) -> Result<Response<ResponseBody>, HttpError> {
        let mut length = rest.len();
        let mut memory = None;
        let mut chunks = VecDeque::from_iter((!rest.is_empty()).then_some(rest));
        while length <= COLLECTED_MAX {
            if length > MEMORY_MIN && memory.is_none() {
                // The largest size that the response can reach here, so that one reservation is enough.
                memory = self.space.reserve_memory(COLLECTED_MAX);
                if memory.is_none() {
                    break;
                }
            }
            // Only what has arrived: no waiting here.
            match poll_fn(|cx| Poll::Ready(exchange.poll_part(cx))).await {
                Poll::Pending => break,
                Poll::Ready(Ok(Part::Stdout(output))) => {
                    length += output.len();
                    chunks.push_back(output);
                }
                Poll::Ready(Ok(Part::Stderr(text))) => stderr.push(&text),
                Poll::Ready(Err(failure)) => {
                    return Err(HttpError::bad_gateway(failure.to_string()));
                }
                Poll::Ready(Ok(Part::End)) => {
                    exchange.finish();
                    correct_length(&mut head, length, true, &stderr);
                    if let Some(compression) = self.compression(&mut head, Some(length as u64)) {
                        let whole = compression.whole(chunks).await;
                        chunks = whole.map_err(|error| cannot_compress(&error))?;
                        length = chunks.iter().map(Bytes::len).sum();
                    }
                    if let Some(memory) = &mut memory {
                        memory.shrink(length);
                    }
                    let body = ResponseBody::chunks(chunks).held_in(memory);
                    return Ok(body.response(head.status, head.headers));
                }
            }
        }
        drop(memory);
        correct_length(&mut head, length, false, &stderr);
        let (writer, reader) = response_buffer(self.space);
        let limit = self.vhost.settings.request_timeout;
        let promised = head.headers.get(CONTENT_LENGTH).and(head.length);
        let compression = self.compression(&mut head, promised);
        let writer = compress::Writer::new(writer, compression);
        let stderr = stderr.into_owned();
        let pump = Pump { exchange, writer, limit, stderr, promised, pushed: 0 };
        tokio::spawn(pump.run(chunks));
        Ok(ResponseBody::buffered(reader).response(head.status, head.headers))
    }

    fn compression(&self, head: &mut Head, length: Option<u64>) -> Option<compress::Compression> {
        let settings = &self.vhost.settings;
        compress::begin(self.request, settings, head.status, &mut head.headers, length)
    }

    /// Lets the script finish, and discards its output.
    fn discard_rest(&self, exchange: Exchange, stderr: ScriptStderr<'_>) {
        let limit = self.vhost.settings.request_timeout;
        tokio::spawn(discard(exchange, stderr.into_owned(), limit));
    }
}

/// Removes a `Content-Length` that is wrong, as far as known. `collected`: the bytes so far, which are
/// all if `is_complete`. hyper sets the header for a complete body.
fn correct_length(head: &mut Head, collected: usize, is_complete: bool, stderr: &ScriptStderr<'_>) {
    let has_body = !matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let Some(length) = head.length.filter(|_| has_body) else { return };
    let collected = collected as u64;
    if collected > length || (is_complete && collected < length) {
        log_wrong_length(length, collected, stderr);
        head.headers.remove(CONTENT_LENGTH);
    } else if is_complete {
        head.headers.remove(CONTENT_LENGTH);
    }
}

/// The error of a response whose encoder fails.
pub(super) fn cannot_compress(error: &io::Error) -> HttpError {
    let reason = format!("the response cannot be compressed: {error}");
    HttpError::new(StatusCode::INTERNAL_SERVER_ERROR, reason)
}

fn bad_head(bad: BadHead) -> HttpError {
    HttpError::bad_gateway(format!("the response of the script is invalid: {bad}"))
}
