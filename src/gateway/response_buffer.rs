//! The buffer between a script and its client. A script finishes as soon as it has printed its response,
//! however slowly the client reads. A little is held in memory, the rest in a temporary file. If the file
//! has no space, because of a limit of the gateway or of the disk, the script waits for the client.

use std::collections::VecDeque;
use std::fs::File;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::buffer_space::{
    ClientSpace, Limit, NoSpace, Purpose, Reservation, TempFile, WaitPermit,
};
use super::file_reader::{self, FileReader};

/// How much of each response may be in memory in any case, in bytes.
pub(super) const MEMORY_MIN: usize = 16 * 1024;
/// The most that is in memory while the gateway has memory for it, in bytes.
const MEMORY_MAX: usize = 256 * 1024;
/// The time between two attempts to write to a temporary file without space.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
struct State {
    /// Read first. While the file has unread data, nothing is added here.
    memory: VecDeque<Bytes>,
    held: usize,
    /// For the memory beyond [`MEMORY_MIN`].
    reserved: Vec<Reservation>,
    file: Option<Arc<File>>,
    /// The number of bytes written to the file, and read from it.
    written: u64,
    read: u64,
    ended: Option<Result<(), ErrorKind>>,
    /// The client has gone.
    client_gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// The script's side. If it is dropped without [`Writer::end`], the response is incomplete.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Mutex<State>>,
    space: ClientSpace,
    file: Option<TempFile>,
    /// While the script waits for a client that has used up its quota.
    waiting: Option<WaitPermit>,
}

/// The client's side.
#[derive(Debug)]
pub(super) struct Reader {
    shared: Arc<Mutex<State>>,
    /// The part of the file that is being read.
    window: Option<FileReader>,
}

/// An empty buffer.
pub(super) fn response_buffer(space: &ClientSpace) -> (Writer, Reader) {
    let shared = Arc::<Mutex<State>>::default();
    let writer_side = Arc::clone(&shared);
    let writer = Writer { shared: writer_side, space: space.clone(), file: None, waiting: None };
    (writer, Reader { shared, window: None })
}

fn lock(shared: &Mutex<State>) -> MutexGuard<'_, State> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wake(waker: &mut Option<Waker>) {
    waker.take().into_iter().for_each(Waker::wake);
}

impl State {
    fn end(&mut self, result: Result<(), ErrorKind>) {
        self.ended.get_or_insert(result);
        wake(&mut self.reader);
    }
}

impl Writer {
    /// Adds data. Error `BrokenPipe`: the client has gone; or the client has used up its quota of temporary
    /// files, and enough other scripts wait for this client.
    pub(super) async fn push(&mut self, bytes: Bytes) -> io::Result<()> {
        let mut is_forced = false;
        loop {
            if self.push_to_memory(&bytes, is_forced)? {
                break;
            }
            match self.push_to_file(bytes.clone()).await {
                Ok(()) => break,
                Err(no_space) => self.begin_wait(&no_space)?,
            }
            let _ = timeout(RETRY, self.room()).await;
            is_forced = true;
        }
        self.waiting = None;
        Ok(())
    }

    /// Returns whether the data fits. `is_forced`: the file has no space, so empty memory must take the
    /// data.
    fn push_to_memory(&mut self, bytes: &Bytes, is_forced: bool) -> io::Result<bool> {
        let mut state = lock(&self.shared);
        if state.client_gone {
            return Err(ErrorKind::BrokenPipe.into());
        }
        if state.read < state.written {
            return Ok(false);
        }
        let held = state.held + bytes.len();
        if held <= MEMORY_MIN {
            // A copy: the chunk may be part of a larger buffer, and would keep all of that in memory.
            state.memory.push_back(Bytes::copy_from_slice(bytes));
        } else {
            let reserved =
                if held <= MEMORY_MAX { self.space.reserve_memory(bytes.len()) } else { None };
            if reserved.is_none() && !(is_forced && state.held == 0) {
                return Ok(false);
            }
            state.reserved.extend(reserved);
            state.memory.push_back(bytes.clone());
        }
        state.held = held;
        wake(&mut state.reader);
        Ok(true)
    }

