//! The clock of these tests is an hour ahead, so that all files are settled.

use super::*;
use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, EnterGuard, Runtime};

/// Far more time than any wait here takes.
const DEADLINE: Duration = Duration::from_secs(60);

/// A runtime with one thread for jobs.
fn runtime() -> Runtime {
    Builder::new_current_thread().max_blocking_threads(1).build().unwrap()
}

/// Blocks all jobs until the result is dropped.
fn hold(_within: &EnterGuard<'_>) -> mpsc::Sender<()> {
    let (held, ended) = mpsc::channel();
    spawn_blocking(move || ended.recv());
    held
}

struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("a.css")
    }

    fn write(&self, bytes: impl AsRef<[u8]>) -> OpenFile {
        fs::write(self.path(), bytes).unwrap();
        self.open()
    }

    /// Writes the file until its identity changes: the clock of a file system advances in steps.
    fn change(&self, old: &OpenFile, text: &str) -> OpenFile {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let new = self.write(text);
            if Identity::of(&new.stat) != Identity::of(&old.stat) {
                return new;
            }
            assert!(Instant::now() < deadline);
        }
    }

    fn open(&self) -> OpenFile {
        let file = Arc::new(File::open(self.path()).unwrap());
        let stat = Box::new(fstat(&file).unwrap());
        OpenFile { path: "a.css".to_owned(), file, stat }
    }
}

fn find(compressor: &Arc<Compressor>, file: &OpenFile) -> Option<Gzip> {
    compressor.find_at(file, SystemTime::now() + Duration::from_secs(3600))
}

/// Waits until no compression is in progress.
fn await_end(compressor: &Compressor) {
    wait_for(|| !compressor.lock().busy);
}

/// Waits until no job has the file: a job that has just ended may still have it for a moment.
fn has_no_job(file: &OpenFile) {
    wait_for(|| jobs(file) == 0);
}

fn wait_for(is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Compresses a file, and returns the decompressed result.
fn plain(compressor: &Arc<Compressor>, file: &OpenFile) -> Option<String> {
    assert!(find(compressor, file).is_none());
    await_end(compressor);
    let gzip = find(compressor, file)?;
    let mut plain = String::new();
    flate2::read::GzDecoder::new(&*gzip.bytes).read_to_string(&mut plain).unwrap();
    Some(plain)
}

/// The number of jobs that have the file.
fn jobs(file: &OpenFile) -> usize {
    Arc::strong_count(&file.file) - 1
}

#[test]
fn one_file_is_compressed_at_a_time_without_a_queue() {
    let runtime = runtime();
    let within = runtime.enter();
    let compressor = Compressor::new(1 << 20);
    let dir = Dir::new();
    let mut file = dir.write("a".repeat(5000));
    let held = hold(&within);
    for _ in 0..100 {
        assert!(find(&compressor, &file).is_none());
    }
    // Other inode numbers stand for other files.
    for _ in 0..1000 {
        file.stat.st_ino += 1;
        assert!(find(&compressor, &file).is_none());
    }
    assert_eq!(jobs(&file), 1);
    drop(held);
    await_end(&compressor);
    has_no_job(&file);
    assert!(find(&compressor, &dir.open()).is_some());
}

#[test]
fn file_that_changes_during_compression_is_compressed_again() {
    let runtime = runtime();
    let within = runtime.enter();
    let compressor = Compressor::new(1 << 20);
    let dir = Dir::new();
    let text = |letter: &str, length| letter.repeat(length);
    // The same size, longer, shorter.
    for length in [5000, 6000, 4000] {
        let old = dir.write(text("a", 5000));
        let held = hold(&within);
        assert!(find(&compressor, &old).is_none());
        let new = dir.change(&old, &text("b", length));
        drop(held);
        await_end(&compressor);
        assert!(find(&compressor, &old).is_none());
        await_end(&compressor);
        assert_eq!(plain(&compressor, &new), Some(text("b", length)));
    }
}

#[test]
fn incompressible_file_is_not_tried_again() {
    let runtime = runtime();
    let within = runtime.enter();
    let compressor = Compressor::new(1 << 20);
    let dir = Dir::new();
    let file = dir.write(gzip::noise(5000));
    assert_eq!(plain(&compressor, &file), None);
    let _held = hold(&within);
    assert!(find(&compressor, &file).is_none());
    has_no_job(&file);
}

#[test]
fn too_small_too_large_or_unsettled_file_is_not_compressed() {
    let runtime = runtime();
    let within = runtime.enter();
    let dir = Dir::new();
    let begins = |max: u64, length: u64, now: SystemTime| {
        let _held = hold(&within);
        let file = dir.write("");
        File::options().write(true).open(dir.path()).unwrap().set_len(length).unwrap();
        let file = OpenFile { stat: Box::new(fstat(&file.file).unwrap()), ..file };
        assert!(Compressor::new(max).find_at(&file, now).is_none());
        jobs(&file) == 1
    };
    let now = SystemTime::now();
    let later = now + Duration::from_secs(3600);
    assert!(begins(32 << 20, SMALLEST, later) && !begins(32 << 20, SMALLEST - 1, later));
    assert!(begins(32 << 20, LARGEST, later) && !begins(32 << 20, LARGEST + 1, later));
    assert!(begins(9000 + ENTRY, 9000, later) && !begins(9000 + ENTRY, 9001, later));
    assert!(!begins(0, SMALLEST, later));
    assert!(!begins(32 << 20, SMALLEST, now));
}
