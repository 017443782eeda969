//! One request to Apache on a connection of its own, sent once.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use super::DEADLINE;

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// `headers` are more lines of the request, each with its own end.
pub(super) fn get(port: u16, path: &str, headers: &str) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(DEADLINE))?;
    // HTTP/1.0: the answer ends with the connection.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost:{port}\r\n{headers}\r\n")?;
    let mut text = Vec::new();
    stream.read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text).into_owned();
    parse(&text).ok_or_else(|| io::Error::other(format!("no whole answer: {text:?}")))
}

fn parse(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    // Said by the server, and not so: the answer was cut.
    let is_whole = length.is_none_or(|length| length == body.len().to_string());
    is_whole.then(|| Answer { status, body: body.to_owned() })
}
