//! The representation of a file that the client gets: the file itself, a compressed copy beside it, or
//! its compressed bytes in memory.

use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;
use hyper::http::request::Parts;
use rustix::fs::Stat;

use super::compressor::Compressor;
use crate::config::{Compress, Gateway};
use crate::gateway::encoding::{Accepted, BROTLI, Encoding, GZIP, ZSTD};
use crate::gateway::file_lookup::{FileLookup, Found, OpenFile};
use crate::gateway::file_reader::FileReader;
use crate::gateway::http_error::HttpError;
use crate::gateway::response_body::ResponseBody;
use crate::gateway::routing_table::ServedRelease;

/// The encodings of copies beside a file (`app.js.br`), in the order of preference.
const COPIES: [&Encoding; 3] = [&BROTLI, &ZSTD, &GZIP];

/// The representation of a file.
#[derive(Debug)]
pub(super) struct Representation {
    pub(super) content: Content,
    /// The metadata of the file from which the content comes.
    pub(super) stat: Box<Stat>,
    pub(super) encoding: Option<&'static str>,
    /// The end of its `ETag`.
    pub(super) suffix: String,
}

impl Representation {
    /// The file itself.
    pub(super) fn plain(file: OpenFile) -> Self {
        let OpenFile { file, stat, .. } = file;
        let content = Content::of_file(file, &stat);
        Self { content, stat, encoding: None, suffix: String::new() }
    }

    /// The preferred representation that the client accepts: a compressed copy beside the file, else its
    /// compressed bytes in memory, else the file itself.
    pub(super) fn choose(
        request: &Parts,
        served: &ServedRelease,
        settings: &Gateway,
        compressor: &Arc<Compressor>,
        file: OpenFile,
    ) -> Result<Self, HttpError> {
        let accepted = Accepted::by(request);
        let lookup = FileLookup { follow_symlinks: settings.follow_symlinks };
        if let Some((copy, encoding)) = copy(&accepted, served, lookup, &file.path)? {
            let suffix = encoding.extension.to_owned();
            return Ok(Self { encoding: Some(encoding.name), suffix, ..Self::plain(copy) });
        }
        let accepts_gzip = settings.compress != Compress::Off && accepted.has(&GZIP);
        let Some(gzip) = accepts_gzip.then(|| compressor.find(&file)).flatten() else {
            return Ok(Self::plain(file));
        };
        Ok(Self {
            content: Content::Memory(gzip.bytes),
            stat: file.stat,
            encoding: Some(GZIP.name),
            // With the checksum, because another version of the gateway may compress the file
            // differently.
            suffix: format!("-{:x}-gz", gzip.sum),
        })
    }
}

/// The copy of a file with the preferred encoding, of those that the client accepts.
fn copy(
    accepted: &Accepted<'_>,
    served: &ServedRelease,
    lookup: FileLookup,
    path: &str,
) -> Result<Option<(OpenFile, &'static Encoding)>, HttpError> {
    for encoding in COPIES.into_iter().filter(|it| accepted.has(it)) {
        let path = format!("{path}{}", encoding.extension);
        if let Found::File(file, stat) = lookup.open(&served.document_root, &path)? {
            return Ok(Some((OpenFile { path, file, stat }, encoding)));
        }
    }
    Ok(None)
}

/// The bytes of a representation.
#[derive(Debug)]
pub(in crate::gateway) enum Content {
    /// A file with this many bytes.
    File(Arc<File>, u64),
    /// Bytes in memory, shared with other responses.
    Memory(Bytes),
}

impl From<OpenFile> for Content {
    fn from(OpenFile { file, stat, .. }: OpenFile) -> Self {
        Self::of_file(file, &stat)
    }
}

impl Content {
    fn of_file(file: Arc<File>, stat: &Stat) -> Self {
        Self::File(file, u64::try_from(stat.st_size).unwrap_or_default())
    }

    /// The size in bytes.
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::File(_, size) => *size,
            Self::Memory(bytes) => bytes.len() as u64,
        }
    }

    /// The bytes from `from` up to, but not including, `to`; both are at most the size.
    pub(super) fn body(self, from: u64, to: u64) -> ResponseBody {
        match self {
            Self::File(file, _) => ResponseBody::file(FileReader::new(file, from, to)),
            Self::Memory(bytes) => {
                let at = |offset| usize::try_from(offset).unwrap_or(bytes.len());
                ResponseBody::shared(&bytes.slice(at(from)..at(to)))
            }
        }
    }
}
