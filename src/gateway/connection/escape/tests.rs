//! Reads streams in pieces of any size.

use std::collections::VecDeque;

use hyper::body::{Frame, SizeHint};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// A stream that yields one piece with each read.
struct Pieces(VecDeque<Vec<u8>>);

impl Pieces {
    /// `text`, cut into pieces of this size.
    fn of(text: &[u8], size: usize) -> Self {
        Self(text.chunks(size).map(<[u8]>::to_vec).collect())
    }
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(mut piece) = self.0.pop_front() {
            let rest = piece.split_off(piece.len().min(buffer.remaining()));
            buffer.put_slice(&piece);
            if !rest.is_empty() {
                self.0.push_front(rest);
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// A request body of this length; None: chunked.
struct Length(Option<u64>);

impl Body for Length {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.0 == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// Reads everything with a buffer of size `room`. At each end of a head, a request begins with the next
/// of `bodies`. Returns the data that was read, and the original targets of the requests.
fn read(text: &[u8], size: usize, room: usize, bodies: &[Option<u64>]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut stream = Escaped::new(Pieces::of(text, size));
    let notes = stream.notes();
    let (mut all, mut targets) = (Vec::new(), Vec::new());
    let mut bodies = bodies.iter();
    let mut cx = Context::from_waker(std::task::Waker::noop());
    loop {
        let mut memory = vec![0; room];
        let mut buffer = ReadBuf::new(&mut memory);
        let read = Pin::new(&mut stream).poll_read(&mut cx, &mut buffer);
        assert!(matches!(read, Poll::Ready(Ok(()))));
        if buffer.filled().is_empty() {
            return (all, targets);
        }
        all.extend_from_slice(buffer.filled());
        let is_known = notes.lock().next.is_some();
        if stream.place == Place::AfterHead && !is_known && stream.ready.is_empty() {
            let Some(body) = bodies.next() else { continue };
            let mut request = Request::new(Length(*body));
            notes.begin(&mut request);
            let written = request.extensions().get::<RawTarget>();
            targets.push(written.map(|it| it.0.to_vec()).unwrap_or_default());
        }
    }
}

/// Compares the result for reads and buffers of all sizes.
fn check(text: &[u8], bodies: &[Option<u64>], expected: &[u8], targets: &[&[u8]]) {
    for size in 1..=text.len() {
        for room in [1, 2, 3, 7, 1000] {
            let (all, found) = read(text, size, room, bodies);
            assert_eq!(
                String::from_utf8_lossy(&all),
                String::from_utf8_lossy(expected),
                "{size} {room}"
            );
            assert_eq!(found, targets, "{size} {room}");
        }
    }
}

#[test]
fn only_bytes_of_the_target_are_escaped() {
    check(
        b"\r\nGET /a<b>?\"c\"#\xe9` HTTP/1.1\r\nHost: <\xe9>\r\n\r\n",
        &[Some(0)],
        b"\r\nGET /a%3Cb%3E?%22c%22%23%E9%60 HTTP/1.1\r\nHost: <\xe9>\r\n\r\n",
        &[b"/a<b>?\"c\"#\xe9`"],
    );
    let plain = b"GET /a?b{}|\\^[]'%3c HTTP/1.1\nHost: <>\n\n";
    check(plain, &[Some(0)], plain, &[b""]);
}

#[test]
fn targets_of_pipelined_requests_are_escaped() {
    check(
        b"GET /< HTTP/1.1\r\n\r\nGET /a HTTP/1.1\r\nX: y\r\n\r\nGET /> HTTP/1.1\r\n\r\n",
        &[Some(0), Some(0), Some(0)],
        b"GET /%3C HTTP/1.1\r\n\r\nGET /a HTTP/1.1\r\nX: y\r\n\r\nGET /%3E HTTP/1.1\r\n\r\n",
        &[b"/<", b"", b"/>"],
    );
}

#[test]
fn body_is_never_changed() {
    let body = b"GET /< HTTP/1.1\r\n\r\n";
    let post = b"POST /< HTTP/1.1\r\n\r\n";
    let escaped = b"POST /%3C HTTP/1.1\r\n\r\n";
    let text = [&post[..], body, post].concat();
    let length = Some(body.len() as u64);
    let expected = [&escaped[..], body, escaped].concat();
    check(&text, &[length, Some(0)], &expected, &[b"/<", b"/<"]);
    // Only hyper knows the end of a chunked body.
    let expected = [&escaped[..], body, post].concat();
    check(&text, &[None], &expected, &[b"/<"]);
    // The same after a head that is not a request.
    check(&text, &[], &expected, &[]);
}

proptest! {
    #[test]
    fn every_byte_arrives_once_and_in_order(
        text in vec(prop_oneof![any::<u8>(), Just(b' '), Just(b'\n'), Just(b'\r'), Just(b'<')], 0..300),
        size in 1_usize..50,
        room in 1_usize..50,
        bodies in vec(proptest::option::of(0_u64..20), 0..5),
    ) {
        let (all, _) = read(&text, size, room, &bodies);
        let mut all = all.into_iter();
        for byte in text {
            let next = all.next().unwrap();
            if next != byte {
                prop_assert!(next == b'%' && is_refused(byte));
                let digits = [all.next().unwrap(), all.next().unwrap()];
                prop_assert_eq!(digits.to_vec(), format!("{byte:02X}").into_bytes());
            }
        }
        prop_assert!(all.next().is_none());
    }
}
