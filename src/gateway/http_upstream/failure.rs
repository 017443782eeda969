//! Whether a request that has no response may be sent again.

use std::error::Error;
use std::io::{self, ErrorKind};

/// Whether the server has certainly not begun with a request. This is known in two cases:
///
/// - hyper has not sent the request.
/// - The server closed the connection before it had read the whole request. `ECONNRESET`: some bytes were
///   unread (for a unix socket, see `unix_release_sock` in `net/unix/af_unix.c`). `EPIPE`: the connection
///   was closed before the bytes were sent. This counts only for a request without a body: a server
///   begins with such a request when it has read the last byte.
pub(super) fn is_unread(error: &hyper::Error, has_no_body: bool) -> bool {
    let kind = io_error(error).map(io::Error::kind);
    let is_reset = matches!(kind, Some(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe));
    error.is_canceled() || (has_no_body && is_reset)
}

fn io_error(error: &hyper::Error) -> Option<&io::Error> {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(found) = cause.downcast_ref() {
            return Some(found);
        }
        source = cause.source();
    }
    None
}
