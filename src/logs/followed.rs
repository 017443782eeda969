//! Follows one file by its name, over renames, removal and truncation.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::open::{FileId, id, open};
use super::record::Record;
use super::records::Records;
use crate::runtime::LogKind;

/// How many bytes are read at once.
const CHUNK: usize = 64 << 10;
/// How many chunks of a file are read before it is the next one's turn.
const TURN: usize = 16;
/// How long a file that has lost its name is still read. Its writers use it until they open their logs
/// again.
const KEPT: Duration = Duration::from_secs(60);
/// The time between two reads of a file that has lost its name. inotify does not report its changes.
const POLL: Duration = Duration::from_secs(1);
/// The most files that have lost one name. Beyond that, the oldest file is given up.
const OLD_MAX: usize = 3;

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    /// After what the file contains.
    End,
    /// At its first byte.
    Beginning,
}

/// A file that is followed.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) path: PathBuf,
    pub(super) kind: LogKind,
    current: Option<Part>,
    /// Files that had the name before.
    old: Vec<(Part, Instant)>,
    /// Since when no file has the name, though `current` is open.
    nameless: Option<Instant>,
    /// What was last wrong.
    problem: Option<String>,
}

/// An open file, and how far it is read.
#[derive(Debug)]
pub(super) struct Part {
    file: File,
    id: FileId,
    at: u64,
    records: Records,
}

impl Followed {
    pub(super) fn new(path: &Path, kind: LogKind) -> Self {
        Self {
            path: path.to_owned(),
            kind,
            current: None,
            old: Vec::new(),
            nameless: None,
            problem: None,
        }
    }

    /// Opens the file that has the name now, if it is another one. Returns a problem that is new.
    pub(super) fn look(&mut self, start: Start, now: Instant) -> Option<String> {
        let named = match fs::metadata(&self.path) {
            Ok(metadata) => Some(id(&metadata)),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return self.complain(&error),
        };
        let Some(named) = named else {
            if self.current.is_some() {
                self.nameless.get_or_insert(now);
            }
            return None;
        };
        self.nameless = None;
        if self.current.as_ref().is_some_and(|part| part.id == named) {
            self.problem = None;
            return None;
        }
        match Part::open(&self.path, self.kind, start) {
            Ok(part) => {
                self.problem = None;
                // A file that came back after it was moved away is read on from the old position.
                let known = self.old.iter().position(|(old, _)| old.id == part.id);
                let part = known.map_or(part, |at| self.old.remove(at).0);
                if let Some(old) = self.current.replace(part) {
                    self.old.push((old, now + KEPT));
                }
                None
            }
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => self.complain(&error),
        }
    }

    fn complain(&mut self, error: &io::Error) -> Option<String> {
        let problem = error.to_string();
        if self.problem.as_ref() == Some(&problem) {
            return None;
        }
        self.problem = Some(problem.clone());
        Some(problem)
    }

    /// Reads what is new, for one turn. True: there may be more.
    pub(super) fn read(
        &mut self,
        buffer: &mut Vec<u8>,
        now: Instant,
        emit: &mut impl FnMut(Record),
    ) -> io::Result<bool> {
        let mut more = false;
        for (part, _) in &mut self.old {
            more |= part.read(buffer, now, emit)?;
        }
        let is_over = |(_, until): &(Part, Instant)| now >= *until;
        while !more && self.old.first().is_some_and(|it| self.old.len() > OLD_MAX || is_over(it)) {
            self.old.remove(0).0.records.end(emit);
        }
        // The records of older files come first.
        if !more && let Some(current) = &mut self.current {
            more = current.read(buffer, now, emit)?;
        }
        Ok(more)
    }

    /// Returns the records that have waited long enough.
    pub(super) fn tick(&mut self, now: Instant, emit: &mut impl FnMut(Record)) {
        self.parts().for_each(|part| part.records.tick(now, emit));
    }

    /// Returns all records, also those that may have more lines.
    pub(super) fn end(&mut self, emit: &mut impl FnMut(Record)) {
        self.parts().for_each(|part| part.records.end(emit));
    }

    fn parts(&mut self) -> impl Iterator<Item = &mut Part> {
        self.old.iter_mut().map(|(part, _)| part).chain(&mut self.current)
    }

    /// When the files have to be looked at again, even if inotify reports nothing.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let waiting = self.old.iter().map(|(part, _)| part).chain(&self.current);
        let records = waiting.filter_map(|part| part.records.deadline());
        let is_new = self.nameless.is_some_and(|since| now < since + KEPT);
        let poll = (is_new || !self.old.is_empty()).then(|| now + POLL);
        records.chain(poll).min()
    }

    /// Whether a followed file has lost its name. Then a change in the directory may concern this file.
    pub(super) fn has_old(&self) -> bool {
        !self.old.is_empty() || self.nameless.is_some()
    }

    /// The last records of the file, `count` at most, and only those of its last `bytes`. Reading goes
    /// on after them.
    pub(super) fn last(&mut self, count: usize, bytes: u64) -> io::Result<Vec<Record>> {
        let Some(part) = &mut self.current else { return Ok(Vec::new()) };
        part.last(self.kind, count, bytes)
    }
}

impl Part {
    fn open(path: &Path, kind: LogKind, start: Start) -> io::Result<Self> {
        let file = open(path)?;
        let metadata = file.metadata()?;
        let at = if start == Start::End { metadata.size() } else { 0 };
        Ok(Self { file, id: id(&metadata), at, records: Records::new(kind) })
    }

