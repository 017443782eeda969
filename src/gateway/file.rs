//! Reading a file in order, without holding up the thread that serves: what is in memory is read
//! at once, what is not elsewhere.

use std::fs::File;
use std::io::{self, ErrorKind, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, spawn_blocking};

/// How much is read at a time.
const CHUNK: u64 = 32 * 1024;

/// Closes a file without a name elsewhere than on the thread that serves: to free the room of a
/// large one takes the kernel a while.
pub(super) fn close(file: Arc<File>) {
    match Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(move || drop(file))),
        Err(_) => drop(file),
    }
}

/// A part of a file, read from its beginning to its end.
#[derive(Debug)]
pub(super) struct FileReader {
    file: Arc<File>,
    at: u64,
    end: u64,
    elsewhere: Option<JoinHandle<io::Result<Bytes>>>,
}

impl FileReader {
    /// The bytes from `at` up to, and without, `end`.
    pub(super) fn new(file: Arc<File>, at: u64, end: u64) -> Self {
        Self { file, at, end, elsewhere: None }
    }

    /// How many bytes are still to be read.
    pub(super) fn left(&self) -> u64 {
        self.end - self.at
    }

    /// The next bytes; None at the end. Kind `UnexpectedEof`: the file has become shorter.
    pub(super) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        if self.at >= self.end {
            return Poll::Ready(Ok(None));
        }
        if self.elsewhere.is_none() {
            match self.read_now() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.elsewhere = Some(self.read_elsewhere());
                }
                read => return Poll::Ready(self.passed(read)),
            }
        }
        let Some(elsewhere) = &mut self.elsewhere else { return Poll::Pending };
        let read = ready!(Pin::new(elsewhere).poll(cx)).map_err(io::Error::other);
        self.elsewhere = None;
        Poll::Ready(self.passed(read.flatten()))
    }

    fn passed(&mut self, read: io::Result<Bytes>) -> io::Result<Option<Bytes>> {
        let bytes = read?;
        if bytes.is_empty() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.at += bytes.len() as u64;
        Ok(Some(bytes))
    }

    fn size(&self) -> usize {
        usize::try_from(self.left().min(CHUNK)).unwrap_or_default()
    }

    fn read_now(&self) -> io::Result<Bytes> {
        let mut bytes = vec![0; self.size()];
        let buffers = &mut [IoSliceMut::new(&mut bytes)];
        let read = match preadv2(&self.file, buffers, self.at, ReadWriteFlags::NOWAIT) {
            // A filesystem that cannot tell: then the thread waits for it.
            Err(Errno::OPNOTSUPP) => self.file.read_at(&mut bytes, self.at)?,
            read => read?,
        };
        bytes.truncate(read);
        Ok(bytes.into())
    }

    fn read_elsewhere(&self) -> JoinHandle<io::Result<Bytes>> {
        let (file, at, size) = (Arc::clone(&self.file), self.at, self.size());
        spawn_blocking(move || {
            let mut bytes = vec![0; size];
            let read = file.read_at(&mut bytes, at)?;
            bytes.truncate(read);
            Ok(bytes.into())
        })
    }
}
