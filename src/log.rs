//! The log of a long-running program: one line for each event, on standard error, in a file or to
//! syslog.
//!
//! All modules log by `tracing::info!`, `warn!` or `error!`. These calls never block and never fail:
//! another thread writes ([`Lines`]). Lines that cannot be written are counted, and their number is logged
//! when lines can be written again. Without [`start`], events are dropped, and [`say`] writes directly. Only
//! `serve` and its child call [`start`].
//!
//! The logs of the replicas go the same way, by [`offer`]. Their lines can wait, because they are in files.
//! So they never take the room of the program's own lines.

pub mod escape;
mod event;
mod lines;
mod output;
mod syslog;

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use color_eyre::config::HookBuilder;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;

pub use lines::Lines;
pub use output::{FILE_MODE, Output};

use crate::config::{LineFormat, LogOutput};
use crate::error::{Error, Result};

/// The time limit of [`flush`], if standard error is a pipe that is not read.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Standard error, after [`start`].
static STDERR: OnceLock<Lines> = OnceLock::new();
/// Another output than standard error, after [`start`].
static OTHER: OnceLock<Lines> = OnceLock::new();
/// How the lines of replicas are written, after [`start`].
static STYLE: OnceLock<Style> = OnceLock::new();

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// The format.
    pub format: LineFormat,
    /// Whether the line goes to syslog. Then it has no time of its own, and is one line.
    pub is_syslog: bool,
}

/// The origin of this crate's events. Events of other crates are left out: any client can cause those of h2.
const OWN: &str = env!("CARGO_CRATE_NAME");

/// Starts the log, with lines as in [`event`]. The log cannot be stopped. Error: the output cannot be opened,
/// the thread cannot be started, or another global subscriber is set.
pub fn start(format: LineFormat, output: &LogOutput) -> Result<()> {
    let cannot =
        |error: &dyn std::fmt::Display| Error::failed(format!("cannot start the log: {error}"));
    let stderr = rustix::stdio::stderr().try_clone_to_owned().map_err(|it| cannot(&it))?;
    let other = open(output)?;
    let lines = Lines::start("the log", File::from(stderr)).map_err(|it| cannot(&it))?;
    STDERR.get_or_init(|| lines);
    if let Some(other) = other {
        let lines = Lines::start("the log", other).map_err(|it| cannot(&it))?;
        OTHER.get_or_init(|| lines);
    }
    let is_syslog = matches!(output, LogOutput::Syslog(_));
    let style = *STYLE.get_or_init(|| Style { format, is_syslog });
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(Level::INFO)
        .with_ansi(false)
        .log_internal_errors(false)
        .event_format(event::Lines(style))
        .with_writer(Queue)
        .finish()
        .with(filter_fn(|metadata| metadata.target().starts_with(OWN)));
    tracing::subscriber::set_global_default(subscriber).map_err(|error| cannot(&error))
}

/// Opens an output. None: the output is standard error, which is open.
fn open(output: &LogOutput) -> Result<Option<Output>> {
    let opened = match output {
        LogOutput::Stderr => return Ok(None),
        LogOutput::File(path) => {
            Output::named(path).map_err(|error| cannot_log(output, path, &error))
        }
        LogOutput::Syslog(path) => {
            Output::syslog(path).map_err(|error| cannot_log(output, path, &error))
        }
    };
    opened.map(Some)
}

/// Why an output cannot be opened; None: it can. No file is opened or made, and nothing is sent.
pub fn refusal(output: &LogOutput) -> Option<Error> {
    let (path, tried) = match output {
        LogOutput::Stderr => return None,
        LogOutput::File(path) => (path, output::check_named(path)),
        LogOutput::Syslog(path) => (path, Output::syslog(path).map(drop)),
    };
    tried.err().map(|error| cannot_log(output, path, &error))
}

