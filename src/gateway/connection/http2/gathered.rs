//! Gathers what h2 writes, so that it leaves in few parts.
//!
//! h2 writes and flushes each `DATA` frame apart, which would be a TLS record and a system call for each.
//! So a flush by h2 does nothing here. When h2 has nothing more to do, the connection flushes everything.

use std::cell::Cell;
use std::io::{self, ErrorKind, IoSlice};
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The most bytes of a TLS record (RFC 8446, section 5.1). Whole records are passed on at once.
const RECORD: usize = 16 * 1024;
/// The most slices that are passed on together.
const SLICES: usize = 4;

thread_local! {
    /// The buffer of the connection that was flushed last, for the next one that writes.
    static SPARE: Cell<BytesMut> = Cell::default();
}

/// A stream whose writes are gathered.
#[derive(Debug)]
pub(super) struct Gathered<S>(Arc<Mutex<Gathering<S>>>);

/// Flushes a [`Gathered`] stream.
#[derive(Debug)]
pub(super) struct Flusher<S>(Arc<Mutex<Gathering<S>>>);

#[derive(Debug)]
struct Gathering<S> {
    stream: S,
    /// Less than a record. While the buffer is empty, it has no memory.
    gathered: BytesMut,
}

impl<S: AsyncWrite + Unpin> Gathered<S> {
    /// Gathers the writes to a stream.
    pub(super) fn new(stream: S) -> (Self, Flusher<S>) {
        let gathering = Gathering { stream, gathered: BytesMut::new() };
        let gathering = Arc::new(Mutex::new(gathering));
        (Self(Arc::clone(&gathering)), Flusher(gathering))
    }

    fn lock(&self) -> MutexGuard<'_, Gathering<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: AsyncWrite + Unpin> Flusher<S> {
    /// Polls a part of the connection. When this part has to wait, everything that it has written is
    /// flushed.
    pub(super) fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(output) = poll(cx) {
            return Poll::Ready(Ok(output));
        }
        let mut gathering = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match gathering.poll_flush(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Pending,
        }
    }
}

