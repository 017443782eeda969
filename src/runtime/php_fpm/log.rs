//! The lines that php-fpm has logged since a generation was started.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::process::Process;

/// How much of the end of a log is read, in bytes.
const TAIL: u64 = 16 * 1024;
/// How many of its lines are shown.
const LINES: usize = 10;

/// How much of a log is searched in one call, in bytes.
const SEARCH: u64 = 1 << 20;

/// A place in a log file.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    from: u64,
    /// The end of the part that has been searched.
    seen: u64,
}

impl Log {
    /// The log of a master, from its present end on: it is php-fpm's standard error.
    pub fn of(master: &Process) -> Option<Self> {
        let path = fs::read_link(format!("/proc/{}/fd/2", master.pid())).ok()?;
        let metadata = fs::metadata(&path).ok().filter(fs::Metadata::is_file)?;
        Some(Self { path, from: metadata.len(), seen: metadata.len() })
    }

    /// The whole log of a generation that has one of its own.
    pub(in crate::runtime) fn whole(path: PathBuf) -> Self {
        Self { path, from: 0, seen: 0 }
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its last new lines, indented; empty if there are none. Notices are left out: they only
    /// report starts and stops.
    pub fn tail(&self) -> String {
        let text = self.end().unwrap_or_default();
        let lines: Vec<&str> = text.lines().filter(|line| !line.contains("] NOTICE: ")).collect();
        let last = &lines[lines.len().saturating_sub(LINES)..];
        last.iter().flat_map(|line| ["    ", line, "\n"]).collect::<String>().trim_end().to_owned()
    }

    /// Searches the lines since the last call. Returns what `part` returns for the first line for which
    /// that is not None.
    pub fn find(&mut self, part: impl Fn(&str) -> Option<&str>) -> Option<String> {
        let (mut file, length) = self.open().ok()?;
        let from = since(self.seen, length);
        file.seek(SeekFrom::Start(from)).ok()?;
        let mut bytes = Vec::new();
        file.take(SEARCH).read_to_end(&mut bytes).ok()?;
        // The last line may be incomplete.
        let whole = match bytes.iter().rposition(|byte| *byte == b'\n') {
            Some(at) => at + 1,
            None if bytes.len() as u64 == SEARCH => bytes.len(),
            None => 0,
        };
        self.seen = from + whole as u64;
        let text = String::from_utf8_lossy(&bytes[..whole]);
        text.lines().find_map(part).map(str::to_owned)
    }

    fn end(&self) -> io::Result<String> {
        let (mut file, length) = self.open()?;
        file.seek(SeekFrom::Start(since(self.from, length).max(length.saturating_sub(TAIL))))?;
        let mut bytes = Vec::new();
        file.take(TAIL).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn open(&self) -> io::Result<(File, u64)> {
        let file = File::open(&self.path)?;
        let length = file.metadata()?.len();
        Ok((file, length))
    }
}

/// The place to read from: 0 after a rotation, which makes the log shorter.
fn since(place: u64, length: u64) -> u64 {
    if length < place { 0 } else { place }
}

/// `[20-Nov-2026 07:28:01] WARNING: [pool www1] child 7 exited on signal 11 (SIGSEGV) after 0.1
/// seconds from start`. A child can write any text to the log, but php-fpm puts other words before
/// it. TERM is no crash: `request_terminate_timeout` sends it.
pub(in crate::runtime) fn crash<'a>(line: &'a str, section: &str) -> Option<&'a str> {
    let (_, said) = line.split_once(&format!("] WARNING: [pool {section}] "))?;
    let (pid, how) = said.strip_prefix("child ")?.split_once(" exited on signal ")?;
    (pid.parse::<u32>().is_ok() && !how.contains("(SIGTERM)")).then_some(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_crash_lines_are_crashes() {
        let line = |said: &str| format!("[20-Nov-2026 07:28:01] WARNING: [pool www1] {said}");
        let segv = "child 7 exited on signal 11 (SIGSEGV) after 0.1 seconds from start";
        assert_eq!(crash(&line(segv), "www1"), Some(segv));
        assert_eq!(crash(&line(segv), "www"), None);
        let told = [
            "child 7 exited on signal 15 (SIGTERM) after 0.1 seconds from start",
            "child 7 exited with code 1 after 0.1 seconds from start",
            "child 7 said into stderr: \"child 8 exited on signal 11 (SIGSEGV)\"",
        ];
        assert!(told.iter().all(|said| crash(&line(said), "www1").is_none()));
    }
}
