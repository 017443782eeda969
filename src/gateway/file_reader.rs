//! Reads a file without blocking the event loop: at once if the data is in the page cache, else on
//! another thread. Only on a file system that does not support `RWF_NOWAIT`, a read may block.

use std::cell::RefCell;
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

/// The size of a read, in bytes.
const CHUNK: usize = 32 * 1024;

thread_local! {
    /// The buffer for reads. Copying what was read costs less than initializing a buffer for each read.
    static READ: RefCell<Vec<u8>> = RefCell::new(vec![0; CHUNK]);
}

/// Closes a deleted file on another thread: freeing the space of a large file takes time.
pub(super) fn close(file: Arc<File>) {
    match Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(move || drop(file))),
        Err(_) => drop(file),
    }
}

/// Reads a part of a file, from the beginning of the part to its end.
#[derive(Debug)]
pub(super) struct FileReader {
    file: Arc<File>,
    at: u64,
    end: u64,
    background: Option<JoinHandle<io::Result<Bytes>>>,
}

impl FileReader {
    /// The bytes from `at` up to, but not including, `end`.
    pub(super) fn new(file: Arc<File>, at: u64, end: u64) -> Self {
        Self { file, at, end, background: None }
    }

    /// The number of bytes that are still to be read.
    pub(super) fn left(&self) -> u64 {
        self.end - self.at
    }

    /// The next chunk; None at the end. Error `UnexpectedEof`: the file has become shorter.
    pub(super) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        if self.at >= self.end {
            return Poll::Ready(Ok(None));
        }
        if self.background.is_none() {
            match self.read_now() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.background = Some(self.read_in_background());
                }
                read => return Poll::Ready(self.advance(read)),
            }
        }
        let Some(background) = &mut self.background else { return Poll::Pending };
        let read = ready!(Pin::new(background).poll(cx)).map_err(io::Error::other);
        self.background = None;
        Poll::Ready(self.advance(read.flatten()))
    }

    fn advance(&mut self, read: io::Result<Bytes>) -> io::Result<Option<Bytes>> {
        let bytes = read?;
        if bytes.is_empty() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.at += bytes.len() as u64;
        Ok(Some(bytes))
    }

    fn size(&self) -> usize {
        usize::try_from(self.left()).unwrap_or(CHUNK).min(CHUNK)
    }

    fn read_now(&self) -> io::Result<Bytes> {
        READ.with_borrow_mut(|buffer| {
            let buffer = &mut buffer[..self.size()];
            let buffers = &mut [IoSliceMut::new(buffer)];
            let read = match preadv2(&self.file, buffers, self.at, ReadWriteFlags::NOWAIT) {
                // The file system does not support NOWAIT: a blocking read.
                Err(Errno::OPNOTSUPP) => self.file.read_at(buffer, self.at)?,
                read => read?,
            };
            Ok(Bytes::copy_from_slice(&buffer[..read]))
        })
    }

    fn read_in_background(&self) -> JoinHandle<io::Result<Bytes>> {
        let (file, at, size) = (Arc::clone(&self.file), self.at, self.size());
        spawn_blocking(move || {
            let mut bytes = vec![0; size];
            let read = file.read_at(&mut bytes, at)?;
            bytes.truncate(read);
            Ok(bytes.into())
        })
    }
}
