//! What to do where a listening socket cannot accept.

use std::io;
use std::time::Duration;

use rustix::io::Errno;
use tokio::time::sleep;

/// The time between two attempts: without it the loop would use all of a core.
const PAUSE: Duration = Duration::from_millis(20);

/// How accepting fails on a socket.
#[derive(Debug)]
pub(super) struct Failures {
    socket: String,
    /// How often, since it last worked.
    count: u64,
}

impl Failures {
    /// None yet, on the socket that messages call by this name.
    pub(super) fn on(socket: impl Into<String>) -> Self {
        Self { socket: socket.into(), count: 0 }
    }

    /// Accepting has worked.
    pub(super) fn end(&mut self) {
        if self.count > 0 {
            tracing::info!("{} accepts connections again", self.socket);
            self.count = 0;
        }
    }

    /// Accepting has failed: logs it the first time, and waits a while. The next connection may be
    /// accepted at once where the error was that of one connection.
    pub(super) async fn add(&mut self, error: &io::Error) {
        if is_of_connection(error) {
            return;
        }
        if self.count == 0 {
            tracing::error!("{} cannot accept connections: {error}", self.socket);
        }
        self.count += 1;
        sleep(PAUSE).await;
    }
}

/// Whether an error has taken its connection off the queue: see accept(2).
fn is_of_connection(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    errno.is_some_and(|errno| {
        matches!(
            errno,
            Errno::CONNABORTED
                | Errno::CONNRESET
                | Errno::NETDOWN
                | Errno::NETUNREACH
                | Errno::HOSTDOWN
                | Errno::HOSTUNREACH
                | Errno::NONET
                | Errno::PROTO
                | Errno::INTR
        )
    })
}