    fn read(
        &mut self,
        buffer: &mut Vec<u8>,
        now: Instant,
        emit: &mut impl FnMut(Record),
    ) -> io::Result<bool> {
        buffer.resize(CHUNK, 0);
        for _ in 0..TURN {
            match self.file.read_at(buffer, self.at) {
                Ok(0) => {
                    // A shorter file was truncated: what was not read is gone.
                    if self.file.metadata()?.size() >= self.at {
                        return Ok(false);
                    }
                    self.records.end(emit);
                    self.at = 0;
                }
                Ok(length) => {
                    self.at += length as u64;
                    self.records.push(&buffer[..length], now, emit);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn last(&mut self, kind: LogKind, count: usize, most: u64) -> io::Result<Vec<Record>> {
        let size = self.file.metadata()?.size();
        let mut length = CHUNK as u64;
        loop {
            length = length.min(size).min(most);
            let begin = size - length;
            let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
            self.file.read_exact_at(&mut bytes, begin)?;
            // The first line may be the end of a longer one.
            let first = match begin {
                0 => 0,
                _ => bytes.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1),
            };
            let (mut records, mut all) = (Records::new(kind), Vec::new());
            records.push(&bytes[first..], Instant::now(), &mut |it| all.push(it));
            records.end_record(&mut |it| all.push(it));
            if all.len() > count || length == size.min(most) {
                all.drain(..all.len().saturating_sub(count));
                (self.at, self.records) = (size, records);
                return Ok(all);
            }
            length *= 4;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A followed file in a directory of its own.
    struct Case {
        dir: tempfile::TempDir,
        followed: Followed,
    }

    impl Case {
        fn new(kind: LogKind) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let followed = Followed::new(&dir.path().join("log"), kind);
            Self { dir, followed }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        fn append(&self, name: &str, text: &str) {
            use std::io::Write;
            let mut file = File::options().append(true).create(true).open(self.path(name)).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }

        fn read(&mut self) -> Vec<String> {
            self.read_at(Instant::now())
        }

        fn read_at(&mut self, now: Instant) -> Vec<String> {
            assert_eq!(self.followed.look(Start::Beginning, now), None);
            let mut all = Vec::new();
            let mut emit = |it: Record| all.push(String::from_utf8(it.bytes).unwrap());
            while self.followed.read(&mut Vec::new(), now, &mut emit).unwrap() {}
            all
        }
    }

    #[test]
    fn no_line_is_lost_or_doubled_over_a_rename() {
        let mut case = Case::new(LogKind::Error);
        assert_eq!(case.read(), [""; 0]);
        case.append("log", "one\n");
        assert_eq!(case.read(), ["one"]);
        case.append("log", "two\n");
        fs::rename(case.path("log"), case.path("log.1")).unwrap();
        assert_eq!(case.read(), ["two"]);
        // php-fpm writes to the old file until it gets USR1.
        case.append("log.1", "three\n");
        case.append("log", "five\n");
        case.append("log.1", "four\n");
        assert_eq!(case.read(), ["three", "four", "five"]);
        case.append("log.1", "late\n");
        assert!(case.followed.deadline(Instant::now()).is_some());
        assert_eq!(case.read_at(Instant::now() + KEPT), ["late"]);
        assert!(case.followed.old.is_empty());
        assert_eq!(case.followed.deadline(Instant::now()), None);
    }

    #[test]
    fn file_that_was_moved_away_and_back_is_read_once() {
        let mut case = Case::new(LogKind::Error);
        case.append("log", "one\n");
        assert_eq!(case.read(), ["one"]);
        fs::rename(case.path("log"), case.path("log.1")).unwrap();
        case.append("log", "two\n");
        assert_eq!(case.read(), ["two"]);
        fs::rename(case.path("log.1"), case.path("log")).unwrap();
        case.append("log", "three\n");
        assert_eq!(case.read(), ["three"]);
    }

    #[test]
    fn truncated_and_removed_files_are_read_from_the_beginning() {
        let mut case = Case::new(LogKind::Error);
        case.append("log", "a long line\n");
        assert_eq!(case.read(), ["a long line"]);
        File::options().write(true).open(case.path("log")).unwrap().set_len(0).unwrap();
        case.append("log", "short\n");
        assert_eq!(case.read(), ["short"]);
        fs::remove_file(case.path("log")).unwrap();
        assert_eq!(case.read(), [""; 0]);
        case.append("log", "new\n");
        assert_eq!(case.read(), ["new"]);
    }

    #[test]
    fn what_is_no_file_is_reported_once_and_a_file_in_its_place_is_read() {
        let mut case = Case::new(LogKind::Error);
        nix::unistd::mkfifo(&case.path("log"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let now = Instant::now();
        let problem = case.followed.look(Start::End, now);
        assert_eq!(problem.unwrap(), "it is no regular file");
        assert_eq!(case.followed.look(Start::End, now), None);
        fs::remove_file(case.path("log")).unwrap();
        case.append("log", "one\n");
        assert_eq!(case.read(), ["one"]);
    }

    #[test]
    fn last_records_are_found_and_reading_goes_on_after_them() {
        let mut case = Case::new(LogKind::Error);
        let lines = (0..100_000).map(|n| format!("line {n}\n"));
        let text = lines.collect::<Vec<_>>().concat();
        case.append("log", &format!("{text}half"));
        case.followed.look(Start::End, Instant::now());
        let last = case.followed.last(20_000, u64::MAX).unwrap();
        assert_eq!((last.len(), &*last[0].bytes), (20_000, &b"line 80000"[..]));
        case.append("log", " a line\n");
        assert_eq!(case.read(), ["half a line"]);
        let mut few = Case::new(LogKind::Error);
        few.append("log", "one\ntwo\n");
        few.followed.look(Start::End, Instant::now());
        assert_eq!(few.followed.last(10, u64::MAX).unwrap().len(), 2);
    }
}
