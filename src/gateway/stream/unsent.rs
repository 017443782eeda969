//! What a client has not acknowledged yet.

use std::os::fd::AsFd;

use nix::libc::{TIOCOUTQ, c_int};
use rustix::ioctl::{Getter, Opcode, ioctl};

#[allow(clippy::cast_possible_truncation, reason = "C libraries differ in its type")]
const UNSENT: Opcode = TIOCOUTQ as Opcode;

/// How many bytes of what was written the other end has not acknowledged (tcp(7), `SIOCOUTQ`); of
/// a unix socket: not read, with what the kernel needs for them. 0 where it cannot be told.
#[allow(unsafe_code)]
pub(super) fn unsent(socket: impl AsFd) -> u64 {
    // SAFETY: this request writes one int, and nothing else.
    let unsent = unsafe { ioctl(socket, Getter::<UNSENT, c_int>::new()) };
    unsent.ok().and_then(|unsent| unsent.try_into().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn what_the_other_end_has_taken_does_not_count() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut receiver, _) = listener.accept().unwrap();
        assert_eq!(unsent(&sender), 0);
        sender.set_nonblocking(true).unwrap();
        let mut written = 0;
        while let Ok(bytes) = sender.write(&[b'x'; 10_000]) {
            written += bytes;
        }
        let full = unsent(&sender);
        assert!(full > 0 && full <= written as u64, "{full} of {written}");
        receiver.read_exact(&mut vec![0; written]).unwrap();
        // The acknowledgement is on its way.
        while unsent(&sender) > 0 {
            std::thread::yield_now();
        }
    }
}
