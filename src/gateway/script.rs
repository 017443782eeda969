//! A request that PHP answers.
//!
//! An answer that is there as a whole at once is passed on as it is, with its length. Any other
//! goes through a [`pipe`]: it is passed on as it comes, and taken from PHP as fast as it prints.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::ErrorKind;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::CONTENT_LENGTH;
use hyper::{Method, Response, StatusCode};
use tokio::time::{Instant, sleep, timeout};

use super::body::Body;
use super::exchange::{Exchange, Failure, NotBegun};
use super::fastcgi::{BadHead, Head, HeadParser, Part, Request};
use super::handoff;
use super::pipe::{self, pipe};
use super::refusal::Refusal;
use super::site::Site;
use super::spool::Spooled;
use super::stderr::Stderr;
use super::table::Served;
use super::temp::Temp;
use super::upstream::{NoSlot, SILENT};

/// The most of an answer that is collected before it is passed on, in bytes.
const WHOLE: usize = 256 * 1024;
/// How long to wait before a replica is asked again whose backlog is full.
const BACKLOG_RETRY: Duration = Duration::from_millis(2);

/// A request, ready to be sent.
#[derive(Debug)]
pub(super) struct Call<'a> {
    /// The pool.
    pub site: &'a Arc<Site>,
    /// The release by which it was routed.
    pub served: &'a Served,
    /// Its line and headers, as the client sent them.
    pub request: &'a hyper::http::request::Parts,
    /// Its body.
    pub body: &'a Spooled,
    /// Where answers go that are too large for memory.
    pub temp: &'a Arc<Temp>,
    /// What it is known by in all logs.
    pub id: &'a str,
    /// Until when it may wait for a replica.
    pub deadline: Instant,
}

/// What comes of it where there is no answer.
#[derive(Debug)]
pub(super) enum Missed {
    /// No replica has begun it: it may be routed anew.
    NotBegun,
    /// It was sent, and php-fpm has not read it: it may be sent again, on a new connection. What
    /// to answer where that has happened too often.
    Unread(Refusal),
    /// It is refused.
    Refused(Refusal),
}

impl From<Refusal> for Missed {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Whether a request may use a connection that was used before. php-fpm may close that one at any
/// moment, and whether the script has begun is known only of a request without a body.
pub(super) fn is_keepable(method: &Method, body: &Spooled) -> bool {
    matches!(*method, Method::GET | Method::HEAD) && body.length() == 0
}

impl Call<'_> {
    /// Has PHP answer.
    pub(super) async fn answer(
        &self,
        encoded: &mut Request,
        keepable: bool,
    ) -> Result<Response<Body>, Missed> {
        let mut exchange = self.begin(encoded, keepable).await?;
        let mut stderr = Stderr::new(&self.site.pool.name, self.id);
        let (head, rest) = match self.head(&mut exchange, &mut stderr).await {
            Ok(head) => head,
            Err(refusal) if exchange.was_unread() => return Err(Missed::Unread(refusal)),
            Err(refusal) => return Err(refusal.into()),
        };
        if let Some(file) = handoff::of(&head, self.site, self.served)? {
            self.rest_is_dropped(exchange, stderr);
            return Ok(handoff::send(self.request, head, file)?);
        }
        if self.request.method == Method::HEAD {
            self.rest_is_dropped(exchange, stderr);
            return Ok(Body::omitted().answer(head.status, head.headers));
        }
        Ok(self.body(head, rest, exchange, stderr).await?)
    }

