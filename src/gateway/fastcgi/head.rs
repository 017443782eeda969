//! The head of a script's output: `Status`, `Location` and the other headers, up to an empty line.

use bytes::{Buf, Bytes, BytesMut};
use hyper::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, LOCATION};
use hyper::http::StatusCode;

/// The most that a head may have, in bytes. nginx takes 4 or 8 KiB by default.
pub(super) const HEAD_MAX: usize = 128 * 1024;
/// The most headers that it may have.
const HEADERS_MAX: usize = 200;

/// Why a head cannot be passed on. Each displays as a sentence without a full stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadHead {
    /// The script printed no head at all.
    #[error("it ends before its headers do")]
    Missing,
    /// It has more bytes than are taken.
    #[error("its headers have more than {HEAD_MAX} bytes")]
    TooLong,
    /// It has more lines than are taken.
    #[error("it has more than {HEADERS_MAX} headers")]
    TooMany,
    /// A line that is no header.
    #[error("it has a line that is no header")]
    NoHeader,
    /// A status that is none of a final answer.
    #[error("its Status makes no sense")]
    Status,
}

/// The head of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// What `Status` says; without it 302 where there is a `Location`, else 200.
    pub status: StatusCode,
    /// All other headers, with those that come twice. Those that are about one connection, which
    /// are not the script's to say, are left out.
    pub headers: HeaderMap,
    /// `Content-Length`; None: there is none, or it makes no sense.
    pub length: Option<u64>,
    /// A `Content-Length` that is no number, or is not the first one: none is in the headers then.
    pub bad_length: Option<HeaderValue>,
}

/// Collects output until the head is whole.
#[derive(Debug, Default)]
pub struct HeadParser {
    /// Only what came in more than one piece.
    collected: BytesMut,
    /// How much of it has been searched for the empty line.
    searched: usize,
}

impl HeadParser {
    /// Takes more output; once the head is whole, it and what follows it.
    pub fn push(&mut self, output: &Bytes) -> Result<Option<(Head, Bytes)>, BadHead> {
        if self.collected.is_empty()
            && let Some(end) = end_of_head(output, 0)
        {
            return Ok(Some((parse(&output[..end])?, output.slice(end..))));
        }
        self.collected.extend_from_slice(output);
        let Some(end) = end_of_head(&self.collected, self.searched) else {
            self.searched = self.collected.len().saturating_sub(2);
            let fits = self.collected.len() <= HEAD_MAX;
            return if fits { Ok(None) } else { Err(BadHead::TooLong) };
        };
        let head = parse(&self.collected[..end])?;
        let mut rest = std::mem::take(&mut self.collected);
        rest.advance(end);
        Ok(Some((head, rest.freeze())))
    }
}

/// The place behind the first empty line, which may be the first of all: a head without headers.
/// Lines end in CR LF, or in LF alone.
fn end_of_head(text: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        if at == 0 || text.get(at - 1) == Some(&b'\n') {
            match text.get(at..)? {
                [b'\n', ..] => return Some(at + 1),
                [b'\r', b'\n', ..] => return Some(at + 2),
                _ => {}
            }
        }
        at += text.get(at..)?.iter().position(|&byte| byte == b'\n')? + 1;
    }
}

fn parse(text: &[u8]) -> Result<Head, BadHead> {
    if text.len() > HEAD_MAX {
        return Err(BadHead::TooLong);
    }
    // Nearly all have few; to make room for all that there may be takes as long as to read those.
    match parse_into(text, &mut [httparse::EMPTY_HEADER; 24]) {
        Err(BadHead::TooMany) => parse_into(text, &mut [httparse::EMPTY_HEADER; HEADERS_MAX]),
        parsed => parsed,
    }
}

fn parse_into<'a>(text: &'a [u8], lines: &mut [httparse::Header<'a>]) -> Result<Head, BadHead> {
    let lines = match httparse::parse_headers(text, lines) {
        Ok(httparse::Status::Complete((length, lines))) if length == text.len() => lines,
        Err(httparse::Error::TooManyHeaders) => return Err(BadHead::TooMany),
        _ => return Err(BadHead::NoHeader),
    };
    let mut status = None;
    let (mut length, mut bad_length) = (None, None);
    let mut headers = HeaderMap::with_capacity(lines.len());
    for line in lines {
        if line.name.eq_ignore_ascii_case("Status") {
            status = Some(status_of(line.value)?);
            continue;
        }
        let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| BadHead::NoHeader)?;
        let value = HeaderValue::from_bytes(line.value).map_err(|_| BadHead::NoHeader)?;
        if name == CONTENT_LENGTH {
            let differs = headers.get(CONTENT_LENGTH).is_some_and(|before| before != value);
            length = length_of(&value).filter(|_| !differs);
            if length.is_none() {
                bad_length = Some(value.clone());
            }
            headers.insert(name, value);
        } else if !is_of_connection(&name) {
            headers.append(name, value);
        }
    }
    if bad_length.is_some() {
        headers.remove(CONTENT_LENGTH);
        length = None;
    }
    let implied = if headers.contains_key(LOCATION) { StatusCode::FOUND } else { StatusCode::OK };
    Ok(Head { status: status.unwrap_or(implied), headers, length, bad_length })
}

/// `404 Not Found`: three digits, and whatever follows, as nginx and Apache read it. What comes
/// before the final answer (1xx) cannot be one.
fn status_of(value: &[u8]) -> Result<StatusCode, BadHead> {
    let (code, rest) = value.split_at_checked(3).ok_or(BadHead::Status)?;
    match StatusCode::from_bytes(code) {
        Ok(status) if status.as_u16() >= 200 && !rest.first().is_some_and(u8::is_ascii_digit) => {
            Ok(status)
        }
        _ => Err(BadHead::Status),
    }
}

fn length_of(value: &HeaderValue) -> Option<u64> {
    let is_number = !value.is_empty() && value.as_bytes().iter().all(u8::is_ascii_digit);
    value.to_str().ok().filter(|_| is_number)?.parse().ok()
}

/// Headers of RFC 9110, section 7.6.1: what they say is between the gateway and its client.
fn is_of_connection(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}
