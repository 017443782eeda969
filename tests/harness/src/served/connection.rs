//! A client connection that checks whether a response is complete by the rules of HTTP.

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::Answer;

/// Far longer than any response takes.
const DEADLINE: Duration = Duration::from_secs(60);

/// A connection to the gateway.
pub struct Connection {
    stream: TcpStream,
    /// Data that was read, and not yet used.
    read: Vec<u8>,
}

/// A missing or incomplete response, with the data that arrived.
pub struct Cut(String);

impl fmt::Debug for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "incomplete response: {}", self.0)
    }
}

impl Connection {
    pub fn to(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, read: Vec::new() }
    }

    /// A connection with small segments and a small receive buffer, like that of a distant client.
    pub fn narrow(port: u16) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_tcp_mss(1460).unwrap();
        socket.set_recv_buffer_size(16 << 10).unwrap();
        socket.connect(&SocketAddr::from(([127, 0, 0, 1], port)).into()).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Self { stream: socket.into(), read: Vec::new() }
    }

    /// The next bytes, at most `most`; none at the end. Error: the connection was reset.
    pub fn some(&mut self, most: usize) -> Result<Vec<u8>, Cut> {
        if self.read.is_empty() {
            let mut buffer = vec![0; most];
            match self.stream.read(&mut buffer) {
                Ok(read) => self.read.extend_from_slice(&buffer[..read]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    return Err(Cut(String::new()));
                }
                Err(error) => panic!("the gateway does not answer: {error}"),
            }
        }
        let count = self.read.len().min(most);
        self.take(count)
    }

    pub fn send(&mut self, text: &str) {
        self.send_bytes(text.as_bytes());
    }

    /// Ignores errors: the server may close the connection before it has read everything.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        match self.stream.write_all(bytes) {
            Err(error)
                if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {}
            sent => sent.unwrap(),
        }
    }

    /// GET on this connection, which stays open.
    pub fn get(&mut self, page: &str) -> Result<Answer, Cut> {
        self.send(&format!("GET {page} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        self.answer()
    }

    /// The next response.
    pub fn answer(&mut self) -> Result<Answer, Cut> {
        self.answer_to("GET")
    }

    pub fn answer_to(&mut self, method: &str) -> Result<Answer, Cut> {
        let head = self.head()?;
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(':').unwrap_or_else(|| panic!("{head}")))
            .map(|(name, value)| (name.to_lowercase(), value.trim_start().to_owned()))
            .collect();
        let mut answer = Answer { status, headers, body: Vec::new() };
        let has_none = method == "HEAD" || matches!(status, 100..=199 | 204 | 304);
        let length = answer.header("content-length").map(|it| it.parse::<usize>().unwrap());
        let is_chunked = answer.header("transfer-encoding") == Some("chunked");
        assert!(!(length.is_some() && is_chunked), "{head}");
        if has_none {
        } else if is_chunked {
            self.chunks(&mut answer.body)?;
        } else if let Some(length) = length {
            answer.body = self.take(length)?;
        } else {
            while self.more() {}
            answer.body = std::mem::take(&mut self.read);
        }
        Ok(answer)
    }

    /// The next head, without its empty line.
    pub fn head(&mut self) -> Result<String, Cut> {
        loop {
            if let Some(end) = find(&self.read, b"\r\n\r\n") {
                let head = self.take(end + 4)?;
                return Ok(String::from_utf8(head[..end].to_vec()).unwrap());
            }
            self.need()?;
        }
    }

    fn chunks(&mut self, body: &mut Vec<u8>) -> Result<(), Cut> {
        while let Some(chunk) = self.next_chunk()? {
            body.extend_from_slice(&chunk);
        }
        Ok(())
    }

    /// Reads a chunk, and returns its length.
    pub fn chunk(&mut self) -> Result<usize, Cut> {
        Ok(self.next_chunk()?.map_or(0, |chunk| chunk.len()))
    }

    /// Reads a chunk. Empty: it was the last one.
    pub fn chunk_bytes(&mut self) -> Result<Vec<u8>, Cut> {
        Ok(self.next_chunk()?.unwrap_or_default())
    }

    fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, Cut> {
        let end = loop {
            if let Some(end) = find(&self.read, b"\r\n") {
                break end;
            }
            self.need()?;
        };
        let line = self.take(end + 2)?;
        let size = usize::from_str_radix(std::str::from_utf8(&line[..end]).unwrap(), 16).unwrap();
        let mut chunk = self.take(size + 2)?;
        assert_eq!(chunk.split_off(size), b"\r\n");
        Ok(Some(chunk).filter(|chunk| !chunk.is_empty()))
    }

    /// The port of the client.
    pub fn port(&self) -> u16 {
        self.stream.local_addr().unwrap().port()
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Result<Vec<u8>, Cut> {
        while self.read.len() < count {
            self.need()?;
        }
        let rest = self.read.split_off(count);
        Ok(std::mem::replace(&mut self.read, rest))
    }

    fn need(&mut self) -> Result<(), Cut> {
        if self.more() {
            return Ok(());
        }
        let read = String::from_utf8_lossy(&self.read[..self.read.len().min(300)]);
        Err(Cut(format!("{} bytes: {read}", self.read.len())))
    }

    /// Reads more data; false: the server has closed the connection.
    fn more(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(read) => {
                self.read.extend_from_slice(&buffer[..read]);
                read > 0
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("the gateway does not answer: {error}"),
        }
    }

    /// Waits for the end of the connection. Panics if more data arrives.
    pub fn is_closed(&mut self) {
        let more = self.more();
        assert!(!more, "{:?}", String::from_utf8_lossy(&self.read));
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|part| part == what)
}
