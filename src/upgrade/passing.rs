//! Passes descriptors over a unix socket (`SCM_RIGHTS`, `unix(7)`).
//!
//! Each message is one byte: the number of descriptors that come with it. The last message is 0.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// The most descriptors in a message. The kernel allows 253.
const AT_ONCE: usize = 64;

/// Sends descriptors.
pub(super) fn send<F: AsFd>(stream: &UnixStream, fds: &[F]) -> io::Result<()> {
    for part in fds.chunks(AT_ONCE).chain([&[][..]]) {
        let fds: Vec<BorrowedFd<'_>> = part.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(AT_ONCE))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&fds)) {
            return Err(ErrorKind::InvalidInput.into());
        }
        let count = u8::try_from(fds.len()).map_err(io::Error::other)?;
        sendmsg(stream, &[IoSlice::new(&[count])], &mut control, SendFlags::NOSIGNAL)?;
    }
    Ok(())
}

/// Receives all descriptors of [`send`]. Blocks until the last one is there.
pub(super) fn receive(stream: &UnixStream) -> io::Result<Vec<OwnedFd>> {
    let mut all = Vec::new();
    loop {
        let mut count = [0];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(AT_ONCE))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [IoSliceMut::new(&mut count)];
        let received = recvmsg(stream, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC)?;
        if received.bytes == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let before = all.len();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                all.extend(fds);
            }
        }
        // The kernel drops descriptors for which this process has no room.
        let is_cut = received.flags.contains(ReturnFlags::CTRUNC);
        if is_cut || all.len() - before != usize::from(count[0]) {
            return Err(io::Error::other(
                "not all sockets have arrived, the limit of open files is too low",
            ));
        }
        if count[0] == 0 {
            return Ok(all);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Write, pipe};

    #[test]
    fn descriptors_arrive_in_order_however_many() {
        for number in [0, 1, AT_ONCE, 3 * AT_ONCE + 1] {
            let (one, other) = UnixStream::pair().unwrap();
            let pipes: Vec<_> = (0..number).map(|_| pipe().unwrap()).collect();
            let writers: Vec<_> = pipes.iter().map(|(_, writer)| writer).collect();
            send(&one, &writers).unwrap();
            (&one).write_all(b"rest").unwrap();
            let received = receive(&other).unwrap();
            assert_eq!(received.len(), number);
            for (at, fd) in received.into_iter().enumerate() {
                File::from(fd).write_all(&[u8::try_from(at).unwrap()]).unwrap();
            }
            for (at, (mut reader, writer)) in pipes.into_iter().enumerate() {
                drop(writer);
                let mut read = Vec::new();
                reader.read_to_end(&mut read).unwrap();
                assert_eq!(read, [u8::try_from(at).unwrap()]);
            }
            let mut rest = [0; 4];
            (&other).read_exact(&mut rest).unwrap();
            assert_eq!(&rest, b"rest");
        }
    }

    #[test]
    fn end_of_the_sender_is_an_error() {
        let (one, other) = UnixStream::pair().unwrap();
        drop(one);
        assert_eq!(receive(&other).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        let (one, other) = UnixStream::pair().unwrap();
        // A number without descriptors.
        (&one).write_all(&[3]).unwrap();
        assert!(receive(&other).is_err());
    }
}
