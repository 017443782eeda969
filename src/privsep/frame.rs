//! A frame: a body, and descriptors beside it (`SCM_RIGHTS`, `unix(7)`). The header of a frame has two
//! numbers of 32 bits, in the byte order of the machine: the length of the body in bytes, and the number
//! of descriptors.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// The most descriptors of a frame. The kernel allows 253.
pub const FDS_MAX: usize = 64;

const HEADER: usize = 8;

/// The limits of a frame that is received.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The length of a body, in bytes.
    pub bytes: u32,
    /// Whether descriptors are taken. If not, the kernel closes those that come.
    pub takes_fds: bool,
}

/// A frame.
#[derive(Debug, Default)]
pub(super) struct Frame {
    pub(super) body: Vec<u8>,
    pub(super) fds: Vec<OwnedFd>,
}

/// Sends a frame. Blocks.
pub(super) fn send(mut stream: &UnixStream, frame: &Frame) -> io::Result<()> {
    let fds: Vec<BorrowedFd<'_>> = frame.fds.iter().map(AsFd::as_fd).collect();
    let length = u32::try_from(frame.body.len()).map_err(io::Error::other)?;
    let count = u32::try_from(fds.len()).map_err(io::Error::other)?;
    let mut header = [0; HEADER];
    header[..4].copy_from_slice(&length.to_ne_bytes());
    header[4..].copy_from_slice(&count.to_ne_bytes());
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(FDS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(ErrorKind::InvalidInput.into());
    }
    let slices = [IoSlice::new(&header), IoSlice::new(&frame.body)];
    let sent = loop {
        match sendmsg(stream, &slices, &mut control, SendFlags::NOSIGNAL) {
            Err(rustix::io::Errno::INTR) => {}
            sent => break sent?,
        }
    };
    // The descriptors go with the first byte.
    let rest = [&header[..], &frame.body].concat();
    stream.write_all(&rest[sent..])
}

/// Receives a frame. Blocks. Error `UnexpectedEof`: the other process has ended.
pub(super) fn receive(mut stream: &UnixStream, limits: Limits) -> io::Result<Frame> {
    let mut header = [0; HEADER];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(FDS_MAX))];
    let space = if limits.takes_fds { &mut space[..] } else { &mut [] };
    let mut control = RecvAncillaryBuffer::new(space);
    let received = loop {
        let mut slices = [IoSliceMut::new(&mut header)];
        match recvmsg(stream, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            received => break received?.bytes,
        }
    };
    if received == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(passed) = message {
            fds.extend(passed);
        }
    }
    stream.read_exact(&mut header[received..])?;
    let number = |at: usize| {
        u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    let (length, count) = (number(0), number(4));
    if length > limits.bytes {
        return Err(io::Error::other(format!("a message of {length} bytes is too long")));
    }
    // The kernel drops descriptors for which this process has no room.
    if fds.len() as u64 != u64::from(count) {
        return Err(io::Error::other("not all descriptors have arrived"));
    }
    let mut body = Vec::new();
    let read = stream.take(u64::from(length)).read_to_end(&mut body)?;
    if read as u64 != u64::from(length) {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(Frame { body, fds })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::thread;

    const LIMITS: Limits = Limits { bytes: 1 << 20, takes_fds: true };

    fn fds(count: usize) -> Vec<OwnedFd> {
        (0..count).map(|_| File::open("/dev/null").unwrap().into()).collect()
    }

    #[test]
    fn bodies_and_descriptors_arrive_whatever_their_size() {
        let (one, other) = UnixStream::pair().unwrap();
        let sizes = [(0, 0), (1, 1), (1 << 20, FDS_MAX), (70_000, 3)];
        let sender = thread::spawn(move || {
            for (length, count) in sizes {
                send(&one, &Frame { body: vec![b'x'; length], fds: fds(count) }).unwrap();
            }
        });
        for (length, count) in sizes {
            let frame = receive(&other, LIMITS).unwrap();
            assert_eq!((frame.body.len(), frame.fds.len()), (length, count));
        }
        sender.join().unwrap();
        assert_eq!(receive(&other, LIMITS).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }

    #[test]
    fn long_bodies_and_unwanted_descriptors_are_refused() {
        let refused = |frame: Frame, limits| {
            let (one, other) = UnixStream::pair().unwrap();
            send(&one, &frame).unwrap();
            receive(&other, limits).unwrap_err().to_string()
        };
        let long = Frame { body: vec![b'x'; 11], fds: Vec::new() };
        let limits = Limits { bytes: 10, takes_fds: true };
        assert_eq!(refused(long, limits), "a message of 11 bytes is too long");
        let passing = Frame { body: Vec::new(), fds: fds(1) };
        let limits = Limits { takes_fds: false, ..LIMITS };
        assert_eq!(refused(passing, limits), "not all descriptors have arrived");
    }
}
