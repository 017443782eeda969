//! The listening sockets of a gateway, and their files.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::UnixListener;

use super::listen::{self, Listener};
use crate::config::{Global, Listen};
use crate::error::{Error, Result};
use crate::file;
use crate::inherited::{self, Inherited, Purpose, Socket};

/// The sockets on which a gateway listens.
#[derive(Debug)]
pub(super) struct Sockets {
    /// The control socket; None: the parent of this process has it.
    pub control: Option<Arc<UnixListener>>,
    /// The sockets for clients, each with its address in the configuration.
    pub listeners: Vec<Bound>,
    files: SocketFiles,
}

/// A socket of clients.
#[derive(Debug)]
pub(super) struct Bound {
    /// The socket.
    pub listener: Arc<Listener>,
    listen: Listen,
    /// Whether its connections begin with a TLS handshake.
    pub is_tls: bool,
    /// Whether it belongs to the service manager.
    is_activated: bool,
}

impl Sockets {
    /// Opens the control socket alone: it must listen before the pools are observed.
    pub(super) fn control(path: &Path, inherited: &mut Inherited) -> Result<Self> {
        let taken = inherited.take_control();
        // The settings may name another path now.
        let is_there = |socket: &Socket| {
            inherited::address(&socket.fd).is_some_and(|it| it == Listen::Unix(path.to_owned()))
        };
        let mut files = SocketFiles::default();
        let same = match taken {
            Some(socket) if is_there(&socket) => Some(socket.fd),
            other => {
                files.unused.extend(other.and_then(|it| path_of(&it)));
                None
            }
        };
        files.push(path, same.is_some());
        let control = Arc::new(listen::control_socket(path, same)?);
        Ok(Self { control: Some(control), listeners: Vec::new(), files })
    }

    /// Takes the inherited sockets that the configuration names, and binds the others.
    pub(super) fn bind(&mut self, global: &Global, mut inherited: Inherited) -> Result<()> {
        for (listen, is_tls) in global.front.all_listen() {
            let taken = inherited.take(listen);
            let is_activated = taken.as_ref().is_some_and(|it| it.is_activated);
            let is_inherited = taken.is_some();
            let listener = Arc::new(match taken {
                Some(socket) => Listener::inherited(socket.fd, listen, global)?,
                None => Listener::bind(listen, global)?,
            });
            if let (Listen::Unix(path), false) = (listen, is_activated) {
                self.files.push(path, is_inherited);
            }
            self.listeners.push(Bound { listener, listen: listen.clone(), is_tls, is_activated });
        }
        for socket in inherited.into_rest() {
            if !socket.is_activated {
                self.files.unused.extend(path_of(&socket));
                continue;
            }
            let address = inherited::address(&socket.fd);
            let address = address.map_or_else(|| "a socket".to_owned(), |it| it.to_string());
            let file = global.path.display();
            tracing::warn!(
                "the service manager listens on {address}, and listen in {file} does not name it: nothing answers there"
            );
        }
        Ok(())
    }

    /// The URLs of the clients' sockets.
    pub(super) fn urls(&self) -> Vec<String> {
        let url = |bound: &Bound| match bound.listener.address() {
            Some(address) if bound.is_tls => format!("https://{address}"),
            Some(address) => format!("http://{address}"),
            None => bound.listen.to_string(),
        };
        self.listeners.iter().map(url).collect()
    }

    /// Copies of all sockets, for another process.
    pub(super) fn copies(&self) -> Result<Vec<Socket>> {
        let failed =
            |error: io::Error| Error::failed(format!("cannot pass the sockets on: {error}"));
        let mut copies = Vec::new();
        if let Some(control) = &self.control {
            let fd = control.as_fd().try_clone_to_owned().map_err(failed)?;
            copies.push(Socket { fd, purpose: Purpose::Control, is_activated: false });
        }
        for bound in &self.listeners {
            copies.push(Socket {
                fd: bound.listener.copy().map_err(failed)?,
                purpose: Purpose::Listen(bound.listen.to_string()),
                is_activated: bound.is_activated,
            });
        }
        Ok(copies)
    }

    /// Sockets that the parent of this process has given it. The parent also removes their files. The second
    /// value of each: whether its connections begin with a TLS handshake.
    pub(super) fn given(sockets: Vec<(OwnedFd, bool)>, global: &Global) -> Result<Self> {
        let bound = |(fd, is_tls)| {
            let Some(listen) = inherited::address(&fd) else {
                return Err(Error::failed("a socket of the parent has no address"));
            };
            let listener = Arc::new(Listener::inherited(fd, &listen, global)?);
            Ok(Bound { listener, listen, is_tls, is_activated: true })
        };
        let listeners = sockets.into_iter().map(bound).collect::<Result<_>>()?;
        Ok(Self { control: None, listeners, files: SocketFiles::default() })
    }

    /// Copies of the sockets of the clients, for a child.
    pub(super) fn for_child(&self) -> io::Result<Vec<(OwnedFd, bool)>> {
        self.listeners.iter().map(|bound| Ok((bound.listener.copy()?, bound.is_tls))).collect()
    }

    /// Closes the sockets: another process has them now, and removes their files.
    pub(super) fn leave(mut self) {
        self.files.own.clear();
    }

    /// This process has taken the inherited sockets over: it removes their files when it ends, and those of
    /// unused sockets at once.
    pub(super) fn take_files(&mut self) {
        self.files.take();
    }
}

fn path_of(socket: &Socket) -> Option<PathBuf> {
    match inherited::address(&socket.fd)? {
        Listen::Unix(path) => Some(path),
        Listen::Tcp(_) => None,
    }
}

/// The socket files of this gateway. They are deleted when this value is dropped, so that no program
/// finds a socket on which nothing listens.
#[derive(Debug, Default)]
struct SocketFiles {
    own: Vec<PathBuf>,
    /// Those of the process that this one replaces, until [`SocketFiles::take`].
    inherited: Vec<PathBuf>,
    /// Inherited, and not named by the configuration any more.
    unused: Vec<PathBuf>,
}

impl SocketFiles {
    fn push(&mut self, path: &Path, is_inherited: bool) {
        let files = if is_inherited { &mut self.inherited } else { &mut self.own };
        files.push(path.to_owned());
    }

    fn take(&mut self) {
        self.own.append(&mut self.inherited);
        remove(&std::mem::take(&mut self.unused));
    }
}

impl Drop for SocketFiles {
    fn drop(&mut self) {
        remove(&self.own);
    }
}

fn remove(files: &[PathBuf]) {
    for path in files {
        let _ = file::remove(path);
    }
}
