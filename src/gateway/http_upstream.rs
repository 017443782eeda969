//! A request to a server that speaks HTTP.
//!
//! Each request has its own connection. So the kernel's count of connections is the count of requests, no
//! connection stays open to a generation that is not published any more, and the gateway can recognize a
//! request that the server has not read. As for PHP, the body of the request is received completely before
//! the request is sent. The response is passed on as it arrives, through a
//! [`response_buffer`](super::response_buffer).

mod failure;
mod headers;
mod pump;
mod sent_body;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::ErrorKind;
use std::os::unix::net::UnixStream as StdStream;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper::header::CONTENT_LENGTH;
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};

use super::buffer_space::ClientSpace;
use super::client::Client;
use super::compress;
use super::host::Host;
use super::http_error::HttpError;
use super::request_body::RequestBody;
use super::request_label::RequestLabel;
use super::response_body::ResponseBody;
use super::response_buffer::{MEMORY_MIN, response_buffer};
use super::routing_table::ServedRelease;
use super::script::{Unanswered, cannot_compress, no_lease, unreachable};
use super::upstream::{Lease, UNRESPONSIVE_AFTER, Upstream, connect, is_out_of_resources};
use super::virtual_host::VirtualHost;
use failure::is_unread;
use pump::Pump;
use sent_body::SentBody;

/// The pause before the next attempt to connect, if the backlog of the endpoint is full, or the gateway
/// has no free descriptor.
const RETRY: std::time::Duration = std::time::Duration::from_millis(2);
/// The most bytes that hyper buffers of a connection.
const BUFFER: usize = 64 * 1024;

/// A request that is ready to be sent.
#[derive(Debug)]
pub(super) struct HttpRequest<'a> {
    /// The virtual host.
    pub vhost: &'a Arc<VirtualHost>,
    /// The endpoints: those of the virtual host, or of its canary.
    pub upstream: &'a Upstream,
    /// The release by which it was routed.
    pub served: &'a ServedRelease,
    /// The request line and the headers, as the client sent them.
    pub request: &'a Parts,
    /// The client.
    pub client: &'a Client,
    /// The host.
    pub host: &'a Host<'a>,
    /// The request id.
    pub id: &'a str,
    /// The body.
    pub body: &'a RequestBody,
    /// The buffer space of the client.
    pub space: &'a ClientSpace,
    /// Until when the gateway may try to connect to an endpoint.
    pub deadline: Instant,
}