    async fn push_to_file(&mut self, bytes: Bytes) -> Result<(), NoSpace> {
        let file = self.file.get_or_insert_with(|| self.space.file(Purpose::Response));
        {
            let mut state = lock(&self.shared);
            if state.read == state.written && state.written > 0 {
                file.clear();
                (state.read, state.written) = (0, 0);
            }
        }
        file.append(bytes).await?;
        let mut state = lock(&self.shared);
        state.file = file.file();
        state.written = file.length();
        wake(&mut state.reader);
        Ok(())
    }

    /// Limits how many scripts wait for a client that has used up its quota: each holds a child.
    fn begin_wait(&mut self, no_space: &NoSpace) -> io::Result<()> {
        if matches!(no_space, NoSpace::Limit(Limit::Client)) && self.waiting.is_none() {
            self.waiting = self.space.wait_permit();
            if self.waiting.is_none() {
                let effect = "the response is cut, because other scripts wait for the client";
                self.space.log(no_space, effect);
                return Err(ErrorKind::BrokenPipe.into());
            }
        }
        self.space.log(no_space, "the script waits for its client");
        Ok(())
    }

    /// Waits until the client has read something. Returns at once if the client has read everything.
    async fn room(&mut self) {
        let mut waited = false;
        poll_fn(|cx| {
            let mut state = lock(&self.shared);
            let is_empty = state.held == 0 && state.read == state.written;
            if state.client_gone || is_empty || waited {
                return Poll::Ready(());
            }
            waited = true;
            state.writer = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Waits until the client has gone.
    pub(super) async fn client_gone(&self) {
        poll_fn(|cx| {
            let mut state = lock(&self.shared);
            if state.client_gone {
                return Poll::Ready(());
            }
            state.writer = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// The response is complete.
    pub(super) fn end(self) {
        lock(&self.shared).end(Ok(()));
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        lock(&self.shared).end(Err(ErrorKind::UnexpectedEof));
    }
}

impl Reader {
    /// The next chunk; None at the end. Error `UnexpectedEof`: the response is incomplete.
    pub(super) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        if self.window.is_none() {
            let mut state = lock(&self.shared);
            if let Some(chunk) = state.memory.pop_front() {
                state.held -= chunk.len();
                if state.held <= MEMORY_MIN {
                    state.reserved.clear();
                }
                wake(&mut state.writer);
                return Poll::Ready(Ok(Some(chunk)));
            }
            match (&state.file, state.ended) {
                (Some(file), _) if state.read < state.written => {
                    let window = FileReader::new(Arc::clone(file), state.read, state.written);
                    self.window = Some(window);
                }
                (_, Some(Ok(()))) => return Poll::Ready(Ok(None)),
                (_, Some(Err(kind))) => return Poll::Ready(Err(kind.into())),
                (_, None) => {
                    state.reader = Some(cx.waker().clone());
                    return Poll::Pending;
                }
            }
        }
        self.poll_window(cx)
    }

    fn poll_window(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        let Some(window) = &mut self.window else { return Poll::Ready(Ok(None)) };
        let chunk = ready!(window.poll_chunk(cx))?.unwrap_or_default();
        if window.left() == 0 {
            self.window = None;
        }
        let mut state = lock(&self.shared);
        state.read += chunk.len() as u64;
        wake(&mut state.writer);
        Poll::Ready(Ok(Some(chunk)))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = lock(&self.shared);
        state.client_gone = true;
        state.memory.clear();
        state.reserved.clear();
        self.window = None;
        state.file.take().into_iter().for_each(file_reader::close);
        wake(&mut state.writer);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::path::Path;

    use super::*;
    use crate::gateway::buffer_space::{BufferSpace, Limits};

    async fn next(reader: &mut Reader) -> io::Result<Option<Bytes>> {
        poll_fn(|cx| reader.poll_chunk(cx)).await
    }

    fn space_in(dir: &Path, limit: u64) -> ClientSpace {
        let limits = Limits { total: limit, pool: limit, client: limit };
        BufferSpace::new(dir.to_owned(), limits).of_client("www", Ipv4Addr::LOCALHOST.into())
    }

    fn space(limit: u64) -> ClientSpace {
        space_in(&std::env::temp_dir(), limit)
    }

    fn text(length: u32) -> Vec<u8> {
        (0..length).map(|n| (n % 251) as u8).collect()
    }

    async fn rest(reader: &mut Reader) -> Vec<u8> {
        let mut read = Vec::new();
        while let Some(chunk) = next(reader).await.unwrap() {
            read.extend_from_slice(&chunk);
        }
        read
    }

    #[tokio::test]
    async fn data_from_memory_and_file_comes_in_order() {
        let (mut writer, mut reader) = response_buffer(&space(1 << 30));
        for round in 0..3 {
            let text = text(2_000_000 + round);
            for chunk in text.chunks(60_000) {
                writer.push(Bytes::copy_from_slice(chunk)).await.unwrap();
            }
            let mut read = Vec::new();
            while read.len() < text.len() {
                read.extend_from_slice(&next(&mut reader).await.unwrap().unwrap());
            }
            assert!(read == text);
        }
        writer.end();
        assert_eq!(next(&mut reader).await.unwrap(), None);
    }

    #[tokio::test]
    async fn writer_waits_for_the_reader_without_space() {
        let no_directory = space_in(Path::new("/nonexistent"), 1 << 30);
        for space in [space(0), no_directory] {
            let (mut writer, mut reader) = response_buffer(&space);
            let text = text(3_000_000);
            let mut pushed = 0;
            let mut all = Box::pin(async {
                for chunk in text.chunks(60_000) {
                    writer.push(Bytes::copy_from_slice(chunk)).await.unwrap();
                    pushed += chunk.len();
                }
                writer.end();
            });
            assert!(timeout(Duration::from_millis(1), &mut all).await.is_err());
            let ((), read) = tokio::join!(all, rest(&mut reader));
            assert!(read == text);
            assert_eq!(pushed, text.len());
        }
    }

    #[tokio::test]
    async fn failed_write_in_the_middle_loses_no_data() {
        // The memory is full, and the file has 768,000 bytes (three quarters of the limit). The rest waits.
        let (mut writer, mut reader) = response_buffer(&space(1_024_000));
        let text = text(3_000_000);
        let mut all = Box::pin(async {
            for chunk in text.chunks(50_000) {
                writer.push(Bytes::copy_from_slice(chunk)).await.unwrap();
            }
            writer.end();
        });
        assert!(timeout(Duration::from_millis(200), &mut all).await.is_err());
        assert!(tokio::join!(all, rest(&mut reader)).1 == text);
    }

    #[tokio::test]
    async fn at_most_two_scripts_wait_for_a_client_without_space() {
        let space = space(0);
        let mut buffers: Vec<_> = (0..3).map(|_| response_buffer(&space)).collect();
        let mut results = Vec::new();
        for (writer, _) in &mut buffers {
            let many = async {
                loop {
                    writer.push(Bytes::from(vec![0; 60_000])).await?;
                }
            };
            let result: Result<io::Result<()>, _> = timeout(Duration::from_millis(50), many).await;
            results.push(result.map(|it| it.unwrap_err().kind()).ok());
        }
        assert_eq!(results, [None, None, Some(ErrorKind::BrokenPipe)]);
    }

    #[tokio::test]
    async fn each_side_notices_that_the_other_is_dropped() {
        let (writer, mut reader) = response_buffer(&space(0));
        drop(writer);
        assert_eq!(next(&mut reader).await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
        let (mut writer, reader) = response_buffer(&space(0));
        drop(reader);
        writer.client_gone().await;
        let pushed = writer.push(Bytes::from_static(b"x")).await;
        assert_eq!(pushed.unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}
