//! The log of a long-running program: one line for each event, on standard error.
//!
//! All modules log by `tracing::info!`, `warn!` or `error!`. These calls never block and never fail:
//! another thread writes ([`Lines`]). Lines that cannot be written are counted, and their number is logged
//! when lines can be written again. Without [`start`], events are dropped, and [`say`] writes directly: so
//! it is in all commands but `serve`.

mod lines;

use std::fs::File;
use std::io::{self, Write};
use std::sync::OnceLock;
use std::time::Duration;

use color_eyre::config::HookBuilder;
use tracing::Level;

pub use lines::Lines;

use crate::error::{Error, Result};

/// The time limit of [`flush`], if standard error is a pipe that is not read.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Standard error, after [`start`].
static STDERR: OnceLock<Lines> = OnceLock::new();

/// Starts the log: lines like `2026-11-20T14:39:45.123456Z  WARN message`, or JSON documents with
/// `timestamp`, `level` and `message`. It cannot be stopped. Error: the thread cannot be started, or another
/// global subscriber is set.
pub fn start(json: bool) -> Result<()> {
    let cannot = |error: &dyn std::fmt::Display| {
        Error::failed(format!("cannot log to standard error: {error}"))
    };
    let stderr = rustix::stdio::stderr().try_clone_to_owned().map_err(|it| cannot(&it))?;
    let lines = Lines::start("the log", File::from(stderr)).map_err(|it| cannot(&it))?;
    STDERR.get_or_init(|| lines);
    let text = tracing_subscriber::fmt()
        .with_max_level(Level::INFO)
        .with_target(false)
        .with_ansi(false)
        .log_internal_errors(false)
        .with_writer(|| Queued);
    let set = if json {
        tracing::subscriber::set_global_default(text.json().flatten_event(true).finish())
    } else {
        tracing::subscriber::set_global_default(text.finish())
    };
    set.map_err(|error| cannot(&error))
}

/// Writes to standard error. After [`start`] the text goes through the queue of the log, without blocking.
pub fn say(text: &str) {
    match STDERR.get() {
        Some(lines) => lines.push(text.as_bytes()),
        // An error cannot be reported anywhere.
        None => drop(io::stderr().write_all(text.as_bytes())),
    }
}

/// Waits until the queued lines are written, up to 2 s.
pub fn flush() {
    if let Some(lines) = STDERR.get() {
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

/// Writes events to the queue.
struct Queued;

impl Write for Queued {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        if let Some(lines) = STDERR.get() {
            lines.push(event);
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
