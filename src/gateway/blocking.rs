//! Work that may block for a long time: on files, on `/proc`, on a child process.
//!
//! Such work runs on a thread of its own, and not on tokio's pool for blocking work. A runtime that ends
//! waits for that pool. So a file system that does not respond would keep the process from ending.

use std::thread::Builder;

use tokio::sync::oneshot;

use crate::error::{Error, Result};

/// Runs the work, and waits for its result. Error: no thread can be started, or the work panicked.
pub(super) async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    let (done, result) = oneshot::channel();
    Builder::new()
        .name("gateway-blocking".to_owned())
        .spawn(move || drop(done.send(work())))
        .map_err(|error| Error::failed(format!("cannot start a thread: {error}")))?;
    result.await.map_err(|_| Error::failed("a thread ended before its work was done"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[tokio::test]
    async fn blocking_work_does_not_block_the_runtime() {
        let (begun, has_begun) = oneshot::channel();
        let (go_on, may_go_on) = mpsc::channel();
        let work = tokio::spawn(run_blocking(move || {
            begun.send(()).unwrap();
            may_go_on.recv().unwrap()
        }));
        has_begun.await.unwrap();
        go_on.send(7).unwrap();
        assert_eq!(work.await.unwrap().unwrap(), 7);
    }

    #[tokio::test]
    async fn work_that_panics_is_an_error() {
        let done = run_blocking(|| assert!(std::env::args().len() > 1000)).await;
        assert_eq!(done.unwrap_err().message, "a thread ended before its work was done");
    }
}
