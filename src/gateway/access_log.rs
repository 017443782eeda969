//! The access log: one line for each request, at the end of its response.
//!
//! Another thread writes the lines ([`Lines`]), so that no request waits for a disk. Lines that cannot be
//! written are dropped, and their number goes to the log.

use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use hyper::StatusCode;
use hyper::header::{HOST, HeaderValue, REFERER, USER_AGENT};
use hyper::http::request::Parts;
use serde_json::json;

use crate::config::{Global, LineFormat, LogFormat};
use crate::error::{Error, Result};
use crate::file;
use crate::log::{self, Lines};
use crate::privsep::files;
use crate::root::Root;

/// The time limit for writing the queued lines when the gateway ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
/// The mode of a new file, before the umask.
pub(super) const MODE: u32 = 0o666;

/// The access log.
#[derive(Debug)]
pub(super) struct AccessLog {
    lines: Arc<Lines>,
    format: LogFormat,
}

/// The data of one line. Dropping it writes the line.
#[derive(Debug)]
pub(super) struct Entry {
    log: Arc<AccessLog>,
    begun: Instant,
    /// The request id.
    pub id: String,
    /// The client's address.
    pub remote: IpAddr,
    /// The user whose password was verified; empty: none was needed.
    pub user: String,
    /// The pool; empty: the host has none.
    pub pool: String,
    /// The request line.
    pub request: String,
    /// `Host`.
    pub host: String,
    /// `Referer`.
    pub referer: String,
    /// `User-Agent`.
    pub agent: String,
    /// The status of the response.
    pub status: u16,
    /// The number of body bytes that were passed to the connection.
    pub sent: u64,
    /// The response ended too early.
    pub is_incomplete: bool,
}

impl AccessLog {
    /// Opens the configured log: a file, to which lines are appended, or standard output. `before`: the
    /// log of the previous configuration, which continues with the newly opened file. Error: the file
    /// cannot be opened.
    pub(super) fn open(
        root: &Root,
        global: &Global,
        before: Option<&Self>,
    ) -> Result<Option<Arc<Self>>> {
        let Some(path) = path(root, global) else { return Ok(None) };
        let lines = open(&path).and_then(|file| match before {
            None => Lines::start("the access log", file).map(Arc::new),
            Some(before) => {
                before.lines.redirect(file);
                Ok(Arc::clone(&before.lines))
            }
        });
        let lines = lines.map_err(|error| cannot_write(&path, global, &error))?;
        Ok(Some(Arc::new(Self { lines, format: format(global) })))
    }

    /// Why the configured log cannot be opened; None: it can. This check does not open the file, so it does
    /// not notice a FIFO that no process reads.
    pub(super) fn refusal(root: &Root, global: &Global) -> Option<Error> {
        let path = path(root, global).filter(|path| path != Path::new("-"))?;
        file::can_append(&path).err().map(|error| cannot_write(&path, global, &error))
    }

    /// An entry for a request that begins now.
    pub(super) fn entry(self: &Arc<Self>, remote: IpAddr) -> Box<Entry> {
        Box::new(Entry {
            log: Arc::clone(self),
            begun: Instant::now(),
            id: String::new(),
            remote,
            user: String::new(),
            pool: String::new(),
            request: String::new(),
            host: String::new(),
            referer: String::new(),
            agent: String::new(),
            status: 0,
            sent: 0,
            is_incomplete: false,
        })
    }

    /// Waits until all queued lines are written, with a time limit.
    pub(super) fn flush(&self) {
        self.lines.flush(FLUSH_TIMEOUT);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let line = match self.log.format {
            LogFormat::Combined => self.combined(),
            LogFormat::Json => self.json(),
        };
        self.log.lines.push(line.as_bytes());
    }
}

impl Entry {
    /// Sets what is known at the beginning of the response.
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

    /// Apache's `combined` format in UTC, then host, duration in microseconds, and request id.
    fn combined(&self) -> String {
        let now = clock_time(SystemTime::now());
        format!(
            "{} - {} [{now}] \"{}\" {} {} \"{}\" \"{}\" \"{}\" {} {}{}\n",
            self.remote,
            escaped(&self.user).replace(' ', "\\x20"),
            escaped(&self.request),
            self.status,
            self.sent,
            escaped(&self.referer),
            escaped(&self.agent),
            escaped(&self.host),
            self.micros(),
            self.id,
            if self.is_incomplete { " broken" } else { "" },
        )
    }

    fn json(&self) -> String {
        let time = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        let line = json!({
            "time": time,
            "id": self.id,
            "remote": self.remote,
            "user": self.user,
            "pool": self.pool,
            "host": self.host,
            "request": self.request,
            "status": self.status,
            "sent": self.sent,
            "us": u64::try_from(self.micros()).unwrap_or(u64::MAX),
            "referer": self.referer,
            "agent": self.agent,
            "broken": self.is_incomplete,
        });
        format!("{line}\n")
    }
}

/// `20/Nov/2026:14:39:45 +0000`, the date format of Apache's logs.
fn clock_time(time: SystemTime) -> String {
    // Fri, 20 Nov 2026 14:39:45 GMT
    let date = httpdate::fmt_http_date(time);
    let [day, month, year, clock] = [5..7, 8..11, 12..16, 17..25].map(|part| &date[part]);
    format!("{day}/{month}/{year}:{clock} +0000")
}

/// Escapes quotes and control characters.
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

/// The file, or `-`. None: there is no access log.
pub(super) fn path(root: &Root, global: &Global) -> Option<PathBuf> {
    match global.front.access_log.as_str() {
        "" => None,
        "-" => Some(PathBuf::from("-")),
        path => Some(root.resolve(path)),
    }
}

/// The configured format. If none is configured: the format of the log of `serve`.
fn format(global: &Global) -> LogFormat {
    let log = || log::style().map_or(global.log.format, |style| style.format);
    global.front.access_log_format.unwrap_or_else(|| match log() {
        LineFormat::Text => LogFormat::Combined,
        LineFormat::Json => LogFormat::Json,
    })
}

fn cannot_write(path: &Path, global: &Global, error: &io::Error) -> Error {
    Error::config(format!("cannot write the access log {}: {error}", path.display()))
        .hint(format!("correct access_log in {}", global.path.display()))
}

fn open(path: &Path) -> io::Result<File> {
    if path == Path::new("-") {
        return Ok(rustix::stdio::stdout().try_clone_to_owned()?.into());
    }
    files::append(path, MODE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_control_characters_are_escaped() {
        assert_eq!(escaped("GET /\" 200 \\x\n\x1b[2J"), "GET /\\\" 200 \\\\x\\x0a\\x1b[2J");
        assert_eq!(escaped(""), "-");
    }

    #[test]
    fn time_has_the_format_of_apache() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(clock_time(time), "06/Nov/1994:08:49:37 +0000");
    }
}
