//! Encodes a request: `BEGIN_REQUEST`, `PARAMS` and `STDIN` in one buffer.

use super::{CONTENT_MAX, HEADER, REQUEST_ID, VERSION, kind};

/// The responder role: run a script and respond.
const RESPONDER: u8 = 1;
/// The flag to keep the connection open after the response.
const KEEP_CONN: u8 = 1;

/// The initial capacity, enough for most requests, in bytes.
const ROOM: usize = 1024;

/// A parameter is too large for a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLarge;

/// The beginning of a request, with its parameters.
#[derive(Debug)]
pub struct Params {
    out: Vec<u8>,
    /// The start of the current record.
    record: usize,
}

impl Params {
    /// Begins a request.
    pub fn begin() -> Self {
        let mut out = Vec::with_capacity(ROOM);
        header(&mut out, kind::BEGIN_REQUEST, 8);
        out.extend([0, RESPONDER, 0, 0, 0, 0, 0, 0]);
        let record = out.len();
        header(&mut out, kind::PARAMS, 0);
        Self { out, record }
    }

    /// Adds a parameter.
    #[inline]
    pub fn push(&mut self, name: &[u8], value: &[u8]) -> Result<(), TooLarge> {
        self.push_name(name, value.len())?;
        self.out.extend_from_slice(value);
        Ok(())
    }

    /// Adds a parameter whose value is the concatenation of these parts.
    pub fn push_parts(&mut self, name: &[u8], value: &[&[u8]]) -> Result<(), TooLarge> {
        self.push_name(name, value.iter().map(|part| part.len()).sum())?;
        for part in value {
            self.out.extend_from_slice(part);
        }
        Ok(())
    }

    /// Adds the name of a parameter. Its value must follow.
    #[inline]
    fn push_name(&mut self, name: &[u8], value_len: usize) -> Result<(), TooLarge> {
        let size = length_size(name.len()) + length_size(value_len) + name.len() + value_len;
        if size > CONTENT_MAX {
            return Err(TooLarge);
        }
        if self.content() + size > CONTENT_MAX {
            self.end_record();
            self.record = self.out.len();
            header(&mut self.out, kind::PARAMS, 0);
        }
        length(&mut self.out, name.len());
        length(&mut self.out, value_len);
        self.out.extend_from_slice(name);
        Ok(())
    }

    /// Ends the parameters.
    pub fn end(mut self) -> Request {
        self.end_record();
        if self.content() > 0 {
            header(&mut self.out, kind::PARAMS, 0);
        }
        Request(self.out)
    }

    fn content(&self) -> usize {
        self.out.len() - self.record - HEADER
    }

    fn end_record(&mut self) {
        let length = u16::try_from(self.content()).unwrap_or(u16::MAX);
        self.out[self.record + 4..self.record + 6].copy_from_slice(&length.to_be_bytes());
    }
}

/// An encoded request, with or without its body.
#[derive(Debug, Clone)]
pub struct Request(Vec<u8>);

impl Request {
    /// Adds the whole body. Without this call, the body must be sent separately, encoded by [`stdin`].
    ///
    /// An empty body adds nothing. php-fpm reads no further than `CONTENT_LENGTH`, so it would never read
    /// the empty `STDIN` record that ends a body in FastCGI. Without that record, the last bytes of the
    /// request are the last that php-fpm reads before it runs the script. The kernel then tells whether
    /// the script has begun (`Exchange::was_unread`).
    pub fn push_body(&mut self, body: &[u8]) {
        if !body.is_empty() {
            stdin(&mut self.0, body);
            stdin(&mut self.0, b"");
        }
    }

    /// The bytes to send. `keep_alive`: whether php-fpm is to keep the connection open.
    pub fn bytes(&mut self, keep_alive: bool) -> &[u8] {
        self.0[HEADER + 2] = if keep_alive { KEEP_CONN } else { 0 };
        &self.0
    }
}

/// Appends a part of the body as records. An empty part ends the body.
pub fn stdin(out: &mut Vec<u8>, body: &[u8]) {
    for part in body.chunks(CONTENT_MAX) {
        header(out, kind::STDIN, part.len());
        out.extend_from_slice(part);
    }
    if body.is_empty() {
        header(out, kind::STDIN, 0);
    }
}

fn header(out: &mut Vec<u8>, kind: u8, content: usize) {
    let [id_high, id_low] = REQUEST_ID.to_be_bytes();
    let [high, low] = u16::try_from(content).unwrap_or(u16::MAX).to_be_bytes();
    out.extend([VERSION, kind, id_high, id_low, high, low, 0, 0]);
}

/// Appends a length: one byte below 128, else four bytes with the highest bit set.
fn length(out: &mut Vec<u8>, length: usize) {
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            let long = u32::try_from(length).unwrap_or(u32::MAX) | 0x8000_0000;
            out.extend(long.to_be_bytes());
        }
    }
}

fn length_size(length: usize) -> usize {
    if length < 0x80 { 1 } else { 4 }
}