    async fn begin(&self, encoded: &mut Request, keepable: bool) -> Result<Exchange, Missed> {
        let unavailable = |why: &str| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, why);
        let mut slot = match self
            .site
            .upstream
            .acquire(self.served, keepable.then_some(&mut *encoded))
            .await
        {
            Ok(slot) => slot,
            Err(NoSlot::Moved) => return Err(Missed::NotBegun),
            Err(NoSlot::Full) => return Err(unavailable("the queue is full").into()),
            Err(NoSlot::TimedOut) => return Err(unavailable("no child was free in time").into()),
        };
        loop {
            match Exchange::begin(slot, encoded, self.body.long(), self.body.length() == 0) {
                Ok(exchange) => return Ok(exchange),
                Err(NotBegun { error, .. }) if Instant::now() >= self.deadline => {
                    return Err(unavailable(&format!("no replica can be reached: {error}")).into());
                }
                Err(NotBegun { slot: again, error }) if error.kind() == ErrorKind::WouldBlock => {
                    slot = *again;
                    sleep(BACKLOG_RETRY).await;
                }
                Err(NotBegun { slot, error }) => {
                    let (pool, socket) = (&self.site.pool.name, slot.socket());
                    eprintln!("pool \"{pool}\": cannot connect to {}: {error}", socket.display());
                    slot.set_aside();
                    self.site.doubt();
                    return Err(Missed::NotBegun);
                }
            }
        }
    }

    async fn head(
        &self,
        exchange: &mut Exchange,
        stderr: &mut Stderr,
    ) -> Result<(Head, Bytes), Refusal> {
        let mut parser = HeadParser::default();
        loop {
            match self.part(exchange).await? {
                Part::Stdout(output) => {
                    if let Some(head) = parser.push(&output).map_err(bad_head)? {
                        return Ok(head);
                    }
                }
                Part::Stderr(said) => stderr.push(&said),
                Part::End => return Err(bad_head(BadHead::Missing)),
            }
        }
    }

    async fn part(&self, exchange: &mut Exchange) -> Result<Part, Refusal> {
        let limit = self.site.settings.request_timeout;
        let begun = Instant::now();
        loop {
            let left = limit.saturating_sub(begun.elapsed());
            match timeout(left.min(SILENT), poll_fn(|cx| exchange.poll_part(cx))).await {
                Ok(part) => return part.map_err(|it| Refusal::bad_gateway(it.to_string())),
                Err(_) if begun.elapsed() < limit => exchange.suspect(),
                Err(_) => break,
            }
        }
        let why = format!("the script was silent for {limit:?} (request_timeout)");
        Err(Refusal::new(StatusCode::GATEWAY_TIMEOUT, why))
    }

    /// Collects what is there already, and passes it on.
    async fn body(
        &self,
        mut head: Head,
        rest: Bytes,
        mut exchange: Exchange,
        mut stderr: Stderr,
    ) -> Result<Response<Body>, Refusal> {
        let mut length = rest.len();
        let mut chunks = VecDeque::from_iter((!rest.is_empty()).then_some(rest));
        while length <= WHOLE {
            // What is not there now is not waited for.
            match poll_fn(|cx| Poll::Ready(exchange.poll_part(cx))).await {
                Poll::Pending => break,
                Poll::Ready(Ok(Part::Stdout(output))) => {
                    length += output.len();
                    chunks.push_back(output);
                }
                Poll::Ready(Ok(Part::Stderr(said))) => stderr.push(&said),
                Poll::Ready(Err(failure)) => return Err(Refusal::bad_gateway(failure.to_string())),
                Poll::Ready(Ok(Part::End)) => {
                    exchange.finish();
                    check_length(&mut head, length)?;
                    return Ok(Body::chunks(chunks).answer(head.status, head.headers));
                }
            }
        }
        let (mut writer, reader) = pipe(self.temp);
        let limit = self.site.settings.request_timeout;
        tokio::spawn(async move {
            for chunk in chunks {
                if writer.push(chunk).await.is_err() {
                    return;
                }
            }
            pump(exchange, writer, limit, stderr).await;
        });
        Ok(Body::script(reader).answer(head.status, head.headers))
    }

    /// The script runs to its end; what it prints is of no use.
    fn rest_is_dropped(&self, mut exchange: Exchange, mut stderr: Stderr) {
        let limit = self.site.settings.request_timeout;
        tokio::spawn(async move {
            loop {
                match timeout(limit, poll_fn(|cx| exchange.poll_part(cx))).await {
                    Ok(Ok(Part::Stdout(_))) => {}
                    Ok(Ok(Part::Stderr(said))) => stderr.push(&said),
                    Ok(Ok(Part::End)) => return exchange.finish(),
                    Ok(Err(_)) | Err(_) => return,
                }
            }
        });
    }
}

/// Takes an answer from PHP as fast as it prints. Where the client goes away, the connection is
/// closed, so that the script is told.
async fn pump(
    mut exchange: Exchange,
    mut writer: pipe::Writer,
    limit: Duration,
    mut stderr: Stderr,
) {
    loop {
        let part = tokio::select! {
            biased;
            part = timeout(limit, poll_fn(|cx| exchange.poll_part(cx))) => part,
            () = writer.gone() => return,
        };
        let failure = match part {
            Ok(Ok(Part::Stdout(output))) => {
                if writer.push(output).await.is_err() {
                    return;
                }
                continue;
            }
            Ok(Ok(Part::Stderr(said))) => {
                stderr.push(&said);
                continue;
            }
            Ok(Ok(Part::End)) => {
                exchange.finish();
                return writer.end();
            }
            Ok(Err(failure)) => failure,
            Err(_) => Failure::Io(ErrorKind::TimedOut.into()),
        };
        stderr.note(&format!("the answer was cut short: {failure}"));
        return; // the writer is dropped: the client sees that it is broken
    }
}

/// What the script says of its length has to be so; where it is, it is said anyway.
fn check_length(head: &mut Head, length: usize) -> Result<(), Refusal> {
    let has_body = !matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let Some(said) = head.headers.get(CONTENT_LENGTH).filter(|_| has_body) else { return Ok(()) };
    if said.to_str().is_ok_and(|said| said.parse() == Ok(length)) {
        head.headers.remove(CONTENT_LENGTH);
        return Ok(());
    }
    Err(Refusal::bad_gateway(format!("its Content-Length is {said:?}, but it has {length} bytes")))
}

fn bad_head(bad: BadHead) -> Refusal {
    Refusal::bad_gateway(format!("the script's answer makes no sense: {bad}"))
}
