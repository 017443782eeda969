//! Several ranges of a file in one body: `multipart/byteranges` (RFC 9110, section 14.6).

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::header::HeaderValue;

use crate::gateway::file_reader::FileReader;

/// Parts of a file, each after a head with its range.
#[derive(Debug)]
pub(in crate::gateway) struct Multipart {
    file: Arc<File>,
    /// The first piece is the one that is being sent.
    pieces: VecDeque<Piece>,
    /// The number of bytes that are not sent yet.
    left: u64,
}

#[derive(Debug)]
enum Piece {
    Text(Bytes),
    /// From the first position up to, but not including, the second.
    Range(u64, u64),
    Reading(FileReader),
}

impl Multipart {
    /// The body and its media type. `size`: that of the file, in bytes. `kind`: the media type of each
    /// part.
    pub(in crate::gateway) fn new(
        file: Arc<File>,
        size: u64,
        parts: &[(u64, u64)],
        kind: &HeaderValue,
    ) -> (Self, String) {
        // Random, so that no file can be prepared to contain it.
        let random = || RandomState::new().hash_one(());
        let boundary = format!("{:016x}{:016x}", random(), random());
        let mut pieces = VecDeque::with_capacity(2 * parts.len() + 1);
        for (from, to) in parts {
            let mut head = Vec::with_capacity(160);
            let start = if pieces.is_empty() { "--" } else { "\r\n--" };
            head.extend_from_slice(format!("{start}{boundary}\r\nContent-Type: ").as_bytes());
            head.extend_from_slice(kind.as_bytes());
            let range = format!("\r\nContent-Range: bytes {from}-{}/{size}\r\n\r\n", to - 1);
            head.extend_from_slice(range.as_bytes());
            pieces.extend([Piece::Text(head.into()), Piece::Range(*from, *to)]);
        }
        let mut media_type = String::from("multipart/byteranges; boundary=");
        let _ = write!(media_type, "{boundary}"); // writing to a String cannot fail
        pieces.push_back(Piece::Text(format!("\r\n--{boundary}--\r\n").into()));
        let left = pieces.iter().map(Piece::length).sum();
        (Self { file, pieces, left }, media_type)
    }

    /// The number of bytes that are not sent yet.
    pub(in crate::gateway) fn left(&self) -> u64 {
        self.left
    }

    /// The next chunk; None at the end. Error `UnexpectedEof`: the file has become shorter.
    pub(super) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        loop {
            let Some(piece) = self.pieces.front_mut() else { return Poll::Ready(Ok(None)) };
            let chunk = match piece {
                Piece::Text(text) => Some(std::mem::take(text)).filter(|text| !text.is_empty()),
                Piece::Range(from, to) => {
                    *piece = Piece::Reading(FileReader::new(Arc::clone(&self.file), *from, *to));
                    continue;
                }
                Piece::Reading(reader) => ready!(reader.poll_chunk(cx))?,
            };
            if let Some(chunk) = chunk {
                self.left -= chunk.len() as u64;
                return Poll::Ready(Ok(Some(chunk)));
            }
            self.pieces.pop_front();
        }
    }
}

impl Piece {
    /// The length in bytes.
    fn length(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::Range(from, to) => to - from,
            Self::Reading(reader) => reader.left(),
        }
    }
}
