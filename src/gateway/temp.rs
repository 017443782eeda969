//! Room for bodies and answers: memory for a few, and temporary files without a name.
//!
//! All of it has limits, also for one pool and one client: see [`usage`]. A file that has no room
//! for more, by these limits or on the disk, stays as it was.

mod usage;

use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::spawn_blocking;

use super::file;
use super::throttle::Throttle;
pub(super) use usage::{Limit, Limits, Purpose, Reserved, Waiting};
use usage::{Share, Usage};

/// The memory for answers beyond what each of them may have anyway, in bytes. It is used while
/// clients are fast; what slow clients leave there is bounded by it.
const MEMORY: Limits = Limits { all: 16 << 20, pool: 16 << 20, client: 8 << 20 };

/// The directory of all temporary files, and how much is in them and in memory.
#[derive(Debug)]
pub(super) struct Temp {
    dir: PathBuf,
    files: Arc<Usage>,
    memory: Arc<Usage>,
    limited: Throttle,
    failed: Throttle,
}

/// Whose room: that of one client's requests to one pool.
#[derive(Debug, Clone)]
pub(super) struct Owner {
    temp: Arc<Temp>,
    files: Share,
    memory: Share,
}

/// A temporary file. It is deleted when it is dropped.
#[derive(Debug)]
pub(super) struct TempFile {
    owner: Owner,
    purpose: Purpose,
    /// None: nothing was written yet.
    file: Option<Arc<File>>,
    /// As many bytes as have been written. None: none.
    reserved: Option<Reserved>,
    /// A write is under way, or was abandoned.
    is_writing: bool,
}

/// Why nothing could be appended to a file.
#[derive(Debug, thiserror::Error)]
pub(super) enum Full {
    /// The gateway's own limit.
    #[error("{0}")]
    Limit(#[from] Limit),
    /// The disk is full, or broken, or no file can be opened.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Temp {
    /// Files below `dir`.
    pub(super) fn new(dir: PathBuf, limits: Limits) -> Arc<Self> {
        let [files, memory] = [limits, MEMORY].map(|limits| Arc::new(Usage::new(limits)));
        let (limited, failed) = (Throttle::new(), Throttle::new());
        Arc::new(Self { dir, files, memory, limited, failed })
    }

    /// The room of a client's requests to a pool.
    pub(super) fn owner(self: &Arc<Self>, pool: &str, client: IpAddr) -> Owner {
        let pool = pool.into();
        let [files, memory] =
            [&self.files, &self.memory].map(|usage| Share::new(usage, &pool, client));
        Owner { temp: Arc::clone(self), files, memory }
    }
}

impl Owner {
    /// An empty file.
    pub(super) fn file(&self, purpose: Purpose) -> TempFile {
        TempFile { owner: self.clone(), purpose, file: None, reserved: None, is_writing: false }
    }

    /// The right to let a script wait for a client that has used up its share. None: enough of its
    /// scripts wait already.
    pub(super) fn wait(&self) -> Option<Waiting> {
        self.files.wait()
    }

    /// The right to so many bytes of memory, until it is dropped. None: use a file.
    pub(super) fn memory(&self, bytes: usize) -> Option<Reserved> {
        self.memory.reserve(bytes as u64, Purpose::Body).ok()
    }

    /// Logs, now and then, that there was no room, and what follows from that.
    pub(super) fn note(&self, full: &Full, so: &str) {
        let Temp { dir, limited, failed, .. } = &*self.temp;
        let throttle = if matches!(full, Full::Limit(_)) { limited } else { failed };
        let Some(more) = throttle.pass() else { return };
        let (share, dir) = (&self.files, dir.display());
        tracing::warn!(
            "{share}: no room in a temporary file in {dir} (temp_dir): {full}; {so}; \
             {more} more of these since the last such line"
        );
    }
}

impl TempFile {
    /// Appends, on a thread of its own. With an error, nothing was appended. If the future is
    /// dropped before its end, the file cannot be written to any more.
    pub(super) async fn append(&mut self, bytes: Bytes) -> Result<(), Full> {
        if std::mem::replace(&mut self.is_writing, true) {
            return Err(io::Error::other("a write to it was abandoned").into());
        }
        let appended = self.write_at(bytes, self.length()).await;
        self.is_writing = false;
        appended
    }

