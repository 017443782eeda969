//! Passes the rest of a response to the client, in the background.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as _, Incoming};
use tokio::time::timeout;

use crate::gateway::compress::{PAUSE, Writer};
use crate::gateway::request_label::RequestLabel;
use crate::gateway::upstream::Lease;

/// Reads a response as fast as the server sends it, and writes it to the client's buffer.
pub(super) struct Pump {
    // Fields are dropped in this order: the connection is closed before the lease is given back.
    pub(super) body: Incoming,
    pub(super) lease: Lease,
    pub(super) writer: Writer,
    /// The longest silence of the server.
    pub(super) limit: Duration,
    /// For the log.
    pub(super) label: RequestLabel<'static>,
}

impl Pump {
    /// Starts with the chunks that are collected already. If the client closes its connection, the
    /// gateway closes the connection to the server.
    pub(super) async fn run(mut self, collected: Vec<Bytes>) {
        for chunk in collected {
            if self.writer.push(chunk).await.is_err() {
                return;
            }
        }
        loop {
            let wait = if self.writer.is_pending() { PAUSE.min(self.limit) } else { self.limit };
            let data = tokio::select! {
                biased;
                data = next(&mut self.body, wait) => data,
                () = self.writer.client_gone() => return,
            };
            match data {
                Ok(Some(data)) => {
                    if self.writer.push(data).await.is_err() {
                        return;
                    }
                }
                Ok(None) => {
                    self.lease.complete();
                    // An error means that the client has closed the connection.
                    let _ = self.writer.end().await;
                    return;
                }
                Err(error) if error.kind() == ErrorKind::TimedOut && self.writer.is_pending() => {
                    if self.writer.flush().await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    self.label.warn(format_args!("the response is incomplete: {error}"));
                    return; // dropping the writer makes the client's response incomplete
                }
            }
        }
    }
}

/// The next data of a body; None at its end.
async fn next(body: &mut Incoming, limit: Duration) -> io::Result<Option<Bytes>> {
    loop {
        let frame = timeout(limit, poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx))).await;
        let Some(frame) = frame.map_err(|_| io::Error::from(ErrorKind::TimedOut))? else {
            return Ok(None);
        };
        // Trailers are not passed on.
        if let Ok(data) = frame.map_err(io::Error::other)?.into_data() {
            return Ok(Some(data));
        }
    }
}
