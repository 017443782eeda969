//! gzip without file name and time: the same input always gives the same output.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::FileExt;

use flate2::write::GzEncoder;
use flate2::{Compression, Crc};

/// The size of a read, in bytes.
const CHUNK: u64 = 64 * 1024;
/// Higher levels take up to twice the time, and save only 1 % of the bytes. Lower levels save little
/// time, as each file is compressed once.
const LEVEL: u32 = 6;

/// A compressed file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Compressed {
    pub(super) bytes: Box<[u8]>,
    /// The checksum of `bytes`.
    pub(super) sum: u32,
}

/// Compresses the first `size` bytes of a file. None: the result is not smaller. Error `UnexpectedEof`:
/// the file is shorter.
pub(super) fn compress(file: &File, size: u64) -> io::Result<Option<Compressed>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(LEVEL));
    let is_smaller = |bytes: &Vec<u8>| (bytes.len() as u64) < size;
    let mut buffer = Vec::new();
    let mut at = 0;
    while at < size && is_smaller(encoder.get_ref()) {
        buffer.resize(usize::try_from(CHUNK.min(size - at)).unwrap_or_default(), 0);
        let read = file.read_at(&mut buffer, at)?;
        if read == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        encoder.write_all(&buffer[..read])?;
        at += read as u64;
    }
    let bytes = Some(encoder.finish()?).filter(is_smaller);
    Ok(bytes.map(|bytes| {
        let mut sum = Crc::new();
        sum.update(&bytes);
        Compressed { bytes: bytes.into(), sum: sum.sum() }
    }))
}

/// Bytes that cannot be compressed.
#[cfg(test)]
pub(super) fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(length).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn decompressed_bytes_are_those_of_the_file() {
        let text: String = (0..100_000).map(|n| n.to_string()).collect();
        let file = file(text.as_bytes());
        let compressed = compress(&file, text.len() as u64).unwrap().unwrap();
        assert!(compressed.bytes.len() < text.len() / 2);
        let again = compress(&file, text.len() as u64).unwrap().unwrap();
        assert!(again == compressed);
        let shorter = compress(&file, text.len() as u64 - 1).unwrap().unwrap();
        assert_ne!(shorter.sum, compressed.sum);
        let mut plain = String::new();
        flate2::read::GzDecoder::new(&*compressed.bytes).read_to_string(&mut plain).unwrap();
        assert!(plain == text);
    }

    #[test]
    fn incompressible_bytes_have_no_result() {
        for length in [1 << 10, 1 << 20] {
            assert_eq!(compress(&file(&noise(length)), length as u64).unwrap(), None);
        }
    }

    #[test]
    fn truncated_file_is_an_error() {
        let error = compress(&file(&[b'a'; 5000]), 5001).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    }
}