    /// Drops all that is in it. Its room on the disk is free with the next [`Self::append`].
    pub(super) fn clear(&mut self) {
        self.reserved = None;
    }

    async fn write_at(&mut self, bytes: Bytes, at: u64) -> Result<(), Full> {
        let more = self.owner.files.reserve(bytes.len() as u64, self.purpose)?;
        let (file, dir) = (self.file.clone(), self.owner.temp.dir.clone());
        let written = spawn_blocking(move || -> io::Result<Arc<File>> {
            let file = match file {
                Some(file) if at == 0 => {
                    file.set_len(0)?;
                    file
                }
                Some(file) => file,
                None => Arc::new(tempfile::tempfile_in(dir)?),
            };
            file.write_all_at(&bytes, at).inspect_err(|_| {
                // A part may have been written, and the disk may be full: it needs that room.
                let _ = file.set_len(at);
            })?;
            Ok(file)
        });
        self.file = Some(written.await.map_err(io::Error::other)??);
        match &mut self.reserved {
            Some(reserved) => reserved.add(more),
            None => self.reserved = Some(more),
        }
        Ok(())
    }

    /// How many bytes it has.
    pub(super) fn length(&self) -> u64 {
        self.reserved.as_ref().map_or(0, Reserved::bytes)
    }

    /// For reading. None: it has never had anything.
    pub(super) fn file(&self) -> Option<Arc<File>> {
        self.file.clone()
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        self.file.take().into_iter().for_each(file::close);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::task::Poll;

    use super::*;

    const ROOM: Limits = Limits { all: 1000, pool: 1000, client: 1000 };

    fn owner() -> Owner {
        Temp::new(std::env::temp_dir(), ROOM).owner("www", Ipv4Addr::LOCALHOST.into())
    }

    fn bytes(count: usize) -> Bytes {
        Bytes::from(vec![b'x'; count])
    }

    #[tokio::test]
    async fn a_refused_write_leaves_the_file_as_it_was() {
        let mut file = owner().file(Purpose::Body);
        file.append(bytes(600)).await.unwrap();
        let full = file.append(bytes(401)).await.unwrap_err();
        assert!(matches!(full, Full::Limit(Limit::Client)), "{full}");
        assert_eq!(file.length(), 600);
        file.append(bytes(400)).await.unwrap();
        assert_eq!(file.file().unwrap().metadata().unwrap().len(), 1000);
    }

    #[tokio::test]
    async fn a_failed_write_takes_no_room() {
        let nowhere = Temp::new("/nonexistent".into(), ROOM);
        let mut file = nowhere.owner("www", Ipv4Addr::LOCALHOST.into()).file(Purpose::Body);
        for _ in 0..3 {
            let full = file.append(bytes(800)).await.unwrap_err();
            assert!(matches!(full, Full::Io(_)), "{full}");
        }
        assert_eq!(file.length(), 0);
    }

    /// The write may still be under way: another one at its place would mix with it.
    #[tokio::test]
    async fn a_file_is_not_written_to_after_an_abandoned_write() {
        let mut file = owner().file(Purpose::Body);
        {
            let mut append = std::pin::pin!(file.append(bytes(100)));
            let now = std::future::poll_fn(|cx| Poll::Ready(append.as_mut().poll(cx))).await;
            assert!(now.is_pending());
        }
        assert!(matches!(file.append(bytes(100)).await.unwrap_err(), Full::Io(_)));
        assert_eq!(file.length(), 0);
    }
}
