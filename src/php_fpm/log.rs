//! What php-fpm has written into its log since a generation was started.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use crate::process::Process;

/// How much of a log's end is looked at, in bytes.
const TAIL: u64 = 16 * 1024;
/// How many of its lines are shown.
const LINES: usize = 10;

/// A place in a log file.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    from: u64,
}

impl Log {
    /// The log of a master, from here on: php-fpm makes it its standard error.
    pub fn of(master: &Process) -> Option<Self> {
        let path = fs::read_link(format!("/proc/{}/fd/2", master.pid())).ok()?;
        let metadata = fs::metadata(&path).ok().filter(fs::Metadata::is_file)?;
        Some(Self { path, from: metadata.len() })
    }

    /// Its last lines since then, indented; empty when there are none. That
    /// php-fpm starts and ends is no news.
    pub fn tail(&self) -> String {
        let text = self.read().unwrap_or_default();
        let lines: Vec<&str> = text.lines().filter(|line| !line.contains("] NOTICE: ")).collect();
        let last = &lines[lines.len().saturating_sub(LINES)..];
        last.iter().flat_map(|line| ["    ", line, "\n"]).collect::<String>().trim_end().to_owned()
    }

    fn read(&self) -> std::io::Result<String> {
        let mut file = File::open(&self.path)?;
        let length = file.metadata()?.len();
        // Shorter than it was: it has been rotated.
        let from = if length < self.from { 0 } else { self.from };
        file.seek(SeekFrom::Start(from.max(length.saturating_sub(TAIL))))?;
        let mut bytes = Vec::new();
        file.take(TAIL).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}
