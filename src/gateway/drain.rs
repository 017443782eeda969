//! The end of the connections.

use tokio::sync::watch;

/// Whether connections are to end. The value only ever increases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum Drain {
    /// They go on.
    #[default]
    No,
    /// Another process serves new connections. Each connection ends after its next request, because a client
    /// may have sent a request that has not arrived yet. The response to that request announces the end. An
    /// idle connection ends at its usual time.
    AfterNext,
    /// This process ends. Each connection ends after its current request. An idle connection ends at once.
    Now,
}

impl Drain {
    /// Waits until connections are to end. An HTTP/2 connection announces its end at once. Requests that the
    /// client sends before it reads this announcement are served.
    pub(super) async fn begun(drain: &mut watch::Receiver<Self>) {
        let _ = drain.wait_for(|drain| *drain != Self::No).await;
    }

    /// Waits until idle connections are to end.
    pub(super) async fn now(drain: &mut watch::Receiver<Self>) {
        let _ = drain.wait_for(|drain| *drain == Self::Now).await;
    }
}
