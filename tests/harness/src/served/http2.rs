//! An HTTP/2 client that writes any frame (RFC 9113), also frames that no client should write.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Far longer than any response takes.
const DEADLINE: Duration = Duration::from_secs(60);
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const PRIORITY: u8 = 2;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PUSH_PROMISE: u8 = 5;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;

pub const ACK: u8 = 1;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
pub const PADDED: u8 = 8;

pub const PROTOCOL_ERROR: u32 = 1;
pub const FLOW_CONTROL_ERROR: u32 = 3;
pub const STREAM_CLOSED: u32 = 5;
pub const FRAME_SIZE_ERROR: u32 = 6;
pub const REFUSED_STREAM: u32 = 7;
pub const CANCEL: u32 = 8;
pub const COMPRESSION_ERROR: u32 = 9;
pub const ENHANCE_YOUR_CALM: u32 = 11;

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

impl Frame {
    /// The error code of `RST_STREAM` or `GOAWAY`.
    pub fn code(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

/// How the server has ended a stream, or the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// A response: its status, and its body.
    Response(u16, Vec<u8>),
    /// `RST_STREAM`.
    Reset(u32),
    /// `GOAWAY`, with an error or before the end of an idle connection.
    GoAway(u32),
    /// The connection was closed.
    Closed,
}

/// An HTTP/2 connection without TLS.
pub struct Http2 {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Http2 {
    /// Opens a connection, and sends the preface and these settings.
    pub fn with(port: u16, settings: &[(u16, u32)]) -> Self {
        let mut connection = Self::bare(port);
        connection.send_bytes(PREFACE);
        let settings = settings
            .iter()
            .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat());
        connection.send(SETTINGS, 0, 0, &settings.collect::<Vec<_>>());
        connection
    }

    pub fn to(port: u16) -> Self {
        Self::with(port, &[])
    }

    /// A connection on which nothing was sent.
    pub fn bare(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, read: Vec::new() }
    }

    /// Sends bytes. False: the server has closed the connection.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> bool {
        match self.stream.write_all(bytes) {
            Err(error)
                if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) =>
            {
                false
            }
            sent => {
                sent.unwrap();
                true
            }
        }
    }

    pub fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> bool {
        self.send_bytes(&frame(kind, flags, stream, payload))
    }

    /// GET of a page, and the end of its stream.
    pub fn get(&mut self, stream: u32, page: &str) {
        self.send(HEADERS, END_HEADERS | END_STREAM, stream, &head("GET", page, &[]));
    }

    /// The next frame; None: the connection is closed.
    pub fn frame(&mut self) -> Option<Frame> {
        while self.read.len() < 9 || self.read.len() < 9 + length(&self.read) {
            let mut buffer = [0; 16 * 1024];
            match self.stream.read(&mut buffer) {
                Ok(0) => return None,
                Ok(count) => self.read.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("the gateway sends no frame: {error}"),
            }
        }
        let rest = self.read.split_off(9 + length(&self.read));
        let mut frame = std::mem::replace(&mut self.read, rest);
        let payload = frame.split_off(9);
        let stream = u32::from_be_bytes(frame[5..].try_into().unwrap()) & 0x7fff_ffff;
        Some(Frame { kind: frame[3], flags: frame[4], stream, payload })
    }

    /// Waits for a frame of a kind. Panics if the connection is closed.
    pub fn await_frame(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.frame().unwrap_or_else(|| panic!("closed before a frame {kind}"));
            if frame.kind == kind && !(kind == SETTINGS && frame.flags & ACK > 0) {
                return frame;
            }
        }
    }

    /// Waits for the end of a stream. Acknowledges settings and pings, but opens no window.
    pub fn end_of(&mut self, stream: u32) -> End {
        let (mut status, mut body) = (0, Vec::new());
        let mut is_announced = false;
        while let Some(frame) = self.frame() {
            match frame.kind {
                SETTINGS if frame.flags & ACK == 0 => drop(self.send(SETTINGS, ACK, 0, &[])),
                PING if frame.flags & ACK == 0 => drop(self.send(PING, ACK, 0, &frame.payload)),
                GOAWAY if frame.code() != 0 => return End::GoAway(frame.code()),
                GOAWAY => is_announced = true,
                RST_STREAM if frame.stream == stream => return End::Reset(frame.code()),
                HEADERS if frame.stream == stream && status < 200 => {
                    status = self::status(&frame.payload);
                }
                DATA if frame.stream == stream => body.extend_from_slice(&frame.payload),
                _ => {}
            }
            let is_last = matches!(frame.kind, HEADERS | DATA) && frame.flags & END_STREAM > 0;
            if is_last && frame.stream == stream {
                return End::Response(status, body);
            }
        }
        if is_announced { End::GoAway(0) } else { End::Closed }
    }
}

fn length(frame: &[u8]) -> usize {
    u32::from_be_bytes([0, frame[0], frame[1], frame[2]]) as usize
}

/// A frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header field that no table keeps, without Huffman codes (RFC 7541, section 6.2.2).
pub fn field(name: &str, value: &str) -> Vec<u8> {
    let mut field = vec![0];
    for text in [name, value] {
        let length = text.len();
        if length < 127 {
            field.push(u8::try_from(length).unwrap());
        } else {
            field.push(127);
            let mut rest = length - 127;
            while rest >= 128 {
                field.push(u8::try_from(rest % 128).unwrap() | 128);
                rest /= 128;
            }
            field.push(u8::try_from(rest).unwrap());
        }
        field.extend_from_slice(text.as_bytes());
    }
    field
}

/// The fields of a request for the host `a`, and the fields in `more`.
pub fn head(method: &str, page: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let pseudo = [(":method", method), (":scheme", "http"), (":path", page), (":authority", "a")];
    pseudo.iter().chain(more).flat_map(|(name, value)| field(name, value)).collect()
}

/// The status of a response. The response must be the first one with this status on its connection.
fn status(block: &[u8]) -> u16 {
    const INDEXED: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    match block[0] {
        // An update of the table's size comes first.
        first if first & 0xe0 == 0x20 => status(&block[1..]),
        first @ 0x88..=0x8e => INDEXED[usize::from(first - 0x88)],
        _ if block[1] & 0x80 == 0 => std::str::from_utf8(&block[2..5]).unwrap().parse().unwrap(),
        _ => {
            let bits = u32::from_be_bytes([block[2], block[3], block[4], 0]);
            let (mut at, mut status) = (0, 0);
            for _ in 0..3 {
                let five = bits << at >> 27;
                let is_short = five < 3;
                let digit = if is_short { five } else { (bits << at >> 26) - 22 };
                at += if is_short { 5 } else { 6 };
                status = status * 10 + u16::try_from(digit).unwrap();
            }
            status
        }
    }
}
