//! Listening sockets that `serve` gets from another process: from the service manager, which activates it
//! (`sd_listen_fds(3)`), or from the `serve` that it replaces ([`upgrade`](crate::upgrade)).

use std::io;
use std::net::TcpListener;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixListener;

use rustix::net::sockopt::{socket_acceptconn, socket_type};
use rustix::net::{SocketType, sockopt};
use serde::{Deserialize, Serialize};

use crate::config::Listen;
use crate::error::{Error, Result};

/// What an inherited socket is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// The control socket.
    Control,
    /// An address of the configuration, as it is written there. Port 0 stays the port that the kernel has
    /// chosen.
    Listen(String),
    /// An address of the configuration: the one on which the socket listens.
    Address,
}

/// An inherited socket.
#[derive(Debug)]
pub struct Socket {
    /// The descriptor.
    pub fd: OwnedFd,
    /// What it is for.
    pub purpose: Purpose,
    /// Whether it belongs to the service manager, which removes its file.
    pub is_activated: bool,
}

/// The inherited sockets that are not in use yet.
#[derive(Debug, Default)]
pub struct Inherited(Vec<Socket>);

impl Inherited {
    /// The sockets of the process that this one replaces.
    pub fn new(sockets: Vec<Socket>) -> Self {
        Self(sockets)
    }

    /// The sockets of the service manager. Error: one of them is no listening stream socket.
    ///
    /// To be called once, before this process opens files.
    #[allow(unsafe_code)]
    pub fn from_service_manager() -> Result<Self> {
        let wrong = |error: io::Error| {
            Error::config(format!("the sockets of the service manager: {error}"))
                .hint("each has to be a ListenStream= with Accept=no: see systemd.socket(5)")
        };
        let mut sockets = Vec::new();
        for fd in sd_notify::listen_fds().map_err(wrong)? {
            // SAFETY: the service manager has opened these descriptors for this process: `LISTEN_PID`
            // is the pid of this process. No other code in this process uses the descriptors.
            let fd = unsafe { OwnedFd::from_raw_fd(fd) };
            let is_stream = socket_type(&fd).map_err(|error| wrong(error.into()))?;
            let listens = socket_acceptconn(&fd).map_err(|error| wrong(error.into()))?;
            if is_stream != SocketType::STREAM || !listens {
                return Err(wrong(io::Error::other("one is no listening stream socket")));
            }
            sockets.push(Socket { fd, purpose: Purpose::Address, is_activated: true });
        }
        Ok(Self(sockets))
    }

    /// Takes the control socket.
    pub fn take_control(&mut self) -> Option<Socket> {
        self.take_if(|socket| socket.purpose == Purpose::Control)
    }

    /// Takes the socket of an address of the configuration.
    pub fn take(&mut self, listen: &Listen) -> Option<Socket> {
        let name = Purpose::Listen(listen.to_string());
        self.take_if(|socket| socket.purpose == name).or_else(|| {
            self.take_if(|socket| {
                socket.purpose != Purpose::Control && address(&socket.fd).as_ref() == Some(listen)
            })
        })
    }

    /// Whether the socket of an address of the configuration is there.
    pub fn has(&self, listen: &Listen) -> bool {
        let name = Purpose::Listen(listen.to_string());
        let is_it = |socket: &Socket| {
            socket.purpose != Purpose::Control
                && (socket.purpose == name || address(&socket.fd).as_ref() == Some(listen))
        };
        self.0.iter().any(is_it)
    }

    fn take_if(&mut self, is_it: impl FnMut(&Socket) -> bool) -> Option<Socket> {
        let at = self.0.iter().position(is_it)?;
        Some(self.0.swap_remove(at))
    }

    /// The sockets that nothing has taken.
    pub fn into_rest(self) -> Vec<Socket> {
        self.0
    }
}

/// The address on which a socket listens.
pub fn address(fd: &OwnedFd) -> Option<Listen> {
    let copy = || fd.try_clone().ok();
    match sockopt::socket_domain(fd).ok()? {
        rustix::net::AddressFamily::UNIX => {
            let address = UnixListener::from(copy()?).local_addr().ok()?;
            address.as_pathname().map(|path| Listen::Unix(path.to_owned()))
        }
        _ => TcpListener::from(copy()?).local_addr().ok().map(Listen::Tcp),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inherited(purpose: Purpose) -> (Inherited, Listen) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let listen = Listen::Tcp(listener.local_addr().unwrap());
        let fd = listener.into();
        (Inherited::new(vec![Socket { fd, purpose, is_activated: false }]), listen)
    }

    #[test]
    fn socket_is_taken_by_its_address_once() {
        let (mut inherited, listen) = inherited(Purpose::Address);
        assert!(inherited.take(&Listen::Tcp("127.0.0.1:1".parse().unwrap())).is_none());
        assert!(inherited.take_control().is_none());
        assert!(inherited.take(&listen).is_some());
        assert!(inherited.take(&listen).is_none());
    }

    #[test]
    fn port_that_the_kernel_chose_is_kept() {
        let any = Listen::Tcp("127.0.0.1:0".parse().unwrap());
        let (mut inherited, _) = inherited(Purpose::Listen(any.to_string()));
        assert!(inherited.take(&any).is_some());
    }

    #[test]
    fn control_socket_is_no_address() {
        let (mut inherited, listen) = inherited(Purpose::Control);
        assert!(inherited.take(&listen).is_none());
        assert!(inherited.take_control().is_some());
        assert!(inherited.into_rest().is_empty());
    }

    #[test]
    fn unix_socket_has_its_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let fd = OwnedFd::from(UnixListener::bind(&path).unwrap());
        assert_eq!(address(&fd), Some(Listen::Unix(path)));
    }
}
