//! The request's body: taken in whole before PHP is asked.
//!
//! PHP wants to know its length first, and reads it before it runs the script; so a client that
//! sends slowly, or in chunks, or never ends, is waited for here, and holds no child. A body that
//! is short stays in memory, the rest goes to a temporary file.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use hyper::StatusCode;
use hyper::body::{Body as _, Incoming};
use tokio::time::{Instant, timeout};

use super::file::FileReader;
use super::pace::{Meter, Pace};
use super::refusal::Refusal;
use super::temp::{Full, Owner, Purpose, Reserved, TempFile};

/// How much of each body is held in memory in any case, in bytes.
const OWN: usize = 16 * 1024;
/// The most that is held there while there is memory for it.
const MEMORY: usize = 64 * 1024;
/// The most of a body that is sent together with the request, in bytes.
const SHORT: usize = 32 * 1024;

/// A body that is whole.
#[derive(Debug, Default)]
pub(super) enum Spooled {
    /// There is none.
    #[default]
    Empty,
    /// A short one, and the right to its memory where that is more than each may have.
    Memory(Bytes, #[allow(dead_code, reason = "it is dropped with it")] Option<Reserved>),
    /// Any other.
    File(TempFile),
}

/// What a body may be.
#[derive(Debug)]
pub(super) struct Limits {
    /// The most bytes.
    pub max: u64,
    /// How fast it has to come.
    pub pace: Pace,
}

impl Spooled {
    /// Takes in a body. `owner`: whose room it takes where it does not fit into memory.
    pub(super) async fn read(
        body: Incoming,
        limits: &Limits,
        owner: &Owner,
    ) -> Result<Self, Refusal> {
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
            if memory.len() > OWN && reserved.is_none() {
                reserved = owner.memory(MEMORY);
            }
            if memory.len() > if reserved.is_some() { MEMORY } else { OWN } {
                let file = file.get_or_insert_with(|| owner.file(Purpose::Body));
                append(file, memory.split(), owner).await?;
            }
        }
        Ok(match file {
            None if memory.is_empty() => Self::Empty,
            None => Self::Memory(memory.freeze(), reserved),
            Some(mut file) => {
                append(&mut file, memory, owner).await?;
                Self::File(file)
            }
        })
    }

    /// How many bytes it has.
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Memory(bytes, _) => bytes.len() as u64,
            Self::File(file) => file.length(),
        }
    }

    /// It, where it is short enough to be sent together with the request.
    pub(super) fn short(&self) -> Option<&[u8]> {
        match self {
            Self::Empty => Some(&[]),
            Self::Memory(bytes, _) if bytes.len() <= SHORT => Some(bytes),
            Self::Memory(..) | Self::File(_) => None,
        }
    }

    /// Reads one that is not short, as often as it is needed.
    pub(super) fn long(&self) -> Option<Reader> {
        match self {
            Self::Memory(bytes, _) if bytes.len() > SHORT => Some(Reader::Memory(bytes.clone())),
            Self::File(file) => {
                let reader = |it| Reader::File(FileReader::new(it, 0, file.length()));
                file.file().map(reader)
            }
            Self::Empty | Self::Memory(..) => None,
        }
    }
}

async fn append(file: &mut TempFile, data: BytesMut, owner: &Owner) -> Result<(), Refusal> {
    file.append(data.freeze()).await.map_err(|full| {
        owner.note(&full, "the request is refused");
        no_room(&full)
    })
}

/// A body that comes in.
struct Source {
    body: Incoming,
    pace: Pace,
    meter: Meter,
}

impl Source {
    /// The next data; None at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        loop {
            let begun = Instant::now();
            let frame = poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx));
            let frame = match timeout(self.pace.timeout, frame).await {
                Err(_) => return Err(too_slow("the body does not go on (body_timeout)")),
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => {
                    let why = format!("the body is broken: {error}");
                    return Err(Refusal::new(StatusCode::BAD_REQUEST, why));
                }
                Ok(Some(Ok(frame))) => frame,
            };
            // Trailers have no place in CGI.
            let Ok(data) = frame.into_data() else { continue };
            if !self.meter.add(data.len() as u64, begun.elapsed()) {
                return Err(too_slow("the body comes too slowly (min_rate)"));
            }
            return Ok(Some(data));
        }
    }
}

fn too_slow(why: &str) -> Refusal {
    Refusal::new(StatusCode::REQUEST_TIMEOUT, why)
}

fn too_large(limits: &Limits) -> Refusal {
    let why = format!("the body has more than {} bytes (max_body)", limits.max);
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, why)
}

/// Whether to try again later depends on what is full.
fn no_room(full: &Full) -> Refusal {
    use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    let status = match full {
        Full::Io(error) if matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge) => {
            StatusCode::INSUFFICIENT_STORAGE
        }
        Full::Limit(_) | Full::Io(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    // It is logged now and then, and not with each request.
    Refusal::plain(status)
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
