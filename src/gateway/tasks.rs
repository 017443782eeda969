//! The background tasks of one gateway: they end with the gateway, and not only with the runtime.

use std::future::Future;

use tokio::sync::watch;

/// Ends the tasks when it is dropped.
#[derive(Debug)]
pub(super) struct Tasks(watch::Sender<()>);

/// Starts tasks.
#[derive(Debug, Clone)]
pub(super) struct Spawner(watch::Receiver<()>);

impl Tasks {
    /// No tasks yet.
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(()))
    }

    /// A spawner, whose tasks end when `self` is dropped.
    pub(super) fn spawner(&self) -> Spawner {
        Spawner(self.0.subscribe())
    }
}

impl Spawner {
    /// Starts a task on the current runtime.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut ended = self.0.clone();
        tokio::spawn(async move {
            tokio::select! {
                // Nothing is ever sent: this future completes when the sender is dropped.
                _ = ended.changed() => {}
                () = task => {}
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn tasks_end_when_their_owner_is_dropped() {
        let tasks = Tasks::new();
        let (held, ended) = oneshot::channel::<()>();
        tasks.spawner().spawn(async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        drop(tasks);
        assert!(ended.await.is_err());
    }
}
