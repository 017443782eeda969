//! The end of the connections.

use tokio::sync::watch;

/// Whether connections are to end. It only ever increases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum Drain {
    /// They go on.
    #[default]
    No,
    /// Another process serves new connections. Each connection ends after its next request, whose response
    /// says so: a client may have sent a request that has not arrived yet. An idle one ends when it would
    /// anyway.
    AfterNext,
    /// This process ends. Each connection ends after its current request, an idle one at once.
    Now,
}

impl Drain {
    /// Waits until connections are to end. An HTTP/2 client is told so at once: what it sends before it reads
    /// that is served.
    pub(super) async fn begun(drain: &mut watch::Receiver<Self>) {
        let _ = drain.wait_for(|drain| *drain != Self::No).await;
    }

    /// Waits until idle connections are to end.
    pub(super) async fn now(drain: &mut watch::Receiver<Self>) {
        let _ = drain.wait_for(|drain| *drain == Self::Now).await;
    }
}
