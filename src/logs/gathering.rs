//! The logs of the replicas in the log of `serve`.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::entry::Entry;
use super::format::{json, text};
use super::origin::Origin;
use super::select::Select;
use super::stream::{Output, Stream};
use super::wake::Wake;
use crate::config::LineFormat;
use crate::error::{Error, Result};
use crate::log::{self, Style};
use crate::root::Root;

/// How much is collected before it is added to the log, in bytes.
const BATCH: usize = 64 << 10;
/// The time between two checks whether a full log has room again.
const ROOM: Duration = Duration::from_millis(100);
/// How long the last lines wait for room.
const LAST: Duration = Duration::from_secs(2);

/// A thread that gathers the logs.
#[derive(Debug)]
pub struct Gathering {
    wake: Arc<Wake>,
    ended: oneshot::Receiver<()>,
}

impl Gathering {
    /// Starts the thread, after it has found the logs: what is written after this call is gathered.
    pub fn start(root: &Root, style: Style) -> Result<Self> {
        let wake = Arc::new(Wake::new()?);
        let of_thread = Arc::clone(&wake);
        let mut log =
            ToLog { style, batch: Vec::new(), wake: Arc::clone(&wake), given_up: None, lost: 0 };
        let mut stream = Stream::new(root, Select::default(), &mut log)?;
        let (end, ended) = oneshot::channel();
        let work = move || {
            stream.follow(&of_thread, None, &mut log);
            if log.lost > 0 {
                tracing::warn!("{} bytes of the replicas' logs were not written in time", log.lost);
            }
            drop(end);
        };
        std::thread::Builder::new()
            .name("logs".to_owned())
            .spawn(work)
            .map_err(|error| Error::failed(format!("cannot gather the logs: {error}")))?;
        Ok(Self { wake, ended })
    }

    /// Reads the list of pools again.
    pub fn reload(&self) {
        self.wake.reload();
    }

    /// Ends the thread, after it has gathered what was written until now.
    pub async fn stop(self) {
        self.wake.stop();
        let _ = self.ended.await;
    }
}

/// Adds the records to the log. While the log has no room, it waits, and the records stay in their files.
struct ToLog {
    style: Style,
    batch: Vec<u8>,
    wake: Arc<Wake>,
    /// Until when the last lines wait.
    given_up: Option<Instant>,
    /// The bytes that were not written at the end.
    lost: usize,
}

impl Output for ToLog {
    fn put(&mut self, entry: &Entry, origin: &Origin, file: &Path) {
        let Style { format, is_syslog } = self.style;
        if is_syslog {
            self.batch.extend_from_slice(log::syslog_header(entry.level).as_bytes());
        }
        let line = match format {
            LineFormat::Json => json(entry, origin, file),
            LineFormat::Text if is_syslog => text(entry, origin, file, false, "\\n"),
            LineFormat::Text => text(entry, origin, file, true, "\n    "),
        };
        self.batch.extend_from_slice(line.as_bytes());
        self.batch.push(b'\n');
        if self.batch.len() >= BATCH {
            self.flush();
        }
    }

    fn flush(&mut self) {
        while !self.batch.is_empty() && !log::offer(&self.batch) {
            if self.wake.is_stopped() {
                let until = *self.given_up.get_or_insert(Instant::now() + LAST);
                if Instant::now() >= until {
                    self.lost += self.batch.len();
                    break;
                }
            }
            log::await_room(ROOM);
        }
        self.batch.clear();
    }

    fn problem(&mut self, problem: &str) {
        tracing::warn!("{problem}");
    }

    fn is_over(&self) -> bool {
        self.given_up.is_some_and(|until| Instant::now() >= until)
    }
}