impl HttpRequest<'_> {
    /// Sends the request, and returns the response of the server.
    pub(super) async fn respond(&self) -> Result<Response<ResponseBody>, Unanswered> {
        let lease = self.upstream.acquire(self.served, None).await.map_err(no_lease)?;
        let (lease, stream) = self.connect(lease).await?;
        let response = self.send(&lease, stream).await?;
        let (mut head, body) = response.into_parts();
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            let reason = "the server switches protocols, though it was not asked to";
            return Err(HttpError::bad_gateway(reason).into());
        }
        headers::remove_hop_by_hop(&mut head.headers);
        if self.request.method == Method::HEAD {
            lease.complete();
            return Ok(ResponseBody::omitted().response(head.status, head.headers));
        }
        Ok(self.body(head, body, lease).await?)
    }

    /// Connects without waiting for the server. An endpoint that refuses the connection is ejected.
    async fn connect(&self, lease: Lease) -> Result<(Lease, UnixStream), Unanswered> {
        loop {
            let stream = connect(&lease.socket())
                .and_then(|socket| UnixStream::from_std(StdStream::from(socket)));
            match stream {
                Ok(stream) => return Ok((lease, stream)),
                Err(error) if Instant::now() >= self.deadline => {
                    let reason = format!("cannot connect to any replica: {error}");
                    return Err(HttpError::new(StatusCode::SERVICE_UNAVAILABLE, reason).into());
                }
                Err(error)
                    if error.kind() == ErrorKind::WouldBlock || is_out_of_resources(&error) =>
                {
                    sleep(RETRY).await;
                }
                Err(error) => {
                    return Err(unreachable(self.vhost, lease, &error));
                }
            }
        }
    }

    /// Sends the request, and waits for the head of the response.
    async fn send(
        &self,
        lease: &Lease,
        stream: UnixStream,
    ) -> Result<Response<Incoming>, Unanswered> {
        let failed = |error: &hyper::Error| {
            HttpError::bad_gateway(format!("the server gives no valid response: {error}"))
        };
        let request = self.encode()?;
        let handshake = http1::Builder::new().max_buf_size(BUFFER).handshake(TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.map_err(|error| failed(&error))?;
        // This task ends with the exchange: when the response is complete, or dropped.
        tokio::spawn(connection);
        let limit = self.vhost.settings.request_timeout;
        let begun = Instant::now();
        let mut response = pin!(sender.send_request(request));
        loop {
            let left = limit.saturating_sub(begun.elapsed());
            match timeout(left.min(UNRESPONSIVE_AFTER), &mut response).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(error)) if is_unread(&error, self.body.length() == 0) => {
                    return Err(Unanswered::NotRead(failed(&error)));
                }
                Ok(Err(error)) => return Err(failed(&error).into()),
                Err(_) if begun.elapsed() < limit => lease.suspect(),
                Err(_) => {
                    let reason = format!("the server sent nothing for {limit:?} (request_timeout)");
                    return Err(HttpError::new(StatusCode::GATEWAY_TIMEOUT, reason).into());
                }
            }
        }
    }

    fn encode(&self) -> Result<hyper::Request<SentBody>, HttpError> {
        let target = self.request.uri.path_and_query().map_or("/", |it| it.as_str());
        let body = SentBody::of(self.body);
        let request = hyper::Request::builder().method(self.request.method.clone()).uri(target);
        let mut request =
            request.body(body).map_err(|_| HttpError::unlogged(StatusCode::BAD_REQUEST))?;
        *request.headers_mut() = headers::of_request(self);
        Ok(request)
    }

    /// The response with a complete body.
    async fn whole(
        &self,
        mut head: hyper::http::response::Parts,
        mut chunks: VecDeque<Bytes>,
        length: usize,
    ) -> Result<Response<ResponseBody>, HttpError> {
        head.headers.remove(CONTENT_LENGTH);
        if let Some(compression) = self.compression(&mut head, Some(length as u64)) {
            chunks = compression.whole(chunks).await.map_err(|error| cannot_compress(&error))?;
        }
        Ok(ResponseBody::chunks(chunks).response(head.status, head.headers))
    }

    fn compression(
        &self,
        head: &mut hyper::http::response::Parts,
        length: Option<u64>,
    ) -> Option<compress::Compression> {
        let settings = &self.vhost.settings;
        compress::begin(self.request, settings, head.status, &mut head.headers, length)
    }

    /// Collects what has arrived. Passes on a complete response; starts a [`Pump`] for any other.
    async fn body(
        &self,
        mut head: hyper::http::response::Parts,
        mut body: Incoming,
        lease: Lease,
    ) -> Result<Response<ResponseBody>, HttpError> {
        let mut chunks = VecDeque::new();
        let mut length = 0;
        // Lets the task of the connection run: it may have more of the response than the head.
        tokio::task::yield_now().await;
        loop {
            if body.is_end_stream() {
                lease.complete();
                return self.whole(head, chunks, length).await;
            }
            if length > MEMORY_MIN {
                break;
            }
            match poll_fn(|cx| Poll::Ready(Pin::new(&mut body).poll_frame(cx))).await {
                Poll::Pending => break,
                Poll::Ready(None) => {
                    lease.complete();
                    return self.whole(head, chunks, length).await;
                }
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        length += data.len();
                        chunks.push_back(data);
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    return Err(HttpError::bad_gateway(format!("the response is cut: {error}")));
                }
            }
        }
        let length = head.headers.get(CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse().ok());
        let compression = self.compression(&mut head, length);
        let (writer, reader) = response_buffer(self.space);
        let writer = compress::Writer::new(writer, compression);
        let pump = Pump {
            body,
            lease,
            writer,
            limit: self.vhost.settings.request_timeout,
            label: RequestLabel::new(&self.vhost.pool.name, self.id, &self.host.name, self.request)
                .into_owned(),
        };
        tokio::spawn(pump.run(Vec::<Bytes>::from(chunks)));
        Ok(ResponseBody::buffered(reader).response(head.status, head.headers))
    }
}
