//! The access log: a line for each request, written when its answer has ended.
//!
//! A thread of its own writes, so that no request waits for a disk. Where it does not keep up,
//! lines are lost rather than requests delayed, and how many is said.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant, SystemTime};

use hyper::StatusCode;
use hyper::header::{HOST, HeaderValue, REFERER, USER_AGENT};
use hyper::http::request::Parts;
use serde_json::json;

use crate::config::LogFormat;

/// How many lines may wait to be written.
const WAITING: usize = 16_384;

/// How long it may take to write those that wait when the gateway ends.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the thread that writes is told.
#[derive(Debug)]
enum Message {
    Line(String),
    /// To be dropped once all lines before it have been written.
    Flush(SyncSender<Infallible>),
}

/// Where the lines go.
#[derive(Debug)]
pub(super) struct AccessLog {
    messages: SyncSender<Message>,
    format: LogFormat,
    lost: Arc<AtomicU64>,
}

/// What is known of a request.
#[derive(Debug)]
pub(super) struct Entry {
    log: Arc<AccessLog>,
    begun: Instant,
    /// What it is known by in all logs.
    pub id: String,
    /// Who asked.
    pub remote: IpAddr,
    /// The pool that was asked.
    pub pool: String,
    /// The request's line.
    pub request: String,
    /// Its `Host`.
    pub host: String,
    /// Its `Referer`.
    pub referer: String,
    /// Its `User-Agent`.
    pub agent: String,
    /// The status of the answer.
    pub status: u16,
    /// How many bytes of its body have been handed on.
    pub sent: u64,
    /// It did not get to its end.
    pub broken: bool,
}

impl AccessLog {
    /// Opens the log: a file that is appended to, or `-` for standard output.
    pub(super) fn open(path: &Path, format: LogFormat) -> io::Result<Arc<Self>> {
        let output: Box<dyn Write + Send> =
            if path == Path::new("-") { Box::new(io::stdout()) } else { Box::new(append(path)?) };
        let (messages, waiting) = sync_channel(WAITING);
        let lost = Arc::new(AtomicU64::new(0));
        let of_writer = Arc::clone(&lost);
        let writer = std::thread::Builder::new().name("access-log".to_owned());
        writer.spawn(move || write(BufWriter::new(output), &waiting, &of_writer))?;
        Ok(Arc::new(Self { messages, format, lost }))
    }

    /// An entry for a request that comes in now.
    pub(super) fn entry(self: &Arc<Self>, remote: IpAddr) -> Box<Entry> {
        Box::new(Entry {
            log: Arc::clone(self),
            begun: Instant::now(),
            id: String::new(),
            remote,
            pool: String::new(),
            request: String::new(),
            host: String::new(),
            referer: String::new(),
            agent: String::new(),
            status: 0,
            sent: 0,
            broken: false,
        })
    }

    /// Waits until all lines have been written, for a while.
    pub(super) fn flush(&self) {
        let (pending, done) = sync_channel(0);
        if self.messages.send(Message::Flush(pending)).is_ok() {
            let _ = done.recv_timeout(PATIENCE);
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let line = match self.log.format {
            LogFormat::Combined => self.combined(),
            LogFormat::Json => self.json(),
        };
        if let Err(TrySendError::Full(_)) = self.log.messages.try_send(Message::Line(line)) {
            self.log.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Entry {
    /// Notes what is known by the time that the answer begins.
    pub(super) fn note(&mut self, request: &Parts, id: &str, status: StatusCode) {
        let header = |name| {
            let value = request.headers.get(name).map(HeaderValue::as_bytes);
            String::from_utf8_lossy(value.unwrap_or_default()).into_owned()
        };
        id.clone_into(&mut self.id);
        self.request = format!("{} {} {:?}", request.method, request.uri, request.version);
        self.host = header(HOST);
        self.referer = header(REFERER);
        self.agent = header(USER_AGENT);
        self.status = status.as_u16();
    }

    fn micros(&self) -> u128 {
        self.begun.elapsed().as_micros()
    }

    /// Apache's `combined`, in UTC, then the host, the time in microseconds, and the id.
    fn combined(&self) -> String {
        let now = clock_time(SystemTime::now());
        format!(
            "{} - - [{now}] \"{}\" {} {} \"{}\" \"{}\" \"{}\" {} {}{}\n",
            self.remote,
            escaped(&self.request),
            self.status,
            self.sent,
            escaped(&self.referer),
            escaped(&self.agent),
            escaped(&self.host),
            self.micros(),
            self.id,
            if self.broken { " broken" } else { "" },
        )
    }

    fn json(&self) -> String {
        let time = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        let line = json!({
            "time": time,
            "id": self.id,
            "remote": self.remote,
            "pool": self.pool,
            "host": self.host,
            "request": self.request,
            "status": self.status,
            "sent": self.sent,
            "us": u64::try_from(self.micros()).unwrap_or(u64::MAX),
            "referer": self.referer,
            "agent": self.agent,
            "broken": self.broken,
        });
        format!("{line}\n")
    }
}

/// `20/Nov/2026:14:39:45 +0000`, as all that read such logs expect it.
fn clock_time(time: SystemTime) -> String {
    // Fri, 20 Nov 2026 14:39:45 GMT
    let date = httpdate::fmt_http_date(time);
    let [day, month, year, clock] = [5..7, 8..11, 12..16, 17..25].map(|part| &date[part]);
    format!("{day}/{month}/{year}:{clock} +0000")
}

/// Nothing in it can end the quotes, or do something to a terminal.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '"' | '\\' => safe.extend(['\\', letter]),
            _ if letter.is_control() => {
                let _ = write!(safe, "\\x{:02x}", u32::from(letter));
            }
            _ => safe.push(letter),
        }
    }
    if safe.is_empty() { "-".to_owned() } else { safe }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// Writes until there is nobody left who could have something to say.
fn write(mut output: impl Write, waiting: &Receiver<Message>, lost: &AtomicU64) {
    while let Ok(first) = waiting.recv() {
        let (mut written, mut flushed) = (Ok(()), Vec::new());
        for message in std::iter::once(first).chain(waiting.try_iter()) {
            match message {
                Message::Line(line) => written = written.and(output.write_all(line.as_bytes())),
                Message::Flush(pending) => flushed.push(pending),
            }
        }
        // A disk that is full now may have room later.
        if let Err(error) = written.and(output.flush()) {
            eprintln!("the access log cannot be written: {error}");
        }
        let lost = lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            eprintln!("the access log lost {lost} lines: they came faster than they were written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_cannot_be_forged() {
        assert_eq!(escaped("GET /\" 200 \\x\n\x1b[2J"), "GET /\\\" 200 \\\\x\\x0a\\x1b[2J");
        assert_eq!(escaped(""), "-");
    }

    #[test]
    fn the_time_is_written_as_in_all_such_logs() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(clock_time(time), "06/Nov/1994:08:49:37 +0000");
    }
}
