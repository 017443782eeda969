//! Passes the rest of a script's response to the client, in the background.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::ErrorKind;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::stderr::ScriptStderr;
use crate::gateway::compress::{PAUSE, Writer};
use crate::gateway::fastcgi::Part;
use crate::gateway::upstream::{Exchange, Failure};

/// Reads a response to its end, so that the script can finish, and discards it. `limit`: the longest
/// silence of the script.
pub(super) async fn discard(
    mut exchange: Exchange,
    mut stderr: ScriptStderr<'static>,
    limit: Duration,
) {
    loop {
        match timeout(limit, poll_fn(|cx| exchange.poll_part(cx))).await {
            Ok(Ok(Part::Stdout(_))) => {}
            Ok(Ok(Part::Stderr(text))) => stderr.push(&text),
            Ok(Ok(Part::End)) => return exchange.finish(),
            Ok(Err(_)) | Err(_) => return,
        }
    }
}

/// Reads a response as fast as the script prints it, and writes it to the client's buffer.
pub(super) struct Pump {
    pub(super) exchange: Exchange,
    pub(super) writer: Writer,
    /// The longest silence of the script.
    pub(super) limit: Duration,
    pub(super) stderr: ScriptStderr<'static>,
    /// The `Content-Length` that the client got.
    pub(super) promised: Option<u64>,
    /// The number of body bytes so far.
    pub(super) pushed: u64,
}

impl Pump {
    /// Starts with the chunks that are collected already. If the client closes its connection, the
    /// gateway closes the connection to php-fpm, so that php-fpm notifies the script.
    pub(super) async fn run(mut self, collected: VecDeque<Bytes>) {
        for chunk in collected {
            if self.push(chunk).await.is_err() {
                return self.client_gone().await;
            }
        }
        loop {
            let wait = if self.writer.is_pending() { PAUSE.min(self.limit) } else { self.limit };
            let part = tokio::select! {
                biased;
                part = timeout(wait, poll_fn(|cx| self.exchange.poll_part(cx))) => part,
                () = self.writer.client_gone() => return self.client_gone().await,
            };
            let failure = match part {
                Ok(Ok(Part::Stdout(output))) => match self.push(output).await {
                    Ok(()) => continue,
                    Err(_) => return self.client_gone().await,
                },
                Ok(Ok(Part::Stderr(text))) => {
                    self.stderr.push(&text);
                    continue;
                }
                Ok(Ok(Part::End)) => return self.end().await,
                Ok(Err(failure)) => failure,
                Err(_) if self.writer.is_pending() => match self.writer.flush().await {
                    Ok(()) => continue,
                    Err(_) => return self.client_gone().await,
                },
                Err(_) => Failure::Io(ErrorKind::TimedOut.into()),
            };
            self.stderr.log(&format!("the response is incomplete: {failure}"));
            return; // dropping the writer makes the client's response incomplete
        }
    }

    async fn push(&mut self, mut output: Bytes) -> std::io::Result<()> {
        let before = self.pushed;
        self.pushed += output.len() as u64;
        // hyper ends a plain response after its `Content-Length`. A compressed response is cut here.
        if let Some(promised) = self.promised.filter(|_| self.writer.is_compressed()) {
            let left = usize::try_from(promised.saturating_sub(before)).unwrap_or(usize::MAX);
            output.truncate(left);
        }
        self.writer.push(output).await
    }

    /// The client has closed the connection, or has got `Content-Length` bytes. In the second case the
    /// script may finish.
    async fn client_gone(self) {
        if self.promised.is_some_and(|promised| self.pushed >= promised) {
            self.log_wrong_length();
            drop(self.writer);
            discard(self.exchange, self.stderr, self.limit).await;
        }
    }

    async fn end(self) {
        self.log_wrong_length();
        self.exchange.finish();
        // If the script has printed less than `Content-Length`, the client's response must be incomplete.
        // For a plain response, hyper sees to that. For a compressed one, the writer is dropped without
        // an end.
        let is_short = self.promised.is_some_and(|promised| self.pushed < promised);
        if !(is_short && self.writer.is_compressed()) {
            // An error means that the client has closed the connection.
            let _ = self.writer.end().await;
        }
    }

    fn log_wrong_length(&self) {
        if let Some(promised) = self.promised.filter(|promised| *promised != self.pushed) {
            log_wrong_length(promised, self.pushed, &self.stderr);
        }
    }
}

/// Logs a `Content-Length` that differs from the length of the body.
pub(super) fn log_wrong_length(length: u64, printed: u64, stderr: &ScriptStderr<'_>) {
    stderr.log(&format!("Content-Length is {length}, but the script printed {printed} bytes"));
}
