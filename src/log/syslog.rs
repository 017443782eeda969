//! Lines as datagrams to the local syslog socket, which journald has too.
//!
//! Each line is one datagram, in the form that syslog(3) of the C library sends: it begins with
//! `<PRIORITY>`.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rustix::io::Errno;
use tracing::Level;

/// The facility `daemon` of RFC 5424, shifted.
const DAEMON: u8 = 3 << 3;
/// If the kernel refuses a datagram as too long, the datagram is cut to this size, in bytes.
const CUT: usize = 8 << 10;

/// A connection to the socket.
#[derive(Debug)]
pub struct Syslog {
    path: PathBuf,
    socket: UnixDatagram,
}

impl Syslog {
    pub(super) fn connect(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), socket: connected(path)? })
    }

    /// Sends the first line. It may wait for the receiver, so only the thread of the lines calls it.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let end = lines.iter().position(|byte| *byte == b'\n').unwrap_or(lines.len());
        let line = &lines[..end];
        let sent = self.socket.send(line).or_else(|error| {
            if is_gone(&error) {
                // The receiver was restarted, and has made another socket.
                self.socket = connected(&self.path)?;
                return self.socket.send(line);
            }
            if Errno::from_io_error(&error) == Some(Errno::MSGSIZE) {
                return self.socket.send(&line[..line.len().min(CUT)]);
            }
            Err(error)
        });
        sent.map(|_| lines.len().min(end + 1))
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn connected(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    Ok(socket)
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionRefused | ErrorKind::NotConnected | ErrorKind::ConnectionReset
    )
}

/// What stands before a message: `<30>Nov 20 14:39:45 pools-manager[7]: `.
pub(super) fn header(level: Level) -> String {
    let severity = match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    };
    let now = TimeZone::system().to_datetime(Timestamp::now()).strftime("%b %e %H:%M:%S");
    format!("<{}>{now} pools-manager[{}]: ", DAEMON | severity, std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_a_datagram_also_for_a_receiver_that_was_restarted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        assert!(Syslog::connect(&path).is_err());
        let mut receiver = UnixDatagram::bind(&path).unwrap();
        let mut syslog = Syslog::connect(&path).unwrap();
        for round in 0..2 {
            assert_eq!(syslog.write(b"one\ntwo\n").unwrap(), 4);
            let mut bytes = [0; 64];
            let length = receiver.recv(&mut bytes).unwrap();
            assert_eq!(&bytes[..length], b"one");
            if round == 0 {
                std::fs::remove_file(&path).unwrap();
                drop(receiver);
                assert!(syslog.write(b"lost\n").is_err());
                receiver = UnixDatagram::bind(&path).unwrap();
            }
        }
    }

    #[test]
    fn too_long_line_is_cut() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let receiver = UnixDatagram::bind(&path).unwrap();
        let line = [vec![b'x'; 4 << 20], b"\n".to_vec()].concat();
        assert_eq!(Syslog::connect(&path).unwrap().write(&line).unwrap(), line.len());
        assert_eq!(receiver.recv(&mut vec![0; 1 << 20]).unwrap(), CUT);
    }

    #[test]
    fn header_has_the_priority_first() {
        let header = header(Level::ERROR);
        assert!(header.starts_with("<27>") && header.ends_with("]: "), "{header}");
    }
}
