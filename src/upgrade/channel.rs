//! The connection between the two processes of an upgrade.

use std::io::{self, ErrorKind};
use std::os::unix::net::UnixStream as StdStream;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

/// One end of the connection.
#[derive(Debug)]
pub(super) struct Channel {
    stream: BufReader<UnixStream>,
    /// What has arrived of the next line. It is kept if a wait for the rest is given up.
    line: Vec<u8>,
}

impl Channel {
    /// An end on which the sockets have been passed already.
    pub(super) fn new(stream: StdStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        let stream = BufReader::new(UnixStream::from_std(stream)?);
        Ok(Self { stream, line: Vec::new() })
    }

    /// Sends a message.
    pub(super) async fn send(&mut self, message: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        self.stream.get_mut().write_all(&line).await
    }

    /// The next message. Error `UnexpectedEof`: the other process has ended.
    ///
    /// Cancel safe: nothing is lost if the future is dropped.
    pub(super) async fn next<T: DeserializeOwned>(&mut self) -> io::Result<T> {
        self.stream.read_until(b'\n', &mut self.line).await?;
        if self.line.last() != Some(&b'\n') {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_slice(&std::mem::take(&mut self.line))?)
    }
}
