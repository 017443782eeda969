//! Temporary files without a name, for what does not fit into memory; all of them together have a
//! limit.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::spawn_blocking;

/// Where they are, and how much more may be written to them.
#[derive(Debug)]
pub(super) struct Temp {
    dir: PathBuf,
    /// In bytes.
    left: AtomicU64,
}

/// One of them. It goes when it is dropped.
#[derive(Debug)]
pub(super) struct TempFile {
    file: Arc<File>,
    /// How many bytes of the common limit it has.
    length: u64,
    temp: Arc<Temp>,
}

impl Temp {
    /// At most `limit` bytes, in files below `dir`.
    pub(super) fn new(dir: PathBuf, limit: u64) -> Arc<Self> {
        Arc::new(Self { dir, left: AtomicU64::new(limit) })
    }

    /// An empty file.
    pub(super) fn file(self: &Arc<Self>) -> io::Result<TempFile> {
        let file = Arc::new(tempfile::tempfile_in(&self.dir)?);
        Ok(TempFile { file, length: 0, temp: Arc::clone(self) })
    }

    fn take(&self, bytes: u64) -> bool {
        let take = |left: u64| left.checked_sub(bytes);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

impl TempFile {
    /// Appends, elsewhere than on the thread that serves. Kind `QuotaExceeded`: all files together
    /// have reached their limit, and nothing was written.
    pub(super) async fn append(
        &mut self,
        bytes: impl AsRef<[u8]> + Send + 'static,
    ) -> io::Result<()> {
        let more = bytes.as_ref().len() as u64;
        if !self.temp.take(more) {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        let (file, at) = (Arc::clone(&self.file), self.length);
        self.length += more;
        let written = spawn_blocking(move || file.write_all_at(bytes.as_ref(), at)).await;
        written.map_err(io::Error::other)?
    }

    /// How many bytes it has.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// For reading.
    pub(super) fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Forgets all that is in it.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.temp.left.fetch_add(self.length, Ordering::Relaxed);
        self.length = 0;
        self.file.set_len(0)
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        self.temp.left.fetch_add(self.length, Ordering::Relaxed);
    }
}
