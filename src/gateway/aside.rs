//! Work that may block for long: on files, on `/proc`, on a program that it starts.
//!
//! It gets a thread of its own, and not one of tokio's for blocking work: those are waited for when
//! the process ends, and a filesystem that does not answer would keep it from ending.

use std::thread::Builder;

use tokio::sync::oneshot;

use crate::error::{Error, Result};

/// Does the work, and waits for its result.
pub(super) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    let (done, result) = oneshot::channel();
    Builder::new()
        .name("gateway-aside".to_owned())
        .spawn(move || drop(done.send(work())))
        .map_err(|error| Error::failed(format!("cannot start a thread: {error}")))?;
    result.await.map_err(|_| Error::failed("a thread has ended before its work was done"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[tokio::test]
    async fn work_that_blocks_does_not_hold_up_others() {
        let (begun, has_begun) = oneshot::channel();
        let (go_on, told) = mpsc::channel();
        let work = tokio::spawn(aside(move || {
            begun.send(()).unwrap();
            told.recv().unwrap()
        }));
        has_begun.await.unwrap();
        go_on.send(7).unwrap();
        assert_eq!(work.await.unwrap().unwrap(), 7);
    }

    #[tokio::test]
    async fn work_that_panics_is_an_error() {
        let done = aside(|| assert!(std::env::args().len() > 1000)).await;
        assert_eq!(done.unwrap_err().message, "a thread has ended before its work was done");
    }
}
