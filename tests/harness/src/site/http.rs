//! Requests to Apache: each on a new connection, and sent once.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use super::DEADLINE;

/// A response.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

/// A client of Apache. A missing or incomplete response is a failure.
#[derive(Clone, Copy)]
pub struct Client {
    port: u16,
}

impl Client {
    pub fn to(port: u16) -> Self {
        Self { port }
    }

    pub fn get(self, page: &str) -> Answer {
        self.get_as("", page)
    }

    /// `headers` are more lines of the request, each with its own end.
    pub fn get_as(self, headers: &str, page: &str) -> Answer {
        self.ask("GET", page, headers, "").unwrap_or_else(|error| panic!("GET {page}: {error}"))
    }

    pub fn post(self, page: &str, body: &str) -> Answer {
        let length = format!("Content-Length: {}\r\n", body.len());
        let answer = self.ask("POST", page, &length, body);
        answer.unwrap_or_else(|error| panic!("POST {page}: {error}"))
    }

    /// Asks once; an answer that does not come whole is an error.
    pub fn ask(self, method: &str, page: &str, headers: &str, body: &str) -> io::Result<Answer> {
        let port = self.port;
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(DEADLINE))?;
        // HTTP/1.0: the answer ends with the connection.
        let head = format!("{method} {page} HTTP/1.0\r\nHost: localhost:{port}\r\n{headers}\r\n");
        stream.write_all((head + body).as_bytes())?;
        let mut text = Vec::new();
        stream.read_to_end(&mut text)?;
        let text = String::from_utf8_lossy(&text).into_owned();
        parse(&text).ok_or_else(|| io::Error::other(format!("no whole answer: {text:?}")))
    }
}

fn parse(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    // If the body does not have the length in the header, the response was cut.
    let is_whole = length.is_none_or(|length| length == body.len().to_string());
    is_whole.then(|| Answer { status, body: body.to_owned() })
}
