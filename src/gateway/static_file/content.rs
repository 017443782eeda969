//! What a file's answer is made of: a file that is open, or bytes in memory.

use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;
use rustix::fs::Stat;

use crate::gateway::body::Body;
use crate::gateway::file::FileReader;
use crate::gateway::route::StaticFile;

/// What an answer is the whole of, or a range.
#[derive(Debug)]
pub(in crate::gateway) enum Content {
    /// This many bytes of a file.
    File(Arc<File>, u64),
    /// Bytes that other answers may have too.
    Memory(Bytes),
}

impl From<StaticFile> for Content {
    fn from(StaticFile { file, stat, .. }: StaticFile) -> Self {
        Self::file(file, &stat)
    }
}

impl Content {
    /// A whole file.
    pub(super) fn file(file: Arc<File>, stat: &Stat) -> Self {
        Self::File(file, u64::try_from(stat.st_size).unwrap_or_default())
    }

    /// In bytes.
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::File(_, size) => *size,
            Self::Memory(bytes) => bytes.len() as u64,
        }
    }

    /// The bytes from `from` up to, and without, `to`; both are within its size.
    pub(super) fn body(self, from: u64, to: u64) -> Body {
        match self {
            Self::File(file, _) => Body::file(FileReader::new(file, from, to)),
            Self::Memory(bytes) => {
                let at = |offset| usize::try_from(offset).unwrap_or(bytes.len());
                Body::shared(&bytes.slice(at(from)..at(to)))
            }
        }
    }
}
