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
    assert_eq!(said, [format!("it cannot be written: {full}"), format!("it lost 4 lines: {full}")]);
}

#[test]
fn lost_lines_are_counted() {
    let mut writer = Writer::new(File::options().write(true).open("/dev/full").unwrap());
    writer.write(b"one\ntwo\n").unwrap_err();
    assert_eq!((writer.lost, writer.is_cut), (2, false));
}
