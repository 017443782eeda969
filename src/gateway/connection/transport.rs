//! What HTTP is spoken over: a client's socket, with or without TLS.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::activity::Activity;
use super::stream::ClientStream;
use crate::gateway::tls::ALPN_HTTP2;

/// What an HTTP/2 client sends first (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The type of the first TLS record (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 0x16;
/// The most that rustls holds of a response for a client that does not read, in bytes.
const TLS_BUFFER: usize = 32 * 1024;
const HTTP_TO_HTTPS: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain; charset=utf-8\r\nContent-Length: 43\r\nConnection: close\r\n\r\n\
    This port is for HTTPS, and not for HTTP.\r\n";

/// A version of HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// HTTP/1.0 and HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// A client's connection.
#[derive(Debug)]
pub(super) struct Transport {
    kind: Kind,
    /// Data that was read before, and comes first.
    ahead: Bytes,
}

#[derive(Debug)]
enum Kind {
    Plain(ClientStream),
    Tls(Box<TlsStream<ClientStream>>),
}

impl Transport {
    /// A connection without TLS, with the version that the client speaks: the first bytes show it. Error
    /// `UnexpectedEof`: the client has closed the connection.
    pub(super) async fn plain(mut stream: ClientStream) -> io::Result<(Self, Version)> {
        let mut first = [0; PREFACE.len()];
        let mut length = stream.peek(&mut first).await?;
        let mut ahead = Bytes::new();
        if length > 0 && PREFACE.starts_with(&first[..length]) {
            // The rest of the preface may still be on its way. It has to be read: no event shows when
            // more can be peeked at.
            let mut read = BytesMut::with_capacity(first.len());
            while read.len() < PREFACE.len() && PREFACE.starts_with(&read) {
                let mut rest = (&mut stream).take((PREFACE.len() - read.len()) as u64);
                if rest.read_buf(&mut read).await? == 0 {
                    break;
                }
            }
            length = read.len();
            first[..length].copy_from_slice(&read);
            ahead = read.freeze();
        }
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let is_http2 = first[..length] == *PREFACE;
        let version = if is_http2 { Version::Http2 } else { Version::Http1 };
        Ok((Self { kind: Kind::Plain(stream), ahead }, version))
    }

    /// A connection with TLS, after its handshake. A client that speaks HTTP without TLS gets an error
    /// page.
    pub(super) async fn tls(
        mut stream: ClientStream,
        settings: Arc<ServerConfig>,
    ) -> io::Result<(Self, Version)> {
        let mut first = [0];
        let length = stream.peek(&mut first).await?;
        if length > 0 && first[0] != HANDSHAKE {
            if first[0].is_ascii_uppercase() {
                stream.write_all(HTTP_TO_HTTPS).await?;
                stream.shutdown().await?;
            }
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut tls = TlsAcceptor::from(settings).accept(stream).await?;
        let session = tls.get_mut().1;
        session.set_buffer_limit(Some(TLS_BUFFER));
        let is_http2 = session.alpn_protocol() == Some(ALPN_HTTP2);
        let version = if is_http2 { Version::Http2 } else { Version::Http1 };
        Ok((Self { kind: Kind::Tls(Box::new(tls)), ahead: Bytes::new() }, version))
    }

    fn stream(&self) -> &ClientStream {
        match &self.kind {
            Kind::Plain(stream) => stream,
            Kind::Tls(tls) => tls.get_ref().0,
        }
    }

    /// The activity of the connection.
    pub(super) fn activity(&self) -> Arc<Activity> {
        self.stream().activity()
    }

    /// Puts data back, to be read first.
    pub(super) fn put_back(&mut self, ahead: Bytes) {
        self.ahead = ahead;
        match &mut self.kind {
            Kind::Plain(stream) => stream.end_stall(),
            Kind::Tls(tls) => tls.get_mut().0.end_stall(),
        }
    }

    /// Puts data before what was put back.
    pub(super) fn put_before(&mut self, data: &[u8]) {
        self.ahead = [data, &self.ahead].concat().into();
    }

    /// Waits until the client has closed its side of the connection. If the client sends data before it
    /// closes, the close is not noticed.
    pub(super) async fn closed(&self) {
        self.stream().closed().await;
    }

    /// Waits until there is data to read, or the client has closed the connection.
    pub(super) async fn readable(&mut self) -> io::Result<()> {
        if self.ahead.is_empty() && !self.has_decrypted() {
            self.stream().readable().await?;
        }
        Ok(())
    }

    /// Whether rustls has data that was not read from it.
    fn has_decrypted(&mut self) -> bool {
        let Kind::Tls(tls) = &mut self.kind else { return false };
        let state = tls.get_mut().1.process_new_packets();
        // After an error there is something to read: the next read returns this error.
        state.map_or(true, |state| state.plaintext_bytes_to_read() > 0 || state.peer_has_closed())
    }
}

/// Calls a method of a stream of either kind.
macro_rules! on_stream {
    ($transport:expr, $method:ident $(, $argument:expr)*) => {
        match &mut $transport.kind {
            Kind::Plain(stream) => Pin::new(stream).$method($($argument),*),
            Kind::Tls(stream) => Pin::new(&mut **stream).$method($($argument),*),
        }
    };
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return on_stream!(self, poll_read, cx, buffer);
        }
        let length = self.ahead.len().min(buffer.remaining());
        buffer.put_slice(&self.ahead.split_to(length));
        self.stream().note_arrival();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        on_stream!(self, poll_write, cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on_stream!(self, poll_write_vectored, cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(self, poll_flush, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(self, poll_shutdown, cx)
    }
}