impl<S: AsyncWrite + Unpin> Gathering<S> {
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        loop {
            let total = self.gathered.len() + length;
            if total < RECORD {
                break;
            }
            let written = ready!(self.poll_pass_on(cx, parts, total - total % RECORD))?;
            let own = written.min(self.gathered.len());
            self.gathered.advance(own);
            if written > own {
                return Poll::Ready(Ok(written - own));
            }
        }
        if self.gathered.capacity() == 0 {
            self.gathered = SPARE.take();
            self.gathered.reserve(RECORD);
        }
        for part in parts {
            self.gathered.extend_from_slice(part);
        }
        Poll::Ready(Ok(length))
    }

    /// Writes at most `most` bytes of what is gathered and of the parts.
    fn poll_pass_on(
        &mut self,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
        most: usize,
    ) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut left = most;
        let all = std::iter::once(&self.gathered[..]).chain(parts.iter().map(|part| &**part));
        for (slice, part) in slices.iter_mut().zip(all) {
            let length = part.len().min(left);
            left -= length;
            *slice = IoSlice::new(&part[..length]);
        }
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, &slices))?;
        Poll::Ready(if written == 0 { Err(ErrorKind::WriteZero.into()) } else { Ok(written) })
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.gathered.is_empty() {
            let written = ready!(self.poll_pass_on(cx, &[], RECORD))?;
            self.gathered.advance(written);
        }
        if self.gathered.capacity() > 0 {
            SPARE.set(mem::take(&mut self.gathered));
        }
        Pin::new(&mut self.stream).poll_flush(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lock().stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.lock().poll_write(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.lock().poll_write(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut gathering = self.lock();
        ready!(gathering.poll_flush(cx))?;
        Pin::new(&mut gathering.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use proptest::prelude::*;

    /// Takes parts of the given sizes, and is blocked when no size is left.
    #[derive(Debug, Default)]
    struct Narrow {
        sizes: Vec<usize>,
        writes: Vec<Vec<u8>>,
        flushes: usize,
    }

    impl AsyncWrite for Narrow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let Some(size) = self.sizes.pop() else { return Poll::Pending };
            let size = size.min(bytes.len());
            self.writes.push(bytes[..size].to_vec());
            Poll::Ready(Ok(size))
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            parts: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let all: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
            self.poll_write(cx, &all)
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.flushes += 1;
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn cx() -> Context<'static> {
        Context::from_waker(Waker::noop())
    }

    fn flush(flusher: &Flusher<Narrow>) {
        let waits = flusher.poll(&mut cx(), |_| Poll::<()>::Pending);
        assert!(waits.is_pending());
    }

    fn write(stream: &mut Gathered<Narrow>, parts: &[&[u8]]) -> Poll<usize> {
        let parts: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
        Pin::new(stream).poll_write_vectored(&mut cx(), &parts).map(Result::unwrap)
    }

    #[test]
    fn short_writes_leave_as_one_when_the_connection_waits() {
        let (mut stream, flusher) =
            Gathered::new(Narrow { sizes: vec![usize::MAX], ..Narrow::default() });
        for part in [&b"headers"[..], b"data"] {
            assert_eq!(write(&mut stream, &[part, b" "]), Poll::Ready(part.len() + 1));
            assert!(Pin::new(&mut stream).poll_flush(&mut cx()).is_ready());
        }
        assert_eq!(stream.lock().stream.writes.len(), 0);
        assert!(flusher.poll(&mut cx(), |_| Poll::Ready(())).is_ready());
        assert_eq!(stream.lock().stream.writes.len(), 0, "more is to come");
        flush(&flusher);
        let inner = stream.lock();
        assert_eq!(
            (&inner.stream.writes[..], inner.stream.flushes),
            (&[b"headers data ".to_vec()][..], 1)
        );
        assert_eq!(inner.gathered.capacity(), 0, "an idle connection keeps no memory");
    }

    #[test]
    fn long_writes_leave_as_whole_records() {
        let (mut stream, flusher) =
            Gathered::new(Narrow { sizes: vec![usize::MAX; 3], ..Narrow::default() });
        assert_eq!(write(&mut stream, &[b"123456789"]), Poll::Ready(9));
        let data = vec![b'x'; 3 * RECORD];
        assert_eq!(write(&mut stream, &[&data[..5], &data[5..]]), Poll::Ready(3 * RECORD - 9));
        assert_eq!(write(&mut stream, &[&data[..9]]), Poll::Ready(9));
        flush(&flusher);
        let lengths: Vec<_> = stream.lock().stream.writes.iter().map(Vec::len).collect();
        assert_eq!(lengths, [3 * RECORD, 9]);
    }

    #[test]
    fn blocked_stream_takes_nothing_more_than_a_record() {
        let (mut stream, flusher) = Gathered::new(Narrow::default());
        let data = vec![b'x'; RECORD - 1];
        assert_eq!(write(&mut stream, &[&data]), Poll::Ready(RECORD - 1));
        flush(&flusher);
        assert_eq!(write(&mut stream, &[&data]), Poll::Pending);
        assert_eq!(stream.lock().stream.flushes, 0);
    }

    proptest! {
        /// Whatever the stream takes at a time, nothing is lost, doubled or out of order.
        #[test]
        fn bytes_arrive_in_order(
            writes in prop::collection::vec((1..40_000_usize, 0..300_usize), 1..8),
            sizes in prop::collection::vec(1..40_000_usize, 0..12),
        ) {
            let total: usize = writes.iter().map(|(a, b)| a + b).sum();
            let data: Vec<u8> = (0..=250).cycle().take(total).collect();
            let (mut stream, flusher) = Gathered::new(Narrow { sizes, ..Narrow::default() });
            let mut at = 0;
            for (first, second) in writes {
                let end = at + first + second;
                while at < end {
                    let middle = (at + first).min(end);
                    match write(&mut stream, &[&data[at..middle], &data[middle..end]]) {
                        Poll::Ready(written) => at += written,
                        Poll::Pending => stream.lock().stream.sizes.push(5000),
                    }
                }
                flush(&flusher);
            }
            stream.lock().stream.sizes = vec![7000; 10];
            flush(&flusher);
            let inner = stream.lock();
            prop_assert!(inner.stream.writes.concat() == data);
            prop_assert!(inner.stream.writes.iter().all(|it| !it.is_empty()));
        }
    }
}
