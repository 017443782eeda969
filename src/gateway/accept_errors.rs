//! Errors of accept(2) on a listening socket.

use std::io;
use std::time::Duration;

use rustix::io::Errno;
use tokio::time::sleep;

/// The pause after an error: without it the accept loop would use a whole core.
const PAUSE: Duration = Duration::from_millis(20);

/// The errors on one socket.
#[derive(Debug)]
pub(super) struct AcceptErrors {
    socket: String,
    /// The number of errors since the last accepted connection.
    count: u64,
}

impl AcceptErrors {
    /// No errors yet. `socket`: the name of the socket in messages.
    pub(super) fn on(socket: impl Into<String>) -> Self {
        Self { socket: socket.into(), count: 0 }
    }

    /// A connection was accepted.
    pub(super) fn end(&mut self) {
        if self.count > 0 {
            tracing::info!("{} accepts connections again", self.socket);
            self.count = 0;
        }
    }

    /// Accepting has failed. Logs the first error, and waits. An error of a single connection is
    /// ignored: the next connection can be accepted at once.
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

/// Whether the error concerns a single connection. accept(2) has then removed that connection from the
/// backlog.
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
