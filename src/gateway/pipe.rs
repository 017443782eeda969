//! The buffer between a script and its client: a child is done with its answer as soon as it has
//! printed it, however slowly the client takes it. A little is held in memory, the rest in a
//! temporary file. Where that has no room, by the gateway's limits or because the disk is full or
//! broken, the script waits for the client.

use std::collections::VecDeque;
use std::fs::File;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::file::{self, FileReader};
use super::temp::{Full, Limit, Owner, Purpose, Reserved, TempFile, Waiting};

/// How much of one answer is held in memory in any case, in bytes.
pub(super) const OWN: usize = 16 * 1024;
/// The most that is held there while there is memory for it.
const MEMORY: usize = 256 * 1024;
/// How often a temporary file that had no room is tried again.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
struct State {
    /// What comes first. While the file has something, nothing is added here.
    memory: VecDeque<Bytes>,
    held: usize,
    /// Memory for what is held beyond [`OWN`].
    reserved: Vec<Reserved>,
    file: Option<Arc<File>>,
    /// How many bytes of the file have been written, and how many of those have been read.
    written: u64,
    read: u64,
    ended: Option<Result<(), ErrorKind>>,
    /// The reader has gone away.
    gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// The script's end. Dropped before it was ended, it leaves an answer that is broken.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Mutex<State>>,
    owner: Owner,
    file: Option<TempFile>,
    /// It waits for a client that has used up its share.
    waiting: Option<Waiting>,
}

/// The client's end.
#[derive(Debug)]
pub(super) struct Reader {
    shared: Arc<Mutex<State>>,
    /// The part of the file that is being read.
    window: Option<FileReader>,
}

/// An empty pipe.
pub(super) fn pipe(owner: &Owner) -> (Writer, Reader) {
    let shared = Arc::<Mutex<State>>::default();
    let (writers, owner) = (Arc::clone(&shared), owner.clone());
    let writer = Writer { shared: writers, owner, file: None, waiting: None };
    (writer, Reader { shared, window: None })
}

fn lock(shared: &Mutex<State>) -> MutexGuard<'_, State> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wake(waker: &mut Option<Waker>) {
    waker.take().into_iter().for_each(Waker::wake);
}

impl State {
    fn end(&mut self, how: Result<(), ErrorKind>) {
        self.ended.get_or_insert(how);
        wake(&mut self.reader);
    }
}

impl Writer {
    /// Adds to it. Kind `BrokenPipe`: nobody reads it any more, or the client has used up its
    /// share of the temporary files, and enough of its scripts wait for it.
    pub(super) async fn push(&mut self, bytes: Bytes) -> io::Result<()> {
        let mut is_forced = false;
        loop {
            if self.push_to_memory(&bytes, is_forced)? {
                break;
            }
            match self.push_to_file(bytes.clone()).await {
                Ok(()) => break,
                Err(full) => self.may_wait(&full)?,
            }
            let _ = timeout(RETRY, self.room()).await;
            is_forced = true;
        }
        self.waiting = None;
        Ok(())
    }

