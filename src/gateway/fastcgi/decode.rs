//! Decodes the records of a response, in chunks of any size.

use bytes::{Buf, Bytes, BytesMut};

use super::{HEADER, REQUEST_ID, VERSION, kind};

/// A part of a response. A record may become several parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// The output of the script: a CGI head, and the body.
    Stdout(Bytes),
    /// Error messages of the script or of php-fpm.
    Stderr(Bytes),
    /// The response is complete.
    End,
}

/// Why a response cannot be decoded. Each displays as a sentence without a full stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Another protocol, or another version.
    #[error("the response is not FastCGI")]
    Version,
    /// A record with another request id.
    #[error("the response has a record of another request: {0}")]
    Id(u16),
    /// A record of a type that is not allowed in a response.
    #[error("the response has a record of type {0}")]
    Kind(u8),
    /// An end record of a wrong length.
    #[error("the end record of the response has {0} bytes")]
    EndLength(u16),
    /// The server rejected the request.
    #[error("the response has protocol status {0}")]
    ProtocolStatus(u8),
    /// The script ended with an error.
    #[error("the response has application status {0}")]
    AppStatus(u32),
    /// Data after the end of the script's output, or of the response.
    #[error("the response continues after its end")]
    AfterEnd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between two records.
    Header,
    /// In the content of a record, with the number of bytes that are still to come.
    Stdout(u16),
    Stderr(u16),
    Padding,
    End,
    Done,
}

/// The decoder of one response.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    padding: u8,
    /// An empty record has ended standard output.
    closed: bool,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { state: State::Header, padding: 0, closed: false }
    }
}

impl Decoder {
    /// Takes the next part out of `input`; None: more data is needed.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Part>, Malformed> {
        loop {
            match self.state {
                State::Header => {
                    let Some(header) = input.first_chunk::<HEADER>() else { return Ok(None) };
                    self.state = self.begin(*header)?;
                    input.advance(HEADER);
                }
                State::Stdout(0) | State::Stderr(0) => self.state = State::Padding,
                _ if input.is_empty() => return Ok(None),
                State::Stdout(left) => {
                    let (part, left) = take(input, left);
                    self.state = State::Stdout(left);
                    return Ok(Some(Part::Stdout(part)));
                }
                State::Stderr(left) => {
                    let (part, left) = take(input, left);
                    self.state = State::Stderr(left);
                    return Ok(Some(Part::Stderr(part)));
                }
                State::Padding => {
                    let skipped = input.len().min(usize::from(self.padding));
                    input.advance(skipped);
                    self.padding -= u8::try_from(skipped).unwrap_or(u8::MAX);
                    if self.padding > 0 {
                        return Ok(None);
                    }
                    self.state = State::Header;
                }
                State::End => {
                    let whole = END + usize::from(self.padding);
                    let Some(end) = input.first_chunk::<END>() else { return Ok(None) };
                    check_end(*end)?;
                    if input.len() < whole {
                        return Ok(None);
                    }
                    input.advance(whole);
                    self.state = State::Done;
                    return Ok(Some(Part::End));
                }
                State::Done => return Err(Malformed::AfterEnd),
            }
        }
    }

    fn begin(&mut self, header: [u8; HEADER]) -> Result<State, Malformed> {
        let [version, kind, id_high, id_low, high, low, padding, _] = header;
        let (id, length) = (u16::from_be_bytes([id_high, id_low]), u16::from_be_bytes([high, low]));
        if version != VERSION {
            return Err(Malformed::Version);
        }
        if id != REQUEST_ID {
            return Err(Malformed::Id(id));
        }
        self.padding = padding;
        match kind {
            kind::STDOUT if self.closed && length > 0 => Err(Malformed::AfterEnd),
            kind::STDOUT => {
                self.closed = length == 0;
                Ok(State::Stdout(length))
            }
            kind::STDERR => Ok(State::Stderr(length)),
            kind::END_REQUEST if usize::from(length) == END => Ok(State::End),
            kind::END_REQUEST => Err(Malformed::EndLength(length)),
            other => Err(Malformed::Kind(other)),
        }
    }
}

/// The size of an end record: application status, protocol status, and three reserved bytes.
const END: usize = 8;

fn check_end(content: [u8; END]) -> Result<(), Malformed> {
    let [a, b, c, d, protocol, ..] = content;
    match (u32::from_be_bytes([a, b, c, d]), protocol) {
        (0, 0) => Ok(()),
        (app, 0) => Err(Malformed::AppStatus(app)),
        (_, protocol) => Err(Malformed::ProtocolStatus(protocol)),
    }
}

/// Takes the available part of a record's content. Also returns how much is still to come.
fn take(input: &mut BytesMut, left: u16) -> (Bytes, u16) {
    let taken = input.len().min(usize::from(left));
    let part = input.split_to(taken).freeze();
    (part, left - u16::try_from(taken).unwrap_or(left))
}
