//! The answer: records as they come, in pieces of any size.

use bytes::{Buf, Bytes, BytesMut};

use super::{HEADER, REQUEST_ID, VERSION, kind};

/// What an answer is made of. A record may come as several parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// What the script has printed: a CGI head, and the body.
    Stdout(Bytes),
    /// What the script, or php-fpm itself, has complained about.
    Stderr(Bytes),
    /// The answer is whole.
    End,
}

/// Why an answer cannot be gone on with. Each displays as a sentence without a full stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// It is another protocol, or another version of it.
    #[error("it is not FastCGI")]
    Version,
    /// A record that belongs to a request which was not made.
    #[error("it is about another request: {0}")]
    Id(u16),
    /// A record that has no place in an answer.
    #[error("it has a record of kind {0}")]
    Kind(u8),
    /// An end record of a wrong length.
    #[error("its end record has {0} bytes")]
    EndLength(u16),
    /// The server ended the request for another reason than that it was done.
    #[error("it was ended with protocol status {0}")]
    ProtocolStatus(u8),
    /// The script ended with an error.
    #[error("it was ended with application status {0}")]
    AppStatus(u32),
    /// There is something behind the end of the script's output, or of the answer.
    #[error("it goes on after its end")]
    GoesOn,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between two records.
    Header,
    /// In the content of one, of which so much is still to come; and then its padding.
    Stdout(u16),
    Stderr(u16),
    Padding,
    End,
    Done,
}

/// Follows the records of one answer.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    padding: u8,
    /// Standard output has been ended by an empty record.
    closed: bool,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { state: State::Header, padding: 0, closed: false }
    }
}

impl Decoder {
    /// Takes the next part out of `input`; None: more has to come first.
    pub fn next(&mut self, input: &mut BytesMut) -> Result<Option<Part>, Broken> {
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
                State::Done => return Err(Broken::GoesOn),
            }
        }
    }

    fn begin(&mut self, header: [u8; HEADER]) -> Result<State, Broken> {
        let [version, kind, id_high, id_low, high, low, padding, _] = header;
        let (id, length) = (u16::from_be_bytes([id_high, id_low]), u16::from_be_bytes([high, low]));
        if version != VERSION {
            return Err(Broken::Version);
        }
        if id != REQUEST_ID {
            return Err(Broken::Id(id));
        }
        self.padding = padding;
        match kind {
            kind::STDOUT if self.closed && length > 0 => Err(Broken::GoesOn),
            kind::STDOUT => {
                self.closed = length == 0;
                Ok(State::Stdout(length))
            }
            kind::STDERR => Ok(State::Stderr(length)),
            kind::END_REQUEST if usize::from(length) == END => Ok(State::End),
            kind::END_REQUEST => Err(Broken::EndLength(length)),
            other => Err(Broken::Kind(other)),
        }
    }
}

/// The bytes in an end record: the application's status, the protocol's, and three reserved.
const END: usize = 8;

fn check_end(content: [u8; END]) -> Result<(), Broken> {
    let [a, b, c, d, protocol, ..] = content;
    match (u32::from_be_bytes([a, b, c, d]), protocol) {
        (0, 0) => Ok(()),
        (app, 0) => Err(Broken::AppStatus(app)),
        (_, protocol) => Err(Broken::ProtocolStatus(protocol)),
    }
}

/// As much as there is of a record's content, and how much is still to come.
fn take(input: &mut BytesMut, left: u16) -> (Bytes, u16) {
    let taken = input.len().min(usize::from(left));
    let part = input.split_to(taken).freeze();
    (part, left - u16::try_from(taken).unwrap_or(left))
}
