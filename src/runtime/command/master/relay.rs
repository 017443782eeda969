//! Passes connections on to a socket or a port that the server makes itself.
//!
//! The master accepts them on the generation's private socket, where the kernel counts them. It reads
//! from a connection only after a process of the server has accepted the other end: while all
//! processes are being started again, connections wait. If no process accepts the other end for
//! [`CONNECT_TIMEOUT`], the master closes the connection without having read from it. So the client
//! can tell that the request was not begun.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::Shared;
use super::worker::log;
use crate::pool::Listen;
use crate::runtime::command::order::Order;

/// How long a connection waits for a process that accepts it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The time between two attempts.
const RETRY: Duration = Duration::from_millis(5);
/// The pause after a failed accept(2): there is no free descriptor.
const PAUSE: Duration = Duration::from_millis(50);

/// The task that accepts connections.
pub(super) struct Relay(JoinHandle<()>);

impl Relay {
    /// Starts it; None: the server has the listening socket itself.
    pub(super) fn start(shared: &Shared) -> io::Result<Option<Self>> {
        let Shared { order, listener, port, files } = shared;
        let target = match (order.listen, *port) {
            (Listen::Port, Some(port)) => Target::Port(port),
            (Listen::Socket, _) => Target::sockets(order),
            _ => return Ok(None),
        };
        // Each connection takes two files.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..*files });
        let listener =
            std::os::unix::net::UnixListener::from(listener.as_fd().try_clone_to_owned()?);
        let listener = UnixListener::from_std(listener)?;
        Ok(Some(Self(tokio::spawn(accept(listener, Arc::new(target))))))
    }

    /// Accepts no more. Connections that are open stay open.
    pub(super) fn stop(self) {
        self.0.abort();
    }
}

/// Where connections go.
enum Target {
    Port(u16),
    Sockets {
        /// The socket of each process, with the number of its connections.
        sockets: Vec<(PathBuf, AtomicUsize)>,
        /// The account of the processes.
        uid: u32,
    },
}

impl Target {
    fn sockets(order: &Order) -> Self {
        let uid = order.account.as_ref().map(|account| account.uid);
        Self::Sockets {
            sockets: (1..=order.processes)
                .map(|process| (order.socket_of(process), AtomicUsize::new(0)))
                .collect(),
            uid: uid.unwrap_or_else(|| rustix::process::geteuid().as_raw()),
        }
    }

    async fn relay(&self, mut client: UnixStream) {
        let deadline = Instant::now() + CONNECT_TIMEOUT;
        loop {
            let passed = match self {
                Self::Port(port) => to_port(&mut client, *port).await,
                Self::Sockets { sockets, uid } => to_socket(&mut client, sockets, *uid).await,
            };
            match passed {
                Ok(()) => return,
                Err(error) if Instant::now() >= deadline => {
                    log(&format!("a connection is closed: no process accepts it: {error}"));
                    return;
                }
                Err(_) => sleep(RETRY).await,
            }
        }
    }
}

async fn accept(listener: UnixListener, target: Arc<Target>) {
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                let target = Arc::clone(&target);
                tokio::spawn(async move { target.relay(client).await });
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
}

/// An error means that the port accepts no connection. A later error on the connection is left to the
/// client and the server.
async fn to_port(client: &mut UnixStream, port: u16) -> io::Result<()> {
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    server.set_nodelay(true)?;
    let _ = copy_bidirectional(client, &mut server).await;
    Ok(())
}

/// Takes the process with the fewest connections first.
async fn to_socket(
    client: &mut UnixStream,
    sockets: &[(PathBuf, AtomicUsize)],
    uid: u32,
) -> io::Result<()> {
    let mut order: Vec<&(PathBuf, AtomicUsize)> = sockets.iter().collect();
    order.sort_by_key(|(_, count)| count.load(Ordering::Relaxed));
    let mut last = io::ErrorKind::NotFound.into();
    for (path, count) in order {
        match connect(path, uid).await {
            Ok(mut server) => {
                count.fetch_add(1, Ordering::Relaxed);
                let _ = copy_bidirectional(client, &mut server).await;
                count.fetch_sub(1, Ordering::Relaxed);
                return Ok(());
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Connects to a socket of the server's account only. The account owns the directory, and could put
/// a link there to a socket that root alone may use.
async fn connect(path: &std::path::Path, uid: u32) -> io::Result<UnixStream> {
    let server = UnixStream::connect(path).await?;
    if server.peer_cred()?.uid() == uid {
        Ok(server)
    } else {
        Err(io::Error::other(format!("{} is another account's socket", path.display())))
    }
}
