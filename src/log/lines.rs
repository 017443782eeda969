//! A queue of lines that another thread writes to a file or to syslog.
//!
//! A caller never waits for a disk or a reader, and never gets an error. The queue has a limit. Lines
//! beyond it, and lines that cannot be written, are dropped and counted. Their number is logged when lines
//! can be written again.
//!
//! `tracing-appender` does most of this. But it limits the number of lines and not their bytes, ignores
//! write errors, cannot change its file, and prints to standard output when it ends.

use std::io::{self, ErrorKind};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};

use super::output::Output;

/// The size of the queue, in bytes.
const QUEUE_MAX: usize = 4 << 20;
/// The part of the queue for lines that can wait, in bytes. The rest is for lines that cannot wait.
const PATIENT_MAX: usize = QUEUE_MAX / 2;
/// The capacity that the buffer of the thread keeps between writes, in bytes.
const BUFFER_KEPT: usize = 64 << 10;

/// The queue. After it is dropped, its thread writes the queued lines and ends.
#[derive(Debug)]
pub struct Lines(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// For messages.
    name: String,
    state: Mutex<State>,
    /// Notified when there is work for the thread.
    filled: Condvar,
    /// Notified when the thread has written its lines.
    written: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    /// The number of lines that did not fit into the queue.
    refused: u64,
    /// The next output, after a redirection.
    next: Option<Output>,
    /// The lines from before the redirection, which go to the old file.
    before: Vec<u8>,
    is_writing: bool,
    is_closed: bool,
}

impl Lines {
    /// Starts the thread. `name`: the name of the file in messages. Error: the thread cannot be started.
    pub fn start(name: &str, output: impl Into<Output>) -> io::Result<Self> {
        let output = output.into();
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            state: Mutex::default(),
            filled: Condvar::new(),
            written: Condvar::new(),
        });
        let of_thread = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("lines".to_owned())
            .spawn(move || Writer::new(output).work(&of_thread))?;
        Ok(Self(shared))
    }

    /// Adds a line, which must end with a line feed. Never blocks.
    pub fn push(&self, line: &[u8]) {
        let mut state = self.0.lock();
        if state.before.len() + state.waiting.len() + line.len() > QUEUE_MAX {
            state.refused += 1;
            return;
        }
        state.waiting.extend_from_slice(line);
        drop(state);
        self.0.filled.notify_one();
    }

    /// Adds lines that can wait, if there is room. False: they were not added. Never blocks.
    pub fn offer(&self, lines: &[u8]) -> bool {
        let mut state = self.0.lock();
        if state.before.len() + state.waiting.len() + lines.len() > PATIENT_MAX {
            return false;
        }
        state.waiting.extend_from_slice(lines);
        drop(state);
        self.0.filled.notify_one();
        true
    }

    /// Waits until some of the queue is written, up to `limit`.
    pub fn await_room(&self, limit: Duration) {
        let is_full = |state: &mut State| state.waiting.len() > PATIENT_MAX / 2;
        drop(self.0.written.wait_timeout_while(self.0.lock(), limit, is_full));
    }

    /// Redirects the output to another file. Lines that are queued already go to the old one, later
    /// lines to the new one.
    pub fn redirect(&self, output: impl Into<Output>) {
        let output = output.into();
        let mut state = self.0.lock();
        let queued = mem::take(&mut state.waiting);
        state.before.extend_from_slice(&queued);
        state.next = Some(output);
        drop(state);
        self.0.filled.notify_one();
    }

    /// Waits until all queued lines are written, up to `limit`.
    pub fn flush(&self, limit: Duration) {
        let is_busy = |state: &mut State| {
            state.is_writing || state.next.is_some() || !state.waiting.is_empty()
        };
        drop(self.0.written.wait_timeout_while(self.0.lock(), limit, is_busy));
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.filled.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for work, and takes the lines. None: the queue was dropped, and is empty.
    fn next(&self, batch: &mut Vec<u8>) -> Option<(u64, Option<Output>)> {
        let mut state = self.lock();
        state.is_writing = false;
        self.written.notify_all();
        let is_idle = |it: &mut State| it.waiting.is_empty() && it.next.is_none() && !it.is_closed;
        let waited = self.filled.wait_while(state, is_idle);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        if state.waiting.is_empty() && state.next.is_none() {
            return None;
        }
        batch.clear();
        batch.shrink_to(BUFFER_KEPT);
        let next = state.next.take();
        let lines = if next.is_some() { &mut state.before } else { &mut state.waiting };
        mem::swap(batch, lines);
        state.is_writing = true;
        // The queue is empty: there is room again.
        self.written.notify_all();
        Some((mem::take(&mut state.refused), next))
    }
}

/// The state of the thread.
struct Writer {
    output: Output,
    /// The last write ended in the middle of a line.
    is_cut: bool,
    /// The number of lost lines since the last report.
    lost: u64,
    /// The error of the last write.
    failed: Option<io::Error>,
}

impl Writer {
    fn new(output: impl Into<Output>) -> Self {
        Self { output: output.into(), is_cut: false, lost: 0, failed: None }
    }

    fn work(mut self, shared: &Shared) {
        let mut batch = Vec::new();
        while let Some((refused, next)) = shared.next(&mut batch) {
            self.lost += refused;
            let renewed = self.output.renew().map(|is_new| self.is_cut &= !is_new);
            let written = self.write(&batch);
            self.report(&shared.name, renewed.and(written));
            if let Some(next) = next {
                self.output = next;
                self.is_cut = false;
            }
        }
    }

    /// Logs an error of a write; and the number of lost lines, when lines can be written again. If the
    /// output is the log itself, the message about the error is lost as well.
    fn report(&mut self, name: &str, written: io::Result<()>) {
        if let Err(error) = written {
            if self.failed.is_none() {
                tracing::error!("{name} cannot be written: {error}");
                super::complain(&format!("{name} cannot be written: {error}"));
            }
            self.failed = Some(error);
            return;
        }
        let failed = self.failed.take();
        let lost = mem::take(&mut self.lost);
        if lost > 0 {
            let why = failed.map_or_else(
                || "they came faster than they were written".to_owned(),
                |error| error.to_string(),
            );
            tracing::warn!("{name} lost {lost} lines: {why}");
        }
    }

    fn write(&mut self, batch: &[u8]) -> io::Result<()> {
        if self.is_cut && !batch.is_empty() {
            self.write_part(b"\n").map_err(|(error, _)| error).inspect_err(|_| {
                self.lost += count(batch);
            })?;
            self.is_cut = false;
        }
        self.write_part(batch).map_err(|(error, left)| {
            self.lost += count(left);
            self.is_cut = batch[..batch.len() - left.len()].last().is_some_and(|it| *it != b'\n');
            error
        })
    }

    /// Writes all bytes. An error has the bytes that were not written.
    fn write_part<'a>(&mut self, mut left: &'a [u8]) -> Result<(), (io::Error, &'a [u8])> {
        while !left.is_empty() {
            match self.output.write(left) {
                Ok(0) => return Err((ErrorKind::WriteZero.into(), left)),
                Ok(written) => left = &left[written..],
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    // Another process that shares the terminal or pipe may have set non-blocking mode.
                    ErrorKind::WouldBlock => self.await_room().map_err(|error| (error, left))?,
                    _ => return Err((error, left)),
                },
            }
        }
        Ok(())
    }

    fn await_room(&self) -> io::Result<()> {
        match poll(&mut [PollFd::from_borrowed_fd(self.output.fd(), PollFlags::OUT)], None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn count(lines: &[u8]) -> u64 {
    lines.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}

#[cfg(test)]
mod tests;
