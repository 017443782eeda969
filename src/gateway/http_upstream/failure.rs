//! Whether a request that has no response may be sent again.

use std::error::Error;
use std::io::{self, ErrorKind};

/// Whether the server has certainly not begun with a request: hyper has not sent it, or some bytes of
/// it were unread when the connection was closed (`ECONNRESET`, of a unix socket: `unix_release_sock`
/// of `net/unix/af_unix.c`; `EPIPE`: it was closed before). The latter says something only of a request
/// without a body: a server begins with such a request when it has read the last byte.
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
