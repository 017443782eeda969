//! What stands between a script and its client: a child is done with its answer as soon as it has
//! printed it, however slowly the client takes it. A little is held in memory, the rest in a
//! temporary file; only where that has no room the script waits for the client.

use std::collections::VecDeque;
use std::fs::File;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;

use super::file::FileReader;
use super::temp::{Temp, TempFile};

/// The most that is held in memory of one answer, in bytes.
const MEMORY: usize = 256 * 1024;

#[derive(Debug, Default)]
struct State {
    /// What comes first. While the file has something, nothing is added here.
    memory: VecDeque<Bytes>,
    held: usize,
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
    temp: Arc<Temp>,
    file: Option<TempFile>,
}

/// The client's end.
#[derive(Debug)]
pub(super) struct Reader {
    shared: Arc<Mutex<State>>,
    /// The part of the file that is being read.
    window: Option<FileReader>,
}

/// An empty pipe.
pub(super) fn pipe(temp: &Arc<Temp>) -> (Writer, Reader) {
    let shared = Arc::<Mutex<State>>::default();
    let writer = Writer { shared: Arc::clone(&shared), temp: Arc::clone(temp), file: None };
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
    /// Adds to it. Kind `BrokenPipe`: nobody reads it any more.
    pub(super) async fn push(&mut self, bytes: Bytes) -> io::Result<()> {
        loop {
            if self.push_to_memory(&bytes)? {
                return Ok(());
            }
            match self.push_to_file(bytes.clone()).await {
                Err(error) if error.kind() == ErrorKind::QuotaExceeded => self.room().await,
                written => return written,
            }
        }
    }

    fn push_to_memory(&mut self, bytes: &Bytes) -> io::Result<bool> {
        let mut state = lock(&self.shared);
        if state.gone {
            return Err(ErrorKind::BrokenPipe.into());
        }
        let fits = state.held == 0 || state.held + bytes.len() <= MEMORY;
        if state.read < state.written || !fits {
            return Ok(false);
        }
        state.held += bytes.len();
        state.memory.push_back(bytes.clone());
        wake(&mut state.reader);
        Ok(true)
    }

    async fn push_to_file(&mut self, bytes: Bytes) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(self.temp.file()?),
        };
        {
            let mut state = lock(&self.shared);
            if state.read == state.written && state.written > 0 {
                file.clear()?;
                (state.read, state.written) = (0, 0);
            }
        }
        file.append(bytes).await?;
        let mut state = lock(&self.shared);
        state.file.get_or_insert_with(|| file.file());
        state.written = file.length();
        wake(&mut state.reader);
        Ok(())
    }

    /// Waits until something has been read since it had no room.
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
        wake(&mut state.writer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn next(reader: &mut Reader) -> io::Result<Option<Bytes>> {
        poll_fn(|cx| reader.poll_chunk(cx)).await
    }

    fn temp(limit: u64) -> Arc<Temp> {
        Temp::new(std::env::temp_dir(), limit)
    }

    /// What is printed before anybody reads comes back as it was, from memory and from the file.
    #[tokio::test]
    async fn what_comes_out_is_what_went_in() {
        let temp = temp(1 << 30);
        let (mut writer, mut reader) = pipe(&temp);
        let text = |round: u8| -> Vec<u8> {
            (0..2_000_000_u32).map(|n| (n % 251) as u8 ^ round).collect()
        };
        for round in 0..3 {
            let text = text(round);
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
    async fn without_room_the_writer_waits_for_the_reader() {
        let (mut writer, mut reader) = pipe(&temp(0));
        let chunk = || Bytes::from(vec![0; MEMORY / 2]);
        writer.push(chunk()).await.unwrap();
        writer.push(chunk()).await.unwrap();
        let third = async {
            writer.push(chunk()).await.unwrap();
            writer.end();
        };
        let read = async {
            let mut read = 0;
            while let Some(chunk) = next(&mut reader).await.unwrap() {
                read += chunk.len();
            }
            read
        };
        let mut third = Box::pin(third);
        assert!(tokio::time::timeout(std::time::Duration::ZERO, &mut third).await.is_err());
        assert_eq!(tokio::join!(third, read).1, MEMORY / 2 * 3);
    }

    #[tokio::test]
    async fn who_goes_away_is_noticed_by_the_other() {
        let (writer, mut reader) = pipe(&temp(0));
        drop(writer);
        assert_eq!(next(&mut reader).await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
        let (mut writer, reader) = pipe(&temp(0));
        drop(reader);
        writer.gone().await;
        let pushed = writer.push(Bytes::from_static(b"x")).await;
        assert_eq!(pushed.unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}
