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
/// The part of it for lines that can wait, in bytes: the rest is left to those that cannot.
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

    /// Logs an error of a write, and the number of lost lines when lines can be written again. If this is
    /// the log itself, the former message is lost as well.
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
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{BufRead, BufReader, Read, Write};
    use std::os::fd::OwnedFd;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn pipe() -> (BufReader<File>, File) {
        let (reader, writer) = io::pipe().unwrap();
        (BufReader::new(OwnedFd::from(reader).into()), OwnedFd::from(writer).into())
    }

    #[test]
    fn reader_that_does_not_read_blocks_no_caller() {
        let (mut reader, writer) = pipe();
        let lines = Lines::start("it", writer).unwrap();
        let line = [&[b'x'; 1023][..], b"\n"].concat();
        // Twice what fits into the queue and the pipe.
        for _ in 0..2 * (2 * QUEUE_MAX + (1 << 20)) / line.len() {
            lines.push(&line);
        }
        assert!(lines.0.lock().waiting.len() <= QUEUE_MAX);
        assert!(lines.0.lock().refused > 0);
        let mut first = String::new();
        reader.read_line(&mut first).unwrap();
        assert_eq!(first.as_bytes(), line);
    }

    #[test]
    fn patient_lines_leave_room_and_are_not_lost() {
        let (mut reader, writer) = pipe();
        let lines = Lines::start("it", writer).unwrap();
        let line = [&[b'x'; 1023][..], b"\n"].concat();
        while lines.offer(&line) {}
        lines.push(&line);
        assert_eq!(lines.0.lock().refused, 0);
        let mut skipped = vec![0; PATIENT_MAX];
        reader.read_exact(&mut skipped).unwrap();
        lines.await_room(PATIENCE);
        assert!(lines.offer(&line));
    }

    #[test]
    fn renamed_file_is_created_again() {
        let dir = tempfile::tempdir().unwrap();
        let [log, old] = ["log", "old"].map(|name| dir.path().join(name));
        let lines = Lines::start("it", Output::named(&log).unwrap()).unwrap();
        lines.push(b"one\n");
        lines.flush(PATIENCE);
        std::fs::rename(&log, &old).unwrap();
        lines.push(b"two\n");
        lines.flush(PATIENCE);
        assert_eq!(std::fs::read(old).unwrap(), b"one\n");
        assert_eq!(std::fs::read(log).unwrap(), b"two\n");
    }

    #[test]
    fn queued_lines_are_written_before_the_thread_ends() {
        let (mut reader, writer) = pipe();
        let lines = Lines::start("it", writer).unwrap();
        lines.push(b"one\n");
        lines.push(b"two\n");
        drop(lines);
        let mut all = String::new();
        reader.read_to_string(&mut all).unwrap();
        assert_eq!(all, "one\ntwo\n");
    }

    #[test]
    fn lines_for_another_file_are_written_after_a_failure() {
        let (mut reader, writer) = pipe();
        let lines = Lines::start("it", File::options().write(true).open("/dev/full").unwrap());
        let lines = lines.unwrap();
        lines.push(b"lost\n");
        lines.flush(PATIENCE);
        lines.redirect(writer);
        lines.push(b"kept\n");
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        assert_eq!(line, "kept\n");
    }

    /// The thread is kept busy by a pipe that is full, so that it finds both lines at once.
    #[test]
    fn line_after_a_redirection_goes_to_the_new_file() {
        let (mut old, full) = pipe();
        let (mut new, writer) = pipe();
        let lines = Lines::start("it", full).unwrap();
        let filler = [vec![b'x'; 1 << 20], b"\n".to_vec()].concat();
        lines.push(&filler);
        lines.push(b"before\n");
        lines.redirect(writer);
        lines.push(b"after\n");
        let mut line = String::new();
        old.read_line(&mut line).unwrap();
        line.clear();
        old.read_line(&mut line).unwrap();
        assert_eq!(line, "before\n");
        line.clear();
        new.read_line(&mut line).unwrap();
        assert_eq!(line, "after\n");
    }

    #[test]
    fn partial_line_is_ended_before_the_next_one() {
        let (mut reader, file) = pipe();
        let mut writer = Writer { is_cut: true, ..Writer::new(file) };
        writer.write(b"next\n").unwrap();
        drop(writer);
        let mut all = String::new();
        reader.read_to_string(&mut all).unwrap();
        assert_eq!(all, "\nnext\n");
    }

    /// Collects the log of this thread.
    #[derive(Clone, Default)]
    struct Said(Arc<Mutex<Vec<u8>>>);

    impl Write for Said {
        fn write(&mut self, said: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(said)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lost_lines_are_logged_when_lines_can_be_written_again() {
        let said = Said::default();
        let log = said.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || log.clone()).finish();
        let (_reader, pipe) = pipe();
        tracing::subscriber::with_default(subscriber, || {
            let mut writer = Writer::new(File::options().write(true).open("/dev/full").unwrap());
            for _ in 0..2 {
                let written = writer.write(b"one\ntwo\n");
                writer.report("it", written);
            }
            writer.output = pipe.into();
            for _ in 0..2 {
                let written = writer.write(b"three\n");
                writer.report("it", written);
            }
        });
        let said = String::from_utf8(said.0.lock().unwrap().clone()).unwrap();
        let said: Vec<_> = said.lines().map(|line| line.split_once("lines: ").unwrap().1).collect();
        let full = "No space left on device (os error 28)";
        assert_eq!(
            said,
            [format!("it cannot be written: {full}"), format!("it lost 4 lines: {full}")]
        );
    }

    #[test]
    fn lost_lines_are_counted() {
        let mut writer = Writer::new(File::options().write(true).open("/dev/full").unwrap());
        writer.write(b"one\ntwo\n").unwrap_err();
        assert_eq!((writer.lost, writer.is_cut), (2, false));
    }
}