fn cannot_log(output: &LogOutput, path: &Path, error: &io::Error) -> Error {
    Error::config(format!("cannot log to {}: {error}", path.display())).hint(match output {
        LogOutput::Syslog(_) => {
            "no syslog or journald receives there: start it, or change [log] output or syslog_socket"
        }
        _ => "its directory must exist, and only root and you may write to it: see [log] output",
    })
}

fn out() -> Option<&'static Lines> {
    OTHER.get().or(STDERR.get())
}

/// How the lines of replicas are written: as the program's own. None: the log was not started.
pub fn style() -> Option<Style> {
    STYLE.get().copied()
}

/// What stands before a message to syslog.
pub fn syslog_header(level: Level) -> String {
    syslog::header(level)
}

/// Adds lines that can wait to the log, if there is room: see [`Lines::offer`].
pub fn offer(lines: &[u8]) -> bool {
    out().is_none_or(|out| out.offer(lines))
}

/// Waits until the log has room, up to `limit`.
pub fn await_room(limit: Duration) {
    if let Some(out) = out() {
        out.await_room(limit);
    }
}

/// Writes to standard error. After [`start`], the text goes through a queue, so that the caller does not
/// block. If the log is elsewhere, the text goes to the log too. If the log is JSON, the text becomes the
/// message of a line.
pub fn say(text: &str) {
    match STDERR.get() {
        Some(lines) => lines.push(in_style(text).as_bytes()),
        // An error cannot be reported anywhere.
        None => drop(io::stderr().write_all(text.as_bytes())),
    }
    if OTHER.get().is_some() {
        tracing::error!("{}", text.trim_end());
    }
}

/// A text for standard error, as JSON if the log is JSON. A text that is a JSON document stays as it is.
fn in_style(text: &str) -> String {
    let is_document = || serde_json::from_str::<serde_json::Map<_, _>>(text).is_ok();
    match style() {
        Some(style) if style.format == LineFormat::Json && !is_document() => {
            event::Line::new(Level::ERROR, text.trim_end()).shown(style)
        }
        _ => text.to_owned(),
    }
}

/// Writes a problem of the log itself to standard error, if the log is elsewhere.
fn complain(problem: &str) {
    if let (Some(stderr), Some(_)) = (STDERR.get(), OTHER.get()) {
        stderr.push(in_style(&format!("{problem}\n")).as_bytes());
    }
}

/// Waits until the queued lines are written, up to 2 s.
pub fn flush() {
    for lines in [OTHER.get(), STDERR.get()].into_iter().flatten() {
        lines.flush(FLUSH_TIMEOUT);
    }
}

/// Installs hooks that report panics by [`say`]. The hook of `color_eyre::install` panics if standard error
/// cannot be written, which aborts the process.
pub fn report_panics() -> color_eyre::Result<()> {
    let (panics, errors) = HookBuilder::default().into_hooks();
    errors.install()?;
    std::panic::set_hook(Box::new(move |info| {
        say(&format!("{}\n", panics.panic_report(info)));
        // A panic of the main thread ends the process; a panic of another thread does not.
        if std::thread::current().name() == Some("main") {
            flush();
        }
    }));
    Ok(())
}

/// Makes the writer of each event.
struct Queue;

impl MakeWriter<'_> for Queue {
    type Writer = Queued;

    fn make_writer(&self) -> Queued {
        Queued { level: Level::INFO }
    }

    fn make_writer_for(&self, event: &Metadata<'_>) -> Queued {
        Queued { level: *event.level() }
    }
}

/// Writes an event to the queue.
struct Queued {
    level: Level,
}

impl Write for Queued {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        if let Some(lines) = out() {
            if style().is_some_and(|style| style.is_syslog) {
                let text = String::from_utf8_lossy(event);
                let text = text.trim().replace('\n', "\\n");
                lines.push(format!("{}{text}\n", syslog::header(self.level)).as_bytes());
            } else {
                lines.push(event);
            }
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
