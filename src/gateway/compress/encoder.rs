//! The encoders, behind one interface.
//!
//! Levels and windows are chosen for pages that are made once and sent once: the time on the serving
//! thread counts more than the last percent. Windows are small, because pages are small. So an encoder
//! needs little memory.
//!
//! | encoding | level | window |
//! |---|---|---|
//! | `gzip` | 4 of 9 | 32 KiB |
//! | `br` | 4 of 11 | 128 KiB |
//! | `zstd` | 3 of 22 | 128 KiB |

use std::io::{self, Write};

use brotli::CompressorWriter;
use brotli::enc::BrotliEncoderParams;
use bytes::Bytes;
use flate2::Compression as Level;
use flate2::write::GzEncoder;
use zstd::stream::raw::CParameter;

use crate::gateway::encoding::{BROTLI, Encoding, ZSTD};

const GZIP_LEVEL: u32 = 4;
const BROTLI_LEVEL: i32 = 4;
const ZSTD_LEVEL: i32 = 3;
/// The size of the windows of `br` and `zstd`, as a power of 2, in bytes.
const WINDOW: u32 = 17;
/// The size of the tables of `zstd`, as a power of 2, in entries of 4 bytes.
const ZSTD_TABLE: u32 = 15;
/// The buffer of the `br` encoder, in bytes.
const BROTLI_BUFFER: usize = 4096;

/// An encoder, which writes to memory.
pub(super) enum Encoder {
    Gzip(GzEncoder<Vec<u8>>),
    Brotli(Box<CompressorWriter<Vec<u8>>>),
    Zstd(zstd::Encoder<'static, Vec<u8>>),
}

impl Encoder {
    /// None: there is no memory for it.
    pub(super) fn new(encoding: &Encoding) -> Option<Self> {
        if *encoding == ZSTD {
            return zstd_encoder().ok().map(Self::Zstd);
        }
        if *encoding == BROTLI {
            let params = BrotliEncoderParams {
                quality: BROTLI_LEVEL,
                lgwin: i32::try_from(WINDOW).ok()?,
                ..BrotliEncoderParams::default()
            };
            let encoder = CompressorWriter::with_params(Vec::new(), BROTLI_BUFFER, &params);
            return Some(Self::Brotli(Box::new(encoder)));
        }
        Some(Self::Gzip(GzEncoder::new(Vec::new(), Level::new(GZIP_LEVEL))))
    }

    /// Compresses data. The result is returned by [`Self::take`], [`Self::flush`] or [`Self::finish`].
    pub(super) fn write(&mut self, data: &[u8]) -> io::Result<()> {
        match self {
            Self::Gzip(encoder) => encoder.write_all(data),
            Self::Brotli(encoder) => encoder.write_all(data),
            Self::Zstd(encoder) => encoder.write_all(data),
        }
    }

    /// The compressed data that is ready.
    pub(super) fn take(&mut self) -> Bytes {
        let ready = match self {
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Brotli(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
        };
        std::mem::take(ready).into()
    }

    /// The compressed data with which the client can decode all data so far.
    pub(super) fn flush(&mut self) -> io::Result<Bytes> {
        match self {
            Self::Gzip(encoder) => encoder.flush(),
            Self::Brotli(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }?;
        Ok(self.take())
    }

    /// The rest of the compressed data.
    pub(super) fn finish(self) -> io::Result<Bytes> {
        let rest = match self {
            Self::Gzip(encoder) => encoder.finish()?,
            Self::Brotli(encoder) => encoder.into_inner(),
            Self::Zstd(encoder) => encoder.finish()?,
        };
        Ok(rest.into())
    }
}

fn zstd_encoder() -> io::Result<zstd::Encoder<'static, Vec<u8>>> {
    let mut encoder = zstd::Encoder::new(Vec::new(), ZSTD_LEVEL)?;
    for parameter in [
        CParameter::WindowLog(WINDOW),
        CParameter::HashLog(ZSTD_TABLE),
        CParameter::ChainLog(ZSTD_TABLE),
    ] {
        encoder.set_parameter(parameter)?;
    }
    Ok(encoder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::encoding::GZIP;
    use std::io::Read;

    fn decoded(encoding: &Encoding, data: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        // Flushed data can be decoded before the end: an error at the end is ignored.
        let _ = match encoding.name {
            "gzip" => flate2::read::GzDecoder::new(data).read_to_end(&mut plain),
            "br" => brotli::Decompressor::new(data, 4096).read_to_end(&mut plain),
            _ => zstd::Decoder::new(data).unwrap().read_to_end(&mut plain),
        };
        plain
    }

    #[test]
    fn data_can_be_decoded_after_a_flush_and_at_the_end() {
        let text: String =
            (0..20_000).fold(String::new(), |text, number| text + &format!("<p>{number}</p>\n"));
        for encoding in [&GZIP, &BROTLI, &ZSTD] {
            let mut encoder = Encoder::new(encoding).unwrap();
            let mut all = Vec::new();
            for (number, part) in text.as_bytes().chunks(50_000).enumerate() {
                encoder.write(part).unwrap();
                all.extend_from_slice(&encoder.flush().unwrap());
                let so_far = text.len().min((number + 1) * 50_000);
                assert!(decoded(encoding, &all) == text.as_bytes()[..so_far], "{}", encoding.name);
            }
            all.extend_from_slice(&encoder.finish().unwrap());
            assert!(decoded(encoding, &all) == text.as_bytes());
            assert!(all.len() * 4 < text.len(), "{}: {}", encoding.name, all.len());
        }
    }
}
