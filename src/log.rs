//! The log of a program that serves: a line for each event, on standard error.
//!
//! Any module logs by `tracing::info!`, `warn!` or `error!`. Such a call never blocks and never
//! fails: a thread of its own writes ([`Lines`]). What cannot be written is counted, and the count
//! is logged once lines can be written again. Before [`start`] events go nowhere, and [`say`] writes
//! by itself: so it is in all commands but `serve`.

mod lines;

use std::fs::File;
use std::io::{self, Write};
use std::sync::OnceLock;
use std::time::Duration;

use color_eyre::config::HookBuilder;
use tracing::Level;

pub use lines::Lines;

use crate::error::{Error, Result};

/// How long [`flush`] waits for a reader that does not read.
const PATIENCE: Duration = Duration::from_secs(2);

/// Standard error, once the log has been started.
static STDERR: OnceLock<Lines> = OnceLock::new();

/// Starts the log: lines like `2026-11-20T14:39:45.123456Z  WARN message`, or JSON documents with
/// `timestamp`, `level` and `message`. It lasts as long as the process.
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

/// Writes to standard error: in its turn and without blocking, where the log has been started.
pub fn say(text: &str) {
    match STDERR.get() {
        Some(lines) => lines.push(text.as_bytes()),
        // There is nobody to tell that it fails.
        None => drop(io::stderr().write_all(text.as_bytes())),
    }
}

/// Waits until all of the log has been written: for 2 s at most, since nobody may read it.
pub fn flush() {
    if let Some(lines) = STDERR.get() {
        lines.flush(PATIENCE);
    }
}

/// Has panics reported by [`say`]. The hook that `color_eyre::install` sets panics itself where
/// standard error cannot be written, and that aborts the process.
pub fn report_panics() -> color_eyre::Result<()> {
    let (panics, errors) = HookBuilder::default().into_hooks();
    errors.install()?;
    std::panic::set_hook(Box::new(move |info| {
        say(&format!("{}\n", panics.panic_report(info)));
        // The process ends with its first thread, and goes on without any other.
        if std::thread::current().name() == Some("main") {
            flush();
        }
    }));
    Ok(())
}

/// An event on its way to the queue.
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