    /// Whether it fits. `is_forced`: no file can take it, so an empty memory has to.
    fn push_to_memory(&mut self, bytes: &Bytes, is_forced: bool) -> io::Result<bool> {
        let mut state = lock(&self.shared);
        if state.gone {
            return Err(ErrorKind::BrokenPipe.into());
        }
        if state.read < state.written {
            return Ok(false);
        }
        let held = state.held + bytes.len();
        if held <= OWN {
            // A part of a larger buffer, which would be held with it.
            state.memory.push_back(Bytes::copy_from_slice(bytes));
        } else {
            let reserved = if held <= MEMORY { self.owner.memory(bytes.len()) } else { None };
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

    async fn push_to_file(&mut self, bytes: Bytes) -> Result<(), Full> {
        let file = self.file.get_or_insert_with(|| self.owner.file(Purpose::Answer));
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

    /// A client that has used up its own share may let a few scripts wait only: each holds a
    /// child.
    fn may_wait(&mut self, full: &Full) -> io::Result<()> {
        if matches!(full, Full::Limit(Limit::Client)) && self.waiting.is_none() {
            self.waiting = self.owner.wait();
            if self.waiting.is_none() {
                self.owner.note(full, "the answer is cut, since other scripts wait for the client");
                return Err(ErrorKind::BrokenPipe.into());
            }
        }
        self.owner.note(full, "the script waits for its client");
        Ok(())
    }

    /// Waits until something has been read, or nothing is left to be read.
    async fn room(&mut self) {
        let mut waited = false;
        poll_fn(|cx| {
            let mut state = lock(&self.shared);
            let is_empty = state.held == 0 && state.read == state.written;
            if state.gone || is_empty || waited {
                return Poll::Ready(());
            }
            waited = true;
            state.writer = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Waits until nobody reads it any more.
    pub(super) async fn gone(&self) {
        poll_fn(|cx| {
            let mut state = lock(&self.shared);
            if state.gone {
                return Poll::Ready(());
            }
            state.writer = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// The answer is whole.
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
    /// What comes next; None at the end. Kind `UnexpectedEof`: the answer is broken.
    pub(super) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        if self.window.is_none() {
            let mut state = lock(&self.shared);
            if let Some(chunk) = state.memory.pop_front() {
                state.held -= chunk.len();
                if state.held <= OWN {
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
        state.gone = true;
        state.memory.clear();
        state.reserved.clear();
        self.window = None;
        state.file.take().into_iter().for_each(file::close);
        wake(&mut state.writer);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::path::Path;

    use super::*;
    use crate::gateway::temp::{Limits, Temp};

    async fn next(reader: &mut Reader) -> io::Result<Option<Bytes>> {
        poll_fn(|cx| reader.poll_chunk(cx)).await
    }

    fn owner(dir: &Path, limit: u64) -> Owner {
        let limits = Limits { all: limit, pool: limit, client: limit };
        Temp::new(dir.to_owned(), limits).owner("www", Ipv4Addr::LOCALHOST.into())
    }

    fn with_room(limit: u64) -> Owner {
        owner(&std::env::temp_dir(), limit)
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

    /// What is printed before anybody reads comes back as it was, from memory and from the file.
    #[tokio::test]
    async fn what_comes_out_is_what_went_in() {
        let (mut writer, mut reader) = pipe(&with_room(1 << 30));
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

    /// By the gateway's own limit, and where no file can be made.
    #[tokio::test]
    async fn without_room_the_writer_waits_for_the_reader() {
        let nowhere = owner(Path::new("/nonexistent"), 1 << 30);
        for owner in [with_room(0), nowhere] {
            let (mut writer, mut reader) = pipe(&owner);
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

    /// What has been written before a write fails, and after, comes out as it went in.
    #[tokio::test]
    async fn a_file_that_fails_in_the_middle_changes_nothing() {
        // Memory, 768,000 bytes in the file (three quarters of the limit), and the rest waits.
        let (mut writer, mut reader) = pipe(&with_room(1_024_000));
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

    /// Each script that waits holds a child: a client that has used up its share is not waited for
    /// by all of them.
    #[tokio::test]
    async fn a_client_without_room_lets_few_scripts_wait() {
        let owner = with_room(0);
        let mut pipes: Vec<_> = (0..3).map(|_| pipe(&owner)).collect();
        let mut results = Vec::new();
        for (writer, _) in &mut pipes {
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
    async fn who_goes_away_is_noticed_by_the_other() {
        let (writer, mut reader) = pipe(&with_room(0));
        drop(writer);
        assert_eq!(next(&mut reader).await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
        let (mut writer, reader) = pipe(&with_room(0));
        drop(reader);
        writer.gone().await;
        let pushed = writer.push(Bytes::from_static(b"x")).await;
        assert_eq!(pushed.unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}
