//! What is compressed when. The clock is an hour ahead, so that the files have settled.

use super::*;
use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, EnterGuard, Runtime};

/// Far beyond what anything takes: so that a hang fails.
const DEADLINE: Duration = Duration::from_secs(20);

/// A runtime in which one job is done at a time.
fn runtime() -> Runtime {
    Builder::new_current_thread().max_blocking_threads(1).build().unwrap()
}

/// Lets no job begin until it is dropped.
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

    fn write(&self, bytes: impl AsRef<[u8]>) -> StaticFile {
        fs::write(self.path(), bytes).unwrap();
        self.open()
    }

    /// Writes it until that can be seen: the clock of a filesystem goes in steps.
    fn change(&self, old: &StaticFile, text: &str) -> StaticFile {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let new = self.write(text);
            if Identity::of(&new.stat) != Identity::of(&old.stat) {
                return new;
            }
            assert!(Instant::now() < deadline);
        }
    }

    fn open(&self) -> StaticFile {
        let file = Arc::new(File::open(self.path()).unwrap());
        let stat = Box::new(fstat(&file).unwrap());
        StaticFile { path: "a.css".to_owned(), file, stat }
    }
}

fn find(compressor: &Arc<Compressor>, file: &StaticFile) -> Option<Gzip> {
    compressor.find_at(file, SystemTime::now() + Duration::from_secs(3600))
}

/// Waits until nothing is being compressed.
fn await_end(compressor: &Compressor) {
    wait_for(|| !compressor.lock().busy);
}

/// Fails if a job that is held has the file; one that has just ended may have it for a moment.
fn has_no_job(file: &StaticFile) {
    wait_for(|| jobs(file) == 0);
}

fn wait_for(is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_so() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// What is found once it has been compressed, as it was before.
fn plain(compressor: &Arc<Compressor>, file: &StaticFile) -> Option<String> {
    assert!(find(compressor, file).is_none());
    await_end(compressor);
    let gzip = find(compressor, file)?;
    let mut plain = String::new();
    flate2::read::GzDecoder::new(&*gzip.bytes).read_to_string(&mut plain).unwrap();
    Some(plain)
}

/// How many jobs have the file.
fn jobs(file: &StaticFile) -> usize {
    Arc::strong_count(&file.file) - 1
}

#[test]
fn one_file_is_compressed_at_a_time_and_no_other_waits() {
    let runtime = runtime();
    let within = runtime.enter();
    let compressor = Compressor::new(1 << 20);
    let dir = Dir::new();
    let mut file = dir.write("a".repeat(5000));
    let held = hold(&within);
    for _ in 0..100 {
        assert!(find(&compressor, &file).is_none());
    }
    // Others, as far as anybody can see.
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
fn a_file_that_changes_while_it_is_compressed_is_tried_again() {
    let runtime = runtime();
    let within = runtime.enter();
    let compressor = Compressor::new(1 << 20);
    let dir = Dir::new();
    let text = |letter: &str, length| letter.repeat(length);
    // Of the same size, longer, shorter.
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
fn what_does_not_become_smaller_is_not_tried_again() {
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
fn what_is_too_small_too_large_or_too_new_is_left_as_it_is() {
    let runtime = runtime();
    let within = runtime.enter();
    let dir = Dir::new();
    let begins = |max: u64, length: u64, now: SystemTime| {
        let _held = hold(&within);
        let file = dir.write("");
        File::options().write(true).open(dir.path()).unwrap().set_len(length).unwrap();
        let file = StaticFile { stat: Box::new(fstat(&file.file).unwrap()), ..file };
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
