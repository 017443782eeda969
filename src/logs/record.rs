//! One record of a log, limited in size.

/// The most bytes of a record. The rest is left out.
pub(super) const RECORD_MAX: usize = 64 << 10;

/// A complete record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// Its lines, without the last line feed.
    pub(super) bytes: Vec<u8>,
    /// How many bytes were left out at its end.
    pub(super) left_out: u64,
}

impl Record {
    /// Adds bytes up to the limit, and counts the rest.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        let room = RECORD_MAX.saturating_sub(self.bytes.len());
        // What follows a gap is left out too.
        let taken = if self.left_out > 0 { 0 } else { bytes.len().min(room) };
        self.bytes.extend_from_slice(&bytes[..taken]);
        self.left_out += (bytes.len() - taken) as u64;
    }
}
