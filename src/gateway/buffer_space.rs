//! Buffer space for bodies and responses: memory, and temporary files without a name.
//!
//! Both have limits in total, per pool and per client: see [`quota`]. If a file has no space for more
//! data, because of a limit or of the disk, the file stays as it was.

mod quota;

use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::spawn_blocking;

use super::file_reader;
use super::log_throttle::LogThrottle;
use quota::{ClientQuota, Quotas};
pub(super) use quota::{Limit, Limits, Purpose, Reservation, WaitPermit};

/// The limits of additional memory, in bytes: beyond the memory that each body and each response may use
/// in any case. They bound the memory for the data of slow clients.
const MEMORY: Limits = Limits { total: 16 << 20, pool: 16 << 20, client: 8 << 20 };

/// The directory of the temporary files, and the use of files and memory.
#[derive(Debug)]
pub(super) struct BufferSpace {
    dir: PathBuf,
    files: Arc<Quotas>,
    memory: Arc<Quotas>,
    /// For log lines about limits of the gateway.
    limited: LogThrottle,
    /// For log lines about errors of the disk.
    failed: LogThrottle,
}

/// The buffer space for one client's requests to one pool.
#[derive(Debug, Clone)]
pub(super) struct ClientSpace {
    space: Arc<BufferSpace>,
    files: ClientQuota,
    memory: ClientQuota,
}

/// A temporary file. Dropping it deletes the file.
#[derive(Debug)]
pub(super) struct TempFile {
    space: ClientSpace,
    purpose: Purpose,
    /// None: nothing has been written yet.
    file: Option<Arc<File>>,
    /// For the bytes in the file. None: the file is empty.
    reserved: Option<Reservation>,
    /// A write is in progress, or was cancelled.
    is_writing: bool,
}

/// Why no data could be appended to a file.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoSpace {
    /// A limit of the gateway.
    #[error("{0}")]
    Limit(#[from] Limit),
    /// An error of the disk, or no file can be opened.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl BufferSpace {
    /// `dir`: the directory of the files. `limits`: the limits of the files.
    pub(super) fn new(dir: PathBuf, limits: Limits) -> Arc<Self> {
        let [files, memory] = [limits, MEMORY].map(|limits| Arc::new(Quotas::new(limits)));
        let (limited, failed) = (LogThrottle::default(), LogThrottle::default());
        Arc::new(Self { dir, files, memory, limited, failed })
    }

    /// The space for a client's requests to a pool.
    pub(super) fn of_client(self: &Arc<Self>, pool: &str, client: IpAddr) -> ClientSpace {
        let pool = pool.into();
        let [files, memory] =
            [&self.files, &self.memory].map(|quotas| ClientQuota::new(quotas, &pool, client));
        ClientSpace { space: Arc::clone(self), files, memory }
    }
}

impl ClientSpace {
    /// An empty file.
    pub(super) fn file(&self, purpose: Purpose) -> TempFile {
        TempFile { space: self.clone(), purpose, file: None, reserved: None, is_writing: false }
    }

    /// The right to let a script wait for a client that has used up its quota. None: enough scripts
    /// wait for the client already.
    pub(super) fn wait_permit(&self) -> Option<WaitPermit> {
        self.files.wait_permit()
    }

    /// Reserves bytes of memory. None: too little memory is left, use a file.
    pub(super) fn reserve_memory(&self, bytes: usize) -> Option<Reservation> {
        self.memory.reserve(bytes as u64, Purpose::Body).ok()
    }

    /// Logs that there was no space, and the effect. The rate of these lines is limited.
    pub(super) fn log(&self, no_space: &NoSpace, effect: &str) {
        let BufferSpace { dir, limited, failed, .. } = &*self.space;
        let throttle = if matches!(no_space, NoSpace::Limit(_)) { limited } else { failed };
        let Some(more) = throttle.pass() else { return };
        let (quota, dir) = (&self.files, dir.display());
        tracing::warn!(
            "{quota}: no space in a temporary file in {dir} (temp_dir): {no_space}; {effect}; \
             {more} more such events since the last such line"
        );
    }
}

impl TempFile {
    /// Appends data, on another thread. After an error the file is as before. If the future is dropped
    /// before its end, later calls fail: the write may still be in progress.
    pub(super) async fn append(&mut self, bytes: Bytes) -> Result<(), NoSpace> {
        if std::mem::replace(&mut self.is_writing, true) {
            return Err(io::Error::other("an earlier write was cancelled").into());
        }
        let appended = self.write_at(bytes, self.length()).await;
        self.is_writing = false;
        appended
    }

    /// Discards the content. The next [`Self::append`] frees the space on the disk.
    pub(super) fn clear(&mut self) {
        self.reserved = None;
    }

    async fn write_at(&mut self, bytes: Bytes, at: u64) -> Result<(), NoSpace> {
        let more = self.space.files.reserve(bytes.len() as u64, self.purpose)?;
        let (file, dir) = (self.file.clone(), self.space.space.dir.clone());
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
                // Free what a partial write took: the disk may be full.
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

    /// The length in bytes.
    pub(super) fn length(&self) -> u64 {
        self.reserved.as_ref().map_or(0, Reservation::bytes)
    }

    /// The file, for reading. None: nothing has been written yet.
    pub(super) fn file(&self) -> Option<Arc<File>> {
        self.file.clone()
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        self.file.take().into_iter().for_each(file_reader::close);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::pin::pin;
    use std::sync::mpsc;
    use std::task::{Context, Waker};

    use tokio::runtime::Builder;

    use super::*;

    const LIMITS: Limits = Limits { total: 1000, pool: 1000, client: 1000 };

    fn space() -> ClientSpace {
        BufferSpace::new(std::env::temp_dir(), LIMITS).of_client("www", Ipv4Addr::LOCALHOST.into())
    }

    fn bytes(count: usize) -> Bytes {
        Bytes::from(vec![b'x'; count])
    }

    #[tokio::test]
    async fn refused_write_leaves_the_file_unchanged() {
        let mut file = space().file(Purpose::Body);
        file.append(bytes(600)).await.unwrap();
        let no_space = file.append(bytes(401)).await.unwrap_err();
        assert!(matches!(no_space, NoSpace::Limit(Limit::Client)), "{no_space}");
        assert_eq!(file.length(), 600);
        file.append(bytes(400)).await.unwrap();
        assert_eq!(file.file().unwrap().metadata().unwrap().len(), 1000);
    }

    #[tokio::test]
    async fn failed_write_reserves_nothing() {
        let space = BufferSpace::new("/nonexistent".into(), LIMITS);
        let mut file = space.of_client("www", Ipv4Addr::LOCALHOST.into()).file(Purpose::Body);
        for _ in 0..3 {
            let no_space = file.append(bytes(800)).await.unwrap_err();
            assert!(matches!(no_space, NoSpace::Io(_)), "{no_space}");
        }
        assert_eq!(file.length(), 0);
    }

    #[test]
    fn write_fails_after_a_cancelled_write() {
        // The only thread for files is busy: the first write cannot end before it is cancelled.
        let runtime = Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
        let (end, ended) = mpsc::channel();
        runtime.spawn_blocking(move || ended.recv());
        runtime.block_on(async {
            let mut file = space().file(Purpose::Body);
            let mut cx = Context::from_waker(Waker::noop());
            assert!(pin!(file.append(bytes(100))).poll(&mut cx).is_pending());
            end.send(()).unwrap();
            assert!(matches!(file.append(bytes(100)).await.unwrap_err(), NoSpace::Io(_)));
            assert_eq!(file.length(), 0);
        });
    }
}
