//! The request's body: taken in whole before PHP is asked.
//!
//! PHP wants to know its length first, and reads it before it runs the script; so a client that
//! sends slowly, or in chunks, or never ends, is waited for here, and holds no child. A body that
//! is short stays in memory, the rest goes to a temporary file.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::StatusCode;
use hyper::body::{Body as _, Incoming};
use tokio::time::timeout;

use super::file::FileReader;
use super::refusal::Refusal;
use super::temp::{Temp, TempFile};

/// The most that stays in memory; and what is written to a file at a time.
const MEMORY: usize = 64 * 1024;
/// The most of a body that is sent together with the request, in bytes.
const SHORT: usize = 32 * 1024;

/// A body that is whole.
#[derive(Debug, Default)]
pub(super) enum Spooled {
    /// There is none.
    #[default]
    Empty,
    /// A short one.
    Memory(Bytes),
    /// Any other.
    File(TempFile),
}

/// What a body may be.
#[derive(Debug)]
pub(super) struct Limits {
    /// The most bytes.
    pub max: u64,
    /// How long nothing of it may come.
    pub timeout: Duration,
    /// For those that do not fit into memory.
    pub temp: Arc<Temp>,
}

impl Spooled {
    /// Takes in a body.
    pub(super) async fn read(mut body: Incoming, limits: &Limits) -> Result<Self, Refusal> {
        if body.is_end_stream() {
            return Ok(Self::Empty);
        }
        if body.size_hint().lower() > limits.max {
            return Err(too_large(limits));
        }
        let mut memory = BytesMut::new();
        let mut file = None::<TempFile>;
        let mut length = 0;
        while let Some(data) = next(&mut body, limits.timeout).await? {
            length += data.len() as u64;
            if length > limits.max {
                return Err(too_large(limits));
            }
            memory.extend_from_slice(&data);
            if memory.len() > MEMORY {
                let file = match &mut file {
                    Some(file) => file,
                    None => file.insert(limits.temp.file().map_err(|it| full(&it))?),
                };
                file.append(memory.split().freeze()).await.map_err(|it| full(&it))?;
            }
        }
        Ok(match file {
            None if memory.is_empty() => Self::Empty,
            None => Self::Memory(memory.freeze()),
            Some(mut file) => {
                file.append(memory.freeze()).await.map_err(|it| full(&it))?;
                Self::File(file)
            }
        })
    }

    /// How many bytes it has.
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File(file) => file.length(),
        }
    }

    /// It, where it is short enough to be sent together with the request.
    pub(super) fn short(&self) -> Option<&[u8]> {
        match self {
            Self::Empty => Some(&[]),
            Self::Memory(bytes) if bytes.len() <= SHORT => Some(bytes),
            Self::Memory(_) | Self::File(_) => None,
        }
    }

    /// Reads one that is not short, as often as it is needed.
    pub(super) fn long(&self) -> Option<Reader> {
        match self {
            Self::Memory(bytes) if bytes.len() > SHORT => Some(Reader::Memory(bytes.clone())),
            Self::File(file) => Some(Reader::File(FileReader::new(file.file(), 0, file.length()))),
            Self::Empty | Self::Memory(_) => None,
        }
    }
}

/// The next data of a body; None at its end.
async fn next(body: &mut Incoming, patience: Duration) -> Result<Option<Bytes>, Refusal> {
    loop {
        let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx));
        match timeout(patience, frame).await {
            Err(_) => {
                return Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body does not go on"));
            }
            Ok(None) => return Ok(None),
            Ok(Some(Err(error))) => {
                let why = format!("the body is broken: {error}");
                return Err(Refusal::new(StatusCode::BAD_REQUEST, why));
            }
            Ok(Some(Ok(frame))) => {
                // Trailers have no place in CGI.
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

fn too_large(limits: &Limits) -> Refusal {
    let why = format!("the body has more than {} bytes (max_body)", limits.max);
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, why)
}

fn full(error: &std::io::Error) -> Refusal {
    let why = format!("no room for the body (temp_dir, max_temp): {error}");
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, why)
}

/// Reads a body in pieces.
#[derive(Debug)]
pub(super) enum Reader {
    /// What is left of one in memory.
    Memory(Bytes),
    /// One in a file.
    File(FileReader),
}

impl Reader {
    /// The next piece; None at the end.
    pub(super) fn poll_chunk(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<std::io::Result<Option<Bytes>>> {
        match self {
            Self::Memory(bytes) if bytes.is_empty() => Poll::Ready(Ok(None)),
            Self::Memory(bytes) => Poll::Ready(Ok(Some(std::mem::take(bytes)))),
            Self::File(file) => file.poll_chunk(cx),
        }
    }
}
