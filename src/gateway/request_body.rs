//! The body of a request. It is received completely before the request is sent to PHP.
//!
//! PHP needs the length first, and reads the body before it runs the script. So a client that sends
//! slowly, or in chunks, or without end, holds no child. A short body stays in memory, a longer one goes
//! to a temporary file.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use hyper::StatusCode;
use hyper::body::Body as _;
use tokio::time::{Instant, timeout};

use super::buffer_space::{ClientSpace, NoSpace, Purpose, Reservation, TempFile};
use super::client_body::ClientBody;
use super::file_reader::FileReader;
use super::http_error::HttpError;
use super::pace::{Meter, Pace};
use crate::config::Gateway;

/// How much of each body may be in memory in any case, in bytes.
const MEMORY_MIN: usize = 16 * 1024;
/// The most that is in memory while the gateway has memory for it, in bytes.
const MEMORY_MAX: usize = 64 * 1024;
/// The largest body that is sent together with the request, in bytes.
const SHORT: usize = 32 * 1024;

/// A complete body.
#[derive(Debug, Default)]
pub(super) enum RequestBody {
    /// No body.
    #[default]
    Empty,
    /// A body in memory.
    Memory(Memory),
    /// A body in a temporary file.
    File(TempFile),
}

/// A body in memory, with the reservation for the part beyond [`MEMORY_MIN`].
#[derive(Debug)]
pub(super) struct Memory {
    bytes: Bytes,
    _reserved: Option<Reservation>,
}

/// The limits of a body.
#[derive(Debug)]
pub(super) struct Limits {
    /// The largest size, in bytes.
    pub max: u64,
    /// The pace at which it must arrive.
    pub pace: Pace,
}

impl Limits {
    /// The limits of a pool.
    pub(super) fn of(&self, pool: &Gateway) -> Self {
        Self { max: pool.max_body.unwrap_or(self.max), pace: self.pace }
    }
}

impl RequestBody {
    /// Receives a body. `space`: the buffer space of the client.
    pub(super) async fn read(
        body: ClientBody,
        limits: &Limits,
        space: &ClientSpace,
    ) -> Result<Self, HttpError> {
        if body.is_end_stream() {
            return Ok(Self::Empty);
        }
        if body.size_hint().lower() > limits.max {
            return Err(too_large(limits));
        }
        let mut source = Source { body, meter: Meter::new(limits.pace), pace: limits.pace };
        let (mut memory, mut reserved) = (BytesMut::new(), None);
        let mut file = None::<TempFile>;
        let mut length = 0;
        while let Some(data) = source.next().await? {
            length += data.len() as u64;
            if length > limits.max {
                return Err(too_large(limits));
            }
            memory.extend_from_slice(&data);
            if memory.len() > MEMORY_MIN && reserved.is_none() {
                reserved = space.reserve_memory(MEMORY_MAX);
            }
            if memory.len() > if reserved.is_some() { MEMORY_MAX } else { MEMORY_MIN } {
                let file = file.get_or_insert_with(|| space.file(Purpose::Body));
                append(file, memory.split(), space).await?;
            }
        }
        Ok(match file {
            None if memory.is_empty() => Self::Empty,
            None => Self::Memory(Memory { bytes: memory.freeze(), _reserved: reserved }),
            Some(mut file) => {
                append(&mut file, memory, space).await?;
                Self::File(file)
            }
        })
    }

    /// The length in bytes.
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Memory(memory) => memory.bytes.len() as u64,
            Self::File(file) => file.length(),
        }
    }

    /// The body, if it is short enough to be sent together with the request.
    pub(super) fn short(&self) -> Option<&[u8]> {
        match self {
            Self::Empty => Some(&[]),
            Self::Memory(memory) if memory.bytes.len() <= SHORT => Some(&memory.bytes),
            Self::Memory(_) | Self::File(_) => None,
        }
    }

    /// A reader for a body that is not short. Each call returns a reader from the beginning of the body.
    pub(super) fn long(&self) -> Option<Reader> {
        match self {
            Self::Memory(memory) if memory.bytes.len() > SHORT => {
                Some(Reader::Memory(memory.bytes.clone()))
            }
            Self::File(file) => {
                let reader = |it| Reader::File(FileReader::new(it, 0, file.length()));
                file.file().map(reader)
            }
            Self::Empty | Self::Memory(_) => None,
        }
    }
}

async fn append(file: &mut TempFile, data: BytesMut, space: &ClientSpace) -> Result<(), HttpError> {
    file.append(data.freeze()).await.map_err(|no_space| {
        space.log(&no_space, "the request is refused");
        error_of(&no_space)
    })
}

/// A body that is being received.
struct Source {
    body: ClientBody,
    pace: Pace,
    meter: Meter,
}

impl Source {
    /// The next chunk; None at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, HttpError> {
        loop {
            let begun = Instant::now();
            let frame = poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx));
            let frame = match timeout(self.pace.timeout, frame).await {
                Err(_) => return Err(too_slow("no data of the body arrived within body_timeout")),
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => {
                    let reason = format!("the body is invalid: {error}");
                    return Err(HttpError::new(StatusCode::BAD_REQUEST, reason));
                }
                Ok(Some(Ok(frame))) => frame,
            };
            // CGI has no place for trailers.
            let Ok(data) = frame.into_data() else { continue };
            if !self.meter.add(data.len() as u64, begun.elapsed()) {
                return Err(too_slow("the body arrives too slowly (min_rate)"));
            }
            return Ok(Some(data));
        }
    }
}

fn too_slow(reason: &str) -> HttpError {
    HttpError::new(StatusCode::REQUEST_TIMEOUT, reason)
}

fn too_large(limits: &Limits) -> HttpError {
    let reason = format!("the body has more than {} bytes (max_body)", limits.max);
    HttpError::new(StatusCode::PAYLOAD_TOO_LARGE, reason)
}

/// 507 for a full disk. 503 for a limit of the gateway, or for another error: the client may try again soon.
fn error_of(no_space: &NoSpace) -> HttpError {
    use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    let status = match no_space {
        NoSpace::Io(error)
            if matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge) =>
        {
            StatusCode::INSUFFICIENT_STORAGE
        }
        NoSpace::Limit(_) | NoSpace::Io(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    // `ClientSpace::log` has logged it, with a limited rate.
    HttpError::unlogged(status)
}

/// Reads a body in chunks.
#[derive(Debug)]
pub(super) enum Reader {
    /// The rest of a body in memory.
    Memory(Bytes),
    /// A body in a file.
    File(FileReader),
}

impl Reader {
    /// The next chunk; None at the end.
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
