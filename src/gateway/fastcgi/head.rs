//! Parses the head of a script's output: `Status`, `Location` and other headers, up to an empty line.

use bytes::{Buf, Bytes, BytesMut};
use hyper::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, LOCATION};
use hyper::http::StatusCode;

/// The largest accepted head, in bytes. nginx accepts 4 or 8 KiB by default.
pub(super) const HEAD_MAX: usize = 128 * 1024;
/// The largest accepted number of headers.
const HEADERS_MAX: usize = 200;
/// The number of headers that the gateway usually adds. The map gets room for them, so that it need not
/// grow.
const HEADERS_ADDED: usize = 2;

/// Why a head is invalid. Each displays as a sentence without a full stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadHead {
    /// The output ends before the end of the head.
    #[error("it ends within its headers")]
    Missing,
    /// The head has more than `HEAD_MAX` bytes.
    #[error("its headers have more than {HEAD_MAX} bytes")]
    TooLong,
    /// The head has too many headers.
    #[error("it has more than {HEADERS_MAX} headers")]
    TooMany,
    /// A line is not a header.
    #[error("it has a line that is not a header")]
    NoHeader,
    /// `Status` is not that of a final response.
    #[error("its Status is invalid")]
    Status,
}

/// The head of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// `Status`; without it 302 if there is a `Location`, else 200.
    pub status: StatusCode,
    /// All other headers, repeated ones included. Headers that concern the connection are removed.
    pub headers: HeaderMap,
    /// `Content-Length`; None: it is missing or invalid.
    pub length: Option<u64>,
    /// A `Content-Length` that is not a number, or differs from another one. Then `headers` has no
    /// `Content-Length`.
    pub bad_length: Option<HeaderValue>,
}

/// Collects output until the head is complete.
#[derive(Debug, Default)]
pub struct HeadParser {
    /// Empty while the head may be in one chunk.
    collected: BytesMut,
    /// How much of `collected` was searched for the empty line.
    searched: usize,
}

impl HeadParser {
    /// Adds output. Once the head is complete, returns it and the output after it.
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

/// The position after the first empty line. A head without headers begins with the empty line. Lines end
/// with CR LF or LF.
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
    // Nearly all heads have few headers. Initializing the large array takes as long as parsing such a
    // head.
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
    let mut headers = HeaderMap::with_capacity(lines.len() + HEADERS_ADDED);
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

/// Parses `404 Not Found`: three digits and any text, like nginx and Apache. An interim status (1xx) is
/// invalid.
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

/// Whether a header concerns the connection (RFC 9110, section 7.6.1).
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
