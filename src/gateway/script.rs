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
use super::listen::is_out_of_resources;
use super::pipe::{self, OWN, pipe};
use super::refusal::Refusal;
use super::site::Site;
use super::spool::Spooled;
use super::stderr::Stderr;
use super::table::Served;
use super::temp::Owner;
use super::upstream::{NoSlot, SILENT};

/// The most of an answer that is collected before it is passed on, in bytes.
const WHOLE: usize = 256 * 1024;
/// How long to wait before a replica is tried again: its backlog is full, or there is no free
/// descriptor for a connection.
const RETRY: Duration = Duration::from_millis(2);

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
    /// Whose room its answer takes.
    pub owner: &'a Owner,
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
            Ok((head, rest)) => {
                if let Some(bad) = &head.bad_length {
                    stderr.note(&format!("its Content-Length {bad:?} makes no sense"));
                }
                (head, rest)
            }
            Err(refusal) if exchange.was_unread() => return Err(Missed::Unread(refusal)),
            Err(refusal) => return Err(refusal.into()),
        };
        if let Some(file) = handoff::of(&head, self.site, self.served)? {
            self.rest_is_dropped(exchange, stderr);
            return Ok(handoff::send(self.request, self.served, head, file)?);
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
                Err(NotBegun { slot: again, error })
                    if error.kind() == ErrorKind::WouldBlock || is_out_of_resources(&error) =>
                {
                    slot = *again;
                    sleep(RETRY).await;
                }
                Err(NotBegun { slot, error }) => {
                    let (pool, socket) = (&self.site.pool.name, slot.socket());
                    tracing::warn!(
                        "pool \"{pool}\": cannot connect to {}: {error}",
                        socket.display()
                    );
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
        let mut memory = None;
        let mut chunks = VecDeque::from_iter((!rest.is_empty()).then_some(rest));
        while length <= WHOLE {
            if length > OWN && memory.is_none() {
                // As much as it can come to, so that this is asked once.
                memory = self.owner.memory(WHOLE);
                if memory.is_none() {
                    break;
                }
            }
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
                    correct_length(&mut head, length, true, &stderr);
                    if let Some(memory) = &mut memory {
                        memory.shrink(length);
                    }
                    let body = Body::chunks(chunks).held_in(memory);
                    return Ok(body.answer(head.status, head.headers));
                }
            }
        }
        drop(memory);
        correct_length(&mut head, length, false, &stderr);
        let (writer, reader) = pipe(self.owner);
        let limit = self.site.settings.request_timeout;
        let promised = head.headers.get(CONTENT_LENGTH).and(head.length);
        let pump = Pump { exchange, writer, limit, stderr, promised, pushed: 0 };
        tokio::spawn(pump.run(chunks));
        Ok(Body::script(reader).answer(head.status, head.headers))
    }

    /// The script runs to its end; what it prints is of no use.
    fn rest_is_dropped(&self, exchange: Exchange, stderr: Stderr) {
        tokio::spawn(drop_rest(exchange, stderr, self.site.settings.request_timeout));
    }
}

async fn drop_rest(mut exchange: Exchange, mut stderr: Stderr, limit: Duration) {
    loop {
        match timeout(limit, poll_fn(|cx| exchange.poll_part(cx))).await {
            Ok(Ok(Part::Stdout(_))) => {}
            Ok(Ok(Part::Stderr(said))) => stderr.push(&said),
            Ok(Ok(Part::End)) => return exchange.finish(),
            Ok(Err(_)) | Err(_) => return,
        }
    }
}

/// Takes an answer from PHP as fast as it prints, and gives it to the client.
struct Pump {
    exchange: Exchange,
    writer: pipe::Writer,
    limit: Duration,
    stderr: Stderr,
    /// The `Content-Length` that the client was told.
    promised: Option<u64>,
    /// How many bytes of the body there were.
    pushed: u64,
}

impl Pump {
    /// Begins with what has been collected. Where the client goes away, the connection is closed, so
    /// that php-fpm tells the script.
    async fn run(mut self, collected: VecDeque<Bytes>) {
        for chunk in collected {
            if self.push(chunk).await.is_err() {
                return self.leave().await;
            }
        }
        loop {
            let part = tokio::select! {
                biased;
                part = timeout(self.limit, poll_fn(|cx| self.exchange.poll_part(cx))) => part,
                () = self.writer.gone() => return self.leave().await,
            };
            let failure = match part {
                Ok(Ok(Part::Stdout(output))) => match self.push(output).await {
                    Ok(()) => continue,
                    Err(_) => return self.leave().await,
                },
                Ok(Ok(Part::Stderr(said))) => {
                    self.stderr.push(&said);
                    continue;
                }
                Ok(Ok(Part::End)) => return self.end(),
                Ok(Err(failure)) => failure,
                Err(_) => Failure::Io(ErrorKind::TimedOut.into()),
            };
            self.stderr.note(&format!("the answer was cut short: {failure}"));
            return; // the writer is dropped: the client sees that it is broken
        }
    }

    async fn push(&mut self, output: Bytes) -> std::io::Result<()> {
        self.pushed += output.len() as u64;
        self.writer.push(output).await
    }

    /// The client has gone away; or it has all that it was told of, and the script works on.
    async fn leave(self) {
        if self.promised.is_some_and(|promised| self.pushed >= promised) {
            self.note_length();
            drop(self.writer);
            drop_rest(self.exchange, self.stderr, self.limit).await;
        }
    }

    fn end(self) {
        self.note_length();
        self.exchange.finish();
        // With less than it was told of, the client sees that it is broken.
        self.writer.end();
    }

    fn note_length(&self) {
        if let Some(promised) = self.promised.filter(|promised| *promised != self.pushed) {
            note_length(promised, self.pushed, &self.stderr);
        }
    }
}

/// Drops a `Content-Length` that is wrong, as far as that is known: `collected` is how many bytes
/// there are by now, and all that there are if `is_whole`. One that is right is said anyway then.
fn correct_length(head: &mut Head, collected: usize, is_whole: bool, stderr: &Stderr) {
    let has_body = !matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let Some(said) = head.length.filter(|_| has_body) else { return };
    let collected = collected as u64;
    if collected > said || (is_whole && collected < said) {
        note_length(said, collected, stderr);
        head.headers.remove(CONTENT_LENGTH);
    } else if is_whole {
        head.headers.remove(CONTENT_LENGTH);
    }
}

fn note_length(said: u64, printed: u64, stderr: &Stderr) {
    stderr.note(&format!("its Content-Length is {said}, but it has printed {printed} bytes"));
}

fn bad_head(bad: BadHead) -> Refusal {
    Refusal::bad_gateway(format!("the script's answer makes no sense: {bad}"))
}
